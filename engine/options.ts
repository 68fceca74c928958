/** What an engine is opened with, and what it tells of its runs. */
import type { Clock } from '../spec/clock.ts';
import type { Duration } from '../spec/duration.ts';
import type { Log } from '../spec/log.ts';
import type { Random } from '../spec/random.ts';
import type { AnyWorkflow } from './core/contract.ts';
import type { Codec } from './core/payload.ts';
import type { Status } from './core/record.ts';
import type { QueueOptions } from './io/queues.ts';
import type { EngineProbe } from './io/probe.ts';
import type { Store } from './store.ts';

export interface EngineOptions {
  /** Opened and closed by the engine. */
  store: Store;
  /** Several versions of a name may be listed: new runs take the last; a run whose version is missing is `stuck`, named. */
  workflows: AnyWorkflow[];
  /** Workflows running steps at once. Default 1,000. */
  concurrency?: number;
  /** By name, for `StartOptions.queue`. A queue that is taken away lets go who waits in it. */
  queues?: Record<string, QueueOptions>;
  /** Applied to every payload before it is stored (encryption, compression). */
  codec?: Codec;
  limits?: {
    /** Of one payload, as JSON in UTF-8. Default 2 MiB. */
    payloadBytes?: number;
    /** Of one run's journal. Default 100,000. */
    historyEvents?: number;
  };
  /**
   * How long closed runs are kept, with their results: afterwards they are forgotten and their ids are free. At least a
   * minute, so that who waits for a result gets it, and at least the `per` of every queue's rate. Children of an open
   * run are kept with it. Default: for ever.
   */
  retention?: Duration;
  /**
   * Refuses Date, Math.random, timers, crypto and fetch in workflow bodies: the run is stuck, the call and what to use
   * instead are named. Default: on in TestEngine and Engine.replay, off in Engine.open.
   */
  strict?: boolean;
  /** Default: the system's. */
  clock?: Clock;
  /** Of the jitter of retries. Default: the system's. */
  random?: Random;
  /** A pino logger fits as it is. Runs begun and ended are `debug`, tries again `warn`. Default: silent. */
  log?: Log;
  /** For fault injection. */
  probe?: EngineProbe;
}

export interface WorkflowSummary {
  id: string;
  runId: string;
  name: string;
  version: string;
  status: Status;
  startedAt: number;
  closedAt?: number;
  attributes: Record<string, string | number | boolean | null>;
  /** Steps in flight or waiting to be tried again, timers, receives; why it is stuck, if it is. */
  pending: PendingOperation[];
  /** Events in the journal. */
  events: number;
  /** Bytes of the journal; of an open run in a list, those as of its last change of status. */
  historyBytes?: number;
  parent?: string;
  queue?: string;
}

export interface PendingOperation {
  kind: string;
  name: string;
  attempt: number;
  nextAttemptAt?: number;
  lastError?: string;
}

export interface ListFilter {
  name?: string;
  status?: Status | Status[];
  attributes?: Record<string, string | number | boolean>;
  /** Unix ms, exclusive. */
  startedAfter?: number;
  startedBefore?: number;
  limit?: number;
  newestFirst?: boolean;
}

/** Self-describing, JSON-serialisable, hash-chained. A later release reads those of every earlier one. */
export interface History {
  format: number;
  workflowId: string;
  runId: string;
  name: string;
  version: string;
  events: HistoryEvent[];
}

export interface HistoryEvent {
  /** From 1. */
  seq: number;
  at: number;
  kind: string;
  name?: string;
  [field: string]: unknown;
}

export interface ReplayReport {
  ok: boolean;
  events: number;
  /** `seq` is the operation's number, in call order. */
  divergence?: { seq: number; recorded: string; actual: string; at?: string };
}
