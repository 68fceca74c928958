/**
 * How far the steps of a run have come: their tries, and what they report.
 *
 * P1. It changes nothing that the body sees, so it need not be in the journal: replay is the same with and without it.
 * P2. The first events of a step are in the journal, for who reads it. From then on, and when the history is full, the newest
 *     state is kept in the run's record instead: as durable, and no longer however often a step is tried.
 * P3. What was kept holds until the step has settled, also while the run is stuck.
 */
import type { OutsideEvent } from './event.ts';
import type { Operation, StepState } from './operation.ts';
import type { Json } from './payload.ts';

/** As it is kept in the record of a run. */
export interface StepProgress {
  readonly op: number;
  /** Attempt that runs now or is tried next. */
  readonly attempt: number;
  readonly retryAt?: number;
  readonly lastError?: string;
  readonly heartbeat?: Json;
  /** Span of the last attempt, as a W3C traceparent. */
  readonly trace?: string;
}

export type ProgressEvent = Extract<OutsideEvent, { kind: 'step-retried' | 'step-progressed' }>;

/** Events of one step's tries and progress that the journal takes. */
const TOLD_MAX = 20;
const ERROR_CHARACTERS_MAX = 1_000;

export function isProgress(event: OutsideEvent): event is ProgressEvent {
  return event.kind === 'step-retried' || event.kind === 'step-progressed';
}

export class Progress {
  readonly #kept = new Map<number, StepProgress>();
  /** Events of each operation that the journal holds. */
  readonly #told = new Map<number, number>();

  /** For the record; empty: everything is in the journal. */
  get kept(): readonly StepProgress[] {
    return [...this.#kept.values()];
  }

  /** Whether the journal takes no more of this operation's (P2). */
  isLong(op: number): boolean {
    return (this.#told.get(op) ?? 0) >= TOLD_MAX;
  }

  /** Of an event that the journal holds. */
  tell(step: StepState, event: ProgressEvent): void {
    this.#told.set(event.op, (this.#told.get(event.op) ?? 0) + 1);
    advance(step, event);
  }

  /** Of an event that the journal does not hold (P2). */
  keep(step: StepState, event: ProgressEvent): void {
    advance(step, event);
    const { attempt, retryAt, lastError, lastHeartbeat, trace } = step;
    this.#kept.set(event.op, {
      op: event.op,
      attempt,
      ...(retryAt === undefined ? {} : { retryAt }),
      ...(lastError === undefined ? {} : { lastError: lastError.slice(0, ERROR_CHARACTERS_MAX) }),
      ...(lastHeartbeat === undefined ? {} : { heartbeat: lastHeartbeat }),
      ...(trace === undefined ? {} : { trace }),
    });
  }

  /** What a record says of an operation as the journal left it; a run that is stuck has none, and may have it again (P3). */
  resume(kept: StepProgress, operation: Operation | undefined): void {
    this.#kept.set(kept.op, kept);
    const step = operation?.step;
    if (step === undefined) return;
    const { attempt, retryAt, lastError, heartbeat, trace } = kept;
    step.attempt = attempt;
    if (retryAt !== undefined) step.retryAt = retryAt;
    if (lastError !== undefined) step.lastError = lastError;
    if (heartbeat !== undefined) step.lastHeartbeat = heartbeat;
    if (trace !== undefined) step.trace = trace;
  }

  forget(op: number): void {
    this.#kept.delete(op);
    this.#told.delete(op);
  }
}

function advance(step: StepState, event: ProgressEvent): void {
  if (event.kind === 'step-progressed') {
    step.lastHeartbeat = event.payload;
    return;
  }
  step.attempt = event.attempt + 1;
  step.retryAt = event.nextAt;
  step.lastError = event.error.message;
  if (event.trace !== undefined) step.trace = event.trace;
}
