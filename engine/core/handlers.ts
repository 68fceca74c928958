/**
 * What a body answers beside its main line: handlers of queries, of updates, and of signals as they run.
 *
 * H1. A handler of a signal or update that fails fails the run, and the run ends only after all of them have. One that
 *     ends since the run is cancelled does so only once the body has ended: that may be cleaning up.
 * H2. A query reads: whatever it does that would be recorded is refused (`querying`).
 * H3. An update is validated before anything is recorded, so one that is rejected leaves no history.
 */
import { CancelledError, QueryError, UpdateRejectedError } from './errors.ts';

export interface UpdateHandler {
  readonly run: (argument: unknown) => unknown;
  readonly validate?: (argument: unknown) => void;
}

export class Handlers {
  readonly #queries = new Map<string, (argument: unknown) => unknown>();
  readonly #updates = new Map<string, UpdateHandler>();
  readonly #running = new Set<Promise<void>>();
  readonly #failed = Promise.withResolvers<never>();
  #cancelled: CancelledError | undefined;
  #querying = false;

  constructor() {
    this.#failed.promise.catch(() => {});
  }

  /** A query handler is being called. */
  get querying(): boolean {
    return this.#querying;
  }

  /** Rejects when a handler fails; never resolves. */
  get failure(): Promise<never> {
    return this.#failed.promise;
  }

  onQuery(name: string, handler: (argument: unknown) => unknown): void {
    this.#queries.set(name, handler);
  }

  onUpdate(name: string, handler: UpdateHandler): void {
    this.#updates.set(name, handler);
  }

  /** @param stuck why the body did not get further, if it is stuck: it may register a handler there. @throws QueryError */
  query(name: string, argument: unknown, stuck?: Error): unknown {
    const handler = this.#queries.get(name);
    if (handler === undefined) {
      const why = stuck === undefined ? '' : `; the run is stuck: ${stuck.message}`;
      throw new QueryError(`no handler for query "${name}"${why}`, {
        hint: `registered: ${namesOf(this.#queries)}`,
        cause: stuck,
      });
    }
    this.#querying = true; // H2
    try {
      const result = handler(argument);
      if (!(result instanceof Promise)) return result;
      result.catch(() => {});
      throw new QueryError(`the handler of query "${name}" is asynchronous`, {
        hint: 'a query only reads what is there; use an update to await something',
      });
    } catch (error) {
      if (error instanceof QueryError) throw error;
      throw new QueryError(`query "${name}" failed: ${(error as Error)?.message ?? error}`, {
        cause: error,
      });
    } finally {
      this.#querying = false;
    }
  }

  update(name: string): UpdateHandler | undefined {
    return this.#updates.get(name);
  }

  /** Whether an update would be taken now (H3). @throws UpdateRejectedError */
  validateUpdate(name: string, argument: unknown): void {
    const handler = this.#updates.get(name);
    if (handler === undefined) {
      throw new UpdateRejectedError(`no handler for update "${name}"`, {
        hint: `registered: ${namesOf(this.#updates)}`,
      });
    }
    try {
      handler.validate?.(argument);
    } catch (error) {
      throw new UpdateRejectedError(`update "${name}" was rejected: ${(error as Error)?.message}`, {
        cause: error,
      });
    }
  }

  /** Runs a handler of a signal or update beside the body. */
  run(handler: () => Promise<void>, isCancelled: () => boolean): void {
    const running: Promise<void> = handler().then(
      () => void this.#running.delete(running),
      (error: unknown) => {
        this.#running.delete(running);
        if (error instanceof CancelledError && isCancelled()) this.#cancelled ??= error;
        else this.#failed.reject(error); // H1
      },
    );
    this.#running.add(running);
  }

  /** Resolves when none runs; rejects when one fails or was cancelled. */
  async done(): Promise<void> {
    while (this.#running.size > 0) {
      await Promise.race([Promise.all(this.#running), this.#failed.promise]);
    }
    if (this.#cancelled !== undefined) throw this.#cancelled;
  }
}

function namesOf(handlers: ReadonlyMap<string, unknown>): string {
  return [...handlers.keys()].join(', ') || 'none';
}
