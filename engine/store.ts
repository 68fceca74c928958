/**
 * What an engine stands on: journals of runs, and one record per run that is found by index.
 *
 * The interface is shaped so that a replicated journal fits: appends come in batches, are asynchronous, and each is
 * conditional on its run's (index, ballot). `engine/store.testsuite.ts` is the suite that every implementation passes.
 *
 * A store keeps these:
 * T1. `append` resolves only after everything it reports as done is durable.
 * T2. One append is atomic: its entries and records are all there, or none of them.
 * T3. An append is done only if its index is the run's last plus one, and if no higher ballot was acquired.
 * T4. After a failure of the medium (the promise rejects), nothing of the batch may be taken as done or as not done
 *     until it was read again.
 */
import type { Entry } from './core/journal.ts';
import type { RunRecord } from './core/record.ts';

export type { Entry } from './core/journal.ts';
export type { RunRecord } from './core/record.ts';

export interface Append {
  readonly runId: string;
  /** Fencing token of the owner that appends, as `acquire` gave it. */
  readonly ballot: string;
  /** The run's next entry. None: only the record changes. */
  readonly entry?: Entry;
  /** The run's record from now on. Required with entry 1. */
  readonly record?: RunRecord;
  /** First entry and record of the run that follows this one, in the same act (T2). */
  readonly next?: { readonly entry: Entry; readonly record: RunRecord };
}

/** `done`; `fenced`: a higher ballot was acquired; `conflict`: the run's last index is another. Then nothing changed. */
export type AppendResult = 'done' | 'fenced' | 'conflict';

export interface RecordFilter {
  name?: string;
  status?: readonly string[];
  /** Compared for equality. */
  attributes?: Record<string, string | number | boolean>;
  /** Unix ms, exclusive. */
  startedAfter?: number;
  startedBefore?: number;
  /** Closed since then, Unix ms, exclusive. */
  closedAfter?: number;
  /** Ordered by run id, which orders by start. */
  newestFirst?: boolean;
  /** Run id after which to go on. */
  after?: string;
  limit: number;
}

export interface Store {
  /** @throws StoreLockedError when another process has it. */
  open(): Promise<void>;
  close(): Promise<void>;
  /** Makes the caller the owner. @returns its ballot: durable, and greater as text than every one before. */
  acquire(): Promise<string>;
  /** @returns one result per append, in order. @throws when the medium fails (T4). */
  append(batch: readonly Append[]): Promise<AppendResult[]>;
  /** The entries of a run from `from` on (default 1). @throws StoreCorruptError when they cannot be read. */
  read(request: { readonly runId: string; readonly from?: number }): Promise<Entry[]>;
  record(runId: string): Promise<RunRecord | undefined>;
  /** The newest run of a workflow id. */
  newest(workflowId: string): Promise<RunRecord | undefined>;
  /** A page of records. One that cannot be read has status `quarantined`. */
  list(filter: RecordFilter): Promise<RunRecord[]>;
  /** A page of open runs, ordered by their creation: all that an owner must know of to go on. */
  openRuns(request: { readonly after?: string; readonly limit: number }): Promise<OpenRun[]>;
  /**
   * Forgets runs that closed before `closedBefore` (Unix ms), with their journals: those that closed first, at most
   * `limit`. Open, stuck and quarantined runs stay, and so do runs whose parent is one: it may ask for their end still,
   * or whether it has started them.
   *
   * @returns how many; fewer than `limit`: there are no more.
   */
  prune(request: { readonly closedBefore: number; readonly limit: number }): Promise<number>;
}

export interface OpenRun {
  readonly runId: string;
  readonly wakeAt: number | null;
}
