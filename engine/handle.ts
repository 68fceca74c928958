// oxlint-disable typescript/no-unnecessary-type-parameters -- the caller says what a signal, query or update carries
import { AetherError } from '../spec/error.ts';
import { durationMs } from '../spec/duration.ts';
import type { WaitOptions } from './core/contract.ts';
import { TimeoutError } from './core/errors.ts';
import type { History, WorkflowSummary } from './options.ts';

/** A run, or the newest run of an id, wherever it is. */
export interface WorkflowHandle<O> {
  readonly id: string;
  /**
   * Follows continueAsNew and workflow retries.
   *
   * @throws WorkflowFailedError, CancelledError, TerminatedError, TimeoutError, NotFoundError, StoreCorruptError
   */
  result(options?: WaitOptions): Promise<O>;
  describe(): Promise<WorkflowSummary>;
  history(): Promise<History>;
  /** Resolves once durable. The same `id` delivers once. @throws NotFoundError when the run is closed */
  signal(name: string, payload?: unknown, options?: { id?: string }): Promise<void>;
  /** @throws QueryError */
  query<R>(name: string, argument?: unknown, options?: WaitOptions): Promise<R>;
  /**
   * Resolves when the handler is done, or with `waitFor: 'accepted'` once recorded. The same `id` counts once.
   *
   * @throws UpdateRejectedError
   */
  update<R>(
    name: string,
    argument?: unknown,
    options?: WaitOptions & { id?: string; waitFor?: 'completed' | 'accepted' },
  ): Promise<R>;
  /** Resolves once recorded. Open and later unshielded operations reject with CancelledError. */
  cancel(reason?: string): Promise<void>;
  terminate(reason?: string): Promise<void>;
}

/** Waits no longer than asked; what is waited for goes on. @throws TimeoutError, or the signal's reason */
export function wait<T>(promise: Promise<T>, options: WaitOptions = {}): Promise<T> {
  const { signal, timeout } = options;
  if (signal === undefined && timeout === undefined) return promise;
  return new Promise((resolve, reject) => {
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(
            () => finish(() => reject(new TimeoutError(`no answer within ${timeout}`))),
            durationMs(timeout),
          );
    const abort = (): void => finish(() => reject(abortReason(signal)));
    const finish = (then: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      then();
    };
    if (signal?.aborted === true) return abort();
    signal?.addEventListener('abort', abort, { once: true });
    promise.then(
      (value) => finish(() => resolve(value)),
      (error: Error) => finish(() => reject(error)),
    );
  });
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error
    ? reason
    : new AetherError('the wait was abandoned', { cause: reason });
}
