/**
 * Group commit: appends of one turn of the event loop become one batch, and one fsync.
 *
 * C1. Batches are handed to the store one after another, in the order of `append`.
 * C2. A waiter hears only after the store has answered for the whole batch.
 */
import type { Clock } from '../../spec/clock.ts';
import { EngineClosedError } from '../core/errors.ts';
import type { Append, AppendResult, Store } from '../store.ts';

interface Pending {
  readonly append: Append;
  readonly settled: (outcome: AppendResult | Error) => void;
}

export interface CommitterOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** The store has answered for a batch. */
  readonly committed: (appends: number, durationMs: number) => void;
}

export class Committer {
  readonly #options: CommitterOptions;
  #pending: Pending[] = [];
  #armed = false;
  #committing: Promise<void> | undefined;
  #closed = false;
  /** Batches handed to the store. */
  commits = 0;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  get idle(): boolean {
    return this.#pending.length === 0 && this.#committing === undefined;
  }

  /** `settled` is called once: with the result, or with the error of the medium. */
  append(append: Append, settled: Pending['settled']): void {
    if (this.#closed) return settled(new EngineClosedError('the engine is closed'));
    this.#pending.push({ append, settled });
    this.#arm();
  }

  /** Resolves when everything appended so far was answered for. */
  async flushed(): Promise<void> {
    while (!this.idle) {
      await (this.#committing ?? new Promise((resolve) => void setImmediate(resolve)));
    }
  }

  /** From now on nothing reaches the store. */
  close(): void {
    this.#closed = true;
    for (const { settled } of this.#pending.splice(0)) {
      settled(new EngineClosedError('the engine is closed'));
    }
  }

  #arm(): void {
    if (this.#armed || this.#committing !== undefined || this.#pending.length === 0) return;
    this.#armed = true;
    setImmediate(() => {
      this.#armed = false;
      this.#committing = this.#commit().finally(() => {
        this.#committing = undefined;
        this.#arm(); // C1
      });
    });
  }

  async #commit(): Promise<void> {
    const batch = this.#pending;
    this.#pending = [];
    if (batch.length === 0) return;
    this.commits++;
    const { store, clock, committed } = this.#options;
    const beganMs = clock.monotonicMs();
    let results: readonly (AppendResult | Error)[];
    try {
      results = await store.append(batch.map((pending) => pending.append));
    } catch (error) {
      results = batch.map(() => error as Error);
    }
    committed(batch.length, clock.monotonicMs() - beganMs);
    if (this.#closed) results = batch.map(() => new EngineClosedError('the engine is closed'));
    for (const [i, { settled }] of batch.entries()) settled(results[i] as AppendResult | Error); // C2
  }
}
