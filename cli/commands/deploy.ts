/** `aether deploy`: checks an app here, hands it to the lattice and shows the deploy step by step. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Bundle } from '../../particle/index.ts';
import type { Particle } from '../../spec/aetherfile/app.ts';
import { AetherError, NotAvailableError } from '../../spec/error.ts';
import { sibling } from '../../spec/package-file.ts';
import type { Context } from '../context.ts';
import { readApp } from '../io/app-file.ts';
import { postBundle } from '../io/bundle.ts';
import { showProgress } from './run-progress.ts';

export interface DeployOptions {
  /** Ends as soon as the deploy is durable. */
  detach?: boolean;
}

const MAIN = fileURLToPath(sibling(import.meta.url, '../main'));

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

  return showProgress(context, submitted, {
    what: 'deploy',
    detach,
    unreached: 'the first request prepares it there',
    done: (_run, tookSeconds) => `deployed ${app.name} ${app.version} in ${tookSeconds} s`,
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
