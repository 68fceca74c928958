/**
 * What the disk may do to a store: refuse, lie, forget and rot.
 *
 * Refusals come from faults.shim.c, preloaded into a process that runs workflows. kill -9 cannot show a missing fsync,
 * since the kernel keeps what was written; so disks are rebuilt from the trace that keep only what was synced.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { t as root, type Test, test } from 'tap';
import { seededRandom } from '../spec/random.ts';
import { readEntries } from './core/journal.ts';
import { compileShim, Disk, PLACE, readTrace } from './disk.testkit.ts';
import { asSchema1 } from './io/schema-1.testkit.ts';
import { SqliteStore } from './io/sqlite.ts';
import { sha256 } from './io/system.ts';

root.setTimeout(280_000);

const CHILD = join(import.meta.dirname, 'faults.testchild.ts');
/** Power losses after each call: one that keeps only what was synced, and some that keep any part of the rest. */
const IMAGES_PER_CALL = 6;

function tempFolder(t: Test): string {
  const folder = mkdtempSync(join(PLACE, 'aether-faults-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly trace: Buffer;
  /** What was in the watched folder before, by name. */
  readonly before: Readonly<Record<string, Buffer>>;
}

/**
 * Runs the child under the shim.
 *
 * @param prepare makes what is in the watched folder before.
 * @returns undefined, and the test is skipped, where the shim cannot be built
 */
async function underShim(
  t: Test,
  mode: string,
  prepare?: (work: string) => Promise<void>,
): Promise<Ended | undefined> {
  const work = tempFolder(t);
  const shim = process.platform === 'linux' ? compileShim(work, 'faults.shim.c') : undefined;
  if (shim === undefined) {
    t.pass('skipped', { skip: 'faults of the disk need Linux and a C compiler named cc' });
    return undefined;
  }
  const control = join(work, 'control');
  const trace = join(work, 'trace');
  writeFileSync(control, Buffer.alloc(32));
  writeFileSync(trace, '');
  await prepare?.(work);
  const before = filesOf(join(work, 'watched'));
  const ended = await child([work, control, trace, mode], {
    LD_PRELOAD: shim,
    AETHER_SHIM_FOLDER: join(work, 'watched'),
    AETHER_SHIM_CONTROL: control,
    AETHER_SHIM_TRACE: trace,
  });
  return { ...ended, before, trace: readFileSync(trace) };
}

/**
 * Leaves a store in a folder as a kill does while workflows are under way: of the first release, and all of it in the log,
 * so that opening it copies the log and brings the schema forward.
 */
async function leave(t: Test, work: string, folder: string): Promise<void> {
  const killed = await child([work, '/dev/null', '/dev/null', 'leave'], {});
  t.equal(killed.signal, 'SIGKILL', killed.stderr);
  const left = join(work, 'left');
  renameSync(join(work, 'watched'), left);
  mkdirSync(join(work, folder));
  asSchema1(join(left, 'engine.db'), join(work, folder, 'engine.db'), true);
  rmSync(join(work, folder, 'engine.db.made'));
  renameSync(join(left, 'acks'), join(work, folder, 'acks'));
}

async function child(args: string[], env: object): Promise<Omit<Ended, 'before' | 'trace'>> {
  const one = spawn(process.execPath, [CHILD, ...args], { env: { ...process.env, ...env } });
  const [stdout, stderr, [status, signal]] = await Promise.all([
    text(one.stdout),
    text(one.stderr),
    once(one, 'exit') as Promise<[number | null, string | null]>,
  ]);
  return { status, signal, stdout, stderr };
}

function filesOf(folder: string): Record<string, Buffer> {
  if (!existsSync(folder)) return {};
  return Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]),
  );
}

test('each write and each sync of a workflow fails, in every way: nothing acknowledged is lost, and it goes on', async (t) => {
  const ended = await underShim(t, 'faults', (work) => leave(t, work, 'base'));
  if (ended === undefined) return;
  t.equal(ended.status, 0, ended.stderr);
  const outcomes = ended.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { fault: string; from: number; problems: string[] });
  t.same(
    outcomes.filter(({ problems }) => problems.length > 0),
    [],
  );
  const tried = Map.groupBy(outcomes, ({ fault }) => fault);
  const faults = ['ENOSPC', 'EIO', 'EROFS', 'EIO of fsync', 'ENOSPC of fsync'];
  const names = ['a workflow', 'a recovery'].flatMap((name) =>
    faults.map((fault) => `${fault} in ${name}`),
  );
  t.same([...tried.keys()], names);
  const count = (name: string): number => tried.get(name)?.length ?? 0;
  for (const name of ['a workflow', 'a recovery']) {
    t.ok(count(`ENOSPC in ${name}`) > 40, 'writes: header and pages of each commit');
    t.ok(count(`EIO of fsync in ${name}`) > 10, 'syncs: one of each commit at least');
  }
});

/** @returns how many images lost something that was acknowledged before the power went */
async function powerLosses(
  t: Test,
  mode: 'full' | 'normal' | 'recover',
  prepare?: (work: string) => Promise<void>,
): Promise<{ images: number; lossy: number; damaged: number } | undefined> {
  const ended = await underShim(t, mode, prepare);
  if (ended === undefined) return undefined;
  t.equal(ended.signal, 'SIGKILL', ended.stderr);
  const calls = readTrace(ended.trace);
  const random = seededRandom(7);
  const folder = tempFolder(t);
  const { acks: known, ...files } = ended.before;
  const disk = new Disk(files);
  const acks = known === undefined ? [] : known.toString('utf8').trim().split('\n');
  let images = 0;
  let lossy = 0;
  let damaged = 0;
  for (const call of calls) {
    if (call.name === 'acks') {
      if (call.op === 'write') acks.push(call.data.toString('utf8').trim());
      continue;
    }
    disk.apply(call);
    for (let i = 0; i < IMAGES_PER_CALL; i++) {
      const place = join(folder, String(images++));
      disk.image(place, i === 0 ? undefined : random);
      const { lost, damage } = await inspect(place, acks);
      if (lost) lossy++;
      if (damage.length > 0) damaged++;
      rmSync(place, { recursive: true });
    }
  }
  return { images, lossy, damaged };
}

async function inspect(
  place: string,
  acks: readonly string[],
): Promise<{ lost: boolean; damage: string[] }> {
  const store = new SqliteStore(join(place, 'engine.db'));
  await store.open();
  try {
    const damage = await store.verify();
    const journals = new Map<string, readonly { kind: string }[]>();
    for (const { workflowId, runId } of await store.list({ limit: 100 })) {
      journals.set(workflowId, readEntries(runId, await store.read({ runId }), sha256));
    }
    const lost = acks.some((line) => {
      const [what, id = '', seq, kind] = line.split(' ');
      return what === 'committed' && journals.get(id)?.[Number(seq) - 1]?.kind !== kind;
    });
    return { lost, damage };
  } finally {
    await store.close();
  }
}

test('a power loss at any call loses nothing that was acknowledged', async (t) => {
  const seen = await powerLosses(t, 'full');
  if (seen === undefined) return;
  t.ok(seen.images > 500, `${seen.images} images`);
  t.equal(seen.lossy, 0);
  t.equal(seen.damaged, 0);
});

test('a power loss during the recovery from a kill loses nothing that was acknowledged', async (t) => {
  const seen = await powerLosses(t, 'recover', (work) => leave(t, work, 'watched'));
  if (seen === undefined) return;
  t.ok(seen.images > 500, `${seen.images} images`);
  t.equal(seen.lossy, 0);
  t.equal(seen.damaged, 0);
});

test('the same images show what durability "normal" loses, and that it damages nothing', async (t) => {
  const seen = await powerLosses(t, 'normal');
  if (seen === undefined) return;
  t.ok(seen.lossy > seen.images / 10, `${seen.lossy} of ${seen.images} images`);
  t.equal(seen.damaged, 0);
});
