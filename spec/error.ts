/**
 * The one base of every error that Aether raises on purpose.
 *
 * `code` is stable and says which refusal it is; `hint` says what to do about it; the message says why.
 * Brand instead of `instanceof`: two copies of the package, or two realms, still know each other's errors.
 */
const BRAND: unique symbol = Symbol.for('aether.error');

export interface AetherErrorOptions {
  /** Stable code, `ERR_AREA_REASON`. Default: the class's own. */
  code?: string;
  /** One sentence: what the reader can do now. */
  hint?: string;
  /** Plain data for programs: numbers, names, positions. */
  details?: unknown;
  cause?: unknown;
}

export class AetherError extends Error {
  /** The class's own code, used where none is given. */
  static readonly code: string = 'ERR_AETHER';

  readonly code: string;
  // Declared only: a field would be there, undefined, in errors that have none.
  declare readonly hint?: string;
  declare readonly details?: unknown;

  constructor(message: string, options: AetherErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code ?? new.target.code;
    if (options.hint !== undefined) this.hint = options.hint;
    if (options.details !== undefined) this.details = options.details;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for every Aether error, also one made by another copy of this package. */
  static is(error: unknown): error is AetherError {
    return typeof error === 'object' && error !== null && BRAND in error;
  }
}

/** What the contract names and this release does not do. Nothing was done. */
export class NotAvailableError extends AetherError {
  static override readonly code = 'ERR_NOT_AVAILABLE';
}

/** An error in the shape that the control API and `--json` print. */
export interface ErrorBody {
  code: string;
  message: string;
  hint?: string;
  details?: unknown;
}

/** Any thrown value as an error body; a foreign error keeps its message and gets `ERR_INTERNAL`. */
export function errorBody(error: unknown): ErrorBody {
  if (AetherError.is(error)) {
    return {
      code: error.code,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.details === undefined ? {} : { details: error.details }),
    };
  }
  return { code: 'ERR_INTERNAL', message: error instanceof Error ? error.message : String(error) };
}
