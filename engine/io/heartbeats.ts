/**
 * What of a step's progress is recorded: not each heartbeat, since each is an event of the journal.
 *
 * T1. The first ones at once; then the newest, once the last record is older than a second and than a hundredth of the
 *     time since the first. So a crash loses little of what was done, and a history grows with the logarithm of the time.
 * T2. When an attempt fails, the newest is recorded before that: the next attempt finds it.
 */
import type { Clock } from '../../spec/clock.ts';

const AT_ONCE = 16;
const GAP_MS_MIN = 1_000;
const GAP_SHARE = 0.01;

export class Heartbeats<T> {
  readonly #clock: Clock;
  readonly #record: (progress: T) => void;
  readonly #begunMs: number;
  #recorded = 0;
  #lastMs = 0;
  #newest: { readonly progress: T } | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(clock: Clock, record: (progress: T) => void) {
    this.#clock = clock;
    this.#record = record;
    this.#begunMs = clock.monotonicMs();
  }

  note(progress: T): void {
    this.#newest = { progress };
    if (this.#cancelTimer !== undefined) return;
    const waitMs = this.#nextMs() - this.#clock.monotonicMs();
    if (waitMs <= 0) return this.flush();
    this.#cancelTimer = this.#clock.after(waitMs, () => this.flush());
  }

  /** Records what is not yet (T2). */
  flush(): void {
    this.stop();
    const newest = this.#newest;
    if (newest === undefined) return;
    this.#newest = undefined;
    this.#recorded++;
    this.#lastMs = this.#clock.monotonicMs();
    this.#record(newest.progress);
  }

  /** Nothing more is recorded by itself. */
  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** T1 */
  #nextMs(): number {
    if (this.#recorded < AT_ONCE) return 0;
    const ageMs = this.#clock.monotonicMs() - this.#begunMs;
    return this.#lastMs + Math.max(GAP_MS_MIN, ageMs * GAP_SHARE);
  }
}
