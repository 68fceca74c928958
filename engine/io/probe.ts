/** Where faults can be injected: what a probe is told, and when. */
import type { JournalEvent } from '../core/event.ts';
import type { Run } from '../core/run.ts';

/** Where a probe is called, and for what. */
export interface ProbeEvent {
  readonly workflowId: string;
  readonly runId: string;
  /** Of the workflow. */
  readonly name: string;
  /** Place of the event in the history, from 1; for `effectDone` the operation's number. */
  readonly seq: number;
  readonly kind: string;
  /** Name of the step whose outcome this is. */
  readonly step?: string;
}

/** Called synchronously, for fault injection. */
export interface EngineProbe {
  /** For each event, once its commit is durable and before anything that depends on it begins. */
  committed?(event: ProbeEvent): void;
  /** After a step's function settled and before its outcome is committed. */
  effectDone?(event: ProbeEvent): void;
}

export function nameOf(run: Run): Pick<ProbeEvent, 'workflowId' | 'runId' | 'name'> {
  const { workflowId, runId, name } = run.identity;
  return { workflowId, runId, name };
}

/** An event of a run, `seq` counted from 1. */
export function probeEvent(run: Run, seq: number, event: JournalEvent): ProbeEvent {
  const outcome = event.kind === 'step-completed' || event.kind === 'step-failed';
  const step = outcome ? event.name : undefined;
  return { ...nameOf(run), seq, kind: event.kind, ...(step === undefined ? {} : { step }) };
}
