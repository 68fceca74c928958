/** `aether doctor`: whether this machine can carry a node, with a fix for each thing that is wrong. */
import { constants, accessSync, existsSync, lstatSync, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { detectTier } from '../../datapath/index.ts';
import type { Context } from '../context.ts';
import { parseAddress } from '../daemon/address.ts';
import { certificateReport } from './certificate.ts';
import { goneVoters, type LatticeStatus, toleranceText } from './ring.ts';
import { ApiUnreachableError, type ControlClient } from '../io/control-client.ts';
import { EXIT } from '../io/exit-code.ts';

export interface Finding {
  check: string;
  /** `bad` keeps a node from running, `poor` makes it run less well. */
  verdict: 'good' | 'poor' | 'bad';
  found: string;
  fix?: string;
}

export interface DoctorOptions {
  data: string;
  listen?: string[];
}

/** The first with JavaScript Promise Integration, which Particles wait by. */
const NODE_MAJOR = 24;
const GIB = 1024 ** 3;
const DISK_BYTES_POOR = GIB;
const DISK_BYTES_BAD = GIB / 10;

/** The Date header has whole seconds, so less than this says nothing; stamps 500 ms ahead are refused by KV. */
const SKEW_MS_POOR = 1_500;

/** @returns the exit code: 1 when something is bad */
export async function doctor(
  { client, out }: Context,
  { data, listen = ['127.0.0.1:0'] }: DoctorOptions,
): Promise<number> {
  const asked = await ask(client);
  const findings = [
    node(process.versions.node, hasJspi()),
    ...dataFolder(resolve(data)),
    disk(resolve(data)),
    ...(await Promise.all(listen.map((address) => port(address)))),
    datapath(),
    clock(asked),
    ...certificate(asked),
    ...voters(asked),
  ];
  out.result({ findings }, () => {
    const { paint } = out;
    const mark = { good: paint.green('✓'), poor: paint.yellow('!'), bad: paint.red('✗') };
    const width = Math.max(...findings.map(({ check }) => check.length));
    return findings
      .flatMap(({ check, verdict, found, fix }) => [
        `${mark[verdict]} ${check.padEnd(width)}  ${found}`,
        ...(fix === undefined ? [] : [`  ${''.padEnd(width)}  ${paint.cyan('fix:')} ${fix}`]),
      ])
      .join('\n');
  });
  return findings.some(({ verdict }) => verdict === 'bad') ? EXIT.failed : EXIT.ok;
}

export function node(version: string, jspi: boolean): Finding {
  const check = 'node';
  if (Number(version.split('.')[0]) >= NODE_MAJOR && jspi) {
    return { check, verdict: 'good', found: version };
  }
  const found = jspi ? version : `${version}, without JavaScript Promise Integration`;
  return { check, verdict: 'bad', found, fix: `put Node ${NODE_MAJOR} or newer first on PATH` };
}

/** The folder and its key are the node's identity: nobody else may read them. */
export function dataFolder(folder: string): Finding[] {
  const check = 'data folder';
  if (!existsSync(folder)) {
    const parent = existingParent(folder);
    if (isWritable(parent)) {
      return [{ check, verdict: 'good', found: `${folder} can be created` }];
    }
    const found = `${folder} cannot be created: ${parent} is not writable`;
    return [{ check, verdict: 'bad', found, fix: 'name a folder of yours with --data' }];
  }
  if (!lstatSync(folder).isDirectory()) {
    const found = `${folder} is not a folder`;
    return [{ check, verdict: 'bad', found, fix: 'name a folder with --data' }];
  }
  if (!isWritable(folder)) {
    const found = `${folder} is not writable`;
    return [{ check, verdict: 'bad', found, fix: `chown ${userId()} ${folder}` }];
  }
  const key = join(folder, 'node.key');
  if (existsSync(key) && (lstatSync(key).mode & 0o077) !== 0) {
    const found = `others may read ${key}`;
    return [{ check, verdict: 'bad', found, fix: `chmod 600 ${key}` }];
  }
  return [{ check, verdict: 'good', found: folder }];
}

function disk(folder: string): Finding {
  const check = 'disk';
  const { bavail, bsize } = statfsSync(existingParent(folder));
  const bytes = bavail * bsize;
  const found = `${(bytes / GIB).toFixed(1)} GiB free`;
  if (bytes >= DISK_BYTES_POOR) return { check, verdict: 'good', found };
  const verdict = bytes < DISK_BYTES_BAD ? 'bad' : 'poor';
  return { check, verdict, found, fix: 'free some space, or name another disk with --data' };
}

export async function port(text: string): Promise<Finding> {
  const check = `port ${text}`;
  const address = parseAddress(text);
  const server = createServer();
  try {
    await new Promise<void>((listening, reject) => {
      server.once('error', reject).listen(address, listening);
    });
    return { check, verdict: 'good', found: 'free' };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const found = code === 'EADDRINUSE' ? 'in use' : message;
    return { check, verdict: 'bad', found, fix: 'end what listens there, or choose another port' };
  } finally {
    server.close();
  }
}

function datapath(): Finding {
  const { tier, why } = detectTier();
  return { check: 'datapath', verdict: 'good', found: `${tier}: ${why.join('; ')}` };
}

/** What the node that runs here says of itself, and what time it is there, halfway through the request. */
interface Asked {
  status: LatticeStatus;
  skewMs: number;
}

async function ask(client: ControlClient): Promise<Asked | undefined> {
  const before = Date.now();
  try {
    const { headers, body } = await client.call('/status');
    const skewMs = Math.abs(Date.parse(headers['date'] ?? '') + 500 - (before + Date.now()) / 2);
    return { status: JSON.parse(new TextDecoder().decode(body)) as Asked['status'], skewMs };
  } catch (error) {
    if (error instanceof ApiUnreachableError) return undefined;
    throw error;
  }
}

/** Compares this clock with that of the node that was asked. */
function clock(asked: Asked | undefined): Finding {
  const check = 'clock';
  if (asked === undefined)
    return { check, verdict: 'good', found: 'no node runs here to compare with' };
  const { skewMs } = asked;
  if (Number.isNaN(skewMs)) return { check, verdict: 'good', found: 'the node tells no time' };
  const found = `within ${Math.max(SKEW_MS_POOR, skewMs).toFixed(0)} ms of the node's`;
  if (skewMs < SKEW_MS_POOR) return { check, verdict: 'good', found };
  const fix = 'let a time service (chrony, timesyncd) set both clocks';
  return { check, verdict: 'poor', found, fix };
}

/** Without a majority of them nothing of the lattice can be changed. */
function voters(asked: Asked | undefined): Finding[] {
  if (asked === undefined) return [];
  const { status } = asked;
  const [check, gone] = ['voters', goneVoters(status)];
  const found = toleranceText(status);
  if (gone.length === 0) return [{ check, verdict: 'good', found }];
  const fix = `start ${gone.join(', ')} again, or, while a majority is left: aether node remove`;
  const verdict = gone.length > status.tolerates ? 'bad' : 'poor';
  return [{ check, verdict, found: `${gone.join(', ')} gone: ${found}`, fix }];
}

/** Without one that holds, the other nodes do not hear the node that was asked. */
function certificate(asked: Asked | undefined): Finding[] {
  if (asked === undefined) return [];
  const { members, certificate: own } = asked.status;
  const nameOf = (id: string): string => members.find((each) => each.id === id)?.name ?? id;
  const { verdict, text: found } = certificateReport(own, nameOf, Date.now());
  const check = 'certificate';
  if (verdict === 'good') return [{ check, verdict, found }];
  const fix =
    own?.failure?.hint ?? 'a voter renews it: start one that is alive in aether ring status';
  return [{ check, verdict: verdict === 'expired' ? 'bad' : 'poor', found, fix }];
}

/** WebAssembly's types belong to the DOM library, which no Node program has. */
function hasJspi(): boolean {
  return Reflect.has(Reflect.get(globalThis, 'WebAssembly'), 'Suspending');
}

function existingParent(path: string): string {
  return existsSync(path) ? path : existingParent(dirname(path));
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function userId(): string {
  return process.getuid === undefined ? 'YOU' : String(process.getuid());
}
