/** `aether wf replay`: recorded histories against the code of today, without a lattice. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Engine, type History, type ReplayReport } from '../../engine/index.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Context } from '../context.ts';
import { EXIT } from '../io/exit-code.ts';
import { loadWorkflows } from '../io/workflows-module.ts';

/** What became of one file. */
interface Replayed {
  file: string;
  verdict: Verdict;
  workflow?: string;
  version?: string;
  events?: number;
  divergence?: ReplayReport['divergence'];
  /** Why it could not be replayed. */
  error?: ReturnType<typeof errorBody>;
}

/** The gravest decides the exit code: the first of these that a file has. */
const VERDICTS = {
  invalid: EXIT.invalidConfig,
  missing: EXIT.notFound,
  diverged: EXIT.failed,
  ok: EXIT.ok,
} as const;
type Verdict = keyof typeof VERDICTS;

/**
 * @param paths files, or folders that are searched for `.json`
 * @returns the exit code
 * @throws AetherError ERR_WORKFLOWS_MODULE, ERR_HISTORY_NOT_FOUND; then nothing was replayed
 */
export async function replayHistories(
  { out }: Context,
  paths: readonly string[],
  { workflows: module }: { workflows: string },
): Promise<number> {
  const workflows = await loadWorkflows(module);
  const files = (await Promise.all(paths.map(filesOf))).flat();
  const histories: Replayed[] = [];
  for (const file of files) {
    const replayed = await replayFile(file, workflows);
    histories.push(replayed);
    if (!out.json) out.line(`${paintVerdict(replayed.verdict, out.paint)}  ${textOf(replayed)}`);
  }
  const verdicts = Object.keys(VERDICTS) as Verdict[];
  const worst = verdicts.find((one) => histories.some(({ verdict }) => verdict === one)) ?? 'ok';
  if (out.json) out.line(JSON.stringify({ ok: worst === 'ok', histories }));
  return VERDICTS[worst];
}

/** @throws AetherError ERR_HISTORY_NOT_FOUND */
async function filesOf(path: string): Promise<string[]> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    (cause: unknown) => {
      throw notFound(`${path} is not there`, cause);
    },
  );
  if (!isFolder) return [path];
  const names = (await readdir(path, { recursive: true })).filter((name) => name.endsWith('.json'));
  // A check that checks nothing must not be green.
  if (names.length === 0) throw notFound(`there is no history in ${path}`);
  return names.toSorted().map((name) => join(path, name));
}

function notFound(message: string, cause?: unknown): AetherError {
  return new AetherError(message, {
    code: 'ERR_HISTORY_NOT_FOUND',
    hint: '`aether wf history ID > FILE` writes one',
    cause,
  });
}

async function replayFile(
  file: string,
  workflows: Parameters<typeof Engine.replay>[0],
): Promise<Replayed> {
  let history: History;
  try {
    history = JSON.parse(await readFile(file, 'utf8')) as History;
  } catch (cause) {
    const why = cause instanceof SyntaxError ? 'it is not JSON' : (cause as Error).message;
    const error = new AetherError(`it cannot be read: ${why}`, {
      code: 'ERR_HISTORY_NOT_READ',
      cause,
    });
    return { file, verdict: 'invalid', error: errorBody(error) };
  }
  const { name: workflow, version } = history ?? {};
  try {
    const { ok, events, divergence } = await Engine.replay(workflows, history);
    const replayed: Replayed = {
      file,
      verdict: ok ? 'ok' : 'diverged',
      workflow,
      version,
      events,
    };
    return divergence === undefined ? replayed : { ...replayed, divergence };
  } catch (error) {
    if (!AetherError.is(error)) throw error;
    const isMissing = error.code === 'ERR_ENGINE_VERSION_MISSING';
    const verdict = isMissing ? 'missing' : 'invalid';
    return { file, verdict, workflow, version, error: errorBody(error) };
  }
}

function textOf({ file, workflow, version, events, divergence, error }: Replayed): string {
  if (error !== undefined) {
    return `${file}  ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}`;
  }
  const run = `${file}  ${workflow} ${version}`;
  if (divergence === undefined) return `${run}  ${events} events`;
  const { seq, recorded, actual, at } = divergence;
  const where = at === undefined ? '' : `  ${placeOf(at)}`;
  return `${run}  operation ${seq}: recorded ${recorded}, now ${actual}${where}`;
}

/** A path below the current folder as one types it. */
function placeOf(at: string): string {
  const path = relative(process.cwd(), at);
  return path.startsWith('..') ? at : path;
}

function paintVerdict(verdict: Verdict, paint: Context['out']['paint']): string {
  const text = verdict.padEnd('diverged'.length);
  return verdict === 'ok' ? paint.green(text) : paint.red(text);
}
