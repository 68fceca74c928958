/** The first entry and record of the run that goes on under the same id: after continue-as-new, or to try again. */
import type {
  ClosingEvent,
  NextRun,
  OutsideEvent,
  StartedEvent,
  UpdateCompletedEvent,
} from './event.ts';
import { appendEntry, type Entry } from './journal.ts';
import type { RunRecord } from './record.ts';
import type { Run } from './run.ts';
import { queueOf } from './status.ts';

/** An end that another run follows. */
export type Followed = Extract<ClosingEvent, { kind: 'continued' | 'failed' }> & { next: NextRun };

export function isFollowed(event: { kind: string; next?: NextRun } | undefined): event is Followed {
  return event?.next !== undefined;
}

/**
 * @param owner what the new run is begun with: the newest version of its workflow, the time, the owner's ballot.
 * @returns what keeps the old run's parent, attributes, policies, the signals that it did not take, a cancellation
 *   that it did not heed, and which signals and updates are known already. A run that tries again has the old one's
 *   input, and the timeout anew.
 */
export function successorOf(
  run: Run,
  end: Followed,
  owner: { version: string; nowMs: number; ballot: string },
): { entry: Entry; record: RunRecord } {
  const { name, workflowId } = run.identity;
  const { payloads } = run.ports;
  const digest = (text: string): string => run.ports.digest(text);
  const {
    deadline: _deadline,
    notBefore: _notBefore,
    attempt = 1,
    begunAt: _,
    ...kept
  } = run.started;
  const { timeoutMs, parent } = kept;
  const { runId, notBefore } = end.next;
  const at = owner.nowMs;
  const attributes = { ...run.attributes };
  const first = kept.first ?? run.identity.runId;
  const started: StartedEvent = { ...kept, at, attributes, first, ...known(run) };
  if (end.kind === 'failed') started.attempt = attempt + 1;
  else started.payload = end.payload;
  const begunAt = end.kind === 'continued' && started.queue ? run.begunAt : undefined;
  if (begunAt !== undefined) started.begunAt = begunAt;
  if (notBefore !== undefined) started.notBefore = notBefore;
  if (timeoutMs !== undefined) started.deadline = Math.max(at, notBefore ?? 0) + timeoutMs;
  const signals = run.signals.unconsumed().map((signal): OutsideEvent => ({
    kind: 'signal-received',
    at,
    name: signal.name,
    payload: payloads.encode(signal.payload, `payload of signal "${signal.name}"`),
    kept: true,
  }));
  const { reason } = run.root;
  const cancel: OutsideEvent[] =
    reason === undefined ? [] : [{ kind: 'cancel-requested', at, reason, kept: true }];
  const events = [started, ...signals, ...cancel];
  const record: RunRecord = {
    workflowId,
    runId,
    name,
    version: owner.version,
    status: notBefore === undefined ? 'running' : 'sleeping',
    startedAt: at,
    wakeAt: parent === undefined || parent.onClose === 'abandon' ? (notBefore ?? 0) : 0,
    entries: 1,
    events: events.length,
    attributes,
    first,
    ...queueOf(started, begunAt),
    ...(parent === undefined ? {} : { parent: parent.runId, parentOp: parent.op }),
  };
  return {
    entry: appendEntry(undefined, runId, owner.ballot, events, digest),
    record,
  };
}

/** Ids of signals, and characters of done updates, that are handed on: the newest. */
const SIGNAL_IDS_MAX = 1_000;
const UPDATES_CHARACTERS_MAX = 65_536;

function known({
  signalIds,
  updates,
  namedUpdates,
}: Run): Pick<StartedEvent, 'signalIds' | 'updates'> {
  const done: UpdateCompletedEvent[] = [];
  let left = UPDATES_CHARACTERS_MAX;
  for (const id of [...namedUpdates].toReversed()) {
    const update = updates.get(id);
    if (typeof update !== 'object') continue;
    left -= JSON.stringify(update).length;
    if (left < 0) break;
    done.push(update);
  }
  return {
    ...(signalIds.size === 0 ? {} : { signalIds: [...signalIds].slice(-SIGNAL_IDS_MAX) }),
    ...(done.length === 0 ? {} : { updates: done.toReversed() }),
  };
}
