/**
 * One queue: who waits, who has a place, and who is next.
 *
 * Q1. At most `concurrency` runs have a place, and at most `limit` got one within any `perMs`.
 * Q2. The larger priority goes first; of one priority, fairness keys take turns; of one key, the earlier start (run ids
 *     order by start). So the order follows from what is stored, and is the same after a restart.
 *
 * Times are elapsed time, so that a jump of the wall clock neither closes a queue nor lets too many go.
 */
export interface QueueLimits {
  /** Infinity for no limit. */
  readonly concurrency: number;
  readonly rate?: { readonly limit: number; readonly perMs: number };
  /** False: fairness keys are not looked at. */
  readonly fairness: boolean;
}

export interface QueuedRun {
  readonly runId: string;
  readonly priority: number;
  readonly fairnessKey?: string;
}

/** Run ids in order of start; the first is taken without moving the others. */
class Line {
  #ids: string[] = [];
  #head = 0;

  add(runId: string): void {
    let at = this.#ids.length;
    while (at > this.#head && (this.#ids[at - 1] as string) > runId) at--;
    this.#ids.splice(at, 0, runId);
  }

  first(waits: (runId: string) => boolean): string | undefined {
    for (let id = this.#ids[this.#head]; id !== undefined; id = this.#ids[this.#head]) {
      if (waits(id)) return id;
      this.#head++;
    }
    this.#ids = [];
    this.#head = 0;
    return undefined;
  }
}

export class Queue {
  readonly #limits: QueueLimits;
  readonly #waiting = new Map<string, QueuedRun>();
  readonly #holders = new Set<string>();
  /** By priority, the largest first; in each by fairness key. */
  readonly #lines = new Map<number, Map<string, Line>>();
  #priorities: number[] = [];
  /** When each fairness key had its last turn, counted in turns. */
  readonly #turns = new Map<string, number>();
  #turn = 0;
  /** When places were given within the last `perMs`, in elapsed ms, ascending. */
  #given: number[] = [];

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get inFlight(): number {
    return this.#holders.size;
  }

  holds(runId: string): boolean {
    return this.#holders.has(runId);
  }

  /** Gets in line. Twice is once. */
  join(run: QueuedRun): void {
    const { runId, priority } = run;
    if (this.#waiting.has(runId) || this.#holders.has(runId)) return;
    this.#waiting.set(runId, run);
    let lines = this.#lines.get(priority);
    if (lines === undefined) {
      this.#lines.set(priority, (lines = new Map()));
      this.#priorities = [...this.#lines.keys()].toSorted((a, b) => b - a);
    }
    const key = this.#limits.fairness ? (run.fairnessKey ?? '') : '';
    const line = lines.get(key) ?? new Line();
    lines.set(key, line);
    line.add(runId);
  }

  /** A run that got its place before, at that time. */
  hold(runId: string, sinceMs: number): void {
    this.#holders.add(runId);
    this.given(sinceMs);
  }

  /** A place was given then, whoever has it now. */
  given(atMs: number): void {
    if (this.#limits.rate === undefined) return;
    this.#given.push(atMs);
    if ((this.#given.at(-2) ?? 0) > atMs) this.#given.sort((a, b) => a - b);
  }

  /** Leaves the line, or its place. */
  leave(runId: string): void {
    this.#waiting.delete(runId);
    this.#holders.delete(runId);
  }

  /** The place goes to the run that goes on. */
  handOver(runId: string, next: string): void {
    if (this.#holders.delete(runId)) this.#holders.add(next);
  }

  /** Gives the next place, if one is free. @returns who has it now */
  next(nowMs: number): QueuedRun | undefined {
    if (this.#holders.size >= this.#limits.concurrency || this.freeAt(nowMs) > nowMs)
      return undefined; // Q1
    for (const priority of this.#priorities) {
      const runId = this.#nextOf(this.#lines.get(priority) as Map<string, Line>);
      if (runId === undefined) continue;
      const run = this.#waiting.get(runId) as QueuedRun;
      this.#waiting.delete(runId);
      this.hold(runId, nowMs);
      return run;
    }
    return undefined;
  }

  /** When the rate lets another one go, in elapsed ms. */
  freeAt(nowMs: number): number {
    const { rate } = this.#limits;
    if (rate === undefined) return nowMs;
    const since = nowMs - rate.perMs;
    while ((this.#given[0] ?? Infinity) <= since) this.#given.shift();
    if (this.#given.length < rate.limit) return nowMs;
    return (this.#given.at(-rate.limit) as number) + rate.perMs;
  }

  /** Q2 */
  #nextOf(lines: Map<string, Line>): string | undefined {
    let next: { key: string; turn: number; runId: string } | undefined;
    for (const [key, line] of lines) {
      const runId = line.first((id) => this.#waiting.has(id));
      if (runId === undefined) {
        lines.delete(key);
        continue;
      }
      const turn = this.#turns.get(key) ?? 0;
      const earlier =
        next === undefined || turn < next.turn || (turn === next.turn && runId < next.runId);
      if (earlier) next = { key, turn, runId };
    }
    if (next === undefined) return undefined;
    this.#turns.set(next.key, ++this.#turn);
    return next.runId;
  }
}
