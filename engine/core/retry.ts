/** When a failed attempt is tried again: exponential back-off with full-range jitter, and its exceptions. */
import { AetherError } from '../../spec/error.ts';
import { type Duration, durationMs } from '../../spec/duration.ts';
import type { Random } from '../../spec/random.ts';
import { FatalError } from './errors.ts';

/** A second try cannot change these; by name, since another copy of the package may have thrown them. */
const FINAL = new Set(['FatalError', 'PayloadTypeError', 'PayloadTooLargeError']);

/** Kept with the run. Defaults: initial 100 ms, factor 2, max 1 m, jitter on. */
export interface DurableRetryPolicy {
  /** Tries in all; default unlimited for steps, 1 for workflows. */
  attempts?: number;
  initial?: Duration;
  factor?: number;
  max?: Duration;
  /** A random half of the delay is left out, so that what failed together does not come back together. */
  jitter?: boolean;
  /** Error codes that are never tried again. */
  nonRetryable?: readonly string[];
}

export interface RetryPolicy extends DurableRetryPolicy {
  retryIf?: (error: unknown) => boolean;
}

/** @throws AetherError ERR_ENGINE_RETRY_POLICY, ERR_DURATION */
export function checkRetryPolicy(policy: DurableRetryPolicy): void {
  const { attempts = 1, factor = 1, initial = 0, max = 0 } = policy;
  durationMs(initial);
  durationMs(max);
  const fits = attempts >= 1 && (Number.isInteger(attempts) || attempts === Infinity);
  if (fits && Number.isFinite(factor) && factor >= 1) return;
  throw new AetherError(`not a retry policy: attempts ${attempts}, factor ${factor}`, {
    code: 'ERR_ENGINE_RETRY_POLICY',
    hint: 'attempts is a whole number from 1, factor a number from 1',
  });
}

/** @returns delay in ms before the attempt after `attempt` (1 = the first failed). */
export function backoffMs(policy: DurableRetryPolicy, attempt: number, random: Random): number {
  const initialMs = durationMs(policy.initial ?? 100);
  const maxMs = durationMs(policy.max ?? 60_000);
  // After a thousand tries the power is Infinity, and 0 times that is no number.
  const grownMs = initialMs === 0 ? 0 : initialMs * (policy.factor ?? 2) ** (attempt - 1);
  const delayMs = Math.min(maxMs, grownMs);
  return Math.round(policy.jitter === false ? delayMs : delayMs * (0.5 + random.next() / 2));
}

/** What a second run would only meet again: an undo that failed, a history that is full, a step's own last word. */
const FINAL_FOR_RUN = new Set(['ERR_ENGINE_COMPENSATION_FAILED', 'ERR_ENGINE_HISTORY_LIMIT']);

/** Whether a run that failed is not tried again, whatever attempts are left; a failed step counts as what it threw. */
export function isFinalForRun(error: unknown, policy: DurableRetryPolicy): boolean {
  if (!AetherError.is(error)) return false;
  const cause = error.cause as { name?: unknown; code?: unknown } | null | undefined;
  if (FINAL_FOR_RUN.has(error.code) || cause?.name === 'FatalError') return true;
  return typeof cause?.code === 'string' && policy.nonRetryable?.includes(cause.code) === true;
}

/**
 * Whether and when to try again.
 *
 * @param attempt the one that failed, from 1.
 * @returns delay in ms, or undefined when the error is final.
 */
export function retryDelayMs(
  policy: RetryPolicy,
  attempt: number,
  error: unknown,
  random: Random,
  attemptsDefault: number = Infinity,
): number | undefined {
  if (attempt >= (policy.attempts ?? attemptsDefault)) return undefined;
  const name = AetherError.is(error) ? error.name : '';
  if (error instanceof FatalError || FINAL.has(name)) return undefined;
  const code: unknown = (error as { code?: unknown } | null | undefined)?.code;
  if (typeof code === 'string' && policy.nonRetryable?.includes(code)) return undefined;
  if (policy.retryIf !== undefined && !policy.retryIf(error)) return undefined;
  const afterMs: unknown = (error as { afterMs?: unknown } | null | undefined)?.afterMs;
  if (name === 'RetryAfterError' && typeof afterMs === 'number') return afterMs;
  return backoffMs(policy, attempt, random);
}
