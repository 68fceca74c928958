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

/** @returns delay in ms before the attempt after `attempt` (1 = the first failed). */
export function backoffMs(policy: DurableRetryPolicy, attempt: number, random: Random): number {
  const initialMs = durationMs(policy.initial ?? 100);
  const maxMs = durationMs(policy.max ?? 60_000);
  const delayMs = Math.min(maxMs, initialMs * (policy.factor ?? 2) ** (attempt - 1));
  return Math.round(policy.jitter === false ? delayMs : delayMs * (0.5 + random.next() / 2));
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
