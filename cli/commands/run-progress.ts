/** A workflow that a command has started, shown step by step until it ends or the user has seen enough. */
import { UNREACHED } from '../../particle/index.ts';
import { AetherError } from '../../spec/error.ts';
import type { Context } from '../context.ts';
import { type ControlClient, segment } from '../io/control-client.ts';
import { EXIT } from '../io/exit-code.ts';
import { isOpen, type WorkflowHistory, type WorkflowSummary } from './workflows.ts';

export interface Progress {
  /** What is done, in a word: `deploy`. */
  readonly what: string;
  /** Ends at once; the workflow goes on by itself. */
  readonly detach?: boolean;
  /** What it means that a step could not reach its node. */
  readonly unreached: string;
  /** What a step waits for, if that is known; asked when one takes its time. */
  readonly awaits?: () => Promise<string | undefined>;
  /** What is said at the end. */
  readonly done: (run: WorkflowSummary, tookSeconds: string) => string;
}

/** Longest pause between two looks at a run; its end is told at once. */
const LOOK_EVERY = '250ms';
/** After so long without a word a user is told what is waited for. */
const SILENCE_MS = 2_000;

/**
 * @param submitted the node's answer
 * @returns the exit code: 8 when the workflow goes on by itself
 * @throws AetherError what the workflow failed with, or ERR_WHAT_FAILED
 */
export async function showProgress(
  { client, out, interrupted }: Context,
  submitted: { workflow: string },
  { what, detach = false, unreached, awaits, done }: Progress,
): Promise<number> {
  const { workflow } = submitted;
  const goesOn = (): number => {
    out.say(`still running: aether wf show ${workflow}`);
    if (out.json) out.line(JSON.stringify({ ...submitted, status: 'running' }));
    return EXIT.stillRunning;
  };
  if (detach) return goesOn();
  const { paintTalk } = out;
  try {
    const run = await follow(client, workflow, interrupted, awaits, {
      finished: (step, n, isReached) =>
        out.say(
          isReached
            ? `${paintTalk.green('✓')} ${n} ${step}`
            : `${paintTalk.yellow('–')} ${n} ${step}: the node cannot be reached, ${unreached}`,
        ),
      failing: (step, why) => out.say(`${paintTalk.yellow('…')} ${step} is tried again: ${why}`),
      awaiting: (ends) => out.say(`${paintTalk.yellow('…')} ${ends}`),
    });
    if (run.status !== 'completed') throw failure(run, what);
    out.result({ ...submitted, status: run.status, result: run.result }, () =>
      done(run, (((run.closedAt ?? run.startedAt) - run.startedAt) / 1000).toFixed(2)),
    );
    return EXIT.ok;
  } catch (error) {
    if (interrupted.aborted) return goesOn();
    throw error;
  }
}

interface Told {
  finished(step: string, n: number, isReached: boolean): void;
  /** An attempt has failed, and another follows. */
  failing(step: string, why: string): void;
  awaiting(what: string): void;
}

/** Tells each finished step once, in order, and why one is tried again, until the run is closed; and what it waits for. */
async function follow(
  client: ControlClient,
  workflow: string,
  signal: AbortSignal,
  awaits: Progress['awaits'],
  tell: Told,
): Promise<WorkflowSummary> {
  const path = `/workflows/${segment(workflow)}`;
  let told = 0;
  let toldMs = performance.now();
  let toldWhy: string | undefined;
  let toldWhat: string | undefined;
  for (;;) {
    const run = await client.json<WorkflowSummary>(path, { query: { wait: LOOK_EVERY }, signal });
    const { events } = await client.json<WorkflowHistory>(`${path}/history`, { signal });
    const steps = events.filter(({ kind }) => kind === 'step-completed');
    for (const { name = '', payload } of steps.slice(told)) {
      toldMs = performance.now();
      tell.finished(name, ++told, payload !== UNREACHED);
    }
    if (!isOpen(run)) return run;
    const failed = run.pending.find(({ lastError }) => lastError !== undefined);
    if (failed?.lastError !== undefined && failed.lastError !== toldWhy)
      tell.failing(failed.name, failed.lastError);
    toldWhy = failed?.lastError;
    if (performance.now() - toldMs < SILENCE_MS) continue;
    const what = await awaits?.();
    if (what !== undefined && what !== toldWhat) tell.awaiting(what);
    toldWhat = what;
  }
}

function failure(run: WorkflowSummary, what: string): AetherError {
  const error = run.error ?? { message: `it is ${run.status}` };
  const { code = `ERR_${what.toUpperCase()}_FAILED`, message } = error.cause ?? error;
  return new AetherError(`the ${what} failed: ${message}`, {
    code,
    hint: error.hint ?? `aether wf show ${run.id} shows how far it came`,
  });
}
