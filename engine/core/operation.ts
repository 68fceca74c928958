import type { AetherError } from '../../spec/error.ts';
import type { StepContext, StepOptions } from './contract.ts';
import type { CancelledError } from './errors.ts';
import type { ScheduledKind } from './event.ts';
import type { Json } from './payload.ts';
import type { Scope } from './scope.ts';

/** An operation that the body called and that has not settled. */
export interface Operation {
  /** Its number, from 1 in call order. */
  readonly op: number;
  readonly kind: ScheduledKind;
  readonly name: string;
  readonly scope: Scope;
  readonly scheduledAt: number;
  /** Deadline, Unix ms. */
  readonly fireAt: number | undefined;
  /** `fireAt` is a time of day, not the end of a duration. */
  readonly byWallClock?: boolean;
  readonly promise: Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: AetherError | Error) => void;
  /** Set for what runs outside the body. */
  readonly step?: StepState;
  readonly predicate?: () => boolean;
  /** Run whose end it waits for. */
  readonly awaits?: string;
  /** Span that set its timer. */
  readonly trace?: string;
  /** Set when it was cancelled and waits for its step to end. */
  cancelled?: CancelledError;
}

/** Where a step stands between its attempts. */
export interface StepState {
  readonly fn: (step: StepContext) => unknown;
  readonly options: StepOptions<unknown>;
  /** Attempt that runs now or is tried next, from 1. */
  attempt: number;
  /** When it is tried next, Unix ms; undefined: at once. */
  retryAt?: number;
  lastError?: string;
  lastHeartbeat?: Json;
  /** Span of the last attempt. */
  trace?: string;
}
