// oxlint-disable typescript/no-unnecessary-type-parameters -- the caller says what a signal, query or update carries
import type { Clock } from '../spec/clock.ts';
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

/**
 * Waits no longer than asked; what is waited for goes on.
 *
 * @param begin is called unless the wait is over before it began; its signal is aborted when the wait is.
 * @throws TimeoutError, the signal's reason, or AetherError ERR_DURATION
 */
export async function wait<T>(
  clock: Clock,
  { signal, timeout }: WaitOptions = {},
  begin: (over?: AbortSignal) => Promise<T>,
): Promise<T> {
  if (signal === undefined && timeout === undefined) return begin();
  const timeoutMs = timeout === undefined ? undefined : durationMs(timeout);
  const asked = typeof timeout === 'number' ? `${timeout} ms` : timeout;
  if (signal?.aborted === true) throw abortReason(signal);
  const over = new AbortController();
  const ended = Promise.withResolvers<never>();
  const end = (error: Error): void => {
    ended.reject(error);
    over.abort(error);
  };
  const abort = (): void => end(abortReason(signal));
  const cancelTimer =
    timeoutMs === undefined
      ? undefined
      : clock.after(timeoutMs, () => end(new TimeoutError(`no answer within ${asked}`)));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    // The race looks at both, so that what fails after the other is no unhandled rejection.
    return await Promise.race([begin(over.signal), ended.promise]);
  } finally {
    cancelTimer?.();
    signal?.removeEventListener('abort', abort);
  }
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error
    ? reason
    : new AetherError('the wait was abandoned', { cause: reason });
}
