/**
 * JavaScript and TypeScript to components (`aether build`), by componentize-js, cached by everything that goes in.
 *
 * A component in JavaScript is about 12 MB: it carries its engine, StarlingMonkey.
 */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AetherError } from '../../spec/error.ts';
import { packageVersion } from './package-version.ts';
import { packageFile, sibling } from '../../spec/package-file.ts';

/** The source cannot be built. Nothing was written. */
export class BuildError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_BUILD';
}

export interface BuildOptions {
  /** A `.ts`, `.mts`, `.js` or `.mjs` file; it may import files in and below its folder. */
  source: string;
  /** Folder of built components, made when it is missing. */
  cache: string;
  /** Folder with the WIT; default: Aether's own. */
  wit?: string;
  /** World of that WIT; default `http`. */
  world?: string;
  /** True when the Particle may send HTTP: `fetch` is built in, which then has to be granted. */
  outgoing?: boolean;
}

export interface Built {
  bytes: Uint8Array;
  /** Where it lies in the cache. */
  path: string;
  cached: boolean;
}

/** WASI as the engine inside of componentize-js 0.23 speaks it; its build fails with any other version. */
const ENGINE_WASI = '0.2.10';
const OWN_WASI = '0.2.12';
const BUILD_TIMEOUT_MS = 300_000;
const ERROR_CHARS_MAX = 4_000;

const LOCAL_IMPORT = /(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;

const ownWit = fileURLToPath(packageFile('spec/wit'));

/** @throws BuildError */
export async function buildComponent(options: BuildOptions): Promise<Built> {
  const source = path.resolve(options.source);
  const modules = await collect(source);
  const wit = path.resolve(options.wit ?? ownWit);
  const world = options.world ?? 'http';
  const disabled = options.outgoing === true ? [] : ['http'];
  const key = await keyOf(modules, wit, [path.basename(source), world, ...disabled]);
  const target = path.join(options.cache, `${key}.wasm`);
  const found = await readFile(target).catch(() => undefined);
  if (found !== undefined) return { bytes: found, path: target, cached: true };

  const folder = path.join(options.cache, `.${randomUUID()}`);
  try {
    for (const [name, text] of modules) {
      await mkdir(path.dirname(path.join(folder, 'source', name)), { recursive: true });
      await writeFile(path.join(folder, 'source', name), text);
    }
    await copyWit(wit, path.join(folder, 'wit'));
    const output = path.join(folder, 'component.wasm');
    await componentize(
      [path.join(folder, 'source', path.basename(source)), path.join(folder, 'wit'), world, output],
      disabled,
      source,
    );
    await rename(output, target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { bytes: await readFile(target), path: target, cached: false };
}

/** The source and every file that it imports from its folder, without types, by their names in it. */
async function collect(source: string): Promise<Map<string, string>> {
  const root = path.dirname(source);
  const modules = new Map<string, string>();
  const queue = [source];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    const name = path.relative(root, file);
    if (modules.has(name)) continue;
    if (name.startsWith('..')) {
      throw new BuildError(`${source} imports ${name}, which is outside of its folder`, {
        hint: 'move it below the folder of the source, or bundle first',
      });
    }
    const text = await scriptOf(file);
    modules.set(name, text);
    for (const [, specifier] of text.matchAll(LOCAL_IMPORT)) {
      queue.push(path.resolve(path.dirname(file), specifier as string));
    }
  }
  return modules;
}

async function scriptOf(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new BuildError(`${file} cannot be read`, { cause });
  }
  if (!/\.m?ts$/.test(file)) return text;
  try {
    return stripTypeScriptTypes(text);
  } catch (cause) {
    throw new BuildError(`${file}: ${(cause as Error).message}`, {
      hint: 'write erasable TypeScript: no enum, no namespace, no parameter properties',
      cause,
    });
  }
}

async function keyOf(
  modules: ReadonlyMap<string, string>,
  wit: string,
  parts: readonly string[],
): Promise<string> {
  const hash = createHash('sha256');
  const version = toolVersion();
  const entries = [...modules].toSorted(([a], [b]) => (a < b ? -1 : 1));
  hash.update(JSON.stringify([version, ENGINE_WASI, parts, entries]));
  for (const file of await witFiles(wit)) hash.update(await readFile(path.join(wit, file)));
  return hash.digest('hex');
}

function toolVersion(): string {
  try {
    return packageVersion('@bytecodealliance/componentize-js');
  } catch (cause) {
    throw new BuildError('componentize-js is not installed', {
      hint: 'npm install --save-dev @bytecodealliance/componentize-js@0.23.0',
      cause,
    });
  }
}

async function witFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.endsWith('.wit')).toSorted();
}

/** Copies WIT with its WASI stamped as the engine's: 0.2.x only adds, so what the engine knows is all there. */
async function copyWit(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
  for (const file of await witFiles(to)) {
    const text = await readFile(path.join(to, file), 'utf8');
    await writeFile(path.join(to, file), text.replaceAll(OWN_WASI, ENGINE_WASI));
  }
}

async function componentize(
  args: readonly string[],
  disabled: readonly string[],
  source: string,
): Promise<void> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(sibling(import.meta.url, 'build-child')), ...args, ...disabled],
    { stdio: ['ignore', 'ignore', 'pipe'], timeout: BUILD_TIMEOUT_MS, killSignal: 'SIGKILL' },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-ERROR_CHARS_MAX);
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.on('error', reject).on('close', resolve);
  const code = await promise;
  if (code === 0) return;
  throw new BuildError(`${source} cannot be built: ${said.trim()}`, {
    hint: 'its imports have to be in the WIT, and its top level has to run without host calls',
    details: { exitCode: code },
  });
}
