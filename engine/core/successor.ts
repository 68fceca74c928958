/** The first entry and record of the run that goes on after continue-as-new. */
import type { JournalEvent, OutsideEvent, StartedEvent } from './event.ts';
import { appendEntry, type Entry } from './journal.ts';
import type { RunRecord } from './record.ts';
import type { Run } from './run.ts';

/**
 * @param owner what the new run is begun with: the newest version of its workflow, the time, the owner's ballot.
 * @returns what keeps the old run's attributes, timeout and the signals that it did not take.
 */
export function successorOf(
  run: Run,
  { payload, next }: Extract<JournalEvent, { kind: 'continued' }>,
  owner: { version: string; nowMs: number; ballot: string },
): { entry: Entry; record: RunRecord } {
  const { name, workflowId } = run.identity;
  const { payloads } = run.ports;
  const digest = (text: string): string => run.ports.digest(text);
  const { deadline: _deadline, notBefore: _notBefore, ...kept } = run.started;
  const { timeoutMs } = kept;
  const at = owner.nowMs;
  const attributes = { ...run.attributes };
  const started: StartedEvent = { ...kept, at, payload, attributes };
  if (timeoutMs !== undefined) started.deadline = at + timeoutMs;
  const signals = run.signals.unconsumed().map((signal): OutsideEvent => ({
    kind: 'signal-received',
    at,
    name: signal.name,
    payload: payloads.encode(signal.payload, `payload of signal "${signal.name}"`),
    kept: true,
  }));
  const { runId } = next;
  const record: RunRecord = {
    workflowId,
    runId,
    name,
    version: owner.version,
    status: 'running',
    startedAt: at,
    wakeAt: 0,
    entries: 1,
    events: 1 + signals.length,
    attributes,
  };
  return {
    entry: appendEntry(undefined, runId, owner.ballot, [started, ...signals], digest),
    record,
  };
}
