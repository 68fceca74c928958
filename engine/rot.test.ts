/** Bits that flip in a store's file, and write-ahead logs that are torn or cut: found, or harmless, never a wrong answer. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { t as root, type Test, test } from 'tap';
import { seededRandom } from '../spec/random.ts';
import { readEntries } from './core/journal.ts';
import { PLACE } from './disk.testkit.ts';
import { Engine, workflow } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';
import { sha256 } from './io/system.ts';

root.setTimeout(240_000);

const RUNS = 12;
const FLIPS = 1_500;
const CUTS = 150;

const order = workflow('order', async (ctx, input: { id: number }) => {
  await ctx.step('reserve', () => `item ${input.id}`);
  const card = await ctx.receive<string>('card');
  return ctx.step('charge', () => card);
});

function tempFolder(t: Test): string {
  const folder = mkdtempSync(join(PLACE, 'aether-rot-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs of which every second is closed. @returns the engine, open, so that the log is still there */
async function filled(path: string): Promise<Engine> {
  const engine = await Engine.open({ store: new SqliteStore(path), workflows: [order] });
  for (let id = 0; id < RUNS; id++) {
    const handle = await engine.start(order, { id }, { id: `o${id}`, attributes: { id } });
    if (id % 2 === 0) continue;
    await handle.signal('card', 'visa');
    await handle.result();
  }
  return engine;
}

type Answers = Record<string, unknown>;

/** What a store says of everything in it; an answer that it refuses, or that is quarantined, is `found`. */
async function answers(path: string): Promise<Answers> {
  const all: Answers = {};
  const ask = async (what: string, act: () => Promise<unknown>): Promise<void> => {
    try {
      all[what] = await act();
    } catch {
      all[what] = 'found';
    }
  };
  const store = new SqliteStore(path);
  try {
    await store.open();
  } catch {
    return { open: 'found' };
  }
  const records = await store.list({ limit: 100 }).catch(() => []);
  await ask('list', () => store.list({ limit: 100 }));
  await ask('openRuns', () => store.openRuns({ limit: 100 }));
  for (const { runId } of records) {
    await ask(`record ${runId}`, () => store.record(runId));
    await ask(`events ${runId}`, async () =>
      readEntries(runId, await store.read({ runId }), sha256),
    );
  }
  for (let id = 0; id < RUNS; id++) await ask(`newest o${id}`, () => store.newest(`o${id}`));
  await ask('verify', () => store.verify());
  await store.close().catch(() => {});
  return all;
}

function isFound(answer: unknown): boolean {
  return answer === 'found' || /"quarantined"/.test(JSON.stringify(answer) ?? '');
}

test('each of many single bits that flip in the file is found, or changes no answer', async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, 'engine.db');
  await (await filled(path)).close();
  const intact = await answers(path);
  t.same(intact['verify'], []);
  const bytes = readFileSync(path);
  const random = seededRandom(11);
  const damaged = join(folder, 'damaged.db');
  const silent: number[] = [];
  let found = 0;
  let byVerify = 0;
  for (let i = 0; i < FLIPS; i++) {
    const bit = Math.floor(random.next() * bytes.length * 8);
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    writeFileSync(damaged, flipped);
    const { verify, ...rest } = await answers(damaged);
    const changed = Object.keys(intact)
      .filter((what) => what !== 'verify' && !isDeepStrictEqual(rest[what], intact[what]))
      .map((what) => rest['open'] ?? rest[what]);
    if (changed.length === 0) continue;
    if (changed.every(isFound)) found++;
    else if (verify === 'found' || (verify as string[]).length > 0) byVerify++;
    else silent.push(bit);
  }
  t.same(silent, [], 'bits whose flip changed an answer, and nothing noticed');
  t.ok(found > FLIPS / 20, `${found} found when read, ${byVerify} more by verify()`);
  t.comment(`${FLIPS} flips: ${found} found when read, ${byVerify} by verify(), 0 wrong unnoticed`);
});

/** Journals as texts by workflow id. */
async function journals(path: string): Promise<Map<string, string[]>> {
  const store = new SqliteStore(path);
  await store.open();
  try {
    const found = new Map<string, string[]>();
    for (const { workflowId, runId } of await store.list({ limit: 100 })) {
      const entries = await store.read({ runId });
      readEntries(runId, entries, sha256);
      found.set(
        workflowId,
        entries.map((entry) => entry.hash),
      );
    }
    const damage = await store.verify();
    if (damage.length > 0) throw new Error(damage.join('\n'));
    return found;
  } finally {
    await store.close();
  }
}

/** The log of an engine that is killed: its file, its log and how to read both with another log. */
async function killed(t: Test): Promise<{
  log: Buffer;
  read: (log: Buffer) => Promise<Map<string, string[]>>;
}> {
  const folder = tempFolder(t);
  const path = join(folder, 'engine.db');
  const engine = await filled(path);
  t.teardown(() => engine.close());
  const copy = join(folder, 'copy.db');
  const read = (log: Buffer): Promise<Map<string, string[]>> => {
    copyFileSync(path, copy);
    writeFileSync(`${copy}-wal`, log);
    return journals(copy);
  };
  return { log: readFileSync(`${path}-wal`), read };
}

function count(all: Map<string, string[]>): number {
  return [...all.values()].flat().length;
}

test('a write-ahead log that is cut or torn anywhere is read up to the last whole commit', async (t) => {
  const { log, read } = await killed(t);
  const whole = await read(log);
  t.equal(whole.size, RUNS);
  const random = seededRandom(13);
  const offsets = Array.from({ length: CUTS }, () => Math.floor(random.next() * log.length));
  let before = -1;
  for (const at of offsets.toSorted((a, b) => a - b)) {
    const torn = Buffer.concat([log.subarray(0, at), Buffer.alloc(log.length - at)]);
    const seen = await read(log.subarray(0, at));
    t.equal(count(await read(torn)), count(seen), `torn at ${at} is as if cut there`);
    t.ok(count(seen) >= before, 'more log, more entries');
    before = count(seen);
    for (const [id, hashes] of seen) {
      t.same(hashes, whole.get(id)?.slice(0, hashes.length), `${id} is as it was at some commit`);
    }
  }
  t.ok(before > 0 && before <= count(whole));
});

const LOG_HEADER_BYTES = 32;
const FRAME_BYTES = 24 + 4_096;

test('a bit that flips in a write-ahead log is found, unless it looks like a power loss in the last commits', async (t) => {
  const { log, read } = await killed(t);
  const ends: number[] = [];
  for (let at = LOG_HEADER_BYTES; at + FRAME_BYTES <= log.length; at += FRAME_BYTES) {
    if (log.readUInt32BE(at + 4) !== 0) ends.push(at + FRAME_BYTES);
  }
  t.ok(ends.length > RUNS, `${ends.length} commits`);
  const sure = ends.at(-3) as number;
  const least = count(await read(log.subarray(0, sure)));
  const random = seededRandom(17);
  let found = 0;
  for (let i = 0; i < CUTS; i++) {
    const bit = Math.floor(random.next() * log.length * 8);
    const flipped = Buffer.from(log);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    try {
      const seen = await read(flipped);
      t.ok(bit >> 3 >= sure && count(seen) >= least, `bit ${bit} is in the last commits`);
    } catch (error) {
      t.match(error, { code: 'ERR_ENGINE_STORE_CORRUPT', message: /-wal is damaged at frame \d+/ });
      found++;
    }
  }
  t.ok(found > CUTS / 2, `${found} of ${CUTS} refused`);
});
