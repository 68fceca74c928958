/**
 * Timers of all runs in one binary heap over one clock timer.
 *
 * Deadlines are kept on the monotonic clock from the moment they are set, so that a jump of the wall clock neither fires
 * nor loses one. A key has at most one timer.
 */
import type { Clock } from '../../spec/clock.ts';

export interface TimerKey {
  readonly runId: string;
  readonly op: number;
}

interface Timer extends TimerKey {
  readonly dueMs: number;
  cancelled: boolean;
}

/** Fired in one turn of the event loop: a storm of them must leave room for what else there is to do. */
const FIRED_MAX = 200;

export class Timers {
  readonly #clock: Clock;
  readonly #fire: (key: TimerKey) => void;
  readonly #heap: Timer[] = [];
  readonly #byKey = new Map<string, Timer>();
  #cancelClock: (() => void) | undefined;
  #clockDueMs = Infinity;

  constructor(clock: Clock, fire: (key: TimerKey) => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  /** Sets the timer of a key; one that is set stays as it is. */
  set(key: TimerKey, delayMs: number): void {
    const text = textOf(key);
    if (this.#byKey.has(text)) return;
    const timer = { ...key, dueMs: this.#clock.monotonicMs() + delayMs, cancelled: false };
    this.#byKey.set(text, timer);
    this.#push(timer);
    this.#arm();
  }

  delete(key: TimerKey): void {
    if (this.#byKey.size === 0) return;
    const timer = this.#byKey.get(textOf(key));
    if (timer === undefined) return;
    timer.cancelled = true;
    this.#byKey.delete(textOf(key));
    if (this.#heap[0] === timer) this.#arm();
  }

  clear(): void {
    this.#heap.length = 0;
    this.#byKey.clear();
    this.#arm();
  }

  /** One clock timer, for the earliest. */
  #arm(): void {
    while (this.#heap[0]?.cancelled === true) this.#pop();
    const dueMs = this.#heap[0]?.dueMs ?? Infinity;
    if (dueMs === this.#clockDueMs) return;
    this.#cancelClock?.();
    this.#cancelClock = undefined;
    this.#clockDueMs = dueMs;
    if (dueMs === Infinity) return;
    const delayMs = Math.max(0, Math.ceil(dueMs - this.#clock.monotonicMs()));
    this.#cancelClock = this.#clock.after(delayMs, () => this.#wake());
  }

  #wake(): void {
    this.#clockDueMs = Infinity;
    this.#cancelClock = undefined;
    const nowMs = this.#clock.monotonicMs();
    let left = FIRED_MAX;
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (!first.cancelled && (first.dueMs > nowMs || left === 0)) break;
      this.#pop();
      if (first.cancelled) continue;
      left--;
      this.#byKey.delete(textOf(first));
      this.#fire({ runId: first.runId, op: first.op });
    }
    this.#arm();
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as Timer).dueMs <= timer.dueMs) break;
      heap[at] = heap[parent] as Timer;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && right.dueMs < (heap[child] as Timer).dueMs) child++;
      if ((heap[child] as Timer).dueMs >= last.dueMs) break;
      heap[at] = heap[child] as Timer;
      at = child;
    }
    heap[at] = last;
  }
}

function textOf(key: TimerKey): string {
  return `${key.runId}/${key.op}`;
}
