/** The packages of `bench/peers`, installed once for all checkouts in the user's cache and never in the project. */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';

const PEERS = join(import.meta.dirname, '..', 'peers');
const FILES = ['package.json', 'package-lock.json'];

/** Where they are or would be: another lock file is another folder. */
export function packagesFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}`);
  for (const file of FILES) hash.update(readFileSync(join(PEERS, file)));
  return join(cache, 'aether', `bench-peers-${hash.digest('hex').slice(0, 12)}`);
}

/** @throws Error why they cannot be installed; nothing is left then */
export async function installPackages(): Promise<void> {
  const folder = packagesFolder();
  if (existsSync(folder)) return;
  mkdirSync(join(folder, '..'), { recursive: true });
  const fresh = mkdtempSync(`${folder}.`);
  try {
    for (const file of FILES) copyFileSync(join(PEERS, file), join(fresh, file));
    await npm(fresh);
    // Last of all: the folder is there when all of it is.
    renameSync(fresh, folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
}

/** @throws Error when it is not installed */
export function versionOf(packages: string, name: string): string {
  const manifest = readFileSync(join(packages, 'node_modules', name, 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** The npm that runs this, else the one on PATH. No package runs a script of its own. */
async function npm(folder: string): Promise<void> {
  const own = process.env['npm_execpath'];
  const [program, ...before] =
    own !== undefined && basename(own) === 'npm-cli.js' ? [process.execPath, own] : ['npm'];
  const args = ['ci', '--ignore-scripts', '--include=optional', '--no-audit', '--no-fund'];
  const child = spawn(
    program ?? 'npm',
    [...before, ...args, `--prefix=${folder}`, '--loglevel=error'],
    {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`npm ci ended with ${code ?? 'a signal'}`);
}
