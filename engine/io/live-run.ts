import type { Span } from '@opentelemetry/api';
import type { OutsideEvent } from '../core/event.ts';
import type { Entry } from '../core/journal.ts';
import type { Operation } from '../core/operation.ts';
import type { RunRecord } from '../core/record.ts';
import type { Run } from '../core/run.ts';
import type { Attempt } from './attempt.ts';

/** Something for a run, handled in order of arrival. */
export type Inbound = Arrival | Visit;

export interface Arrival {
  readonly event: OutsideEvent;
  /** Asked when its turn comes. False: nothing is recorded. @throws what `settled` then gets */
  readonly wanted?: (run: Run) => boolean;
  /** Span of who sent it, as a W3C traceparent. */
  readonly trace?: string;
  /** Called once it is durable (or was not wanted and everything before it is durable), or with why not. */
  readonly settled?: (error?: Error) => void;
}

/** Looks at a run between two events. */
export interface Visit {
  readonly visit: (run: Run, historyBytes: number) => void;
  readonly settled?: (error?: Error) => void;
}

/** A run in memory. */
export interface LiveRun {
  readonly runId: string;
  readonly workflowId: string;
  /** Loaded from the store when first needed, unless it was just started. */
  run?: Run;
  /** As last handed to the store. */
  record?: RunRecord;
  last?: Pick<Entry, 'index' | 'hash'>;
  /** Bytes of its journal, as far as they were handed to the store. */
  historyBytes: number;
  /** Span of what goes on, if somebody traces. */
  activation: Span | undefined;
  readonly inbox: Inbound[];
  pumping: boolean;
  /** Appends that the store has not answered. */
  uncommitted: number;
  /** Steps that wait for a place, and attempts that run, by operation. */
  readonly ready: Map<number, Operation>;
  readonly attempts: Map<number, Attempt>;
  place: 'none' | 'waiting' | 'held';
  /** It is not in memory any more: what comes back from its steps is not looked at. */
  gone: boolean;
}

export function liveRun(runId: string, workflowId: string): LiveRun {
  return {
    runId,
    workflowId,
    historyBytes: 0,
    activation: undefined,
    inbox: [],
    pumping: false,
    uncommitted: 0,
    ready: new Map(),
    attempts: new Map(),
    place: 'none',
    gone: false,
  };
}

/** Nothing is under way: it only waits. */
export function isResting(live: LiveRun): boolean {
  return (
    !live.pumping &&
    live.inbox.length === 0 &&
    live.uncommitted === 0 &&
    live.attempts.size === 0 &&
    live.ready.size === 0
  );
}
