/**
 * The engine on SQLite at full durability, beside a bare journal on the same disk in the same run.
 *
 * The ceiling writes what an engine must at least write (start, each outcome, end), waits for the commit before it goes
 * on, and commits once per turn of the event loop. It has no replay, retries, checks or results.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Engine, workflow } from '../engine/index.ts';
import { SqliteStore } from '../engine/io/sqlite.ts';
import {
  type Bench,
  type BenchOptions,
  type BenchResult,
  type Bound,
  type Figure,
  median,
  percentile,
} from './report.ts';

const STEPS = 10;
/** About 100 bytes as JSON. */
const PAYLOAD = { id: 'abcdefghij', note: 'x'.repeat(74) };
const WARM_UP_SECONDS = 0.5;

interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
}

/** One system that does the work of each case once per call. */
interface Subject {
  readonly name: string;
  steps10(): Promise<unknown>;
  empty(): Promise<unknown>;
  /** @returns what is measured: the round trip of a signal, or for the ceiling one commit */
  signal(): Promise<() => Promise<unknown>>;
  close(): Promise<void>;
}

interface Case {
  readonly name: string;
  readonly callers: number;
  readonly metric: string;
  readonly unit: string;
  prepare(subject: Subject): Promise<() => Promise<unknown>>;
  value(load: Load): number;
}

const CASES: readonly Case[] = [
  {
    name: 'steps10-c64',
    callers: 64,
    metric: 'stepsPerSecond',
    unit: '1/s',
    prepare: async (subject) => () => subject.steps10(),
    value: (load) => load.perSecond * STEPS,
  },
  {
    name: 'steps10-c1',
    callers: 1,
    metric: 'p50Ms',
    unit: 'ms',
    prepare: async (subject) => () => subject.steps10(),
    value: (load) => load.p50Ms,
  },
  {
    name: 'empty-c64',
    callers: 64,
    metric: 'workflowsPerSecond',
    unit: '1/s',
    prepare: async (subject) => () => subject.empty(),
    value: (load) => load.perSecond,
  },
  {
    name: 'signal',
    callers: 1,
    metric: 'p50Ms',
    unit: 'ms',
    prepare: (subject) => subject.signal(),
    value: (load) => load.p50Ms,
  },
];

export const bench: Bench = { name: 'engine', run };

async function run(options: BenchOptions): Promise<BenchResult> {
  // Not /tmp, which may be in memory, where an fsync costs nothing.
  const folder = mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
  try {
    const subjects = [
      await openAether(join(folder, 'aether.db')),
      openCeiling(join(folder, 'ceiling.db')),
    ];
    const cases = CASES.filter(
      (one) => options.cases.length === 0 || options.cases.includes(one.name),
    );
    const measured = new Map<string, number[]>();
    for (let round = 1; round <= options.rounds; round++) {
      for (const one of cases) {
        for (const subject of subjects) {
          options.progress(`round ${round}/${options.rounds}: ${one.name} ${subject.name}`);
          const load = await measure(one, subject, options.secondsPerCase);
          const key = `${one.name} ${subject.name}`;
          measured.set(key, [...(measured.get(key) ?? []), one.value(load)]);
        }
      }
    }
    for (const subject of subjects) await subject.close();
    const value = (name: string, subject: string): number =>
      median(measured.get(`${name} ${subject}`) ?? []);
    const figures = cases.flatMap(({ name, metric, unit }) =>
      subjects.map((subject): Figure => ({
        bench: 'engine',
        case: name,
        subject: subject.name,
        metric,
        value: Number(value(name, subject.name).toPrecision(5)),
        unit,
      })),
    );
    return { figures, bounds: bounds(value) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function bounds(value: (name: string, subject: string) => number): Bound[] {
  const ratio = (name: string): number => value(name, 'aether') / value(name, 'ceiling');
  const bound = (name: string, text: string, holds: boolean): Bound => ({
    bench: 'engine',
    case: name,
    text: `${text}; measured ${ratio(name).toPrecision(3)}`,
    holds,
  });
  return [
    bound('steps10-c64', 'at least 0.25 of the ceiling', ratio('steps10-c64') >= 0.25),
    bound('steps10-c1', 'at most 2 times the ceiling', ratio('steps10-c1') <= 2),
    bound('signal', 'at most 3 times one durable commit', ratio('signal') <= 3),
  ];
}

/** Closed loop: each caller asks again as soon as it is answered. */
async function measure(one: Case, subject: Subject, seconds: number): Promise<Load> {
  const latencies: number[] = [];
  const warmUntil = performance.now() + WARM_UP_SECONDS * 1_000;
  const until = warmUntil + seconds * 1_000;
  const callers = Array.from({ length: one.callers }, async () => {
    while (performance.now() < until) {
      const call = await one.prepare(subject);
      const startedMs = performance.now();
      await call();
      const endedMs = performance.now();
      if (startedMs >= warmUntil && endedMs <= until) latencies.push(endedMs - startedMs);
    }
  });
  await Promise.all(callers);
  return { perSecond: latencies.length / seconds, p50Ms: percentile(latencies, 0.5) };
}

async function openAether(path: string): Promise<Subject> {
  const steps10 = workflow('steps10', async (ctx) => {
    for (let i = 0; i < STEPS; i++) await ctx.step('step', () => PAYLOAD);
  });
  const empty = workflow('empty', async () => {});
  const signalled = workflow('signalled', async (ctx) => ctx.receive('go'));
  const engine = await Engine.open({
    store: new SqliteStore(path),
    workflows: [steps10, empty, signalled],
  });
  return {
    name: 'aether',
    steps10: async () => (await engine.start(steps10)).result(),
    empty: async () => (await engine.start(empty)).result(),
    signal: async () => {
      const handle = await engine.start(signalled);
      const result = handle.result();
      return async () => {
        await handle.signal('go', PAYLOAD);
        await result;
      };
    },
    close: () => engine.close(),
  };
}

function openCeiling(path: string): Subject {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec(`create table run (id integer primary key, status integer, output text);
    create table event (run integer, seq integer, body text, primary key (run, seq)) without rowid`);
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const insertRun = db.prepare('insert into run values (?, 0, null)');
  const insertEvent = db.prepare('insert into event values (?, ?, ?)');
  const finish = db.prepare('update run set status = 1, output = ? where id = ?');
  let pending: { write: () => void; done: () => void }[] = [];
  const flush = (): void => {
    const batch = pending;
    pending = [];
    begin.run();
    for (const { write } of batch) write();
    commit.run();
    for (const { done } of batch) done();
  };
  const write = (one: () => void): Promise<void> =>
    new Promise((done) => {
      if (pending.push({ write: one, done }) === 1) setImmediate(flush);
    });
  let last = 0;
  const work = async (steps: number): Promise<void> => {
    const id = ++last;
    await write(() => insertRun.run(id));
    for (let i = 0; i < steps; i++) {
      const body = JSON.stringify(PAYLOAD);
      await write(() => insertEvent.run(id, i, body));
    }
    await write(() => finish.run('1', id));
  };
  return {
    name: 'ceiling',
    steps10: () => work(STEPS),
    empty: () => work(0),
    signal: async () => {
      const id = ++last;
      return () => write(() => insertEvent.run(id, 0, JSON.stringify(PAYLOAD)));
    },
    close: async () => void db.close(),
  };
}
