/**
 * Transpiled components on disk, one folder each, named by the component's digest and everything else that decides the
 * output.
 *
 * C1. A folder appears by one rename, so it is complete or absent.
 * C2. A folder whose files do not match its manifest is never used: it is removed and made again.
 */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AetherError } from '../../spec/error.ts';
import type { ExportedFunction } from '../core/exported-functions.ts';
import type { CoreModule } from '../core/memory-cap.ts';
import { SUSPENDING } from './guest/suspending.ts';
import { packageVersion } from './package-version.ts';
import { sibling } from '../../spec/package-file.ts';

/** jco cannot read the component, or took too long. Nothing was stored. */
export class TranspileError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_TRANSPILE';
}

export interface Transpiled {
  /** File URL of the generated module. */
  glue: string;
  modules: Record<string, CoreModule>;
  functions: Record<string, ExportedFunction>;
}

interface Manifest {
  /** sha256 of each file, in hex. */
  files: Record<string, string>;
  /** How often the component instantiates each core module. */
  instances: Record<string, number>;
  functions: Record<string, ExportedFunction>;
}

const MANIFEST = 'manifest.json';
const GLUE = 'guest.js';
const FILE_NAME = /^[a-z0-9]+(\.[a-z0-9]+)*$/;
const TRANSPILE_TIMEOUT_MS = 120_000;
const ERROR_CHARS_MAX = 2_000;

const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

export async function writeManifest(
  folder: string,
  files: Record<string, Uint8Array>,
  functions: Record<string, ExportedFunction>,
): Promise<void> {
  const glue = new TextDecoder().decode(files[GLUE]);
  const manifest: Manifest = {
    files: Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, sha256(bytes)])),
    instances: countInstances(glue),
    functions,
  };
  await writeFile(path.join(folder, MANIFEST), JSON.stringify(manifest));
}

/** Reads off the generated code how often it instantiates each core module. */
function countInstances(glue: string): Record<string, number> {
  const instances: Record<string, number> = {};
  for (const [, variable, name] of glue.matchAll(
    /const (module\d+) = getCoreModule\('([^']+)'\)/g,
  )) {
    const uses = glue.matchAll(new RegExp(`instantiateCore\\(yield ${variable}\\b`, 'g'));
    instances[name as string] = [...uses].length;
  }
  return instances;
}

export class TranspileCache {
  readonly #folder: string;
  /** By digest: what is being loaded or made, so that one component is transpiled once. */
  readonly #entries = new Map<string, Promise<Transpiled>>();
  readonly #closing = new AbortController();
  /** Components that had to be transpiled since the start. */
  transpiled = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * @param digest `sha256:<hex>` of `component`.
   * @throws TranspileError
   */
  async get(digest: string, component: Uint8Array): Promise<Transpiled> {
    const known = this.#entries.get(digest);
    if (known !== undefined) return await known;
    const entry = this.#load(digest, component);
    this.#entries.set(digest, entry);
    try {
      return await entry;
    } finally {
      this.#entries.delete(digest);
    }
  }

  /** Ends the processes that still transpile. */
  close(): void {
    this.#closing.abort();
  }

  async #load(digest: string, component: Uint8Array): Promise<Transpiled> {
    const folder = path.join(this.#folder, `${digest.slice('sha256:'.length)}-${toolsKey()}`);
    const stored = await read(folder);
    if (stored !== undefined) return stored;
    await rm(folder, { recursive: true, force: true }); // C2
    await this.#make(folder, component);
    const made = await read(folder);
    if (made === undefined) throw new TranspileError(`${folder} cannot be read back`);
    return made;
  }

  async #make(folder: string, component: Uint8Array): Promise<void> {
    const temporary = path.join(this.#folder, `.${randomUUID()}`);
    await mkdir(temporary, { recursive: true, mode: 0o700 });
    try {
      const source = path.join(temporary, 'component');
      const output = path.join(temporary, 'output');
      await writeFile(source, component);
      await mkdir(output);
      await this.#transpile(source, output);
      this.transpiled++;
      await rename(output, folder).catch(async (error: unknown) => {
        // Another process was faster: what it has made is as good.
        if ((await read(folder)) === undefined) throw error;
      }); // C1
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async #transpile(source: string, output: string): Promise<void> {
    const child = spawn(
      process.execPath,
      [
        '--max-old-space-size=1024',
        fileURLToPath(sibling(import.meta.url, 'transpile-child')),
        source,
        output,
      ],
      {
        env: {},
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: TRANSPILE_TIMEOUT_MS,
        killSignal: 'SIGKILL',
        signal: this.#closing.signal,
      },
    );
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-ERROR_CHARS_MAX);
    });
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    child.on('error', reject).on('close', resolve);
    const code = await promise;
    if (code === 0) return;
    throw new TranspileError(`jco cannot transpile the component: ${firstError(said)}`, {
      hint: 'check it with `npx jco print`, or build it again',
      details: { exitCode: code },
    });
  }
}

function firstError(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return (
    lines.find((line) => /error/i.test(line)) ??
    lines.find((line) => line !== '') ??
    'no reason given'
  );
}

/** @returns undefined when there is nothing, or nothing whole (C2). */
async function read(folder: string): Promise<Transpiled | undefined> {
  try {
    const manifest = JSON.parse(await readFile(path.join(folder, MANIFEST), 'utf8')) as Manifest;
    const modules: Record<string, CoreModule> = {};
    for (const [name, hash] of Object.entries(manifest.files)) {
      if (!FILE_NAME.test(name)) return undefined;
      const bytes = await readFile(path.join(folder, name));
      if (sha256(bytes) !== hash) return undefined;
      if (name !== GLUE) modules[name] = { bytes, instances: manifest.instances[name] ?? 1 };
    }
    if (manifest.files[GLUE] === undefined) return undefined;
    const { functions } = manifest;
    return { glue: pathToFileURL(path.join(folder, GLUE)).href, modules, functions };
  } catch {
    return undefined;
  }
}

let key: string | undefined;

/** Whatever besides the component decides the output. */
function toolsKey(): string {
  if (key === undefined) {
    const version = packageVersion('@bytecodealliance/jco');
    key = `jco${version}-${sha256(JSON.stringify(SUSPENDING)).slice(0, 8)}`;
  }
  return key;
}
