/**
 * The timers of runs, and what each means when it fires.
 *
 * M1. A run out of memory has one timer, which loads it; in memory, each of its waits has one of its own.
 * M2. What a timer stands for is looked at again when its turn comes in the run's inbox: it may be over.
 * M3. A duration counts as elapsed time from when its timer is set, a time of day by the wall clock. Over a restart both
 *     go by the wall clock: of what was before, only the deadline is known.
 */
import type { Clock } from '../../spec/clock.ts';
import type { OutsideEvent } from '../core/event.ts';
import type { Operation } from '../core/operation.ts';
import { mayCallBody, type Run } from '../core/run.ts';
import type { Arrival } from './live-run.ts';
import { elapsedTime, type TimerKey, Timers, wallTime } from './timers.ts';

/** Timers that stand for no operation. */
const WAKE = 0;
const DEADLINE = -1;
const BEGIN = -2;

export interface RunTimersPorts {
  readonly clock: Clock;
  /** A run is wanted in memory, and hears of this; without an arrival it is only loaded. */
  readonly fired: (runId: string, arrival: Arrival | undefined) => void;
  /** A run is ready for its place in a queue. */
  readonly ready: (run: Run) => void;
  /** A timer of an operation fired, so late after what it was set for. */
  readonly late: (lateMs: number) => void;
  /** The time of a step's next attempt has come. */
  readonly retry: (runId: string, operation: Operation) => void;
}

export class RunTimers {
  readonly #ports: RunTimersPorts;
  readonly #elapsed: Timers;
  readonly #wall: Timers;

  constructor(ports: RunTimersPorts) {
    this.#ports = ports;
    const fired = (key: TimerKey): void => this.#fired(key);
    this.#elapsed = new Timers(elapsedTime(ports.clock), fired);
    this.#wall = new Timers(wallTime(ports.clock), fired);
  }

  /** Timers that are set. */
  get size(): number {
    return this.#elapsed.size + this.#wall.size;
  }

  clear(): void {
    this.#elapsed.clear();
    this.#wall.clear();
  }

  /** A run that is not in memory is loaded then, Unix ms. */
  load(runId: string, atMs: number): void {
    this.#setElapsed({ runId, op: WAKE }, atMs);
  }

  loadAfter(runId: string, delayMs: number): void {
    this.#setAfter({ runId, op: WAKE }, delayMs);
  }

  /** It is loaded: from now on each of its waits has a timer of its own (M1). */
  loaded(runId: string): void {
    this.#elapsed.delete({ runId, op: WAKE });
  }

  /** The deadline of a run, and the end of its delay; one that waits for nothing but its place is ready. */
  setForRun(run: Run): void {
    if (run.closing !== undefined) return;
    const { runId } = run.identity;
    const { deadline, notBefore } = run.started;
    if (deadline !== undefined) this.#setElapsed({ runId, op: DEADLINE }, deadline);
    // One that is stuck does not begin, and leaves memory: its timer would load it again and again.
    if (mayCallBody(run) && notBefore !== undefined)
      this.#setElapsed({ runId, op: BEGIN }, notBefore);
    else if (run.queued) this.#ports.ready(run);
  }

  /** M3 */
  setForOperation(runId: string, { op, fireAt, byWallClock }: Operation): void {
    if (fireAt === undefined) return;
    if (byWallClock === true) this.#wall.set({ runId, op }, fireAt);
    else this.#setElapsed({ runId, op }, fireAt);
  }

  setForRetry(runId: string, op: number, delayMs: number): void {
    this.#setAfter({ runId, op }, delayMs);
  }

  delete(runId: string, op: number): void {
    this.#elapsed.delete({ runId, op });
    this.#wall.delete({ runId, op });
  }

  /** The run has ended. */
  deleteForRun(runId: string): void {
    for (const op of [DEADLINE, BEGIN, WAKE]) this.#elapsed.delete({ runId, op });
  }

  #setElapsed(key: TimerKey, atMs: number): void {
    this.#setAfter(key, atMs - this.#ports.clock.nowMs());
  }

  #setAfter(key: TimerKey, delayMs: number): void {
    this.#elapsed.set(key, this.#ports.clock.monotonicMs() + Math.max(0, delayMs));
  }

  #fired({ runId, op }: TimerKey): void {
    this.#ports.fired(runId, this.#arrival(op));
  }

  #arrival(op: number): Arrival | undefined {
    const at = this.#ports.clock.nowMs();
    if (op === WAKE) return undefined;
    if (op === DEADLINE) return { event: { kind: 'timed-out', at } };
    if (op === BEGIN) {
      return { event: { kind: 'begun', at }, wanted: (run) => this.#mayBegin(run) };
    }
    const event: OutsideEvent = { kind: 'timer-fired', at, op };
    return { event, wanted: (run) => this.#isDue(run, op, at) };
  }

  #mayBegin(run: Run): boolean {
    if (!run.queued) return mayCallBody(run);
    if (run.delayed) this.#ports.ready(run);
    return false;
  }

  /** A timer of an operation is an event; the timer of a step's next attempt is not. */
  #isDue(run: Run, op: number, at: number): boolean {
    const operation = run.operation(op);
    if (operation?.step !== undefined) this.#ports.retry(run.identity.runId, operation);
    if (operation?.fireAt !== undefined) this.#ports.late(at - operation.fireAt);
    return operation?.fireAt !== undefined;
  }
}
