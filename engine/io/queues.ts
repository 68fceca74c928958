/**
 * Runs that wait for their place before they begin.
 *
 * That a run waits, and that it has its place, is in its journal and record; the order follows from them (Q2 of
 * core/queue.ts). So nothing else is stored, and a run keeps its place over a crash. A place is free again when the run
 * has ended; a run that sleeps, or is stuck, keeps it.
 */
import { AetherError } from '../../spec/error.ts';
import type { Clock } from '../../spec/clock.ts';
import { type Duration, durationMs } from '../../spec/duration.ts';
import { Queue, type QueueLimits } from '../core/queue.ts';
import type { RunRecord } from '../core/record.ts';
import type { Run } from '../core/run.ts';
import type { Store } from '../store.ts';

export interface QueueOptions {
  /** Runs that have begun and not ended. Default: no limit. */
  concurrency?: number;
  /** Runs that begin within any `per`. Default: no limit. */
  rate?: { limit: number; per: Duration };
  /** Fairness keys of one priority take turns. Default false: by start. */
  fairness?: boolean;
}

export interface QueuesPorts {
  readonly clock: Clock;
  readonly store: Store;
  /** Begins a run. Twice is once. */
  begin(run: Pick<RunRecord, 'runId' | 'workflowId'>): void;
}

const PAGE = 1_000;

export class Queues {
  readonly #ports: QueuesPorts;
  readonly #queues: ReadonlyMap<string, Queue>;
  readonly #rates: ReadonlyMap<string, number>;
  readonly #workflowIds = new Map<string, string>();
  readonly #timers = new Map<string, () => void>();
  #open = false;

  /** @throws AetherError ERR_ENGINE_QUEUE */
  constructor(options: Record<string, QueueOptions>, ports: QueuesPorts) {
    const limits = Object.entries(options).map(([name, one]): [string, QueueLimits] => [
      name,
      limitsOf(name, one),
    ]);
    this.#ports = ports;
    this.#queues = new Map(limits.map(([name, one]) => [name, new Queue(one)]));
    this.#rates = new Map(limits.map(([name, { rate }]) => [name, rate?.perMs ?? 0]));
  }

  /** Reads who waits and who has a place, before any run goes on; nobody gets one before. */
  async open(): Promise<void> {
    if (this.#queues.size > 0) {
      await this.#eachRecord({ status: ['running', 'sleeping', 'stuck'] }, (r) => this.#known(r));
    }
    const perMs = Math.max(0, ...this.#rates.values());
    const closedAfter = this.#ports.clock.nowMs() - perMs;
    if (perMs > 0) await this.#eachRecord({ closedAfter }, (record) => this.#countClosed(record));
    this.#open = true;
    for (const name of this.#queues.keys()) this.#give(name);
  }

  /** How many runs wait in each queue, and how many have a place. */
  get counts(): { name: string; waiting: number; inFlight: number }[] {
    return Array.from(this.#queues, ([name, { waiting, inFlight }]) => ({
      name,
      waiting,
      inFlight,
    }));
  }

  close(): void {
    this.#open = false;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  /** @throws AetherError ERR_ENGINE_QUEUE_UNKNOWN */
  check(name: string): void {
    if (this.#queues.has(name)) return;
    throw new AetherError(`there is no queue "${name}"`, {
      code: 'ERR_ENGINE_QUEUE_UNKNOWN',
      hint: `name it in EngineOptions.queues; there are: ${[...this.#queues.keys()].join(', ') || 'none'}`,
    });
  }

  /** A run is ready to begin. One whose queue is not there any more begins at once. */
  ready({ identity, started }: Run): void {
    const { runId, workflowId } = identity;
    const { queue, priority = 0 } = started;
    const line = queue === undefined ? undefined : this.#queues.get(queue.name);
    if (queue === undefined || line === undefined || line.holds(runId)) {
      return this.#ports.begin({ runId, workflowId });
    }
    this.#workflowIds.set(runId, workflowId);
    line.join({ runId, priority, ...keyOf(queue) });
    this.#give(queue.name);
  }

  /** A run has ended; the one that goes on after continueAsNew has its place. */
  closed({ identity, started, closing }: Run): void {
    const { queue } = started;
    const line = queue === undefined ? undefined : this.#queues.get(queue.name);
    if (queue === undefined || line === undefined) return;
    if (closing?.kind === 'continued') return line.handOver(identity.runId, closing.next.runId);
    line.leave(identity.runId);
    this.#workflowIds.delete(identity.runId);
    this.#give(queue.name);
  }

  #give(name: string): void {
    const line = this.#queues.get(name) as Queue;
    const { clock } = this.#ports;
    if (!this.#open) return;
    const nowMs = clock.monotonicMs();
    for (let run = line.next(nowMs); run !== undefined; run = line.next(nowMs)) {
      const { runId } = run;
      const workflowId = this.#workflowIds.get(runId) ?? '';
      this.#workflowIds.delete(runId);
      this.#ports.begin({ runId, workflowId });
    }
    const freeAt = line.freeAt(nowMs);
    if (line.waiting === 0 || freeAt <= nowMs || this.#timers.has(name)) return;
    const wake = (): void => {
      this.#timers.delete(name);
      this.#give(name);
    };
    this.#timers.set(name, clock.after(freeAt - nowMs, wake));
  }

  #known({ runId, workflowId, queue }: RunRecord): void {
    const line = queue === undefined ? undefined : this.#queues.get(queue.name);
    if (queue === undefined || line === undefined) return;
    if (queue.begunAt !== undefined) line.hold(runId, this.#elapsed(queue.begunAt));
    else if (queue.readyAt <= this.#ports.clock.nowMs()) {
      this.#workflowIds.set(runId, workflowId);
      line.join({ runId, priority: queue.priority, ...keyOf(queue) });
    }
  }

  /** What began lately and has ended already counts for the rate too; once, though it went on as another run. */
  #countClosed({ queue, status }: RunRecord): void {
    if (status === 'continued' || queue?.begunAt === undefined) return;
    this.#queues.get(queue.name)?.given(this.#elapsed(queue.begunAt));
  }

  /** A time of the store in elapsed time; one to come is now, since the wall clock was set back. */
  #elapsed(atMs: number): number {
    const { clock } = this.#ports;
    return clock.monotonicMs() - Math.max(0, clock.nowMs() - atMs);
  }

  async #eachRecord(
    filter: { status?: string[]; closedAfter?: number },
    seen: (record: RunRecord) => void,
  ): Promise<void> {
    let after: string | undefined;
    for (;;) {
      const where = { ...filter, limit: PAGE, ...(after === undefined ? {} : { after }) };
      const page = await this.#ports.store.list(where);
      for (const record of page) seen(record);
      after = page.at(-1)?.runId;
      if (page.length < PAGE) return;
    }
  }
}

function keyOf({ fairnessKey }: { fairnessKey?: string }): { fairnessKey?: string } {
  return fairnessKey === undefined ? {} : { fairnessKey };
}

function limitsOf(name: string, { concurrency, rate, fairness }: QueueOptions): QueueLimits {
  const limits: QueueLimits = {
    concurrency: concurrency ?? Infinity,
    fairness: fairness ?? false,
    ...(rate === undefined ? {} : { rate: { limit: rate.limit, perMs: durationMs(rate.per) } }),
  };
  const counts = [concurrency ?? 1, rate?.limit ?? 1, limits.rate?.perMs ?? 1];
  if (counts.every((count) => Number.isInteger(count) && count >= 1)) return limits;
  throw new AetherError(`queue "${name}" has a limit that is not a whole number from 1`, {
    code: 'ERR_ENGINE_QUEUE',
    hint: 'leave out what is not limited',
  });
}
