/** `aether deploy`: checks an app here, hands it to the lattice and shows the deploy step by step. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Bundle, UNREACHED } from '../../particle/index.ts';
import type { Particle } from '../../spec/aetherfile/app.ts';
import { AetherError, NotAvailableError } from '../../spec/error.ts';
import { sibling } from '../../spec/package-file.ts';
import type { Context } from '../context.ts';
import { readApp } from '../io/app-file.ts';
import { postBundle } from '../io/bundle.ts';
import { type ControlClient, segment } from '../io/control-client.ts';
import { EXIT } from '../io/exit-code.ts';
import { type WorkflowHistory, type WorkflowSummary, isOpen } from './workflows.ts';

export interface DeployOptions {
  /** Ends as soon as the deploy is durable. */
  detach?: boolean;
}

const MAIN = fileURLToPath(sibling(import.meta.url, '../main'));

/** Longest pause between two looks at a running deploy; its end is told at once. */
const LOOK_EVERY = '250ms';

/** @returns the exit code: 8 when the deploy goes on by itself */
export async function deploy(
  context: Context,
  file: string,
  { detach = false }: DeployOptions,
): Promise<number> {
  const { client, out, interrupted } = context;
  const { app, source } = await readApp(file);
  const components: Bundle['components'] = {};
  for (const particle of Object.values(app.particles)) {
    components[particle.name] = await componentOf(particle, dirname(resolve(file)), context);
  }
  const submitted = await postBundle(client, { source, file, components }, interrupted);
  const { workflow, existing } = submitted;
  out.say(
    `${existing ? 'already submitted' : 'submitted'}: ${app.name} ${app.version} (${workflow})`,
  );

  const goesOn = (): number => {
    out.say(`still running: aether wf show ${workflow}`);
    if (out.json) out.line(JSON.stringify({ ...submitted, status: 'running' }));
    return EXIT.stillRunning;
  };
  if (detach) return goesOn();
  try {
    const run = await follow(client, workflow, interrupted, (step, n, isReached) =>
      out.say(
        isReached
          ? `${out.paintTalk.green('✓')} ${n} ${step}`
          : `${out.paintTalk.yellow('–')} ${n} ${step}: the node cannot be reached, the first request prepares it there`,
      ),
    );
    if (run.status !== 'completed') throw deployFailed(run);
    out.result({ ...submitted, status: run.status, result: run.result }, () => {
      const tookMs = (run.closedAt ?? run.startedAt) - run.startedAt;
      return `deployed ${app.name} ${app.version} in ${(tookMs / 1000).toFixed(2)} s`;
    });
    return EXIT.ok;
  } catch (error) {
    if (interrupted.aborted) return goesOn();
    throw error;
  }
}

/** Tells each finished step once, in order, until the run is closed. */
async function follow(
  client: ControlClient,
  workflow: string,
  signal: AbortSignal,
  finished: (step: string, n: number, isReached: boolean) => void,
): Promise<WorkflowSummary> {
  const path = `/workflows/${segment(workflow)}`;
  let told = 0;
  for (;;) {
    const run = await client.json<WorkflowSummary>(path, { query: { wait: LOOK_EVERY }, signal });
    const { events } = await client.json<WorkflowHistory>(`${path}/history`, { signal });
    const steps = events.filter(({ kind }) => kind === 'step-completed');
    for (const { name = '', payload } of steps.slice(told)) {
      finished(name, ++told, payload !== UNREACHED);
    }
    if (!isOpen(run)) return run;
  }
}

function deployFailed(run: WorkflowSummary): AetherError {
  const {
    code = 'ERR_DEPLOY_FAILED',
    message,
    hint,
  } = run.error ?? { message: `it is ${run.status}` };
  return new AetherError(`the deploy failed: ${message}`, {
    code,
    hint: hint ?? `aether wf show ${run.id} shows how far it came`,
  });
}

async function componentOf(
  { name, source }: Particle,
  folder: string,
  context: Context,
): Promise<Uint8Array> {
  if ('oci' in source) {
    throw new NotAvailableError(`particle ${name}: ${source.oci} would be pulled from a registry`, {
      hint: 'give the component as `source: path: "FILE.wasm"`',
    });
  }
  if ('build' in source) await build(name, source.build.command, folder, context);
  const path = resolve(folder, 'path' in source ? source.path : source.build.output);
  return readFile(path).catch((error: unknown) => {
    throw new AetherError(`particle ${name}: there is no component at ${path}`, {
      code: 'ERR_AETHERFILE_SOURCE',
      hint: 'build it first, or let `source: build: {command: […], output: …}` do so',
      cause: error,
    });
  });
}

/** Runs a build command in the Aetherfile's folder; what it prints is talk. */
async function build(
  particle: string,
  command: readonly string[],
  folder: string,
  { out }: Context,
): Promise<void> {
  const [program = '', ...args] = command;
  out.say(`building ${particle}: ${command.join(' ')}`);
  // `aether` means this very one, also where it is not on PATH.
  const [run, before] =
    program === 'aether' ? [process.execPath, [...process.execArgv, MAIN]] : [program, []];
  const child = spawn(run, [...before, ...args], { cwd: folder, stdio: ['ignore', 2, 2] });
  const [code, signal] = (await once(child, 'close').catch((error: Error) => [error.message])) as [
    number | string | null,
    string | null | undefined,
  ];
  if (code === 0) return;
  throw new AetherError(
    `particle ${particle}: \`${command.join(' ')}\` ended with ${code ?? signal}`,
    {
      code: 'ERR_BUILD',
      hint: 'its own lines above say why',
    },
  );
}
