import type { Attributes } from './event.ts';
import type { StepProgress } from './progress.ts';

export type Status =
  | 'running'
  | 'sleeping'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'terminated'
  | 'timed-out'
  | 'continued'
  | 'stuck'
  | 'quarantined';

/** What is known of a run without reading its journal; derived from it, except `why`. */
export interface RunRecord {
  readonly runId: string;
  readonly workflowId: string;
  readonly name: string;
  readonly version: string;
  readonly status: Status;
  readonly startedAt: number;
  readonly closedAt?: number;
  /** When the run must be in memory: 0 = at once, null = when something comes from outside. Unix ms. */
  readonly wakeAt: number | null;
  /** Index of the last entry and number of events, as of this record; exact once the run is closed. */
  readonly entries: number;
  readonly events: number;
  /** Of the journal, as of this record; absent in records of earlier releases. */
  readonly historyBytes?: number;
  readonly attributes: Attributes;
  /** Run that goes on under the same id (continue-as-new, workflow retry). */
  readonly next?: string;
  /** Run that this chain began with; absent: this one. */
  readonly first?: string;
  readonly queue?: QueuePlace;
  readonly parent?: string;
  /** Operation of the parent that started it. */
  readonly parentOp?: number;
  /** Of steps whose tries and progress fill the journal no more (P2 of progress.ts). */
  readonly steps?: readonly StepProgress[];
  /** Why it is stuck or quarantined. */
  readonly why?: { readonly code: string; readonly message: string; readonly hint?: string };
}

/** Where a run stands in its queue. */
export interface QueuePlace {
  readonly name: string;
  readonly priority: number;
  readonly fairnessKey?: string;
  /** From when on it waits, Unix ms. */
  readonly readyAt: number;
  /** When it got its place, Unix ms; absent: it waits. */
  readonly begunAt?: number;
}

const OPEN: ReadonlySet<Status> = new Set<Status>(['running', 'sleeping', 'stuck', 'quarantined']);

/** True until the run has ended for good. A stuck or quarantined run may still go on. */
export function isOpen(status: Status): boolean {
  return OPEN.has(status);
}
