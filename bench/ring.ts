/**
 * Placement (ring/balance.ts); membership (ring/membership.ts, ring/heal.ts); and the replicated key-value store over three processes at full
 * durability, beside a bare table on the same disk in the same run.
 *
 * The caller is in one of the three nodes. Every put is on two disks before it counts, every get
 * asks two nodes. The ceiling is one SQLite table that commits once per turn of the event loop: one
 * replica, no network.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { mintJoinToken, Ring } from '../ring/index.ts';
import { median, percentile } from './medians.ts';
import type { Bench, BenchOptions, BenchResult, Bound, Figure } from './report.ts';
import { attacks } from './ring/attacks.ts';
import { balance } from './ring/balance.ts';
import { heal } from './ring/heal.ts';
import { membership } from './ring/membership.ts';

const VALUE_BYTES = 256;
const KEYS = 1_000;
const WARM_UP_SECONDS = 0.5;
/** First argument of this file as a process of its own: one more node. */
const MEMBER = 'member';

interface Load {
  readonly opsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

interface Subject {
  readonly name: string;
  put(key: string): Promise<unknown>;
  get(key: string): Promise<unknown>;
  close(): Promise<void>;
}

interface Case {
  readonly name: string;
  readonly callers: number;
  readonly operation: 'put' | 'get';
  /** Part of the ceiling that it must reach. */
  readonly least: number;
}

const CASES: readonly Case[] = [
  { name: 'kv-put-c1', callers: 1, operation: 'put', least: 0.08 },
  { name: 'kv-put-c64', callers: 64, operation: 'put', least: 0.03 },
  { name: 'kv-get-c64', callers: 64, operation: 'get', least: 0.03 },
];

const METRICS = [
  { metric: 'opsPerSecond', unit: '1/s' },
  { metric: 'p50Ms', unit: 'ms' },
  { metric: 'p99Ms', unit: 'ms' },
] as const;

export const bench: Bench = { name: 'ring', run };

async function run(options: BenchOptions): Promise<BenchResult> {
  const results = [
    balance(options),
    await membership(options),
    await heal(options),
    await attacks(options),
  ];
  const cases = CASES.filter(
    ({ name }) => options.cases.length === 0 || options.cases.includes(name),
  );
  if (cases.length > 0) results.push(await store(options, cases));
  return {
    figures: results.flatMap((result) => result.figures),
    bounds: results.flatMap((result) => result.bounds),
  };
}

async function store(options: BenchOptions, cases: readonly Case[]): Promise<BenchResult> {
  // Not /tmp, which may be in memory, where an fsync costs nothing.
  const folder = mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
  const subjects: Subject[] = [];
  try {
    subjects.push(await openAether(folder), openCeiling(join(folder, 'ceiling.db')));
    const loads = new Map<string, Load[]>();
    for (const subject of subjects)
      for (let key = 0; key < KEYS; key++) await subject.put(String(key));
    for (let round = 1; round <= options.rounds; round++) {
      for (const one of cases) {
        for (const subject of subjects) {
          options.progress(`round ${round}/${options.rounds}: ${one.name} ${subject.name}`);
          const load = await measure(one, subject, options.secondsPerCase);
          const key = `${one.name} ${subject.name}`;
          loads.set(key, [...(loads.get(key) ?? []), load]);
        }
      }
    }
    const value = (name: string, subject: string, metric: keyof Load): number =>
      median((loads.get(`${name} ${subject}`) ?? []).map((load) => load[metric]));
    const figures = cases.flatMap(({ name }) =>
      subjects.flatMap((subject) =>
        METRICS.map(({ metric, unit }): Figure => ({
          bench: 'ring',
          case: name,
          subject: subject.name,
          metric,
          value: Number(value(name, subject.name, metric).toPrecision(5)),
          unit,
        })),
      ),
    );
    const opsPerSecond = (name: string, subject: string): number =>
      value(name, subject, 'opsPerSecond');
    return { figures, bounds: bounds(cases, opsPerSecond) };
  } finally {
    for (const subject of subjects) await subject.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Three replicas on one disk, each with a commit of its own, and two round trips over TLS. */
function bounds(
  cases: readonly Case[],
  opsPerSecond: (name: string, subject: string) => number,
): Bound[] {
  return cases.map(({ name, least }) => {
    const ratio = opsPerSecond(name, 'aether') / opsPerSecond(name, 'ceiling');
    return {
      bench: 'ring',
      case: name,
      text: `at least ${least} of the ceiling; measured ${ratio.toPrecision(3)}`,
      holds: ratio >= least,
    };
  });
}

/** Closed loop: each caller asks again as soon as it is answered. */
async function measure(one: Case, subject: Subject, seconds: number): Promise<Load> {
  const latencies: number[] = [];
  const warmUntil = performance.now() + WARM_UP_SECONDS * 1_000;
  const until = warmUntil + seconds * 1_000;
  let next = 0;
  const callers = Array.from({ length: one.callers }, async () => {
    while (performance.now() < until) {
      const key = String(next++ % KEYS);
      const startedMs = performance.now();
      await subject[one.operation](key);
      const endedMs = performance.now();
      if (startedMs >= warmUntil && endedMs <= until) latencies.push(endedMs - startedMs);
    }
  });
  await Promise.all(callers);
  return {
    opsPerSecond: latencies.length / seconds,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

/** Each time another: SQLite does not write a page that stays as it is. */
function freshValue(): Uint8Array {
  return randomBytes(VALUE_BYTES);
}

async function openAether(folder: string): Promise<Subject> {
  const founder = await Ring.open({ data: join(folder, 'node0') });
  const others: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    for (const other of others) {
      if (other.exitCode !== null || other.signalCode !== null) continue;
      const exited = once(other, 'exit');
      other.kill('SIGTERM');
      await exited;
    }
    await founder.close();
  };
  try {
    for (const name of ['node1', 'node2']) {
      const token = mintJoinToken(join(folder, 'node0'), { expiresMs: 60_000 });
      const args = [MEMBER, join(folder, name), founder.address, token];
      const other = fork(import.meta.filename, args, {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      others.push(other);
      const [message] = (await Promise.race([once(other, 'message'), once(other, 'exit')])) as [
        unknown,
      ];
      if (message !== 'ready') throw new Error(`${name} did not come up`);
    }
    await founder.kv.createBucket('bench', { class: 'eventual', replicas: 3 });
    const bucket = founder.kv.bucket('bench');
    return {
      name: 'aether',
      put: (key) => bucket.put(key, freshValue()),
      get: (key) => bucket.get(key),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function openCeiling(path: string): Subject {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec('create table pair (key text primary key, value blob) without rowid');
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const put = db.prepare('insert or replace into pair values (?, ?)');
  const get = db.prepare('select value from pair where key = ?');
  let pending: { key: string; value: Uint8Array; done: () => void }[] = [];
  const flush = (): void => {
    const batch = pending;
    pending = [];
    begin.run();
    for (const { key, value } of batch) put.run(key, value);
    commit.run();
    for (const { done } of batch) done();
  };
  return {
    name: 'ceiling',
    put: (key) =>
      new Promise<void>((done) => {
        if (pending.push({ key, value: freshValue(), done }) === 1) setImmediate(flush);
      }),
    get: async (key) => get.get(key),
    close: async () => void db.close(),
  };
}

async function serveMember(data: string, founder: string, token: string): Promise<void> {
  const ring = await Ring.open({ data, join: [founder], token });
  const stop = (): void => void ring.close().then(() => process.exit(0));
  process.on('SIGTERM', stop);
  // The benchmark is gone without a word.
  process.on('disconnect', stop);
  process.send?.('ready');
}

const [role, ...args] = process.argv.slice(2);
if (role === MEMBER) {
  const [data = '', founder = '', token = ''] = args;
  await serveMember(data, founder, token);
}
