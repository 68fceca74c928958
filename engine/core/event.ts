/**
 * What a journal holds.
 *
 * A **command** is produced by the body: on replay the body must produce it again, at the same place. Every other event
 * comes from outside and is delivered to the body. `op` is the operation's number, from 1 in call order.
 */
import type { DurableRetryPolicy } from './retry.ts';
import type { Json } from './payload.ts';

/** A thrown value as plain data. */
export interface Failure {
  name: string;
  message: string;
  code?: string;
  details?: Json;
}

/** What a start fixes for the whole run. */
export interface StartedEvent {
  kind: 'started';
  at: number;
  /** The input. */
  payload: Json;
  attributes?: Attributes;
  /** Unix ms at which the run is `timed-out`. */
  deadline?: number;
  /** Unix ms before which the body is not called. */
  notBefore?: number;
  timeoutMs?: number;
  retry?: DurableRetryPolicy;
  /** 1 for the first; higher when a workflow retry made this run. */
  attempt?: number;
  priority?: number;
  /** It waits for a place in there before its body is called. */
  queue?: { name: string; fairnessKey?: string };
  /** It goes on for a run that had its place since then, Unix ms, and has it now. */
  begunAt?: number;
  parent?: ParentLink;
  /** The run that its chain began with; absent: it is the first. */
  first?: string;
  /** Span of the start, as a W3C traceparent; absent when nobody traced it. */
  trace?: string;
  /** Ids of signals that the runs before it got: they are not delivered again. */
  signalIds?: string[];
  /** Updates that the runs before it have done: asked again, they give the same. */
  updates?: UpdateCompletedEvent[];
}

export interface UpdateCompletedEvent {
  kind: 'update-completed';
  at: number;
  id: string;
  payload?: Json;
  error?: Failure;
}

/** The operation of another run that waits for this one. */
export interface ParentLink {
  workflowId: string;
  runId: string;
  op: number;
  onClose: 'cancel' | 'terminate' | 'abandon';
}

export type Attributes = Record<string, string | number | boolean | null>;

export type ScheduledKind =
  | 'step'
  | 'sleep'
  | 'receive'
  | 'condition'
  | 'child'
  | 'child-result'
  | 'signal'
  | 'cancel';

/** An operation begins. */
export interface ScheduledEvent {
  kind: `${ScheduledKind}-scheduled`;
  at: number;
  op: number;
  name: string;
  /** argsHash; absent when the operation depends on nothing. */
  hash?: string;
  /** Deadline of a timer or of a wait, Unix ms. */
  fireAt?: number;
  /** Span that set the timer, as a W3C traceparent. */
  trace?: string;
}

export type CommandEvent =
  | ScheduledEvent
  | { kind: 'version-marked'; at: number; name: string; version: number }
  | { kind: 'attributes-set'; at: number; values: Attributes }
  | UpdateCompletedEvent
  | { kind: 'completed'; at: number; payload: Json }
  | { kind: 'failed'; at: number; error: Failure; next?: NextRun }
  | { kind: 'cancelled'; at: number; reason: string }
  | { kind: 'continued'; at: number; payload: Json; next: NextRun };

/** The run that goes on under the same workflow id. */
export interface NextRun {
  runId: string;
  /** Unix ms before which its body is not called. */
  notBefore?: number;
}

export type OutsideEvent = {
  /** It arrived while the run was stuck. */
  kept?: boolean;
} & (
  | StartedEvent
  /** Begins a run again whose start was delayed. */
  | { kind: 'begun'; at: number }
  | { kind: 'step-completed'; at: number; op: number; name: string; payload: Json }
  | {
      kind: 'step-failed';
      at: number;
      op: number;
      name: string;
      attempts: number;
      error: Failure;
    }
  | {
      kind: 'step-retried';
      at: number;
      op: number;
      attempt: number;
      error: Failure;
      nextAt: number;
      /** Span of the attempt, as a W3C traceparent. */
      trace?: string;
    }
  | { kind: 'step-progressed'; at: number; op: number; payload: Json }
  | { kind: 'timer-fired'; at: number; op: number }
  /** The run that an operation waits for has ended, those that went on for it included. */
  | { kind: 'child-closed'; at: number; op: number; name: string; end: ClosingEvent }
  | { kind: 'signal-received'; at: number; name: string; payload: Json; id?: string }
  /** `unnamed`: nobody knows its id who could ask again. */
  | {
      kind: 'update-accepted';
      at: number;
      name: string;
      payload: Json;
      id: string;
      unnamed?: boolean;
    }
  | { kind: 'cancel-requested'; at: number; reason: string }
  | EndedFromOutside
);

export type JournalEvent = CommandEvent | OutsideEvent;

const OUTSIDE: ReadonlySet<string> = new Set<OutsideEvent['kind']>([
  'started',
  'begun',
  'step-completed',
  'step-failed',
  'step-retried',
  'step-progressed',
  'timer-fired',
  'child-closed',
  'signal-received',
  'update-accepted',
  'cancel-requested',
  'terminated',
  'timed-out',
]);

export function isCommand(event: JournalEvent): event is CommandEvent {
  return !OUTSIDE.has(event.kind);
}

/** After one of these a journal ends. */
export type ClosingEvent =
  | Extract<CommandEvent, { kind: 'completed' | 'failed' | 'cancelled' | 'continued' }>
  | EndedFromOutside;

/** A run's end that its body was not asked about. */
export type EndedFromOutside =
  | { kind: 'terminated'; at: number; reason: string }
  | { kind: 'timed-out'; at: number };

const CLOSING: ReadonlySet<string> = new Set<ClosingEvent['kind']>([
  'completed',
  'failed',
  'cancelled',
  'continued',
  'terminated',
  'timed-out',
]);

export function isClosing(event: JournalEvent): event is ClosingEvent {
  return CLOSING.has(event.kind);
}

/** An event in words, for errors: `step "charge"`, `signal "paid" arriving`. */
export function describeEvent(event: JournalEvent): string {
  const label = 'name' in event ? event.name : 'id' in event ? event.id : undefined;
  const named = label === undefined ? '' : ` ${JSON.stringify(label)}`;
  const hash = 'hash' in event ? ` with input ${event.hash}` : '';
  if (isClosing(event)) return `the run's end (${event.kind})`;
  if (isCommand(event)) return event.kind.replace(/-\w+$/, '') + named + hash;
  const op = 'op' in event ? ` of operation ${event.op}` : '';
  return event.kind + named + op;
}
