/** Who waits for the end of a run, or of an update; they hear once it is durable. */
import type { ClosingEvent } from '../core/event.ts';
import type { UpdateState } from '../core/run.ts';

/** How a run ended, for those who wait for it. */
export type Ending = { readonly event: ClosingEvent } | { readonly error: Error };

export type UpdateCompleted = Exclude<UpdateState, 'accepted'>;

export class Waiters {
  readonly #endings = new Listeners<Ending>();
  readonly #updates = new Listeners<UpdateCompleted>();

  /** @returns stops the wait */
  ending(runId: string, heard: (ending: Ending) => void): () => void {
    return this.#endings.add(runId, heard);
  }

  ended(runId: string, ending: Ending): void {
    this.#endings.tell(runId, ending);
  }

  allEnded(ending: Ending): void {
    for (const runId of this.#endings.keys()) this.ended(runId, ending);
  }

  /** @returns stops the wait */
  update(runId: string, id: string, heard: (done: UpdateCompleted) => void): () => void {
    return this.#updates.add(`${runId} ${id}`, heard);
  }

  updated(runId: string, done: UpdateCompleted): void {
    this.#updates.tell(`${runId} ${done.id}`, done);
  }
}

class Listeners<T> {
  readonly #byKey = new Map<string, Set<(value: T) => void>>();

  keys(): string[] {
    return [...this.#byKey.keys()];
  }

  add(key: string, heard: (value: T) => void): () => void {
    const listeners = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, listeners.add(heard));
    return () => {
      listeners.delete(heard);
      if (listeners.size === 0 && this.#byKey.get(key) === listeners) this.#byKey.delete(key);
    };
  }

  /** Each hears once. */
  tell(key: string, value: T): void {
    const listeners = this.#byKey.get(key);
    this.#byKey.delete(key);
    for (const heard of listeners ?? []) heard(value);
  }
}
