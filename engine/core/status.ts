/** The record of a run, derived from its state. */
import type { AetherError } from '../../spec/error.ts';
import type { StartedEvent } from './event.ts';
import type { RunRecord, Status } from './record.ts';
import type { Run } from './run.ts';

export function recordOf(run: Run, entries: number, historyBytes: number): RunRecord {
  const { identity, closing, stuck, started } = run;
  const status = closing?.kind ?? openStatus(run);
  return {
    ...identity,
    status,
    startedAt: started.at,
    ...(closing === undefined ? {} : { closedAt: closing.at }),
    wakeAt: closing === undefined ? wakeAt(run) : null,
    entries,
    events: run.length,
    historyBytes,
    attributes: { ...run.attributes },
    ...(closing !== undefined && 'next' in closing && closing.next !== undefined
      ? { next: closing.next.runId }
      : {}),
    ...(started.first === undefined ? {} : { first: started.first }),
    ...queueOf(started, run.begunAt),
    ...(started.parent === undefined
      ? {}
      : { parent: started.parent.runId, parentOp: started.parent.op }),
    ...(closing !== undefined || run.progress.kept.length === 0
      ? {}
      : { steps: run.progress.kept }),
    ...(stuck === undefined ? {} : { why: whyOf(stuck) }),
  };
}

/** Of a run that goes through a queue. */
export function queueOf(
  { queue, priority = 0, at, notBefore = at }: StartedEvent,
  begunAt: number | undefined,
): Pick<RunRecord, 'queue'> {
  if (queue === undefined) return {};
  const place = { ...queue, priority, readyAt: notBefore };
  return { queue: begunAt === undefined ? place : { ...place, begunAt } };
}

export function whyOf(error: AetherError): NonNullable<RunRecord['why']> {
  const { code, message, hint } = error;
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

function openStatus(run: Run): Status {
  if (run.stuck !== undefined) return 'stuck';
  if (run.delayed) return 'sleeping';
  for (const { kind } of run.operations) if (kind !== 'sleep') return 'running';
  return 'sleeping';
}

/** See `RunRecord.wakeAt`. */
function wakeAt(run: Run): number | null {
  if (run.stuck !== undefined || isTiedToParent(run)) return 0;
  let earliest = run.started.deadline ?? Infinity;
  if (run.delayed) earliest = Math.min(earliest, run.started.notBefore ?? 0);
  for (const { kind, step, fireAt, awaits, byWallClock } of run.operations) {
    // A schedule must be in memory to notice that the wall clock has jumped over its time.
    if (awaits !== undefined || (kind === 'condition' && byWallClock === true)) return 0;
    const at = step === undefined ? (fireAt ?? Infinity) : (step.retryAt ?? 0);
    if (at === 0) return 0;
    earliest = Math.min(earliest, at);
  }
  return earliest === Infinity ? null : earliest;
}

/** It must look on open whether its parent still goes on. */
function isTiedToParent({ started }: Run): boolean {
  return started.parent !== undefined && started.parent.onClose !== 'abandon';
}

/** Whether the store must hear of the new record; events alone do not count. */
export function differs(a: RunRecord | undefined, b: RunRecord): boolean {
  return (
    a === undefined ||
    a.status !== b.status ||
    a.wakeAt !== b.wakeAt ||
    a.queue?.begunAt !== b.queue?.begunAt ||
    a.why?.message !== b.why?.message ||
    JSON.stringify(a.steps) !== JSON.stringify(b.steps) ||
    JSON.stringify(a.attributes) !== JSON.stringify(b.attributes)
  );
}
