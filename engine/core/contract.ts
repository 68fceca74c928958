// oxlint-disable typescript/no-unnecessary-type-parameters -- the caller says what a signal, query or update carries
/** The types that programs are written against: workflows, their context, steps. */
import type { Duration } from '../../spec/duration.ts';
import type { DurableRetryPolicy, RetryPolicy } from './retry.ts';

declare const types: unique symbol;

export interface Workflow<I, O> {
  readonly name: string;
  readonly version: string;
  readonly [types]?: (input: I) => O;
}
// oxlint-disable-next-line typescript/no-explicit-any -- inference over any workflow; `unknown` is contravariant here
export type AnyWorkflow = Workflow<any, any>;
// oxlint-disable-next-line typescript/no-explicit-any -- the other parameter is not looked at
export type InputOf<W> = W extends Workflow<infer I, any> ? I : never;
// oxlint-disable-next-line typescript/no-explicit-any -- the other parameter is not looked at
export type OutputOf<W> = W extends Workflow<any, infer O> ? O : never;

/** See standardschema.dev; zod, valibot, arktype implement it. */
export interface StandardSchema<T> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => unknown;
    readonly types?: { readonly input: unknown; readonly output: T } | undefined;
  };
}

export interface WorkflowOptions<I> {
  /** Recorded with each run; a run keeps the version that it began with. Default '1'. */
  version?: string;
  /** Of the whole run. Default: 1 attempt. */
  retry?: DurableRetryPolicy;
  /** Of one run. Default: none. */
  timeout?: Duration;
  /** Checked before anything is recorded. */
  input?: StandardSchema<I>;
}

/** What a body works with. An operation belongs to the ctx that it is called on. */
export interface WorkflowContext<I = unknown> {
  readonly workflowId: string;
  readonly runId: string;
  /** True while recorded history is being replayed. For logging only. */
  readonly replaying: boolean;
  /**
   * Runs `fn` at least once until its outcome is recorded, never again after. The body receives the decoded recorded
   * value. @throws StepFailedError whose `cause` is plain {name, message, code?, details?}
   */
  step<T>(
    name: string,
    fn: (step: StepContext) => T | Promise<T>,
    options?: StepOptions<T>,
  ): Promise<T>;
  /** Durable timer; the run leaves memory meanwhile. */
  sleep(name: string, duration: Duration): Promise<void>;
  /** Until the wall clock shows that time, Unix ms. */
  sleepUntil(name: string, epochMs: number): Promise<void>;
  /**
   * The next signal of that name, in arrival order, also one that came before anyone waited. A name has one consumer,
   * `receive` or `onSignal`. @throws TimeoutError
   */
  receive<T>(name: string, options?: { timeout?: Duration }): Promise<T>;
  /**
   * Resolves when `predicate` holds; checked in order of registration after each event.
   *
   * @param options `until` instead of `timeout`: a time of the wall clock, Unix ms.
   * @returns false when the time is over.
   */
  condition(
    predicate: () => boolean,
    options?: { timeout?: Duration; until?: number },
  ): Promise<boolean>;
  /** Handlers start in arrival order and may await operations; the run completes only after they have finished. */
  onSignal<T>(name: string, handler: (payload: T) => void | Promise<void>): void;
  /** Reads only; also answered for closed runs. */
  onQuery<A, R>(name: string, handler: (argument: A) => R): void;
  /** `validate` runs before anything is recorded; a rejected update leaves no history. */
  onUpdate<A, R>(
    name: string,
    handler: (argument: A) => R | Promise<R>,
    options?: { validate?: (argument: A) => void },
  ): void;
  /** Defaults: id `PARENT_RUN/SEQ`, onConflict 'fail', onParentClose 'cancel'. */
  child<CI, CO>(
    workflow: Workflow<CI, CO>,
    input: CI,
    options?: StartOptions & { onParentClose?: 'cancel' | 'terminate' | 'abandon' },
  ): Promise<ChildHandle<CO>>;
  /** Signals any run, once. @throws NotFoundError */
  signal(
    workflowId: string,
    name: string,
    payload?: unknown,
    options?: { id?: string },
  ): Promise<void>;
  /** Ends this run and starts the next one under the same workflow id. */
  continueAsNew(input: I): never;
  /** Registers an undo, run shielded and in reverse order if the workflow fails or is cancelled. */
  compensate(
    name: string,
    undo: (step: StepContext) => void | Promise<void>,
    options?: StepOptions<void>,
  ): void;
  /** Operations on the inner ctx are cancelled together, by `ctx.cancel()` or by the timeout. */
  scope<T>(
    body: (ctx: WorkflowContext & { cancel(reason?: string): void }) => Promise<T>,
    options?: { timeout?: Duration },
  ): Promise<T>;
  /** Operations on the inner ctx are not cancelled from outside. */
  shield<T>(body: (ctx: WorkflowContext) => Promise<T>): Promise<T>;
  /**
   * Which variant of a changed body to take. The first call past the journal's end records `max`; a replay without a
   * marker gets `min`; one value per changeId and run.
   */
  version(changeId: string, range: { min: number; max: number }): number;
  /** Time of the event being handled, Unix ms. */
  now(): number;
  /** Seeded by the run id. */
  random(): number;
  uuid(): string;
  /** Searchable attributes of the run. */
  attributes(values: Record<string, string | number | boolean | null>): void;
}

/** What a step function works with. */
export interface StepContext {
  /** 1 for the first try. */
  readonly attempt: number;
  /** Stable over retries and restarts: hand it to the outside system as its idempotency key. */
  readonly idempotencyKey: string;
  /** Fencing token of the owner; a later owner's is greater as text. */
  readonly ballot: string;
  /** Aborted on cancel, timeout, lost ownership or shutdown. */
  readonly signal: AbortSignal;
  /** Records progress; after a crash the next attempt finds it in `lastHeartbeat`. */
  heartbeat(details?: unknown): void;
  readonly lastHeartbeat: unknown;
}

export interface StepOptions<T> {
  /** What the step depends on: hashed into the journal, so that a changed input is found on replay. */
  input?: unknown;
  retry?: RetryPolicy;
  /** One attempt. Default: none. */
  timeout?: Duration;
  /** All attempts. Default: none. */
  totalTimeout?: Duration;
  /** Longest time between two heartbeats of an attempt. Default: none. */
  heartbeatTimeout?: Duration;
  /** On cancel: 'abandon' goes on at once, 'wait' waits for the step to end. Default 'wait'. */
  onCancel?: 'abandon' | 'wait';
  /** Undo of a step that succeeded; see `WorkflowContext.compensate`. */
  compensate?: (result: T, step: StepContext) => void | Promise<void>;
}

export interface StartOptions {
  /** Default: a new UUID. */
  id?: string;
  /** When a run with this id is open. Default 'use-existing'. */
  onConflict?: 'use-existing' | 'fail' | 'terminate-existing';
  /** When a run with this id has closed. Default 'use-existing': asking twice is asking once. */
  onClosed?: 'use-existing' | 'restart-if-failed' | 'restart' | 'fail';
  queue?: string;
  /** Larger priorities get a free place first. Default 0. */
  priority?: number;
  fairnessKey?: string;
  delay?: Duration;
  timeout?: Duration;
  retry?: DurableRetryPolicy;
  attributes?: Record<string, string | number | boolean>;
  /** Delivered in the same act as the start; only delivered if the run is already open. */
  signal?: { name: string; payload?: unknown };
}

/** Abandons the wait, never the run. */
export interface WaitOptions {
  signal?: AbortSignal;
  timeout?: Duration;
}

export interface ChildHandle<O> {
  readonly id: string;
  result(options?: WaitOptions): Promise<O>;
  signal(name: string, payload?: unknown): Promise<void>;
  cancel(reason?: string): Promise<void>;
}
