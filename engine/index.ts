/** `aether/engine`: durable workflows in any Node service. Pulls in no store; see `aether/engine/sqlite`. */
export { workflow } from './workflow.ts';
export { Engine, type StartArgs } from './engine.ts';
export type { WorkflowHandle } from './handle.ts';
export type {
  ChildHandle,
  InputOf,
  OutputOf,
  StandardSchema,
  StartOptions,
  StepContext,
  StepOptions,
  WaitOptions,
  Workflow,
  WorkflowContext,
  WorkflowOptions,
} from './core/contract.ts';
export type { DurableRetryPolicy, RetryPolicy } from './core/retry.ts';
export type { QueuePlace, Status } from './core/record.ts';
export type {
  EngineOptions,
  History,
  HistoryEvent,
  ListFilter,
  PendingOperation,
  ReplayReport,
  WorkflowSummary,
} from './options.ts';
export type { QueueOptions } from './io/queues.ts';
export type { EngineProbe, ProbeEvent } from './io/probe.ts';
export type { ScheduleSpec, Schedules, ScheduleSummary } from './schedules.ts';
export type {
  Append,
  AppendResult,
  Entry,
  OpenRun,
  RecordFilter,
  RunRecord,
  Store,
} from './store.ts';
export type { Duration } from '../spec/duration.ts';
export { AetherError, NotAvailableError } from '../spec/error.ts';
export {
  AlreadyExistsError,
  CancelledError,
  EngineClosedError,
  FatalError,
  FencedError,
  ForeignAwaitError,
  NondeterminismError,
  NotFoundError,
  PayloadTooLargeError,
  PayloadTypeError,
  QueryError,
  RetryAfterError,
  StepFailedError,
  StoreCorruptError,
  StoreLockedError,
  StrictModeError,
  TerminatedError,
  TimeoutError,
  UpdateRejectedError,
  WorkflowFailedError,
} from './core/errors.ts';
