/** Recorded histories against today's code, with no side effect and no store. */
import { AetherError } from '../spec/error.ts';
import type { AnyWorkflow } from './core/contract.ts';
import { type Outside, RunContext } from './core/context.ts';
import { NondeterminismError } from './core/errors.ts';
import type { JournalEvent } from './core/event.ts';
import { type ExportedEvent, HISTORY_FORMAT, importEntries, readEntries } from './core/journal.ts';
import { PayloadCodec } from './core/payload.ts';
import { Run } from './core/run.ts';
import { exemptCodec, guardBodies } from './io/strict.ts';
import { drainMicrotasks, sha256 } from './io/system.ts';
import type { EngineOptions, History, ReplayReport } from './options.ts';
import { scheduleWorkflow } from './schedules.ts';
import { type Definition, Registry } from './workflow.ts';

/** See `Engine.replay`. */
export async function replay(
  workflows: AnyWorkflow | readonly AnyWorkflow[],
  history: History,
  { codec }: Pick<EngineOptions, 'codec'>,
): Promise<ReplayReport> {
  const events = eventsOf(history);
  const definition = definitionOf(workflows, history);
  const { workflowId, runId, name, version } = history;
  const guard = guardBodies();
  const run = new Run(
    { workflowId, runId, name, version },
    async (one, scope, input) => definition.body(new RunContext(one, scope, NOWHERE), input),
    {
      drain: drainMicrotasks,
      digest: sha256,
      payloads: new PayloadCodec({ codec: codec && exemptCodec(codec), bytesMax: Infinity }),
      historyEventsMax: Infinity,
      newRunId: () => '',
      refusal: () => undefined,
      enter: guard.enter,
    },
  );
  await run.recover(events, events.at(-1)?.at ?? 0).finally(guard.release);
  const { stuck } = run;
  if (stuck === undefined) return { ok: true, events: events.length };
  const divergence =
    stuck instanceof NondeterminismError
      ? (stuck.details as NonNullable<ReplayReport['divergence']>)
      : { seq: 0, recorded: 'the history', actual: stuck.message, ...placeOf(stuck) };
  return { ok: false, events: events.length, divergence };
}

/** @throws AetherError ERR_ENGINE_HISTORY_FORMAT, StoreCorruptError */
function eventsOf(history: History | null): JournalEvent[] {
  const { format, runId, events } = history ?? {};
  if (typeof runId !== 'string' || !Array.isArray(events)) {
    throw formatError(
      'this is no history',
      'take what `handle.history()` or `aether wf history` gives',
    );
  }
  if (!Number.isInteger(format) || format === undefined || format < 1 || format > HISTORY_FORMAT) {
    throw formatError(
      `the history of run ${runId} has format ${format}, this release reads up to ${HISTORY_FORMAT}`,
      'replay it with the release that wrote it, or a later one',
    );
  }
  const exported = events as unknown as ExportedEvent[];
  return readEntries(runId, importEntries(runId, exported), sha256);
}

function formatError(message: string, hint: string): AetherError {
  return new AetherError(message, { code: 'ERR_ENGINE_HISTORY_FORMAT', hint });
}

/** One workflow is today's code, whatever its version; of a list it is the one that the run began with. */
function definitionOf(
  workflows: AnyWorkflow | readonly AnyWorkflow[],
  { name, version }: History,
): Definition<unknown, unknown> {
  if ('name' in workflows) return new Registry([workflows]).latest(workflows.name);
  return new Registry([...workflows, scheduleWorkflow]).exact(name, version);
}

const nowhere = (): Promise<never> => Promise.reject(new Error('a replay reaches nothing outside'));
const NOWHERE: Outside = { signal: nowhere, cancel: nowhere, startChild: nowhere };

function placeOf({ details }: AetherError): { at?: string } {
  const at = (details as { at?: string } | undefined)?.at;
  return at === undefined ? {} : { at };
}
