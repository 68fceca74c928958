import { AetherError } from '../spec/error.ts';

/** The request itself cannot be served, whatever the replicas do. Nothing was done. */
export class KeyValueError extends AetherError {
  static override readonly code: string = 'ERR_KV_REQUEST';
}

/** Too few owners could be reached. Nothing was done. */
export class UnavailableError extends AetherError {
  static override readonly code: string = 'ERR_KV_UNAVAILABLE';
}

/**
 * Too few owners answered, and some may have stored it: the write may take effect now, later or
 * never. Do it again to be sure.
 */
export class UnknownOutcomeError extends AetherError {
  static override readonly code: string = 'ERR_KV_UNKNOWN_OUTCOME';
}

/** What is there is not what the request expects. Nothing was done. */
export class ConflictError extends AetherError {
  static override readonly code: string = 'ERR_KV_CONFLICT';
}
