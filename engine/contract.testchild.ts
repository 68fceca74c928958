/**
 * Holds what is shipped against the contract's own text; compiled, never run. Beside the sources it sees the sources,
 * installed beside the package it sees the package's declarations (`test/package.test.ts`).
 *
 * What programs are given must be what the contract says, so ours is assignable to the contract's. What programs hand
 * in must be taken, so the contract's is assignable to ours.
 */
import type * as engine from 'aether/engine';
import type * as sqlite from 'aether/engine/sqlite';
import type * as testing from 'aether/engine/testing';
import type * as contract from '../spec/api/engine.d.ts';

/** Given to programs. */
type Given<Contract, _Ours extends Contract> = true;
/** Handed in by programs. */
type Taken<_Contract extends Ours, Ours> = true;

type Order = { id: string; cents: number };
type OrderWorkflow = engine.Workflow<Order, boolean>;
type ContractWorkflow = contract.Workflow<Order, boolean>;

export interface Held {
  // ---- values -----------------------------------------------------------------------------------
  workflow: Given<typeof contract.workflow<Order, boolean>, typeof engine.workflow<Order, boolean>>;
  open: Taken<
    Parameters<typeof contract.Engine.open>[0]['workflows'],
    Parameters<typeof engine.Engine.open>[0]['workflows']
  >;
  replay: Given<typeof contract.Engine.replay, typeof engine.Engine.replay>;
  start: Given<
    typeof contract.Engine.prototype.start<ContractWorkflow>,
    typeof engine.Engine.prototype.start<OrderWorkflow>
  >;
  SqliteStore: Given<typeof contract.SqliteStore, typeof sqlite.SqliteStore>;
  AetherError: Given<typeof contract.AetherError, typeof engine.AetherError>;
  RetryAfterError: Given<typeof contract.RetryAfterError, typeof engine.RetryAfterError>;
  FatalError: Given<typeof contract.FatalError, typeof engine.FatalError>;
  WorkflowFailedError: Given<
    typeof contract.WorkflowFailedError,
    typeof engine.WorkflowFailedError
  >;
  CancelledError: Given<typeof contract.CancelledError, typeof engine.CancelledError>;
  TerminatedError: Given<typeof contract.TerminatedError, typeof engine.TerminatedError>;
  TimeoutError: Given<typeof contract.TimeoutError, typeof engine.TimeoutError>;
  NotFoundError: Given<typeof contract.NotFoundError, typeof engine.NotFoundError>;
  AlreadyExistsError: Given<typeof contract.AlreadyExistsError, typeof engine.AlreadyExistsError>;
  QueryError: Given<typeof contract.QueryError, typeof engine.QueryError>;
  UpdateRejectedError: Given<
    typeof contract.UpdateRejectedError,
    typeof engine.UpdateRejectedError
  >;
  PayloadTooLargeError: Given<
    typeof contract.PayloadTooLargeError,
    typeof engine.PayloadTooLargeError
  >;
  PayloadTypeError: Given<typeof contract.PayloadTypeError, typeof engine.PayloadTypeError>;
  FencedError: Given<typeof contract.FencedError, typeof engine.FencedError>;
  StoreLockedError: Given<typeof contract.StoreLockedError, typeof engine.StoreLockedError>;
  StoreCorruptError: Given<typeof contract.StoreCorruptError, typeof engine.StoreCorruptError>;
  EngineClosedError: Given<typeof contract.EngineClosedError, typeof engine.EngineClosedError>;
  StepFailedError: Given<typeof contract.StepFailedError, typeof engine.StepFailedError>;
  // The engine alone makes these, out of a divergence; programs read them.
  NondeterminismError: Given<contract.NondeterminismError, engine.NondeterminismError>;

  // ---- what programs are given ------------------------------------------------------------------
  // The arguments of `start` hang on its type parameter, which is not compared but given, above.
  engine: Given<Omit<contract.Engine, 'start'>, engine.Engine>;
  testEngine: Given<Omit<contract.TestEngine, 'start' | 'crash'>, testing.TestEngine>;
  opened: Given<
    Omit<Awaited<ReturnType<typeof contract.Engine.open>>, 'start'>,
    Awaited<ReturnType<typeof engine.Engine.open>>
  >;
  openedTest: Given<
    Omit<Awaited<ReturnType<typeof contract.TestEngine.open>>, 'start' | 'crash'>,
    Awaited<ReturnType<typeof testing.TestEngine.open>>
  >;
  crashed: Given<
    Omit<Awaited<ReturnType<contract.TestEngine['crash']>>, 'start' | 'crash'>,
    Awaited<ReturnType<testing.TestEngine['crash']>>
  >;
  context: Given<contract.WorkflowContext<Order>, engine.WorkflowContext<Order>>;
  step: Given<contract.StepContext, engine.StepContext>;
  handle: Given<contract.WorkflowHandle<boolean>, engine.WorkflowHandle<boolean>>;
  child: Given<contract.ChildHandle<boolean>, engine.ChildHandle<boolean>>;
  summary: Given<contract.WorkflowSummary, engine.WorkflowSummary>;
  status: Given<contract.Status, engine.Status>;
  schedules: Given<contract.Schedules, engine.Schedules>;
  exported: Given<contract.History, engine.History>;
  report: Given<contract.ReplayReport, engine.ReplayReport>;
  event: Given<contract.HistoryEvent, engine.HistoryEvent>;
  store: Given<contract.Store, engine.Store>;

  // ---- what programs hand in --------------------------------------------------------------------
  duration: Taken<contract.Duration, engine.Duration>;
  schema: Taken<contract.StandardSchema<Order>, engine.StandardSchema<Order>>;
  stepOptions: Taken<contract.StepOptions<Order>, engine.StepOptions<Order>>;
  durableRetry: Taken<contract.DurableRetryPolicy, engine.DurableRetryPolicy>;
  retry: Taken<contract.RetryPolicy, engine.RetryPolicy>;
  startOptions: Taken<contract.StartOptions, engine.StartOptions>;
  wait: Taken<contract.WaitOptions, engine.WaitOptions>;
  filter: Taken<contract.ListFilter, engine.ListFilter>;
  // A store of a program's own has the methods that the contract leaves to the interface's documentation.
  options: Taken<Omit<contract.EngineOptions, 'store'>, Omit<engine.EngineOptions, 'store'>>;
  testOptions: Taken<
    Parameters<typeof contract.TestEngine.open>[0],
    Parameters<typeof testing.TestEngine.open>[0]
  >;
  schedule: Taken<
    Parameters<contract.Schedules['create']>[1],
    Parameters<engine.Schedules['create']>[1]
  >;
  history: Taken<contract.History, engine.History>;

  // ---- what is worked out -----------------------------------------------------------------------
  input: Given<contract.InputOf<ContractWorkflow>, engine.InputOf<OrderWorkflow>>;
  inputTaken: Taken<contract.InputOf<ContractWorkflow>, engine.InputOf<OrderWorkflow>>;
  output: Given<contract.OutputOf<ContractWorkflow>, engine.OutputOf<OrderWorkflow>>;
  argsOfNone: Taken<contract.StartArgs<undefined>, engine.StartArgs<undefined>>;
  argsOfUnknown: Taken<contract.StartArgs<unknown>, engine.StartArgs<unknown>>;
  argsOfOrder: Taken<contract.StartArgs<Order>, engine.StartArgs<Order>>;
  declared: Given<ContractWorkflow, OrderWorkflow>;
}
