/** Thrown values as plain data, and back as the engine's own errors. */
import { AetherError } from '../../spec/error.ts';
import {
  CancelledError,
  NotFoundError,
  AlreadyExistsError,
  StepFailedError,
  TimeoutError,
} from './errors.ts';
import type { Failure } from './event.ts';
import type { PayloadCodec } from './payload.ts';

/** Characters of a message that are kept: each failed attempt puts one into the journal. */
const MESSAGE_MAX = 16_384;

/** Any thrown value as plain data; details that do not round-trip are left out. */
export function failureOf(error: unknown, payloads: PayloadCodec): Failure {
  try {
    return plainFailure(error, payloads);
  } catch {
    // Getters and proxies are the program's.
    return { name: 'Error', message: UNREADABLE };
  }
}

/** A thrown value, or what stands for one that cannot even be looked at, such as a revoked proxy. */
export function legible(error: unknown): unknown {
  try {
    if (error instanceof Error) void error.message;
    return error;
  } catch {
    return new TypeError(UNREADABLE);
  }
}

const UNREADABLE = 'what was thrown cannot be read';

function plainFailure(error: unknown, payloads: PayloadCodec): Failure {
  if (typeof error !== 'object' || error === null) {
    return { name: 'Error', message: clipped(String(error)) };
  }
  const { name, message, code, details } = error as Partial<Record<string, unknown>>;
  const failure: Failure = {
    name: typeof name === 'string' ? clipped(name) : 'Error',
    message: typeof message === 'string' ? clipped(message) : '',
  };
  if (typeof code === 'string') failure.code = clipped(code);
  if (details === undefined) return failure;
  try {
    failure.details = payloads.encode(details, 'details of an error');
  } catch {
    // The error matters more than what it carries.
  }
  return failure;
}

function clipped(text: string): string {
  return text.length <= MESSAGE_MAX
    ? text
    : `${text.slice(0, MESSAGE_MAX)}… (${text.length} characters)`;
}

/** What programs see as `cause`. */
export function plainCause(failure: Failure, payloads: PayloadCodec): Record<string, unknown> {
  const { details, ...plain } = failure;
  return details === undefined ? { ...plain } : { ...plain, details: payloads.decode(details) };
}

export function stepFailed(
  name: string,
  failure: Failure,
  attempts: number,
  payloads: PayloadCodec,
): StepFailedError {
  const tries = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return new StepFailedError(`step "${name}" failed after ${tries}: ${failure.message}`, {
    attempts,
    cause: plainCause(failure, payloads),
  });
}

const OWN = { NotFoundError, AlreadyExistsError, CancelledError, TimeoutError };

/** Rebuilds an error of the engine that an operation of its own recorded. */
export function ownError(failure: Failure): AetherError {
  const Class = OWN[failure.name as keyof typeof OWN] ?? AetherError;
  return new Class(failure.message, failure.code === undefined ? {} : { code: failure.code });
}
