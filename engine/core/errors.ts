/** Errors of the engine. `code` is stable, one per class; see each class for when it is thrown. */
import { AetherError, type AetherErrorOptions } from '../../spec/error.ts';
import { type Duration, durationMs } from '../../spec/duration.ts';

/** The run failed; `cause` is what escaped its body, as plain data. */
export class WorkflowFailedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_WORKFLOW_FAILED';
}

/** A step was given up; `cause` is the last error, as plain data. */
export class StepFailedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_STEP_FAILED';
  readonly attempts: number;
  constructor(message: string, options: AetherErrorOptions & { attempts: number }) {
    super(message, options);
    this.attempts = options.attempts;
  }
}

/** The body did something else than its journal says. The run is `stuck`, its journal unchanged. */
export class NondeterminismError extends AetherError {
  static override readonly code = 'ERR_ENGINE_NONDETERMINISM';
  /** Operation, counted from 1 in call order. */
  readonly seq: number;
  readonly recorded: string;
  readonly actual: string;
  constructor(divergence: { seq: number; recorded: string; actual: string; at?: string }) {
    const { seq, recorded, actual, at } = divergence;
    const where = at === undefined ? '' : ` (${at})`;
    super(`operation ${seq}: the journal has ${recorded}, the body did ${actual}${where}`, {
      hint: 'deploy a body that does what was recorded, or put the change behind ctx.version()',
      details: divergence,
    });
    this.seq = seq;
    this.recorded = recorded;
    this.actual = actual;
  }
}

export class CancelledError extends AetherError {
  static override readonly code = 'ERR_ENGINE_CANCELLED';
}

export class TerminatedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_TERMINATED';
}

export class TimeoutError extends AetherError {
  static override readonly code = 'ERR_ENGINE_TIMEOUT';
}

/** No such run, or it is closed and takes nothing more; or no workflow of that name is registered. */
export class NotFoundError extends AetherError {
  static override readonly code = 'ERR_ENGINE_NOT_FOUND';
}

export class AlreadyExistsError extends AetherError {
  static override readonly code = 'ERR_ENGINE_ALREADY_EXISTS';
}

export class QueryError extends AetherError {
  static override readonly code = 'ERR_ENGINE_QUERY';
}

export class UpdateRejectedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_UPDATE_REJECTED';
}

/** Nothing was stored. */
export class PayloadTooLargeError extends AetherError {
  static override readonly code = 'ERR_ENGINE_PAYLOAD_TOO_LARGE';
}

/** The value does not round-trip, or its schema refuses it. Nothing was stored. */
export class PayloadTypeError extends AetherError {
  static override readonly code = 'ERR_ENGINE_PAYLOAD_TYPE';
}

/** A higher ballot owns the run: this owner's append was refused. */
export class FencedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_FENCED';
}

export class StoreLockedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_STORE_LOCKED';
}

/** A stored row is not what was written. The run is `quarantined`; others go on. */
export class StoreCorruptError extends AetherError {
  static override readonly code = 'ERR_ENGINE_STORE_CORRUPT';
}

export class EngineClosedError extends AetherError {
  static override readonly code = 'ERR_ENGINE_CLOSED';
}

/** The body waits for something that no operation of its `ctx` stands for. The run is `stuck`. */
export class ForeignAwaitError extends AetherError {
  static override readonly code = 'ERR_ENGINE_FOREIGN_AWAIT';
}

/** In strict mode a body asked the outside for time, chance or I/O. The run is `stuck`, its journal unchanged. */
export class StrictModeError extends AetherError {
  static override readonly code = 'ERR_ENGINE_STRICT_MODE';
}

/** Thrown by a step: never tried again. */
export class FatalError extends AetherError {
  static override readonly code: string = 'ERR_ENGINE_FATAL';
}

/** Thrown by a step: tried again after `after`, whatever its policy's delay. */
export class RetryAfterError extends AetherError {
  static override readonly code: string = 'ERR_ENGINE_RETRY_AFTER';
  readonly afterMs: number;
  constructor(message: string, after: Duration, options: AetherErrorOptions = {}) {
    super(message, options);
    this.afterMs = durationMs(after);
  }
}
