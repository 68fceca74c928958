/**
 * What an engine says of its runs.
 *
 * A line is written once what it says is durable, and never for what is replayed. Lines name runs, steps and errors, and
 * carry no payload: not what a step was given or gave back, nor the details of an error.
 */
import type { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import type { ClosingEvent, Failure, JournalEvent } from '../core/event.ts';
import type { RunRecord } from '../core/record.ts';
import type { Run } from '../core/run.ts';
import type { RunIdentity } from '../core/run-ports.ts';

/** Share of `limits.historyEvents` from which on a run is warned of, once. */
const HISTORY_WARN_SHARE = 0.8;

export class RunLog {
  readonly #log: Log;
  readonly #historyWarnAt: number;

  constructor(log: Log, historyEventsMax: number) {
    this.#log = log;
    this.#historyWarnAt = Math.ceil(historyEventsMax * HISTORY_WARN_SHARE);
  }

  opened(runs: { open: number; now: number }): void {
    const { open, now } = runs;
    this.#log.info({ open, now, later: open - now }, 'engine opened; open runs go on');
  }

  started(run: RunIdentity): void {
    this.#log.debug(fieldsOf(run), 'run started');
  }

  closed({ identity, length }: Run, event: ClosingEvent): void {
    const fields = { ...fieldsOf(identity), status: event.kind, events: length };
    const err = event.kind === 'failed' ? { err: plain(event.error) } : {};
    this.#log.debug({ ...fields, ...err }, 'run closed');
  }

  retried(run: Run, { op, attempt, error, nextAt }: StepRetried): void {
    this.#log.warn(
      {
        ...fieldsOf(run.identity),
        step: run.operation(op)?.name,
        attempt,
        err: plain(error),
        nextAt: new Date(nextAt).toISOString(),
      },
      'step failed; it is tried again',
    );
  }

  /** @param grown events that were added last */
  grown({ identity, length }: Run, grown: number): void {
    const warnAt = this.#historyWarnAt;
    if (length < warnAt || length - grown >= warnAt) return;
    const hint = 'use ctx.continueAsNew, or raise limits.historyEvents';
    this.#log.warn({ ...fieldsOf(identity), events: length, hint }, 'history nears its limit');
  }

  stuck(run: RunIdentity, error: AetherError): void {
    const { code, hint, message } = error;
    const at = (error.details as { at?: string } | undefined)?.at;
    this.#log.error({ ...fieldsOf(run), code, reason: message, hint, at }, 'run stuck');
  }

  quarantined(record: RunRecord, error: Error): void {
    this.#log.error({ ...fieldsOf(record), err: error }, 'run quarantined');
  }

  /** Its commit failed. */
  lost(runId: string, error: Error, delayMs: number): void {
    this.#log.error({ runId, err: error, delayMs }, 'run lost its state; it is loaded again');
  }
}

type StepRetried = Extract<JournalEvent, { kind: 'step-retried' }>;

function fieldsOf({ workflowId, runId, name, version }: RunIdentity): object {
  return { workflow: name, version, workflowId, runId };
}

/** Without prototype: pino's serializer then gives the error's own name as its type. */
function plain({ name, message, code }: Failure): object {
  return { __proto__: null, name, message, ...(code === undefined ? {} : { code }) };
}
