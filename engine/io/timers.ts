/**
 * Timers of all runs in one binary heap over one timer of a clock. A key has at most one timer.
 *
 * There are two times to go by. Elapsed time knows no jumps: a duration that is waited for is as long as it is. The wall
 * clock is what a time of day means: it comes when that clock shows it, and may be jumped to.
 */
import type { Clock } from '../../spec/clock.ts';

export interface TimerKey {
  readonly runId: string;
  readonly op: number;
}

interface Timer extends TimerKey {
  readonly dueMs: number;
  /** Its place in the heap. */
  at: number;
}

/** What timers go by. */
export interface TimeAxis {
  nowMs(): number;
  /** Calls `wake` once, at that time or somewhat before it. @returns cancels it; harmless afterwards */
  wakeAt(dueMs: number, wake: () => void): () => void;
}

export function elapsedTime(clock: Clock): TimeAxis {
  return {
    nowMs: () => clock.monotonicMs(),
    wakeAt: (dueMs, wake) => clock.after(Math.max(0, Math.ceil(dueMs - clock.monotonicMs())), wake),
  };
}

export function wallTime(clock: Clock): TimeAxis {
  return {
    nowMs: () => clock.nowMs(),
    wakeAt: (dueMs, wake) =>
      clock.until?.(dueMs, wake) ??
      clock.after(Math.max(0, Math.ceil(dueMs - clock.nowMs())), wake),
  };
}

/** Fired in one turn of the event loop: a storm of them must leave room for what else there is to do. */
const FIRED_MAX = 200;

export class Timers {
  readonly #axis: TimeAxis;
  readonly #fire: (key: TimerKey) => void;
  readonly #heap: Timer[] = [];
  readonly #byKey = new Map<string, Timer>();
  #cancelClock: (() => void) | undefined;
  #clockDueMs = Infinity;

  constructor(axis: TimeAxis, fire: (key: TimerKey) => void) {
    this.#axis = axis;
    this.#fire = fire;
  }

  /** Timers that are set. */
  get size(): number {
    return this.#heap.length;
  }

  /** Sets the timer of a key, in ms of its axis; one that is set stays as it is. */
  set(key: TimerKey, dueMs: number): void {
    const text = textOf(key);
    if (this.#byKey.has(text)) return;
    const at = this.#heap.length;
    const timer = { ...key, dueMs, at };
    this.#byKey.set(text, timer);
    this.#heap.push(timer);
    this.#rise(timer);
    this.#arm();
  }

  delete(key: TimerKey): void {
    if (this.#byKey.size === 0) return;
    const text = textOf(key);
    const timer = this.#byKey.get(text);
    if (timer === undefined) return;
    this.#byKey.delete(text);
    this.#remove(timer);
    this.#arm();
  }

  clear(): void {
    this.#heap.length = 0;
    this.#byKey.clear();
    this.#arm();
  }

  /** One clock timer, for the earliest. */
  #arm(): void {
    const dueMs = this.#heap[0]?.dueMs ?? Infinity;
    if (dueMs === this.#clockDueMs) return;
    this.#cancelClock?.();
    this.#cancelClock = undefined;
    this.#clockDueMs = dueMs;
    if (dueMs === Infinity) return;
    this.#cancelClock = this.#axis.wakeAt(dueMs, () => this.#wake());
  }

  #wake(): void {
    this.#clockDueMs = Infinity;
    this.#cancelClock = undefined;
    const nowMs = this.#axis.nowMs();
    let left = FIRED_MAX;
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.dueMs > nowMs || left-- === 0) break;
      this.#remove(first);
      this.#byKey.delete(textOf(first));
      this.#fire({ runId: first.runId, op: first.op });
    }
    this.#arm();
  }

  /** The last one takes its place, and goes where it belongs from there. */
  #remove(timer: Timer): void {
    const last = this.#heap.pop() as Timer;
    if (last === timer) return;
    this.#put(last, timer.at);
    this.#sink(last);
    this.#rise(last);
  }

  #rise(timer: Timer): void {
    while (timer.at > 0) {
      const parent = this.#heap[(timer.at - 1) >> 1] as Timer;
      if (parent.dueMs <= timer.dueMs) return;
      this.#swap(parent, timer);
    }
  }

  #sink(timer: Timer): void {
    for (;;) {
      const left = this.#heap[2 * timer.at + 1];
      const right = this.#heap[2 * timer.at + 2];
      const child = right !== undefined && right.dueMs < (left as Timer).dueMs ? right : left;
      if (child === undefined || child.dueMs >= timer.dueMs) return;
      this.#swap(timer, child);
    }
  }

  #swap(upper: Timer, lower: Timer): void {
    const { at } = upper;
    this.#put(upper, lower.at);
    this.#put(lower, at);
  }

  #put(timer: Timer, at: number): void {
    timer.at = at;
    this.#heap[at] = timer;
  }
}

function textOf(key: TimerKey): string {
  return `${key.runId}/${key.op}`;
}
