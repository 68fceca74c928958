/**
 * Forgets closed runs once they are older than wanted, some at a time, between other work.
 *
 * It sets no timer: a store grows only while runs close, so that is when it is looked at, and when it is opened.
 */
import type { Clock } from '../../spec/clock.ts';
import type { Log } from '../../spec/log.ts';
import type { Store } from '../store.ts';
import { turn } from './system.ts';

/** At most one sweep in this time. */
const SWEEP_EVERY_MS = 10_000;
/** Runs forgotten in one commit: it takes milliseconds. */
const BATCH = 200;

export interface RetentionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a closed run is kept. */
  readonly keepMs: number;
}

export class Retention {
  readonly #options: RetentionOptions;
  #nextMs = -Infinity;
  #sweeping = false;
  #closed = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** A run closed, or the store was opened: a sweep begins if the last one is long enough ago. */
  due(): void {
    const { clock, keepMs } = this.#options;
    const elapsedMs = clock.monotonicMs();
    if (this.#sweeping || this.#closed || elapsedMs < this.#nextMs) return;
    this.#nextMs = elapsedMs + SWEEP_EVERY_MS;
    void this.#sweep(clock.nowMs() - keepMs);
  }

  close(): void {
    this.#closed = true;
  }

  async #sweep(closedBefore: number): Promise<void> {
    const { store, log } = this.#options;
    this.#sweeping = true;
    try {
      for (let forgotten = BATCH; forgotten === BATCH;) {
        await turn();
        if (this.#closed) return;
        forgotten = await store.prune({ closedBefore, limit: BATCH });
      }
    } catch (error) {
      log.error({ err: error }, 'closed runs could not be forgotten; the next sweep tries again');
    } finally {
      this.#sweeping = false;
    }
  }
}
