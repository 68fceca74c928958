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
import { crashMid } from './engine/crash-mid.ts';
import { longRun, replay } from './engine/long-runs.ts';
import { sleeping } from './engine/sleeping.ts';
import type { Trial } from './engine/trial.ts';
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
  /** What the ratio to the ceiling of the same run must keep. */
  readonly ceiling?: { readonly text: string; holds(ratio: number): boolean };
  /** What must hold against other engines. */
  readonly peer?: string;
}

const NO_PEERS = 'no peer is installed beside this checkout';

const CASES: readonly Case[] = [
  {
    name: 'steps10-c64',
    callers: 64,
    metric: 'stepsPerSecond',
    unit: '1/s',
    prepare: async (subject) => () => subject.steps10(),
    value: (load) => load.perSecond * STEPS,
    ceiling: { text: 'at least 0.25 of the ceiling', holds: (ratio) => ratio >= 0.25 },
    peer: 'at least 8 times the best peer',
  },
  {
    name: 'steps10-c1',
    callers: 1,
    metric: 'p50Ms',
    unit: 'ms',
    prepare: async (subject) => () => subject.steps10(),
    value: (load) => load.p50Ms,
    ceiling: { text: 'at most 2 times the ceiling', holds: (ratio) => ratio <= 2 },
  },
  {
    name: 'empty-c64',
    callers: 64,
    metric: 'workflowsPerSecond',
    unit: '1/s',
    prepare: async (subject) => () => subject.empty(),
    value: (load) => load.perSecond,
    peer: 'at least 4 times the best peer',
  },
  {
    name: 'signal',
    callers: 1,
    metric: 'p50Ms',
    unit: 'ms',
    prepare: (subject) => subject.signal(),
    value: (load) => load.p50Ms,
    ceiling: { text: 'at most 3 times one durable commit', holds: (ratio) => ratio <= 3 },
  },
];

const TRIALS: readonly Trial[] = [crashMid, sleeping, longRun, replay];

export const bench: Bench = { name: 'engine', run };

async function run(options: BenchOptions): Promise<BenchResult> {
  // Not /tmp, which may be in memory, where an fsync costs nothing.
  const folder = mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
  const wanted = ({ name }: { name: string }): boolean =>
    options.cases.length === 0 || options.cases.includes(name);
  try {
    const loads = await measureLoads(CASES.filter(wanted), options, folder);
    const trials = await measureTrials(TRIALS.filter(wanted), options, folder);
    return {
      figures: [...loads.figures, ...trials.figures],
      bounds: [...loads.bounds, ...trials.bounds],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureLoads(
  cases: readonly Case[],
  options: BenchOptions,
  folder: string,
): Promise<BenchResult> {
  const subjects = [
    await openAether(join(folder, 'aether.db')),
    openCeiling(join(folder, 'ceiling.db')),
  ];
  const measured = new Medians();
  for (let round = 1; round <= options.rounds; round++) {
    for (const one of cases) {
      for (const subject of subjects) {
        options.progress(`round ${round}/${options.rounds}: ${one.name} ${subject.name}`);
        const load = await measure(one, subject, options.secondsPerCase);
        measured.add(`${one.name} ${subject.name}`, one.value(load));
      }
    }
  }
  for (const subject of subjects) await subject.close();
  const figures = cases.flatMap(({ name, metric, unit }) =>
    subjects.map((subject): Figure => {
      const value = measured.value(`${name} ${subject.name}`);
      return { bench: 'engine', case: name, subject: subject.name, metric, value, unit };
    }),
  );
  const bounds = cases.flatMap(({ name, ceiling, peer }): Bound[] => {
    const ratio = measured.value(`${name} aether`) / measured.value(`${name} ceiling`);
    return [
      ...(ceiling === undefined
        ? []
        : [
            {
              bench: 'engine',
              case: name,
              text: `${ceiling.text}; measured ${ratio.toPrecision(3)}`,
              holds: ceiling.holds(ratio),
            },
          ]),
      ...(peer === undefined
        ? []
        : [{ bench: 'engine', case: name, text: peer, holds: undefined, why: NO_PEERS }]),
    ];
  });
  return { figures, bounds };
}

async function measureTrials(
  trials: readonly Trial[],
  options: BenchOptions,
  folder: string,
): Promise<BenchResult> {
  const measured = new Medians();
  for (let round = 1; round <= options.rounds; round++) {
    for (const trial of trials) {
      options.progress(`round ${round}/${options.rounds}: ${trial.name}`);
      const own = mkdtempSync(join(folder, `${trial.name}-`));
      const values = await trial.measure(own);
      rmSync(own, { recursive: true });
      for (const metric of Object.keys(trial.units)) {
        measured.add(`${trial.name} ${metric}`, values[metric] ?? Number.NaN);
      }
    }
  }
  const figures = trials.flatMap(({ name, units }) =>
    Object.entries(units).map(([metric, unit]): Figure => {
      const value = measured.value(`${name} ${metric}`);
      return { bench: 'engine', case: name, subject: 'aether', metric, value, unit };
    }),
  );
  const bounds = trials.flatMap((trial) =>
    trial
      .bounds((metric) => measured.value(`${trial.name} ${metric}`))
      .map(({ text, holds }): Bound => ({ bench: 'engine', case: trial.name, text, holds })),
  );
  return { figures, bounds };
}

/** Values of several rounds by key. */
class Medians {
  readonly #values = new Map<string, number[]>();

  add(key: string, value: number): void {
    this.#values.set(key, [...(this.#values.get(key) ?? []), value]);
  }

  value(key: string): number {
    return Number(median(this.#values.get(key) ?? []).toPrecision(5));
  }
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
