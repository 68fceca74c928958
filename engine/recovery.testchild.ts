/**
 * The process that recovery.test.ts kills: FOLDER build|recover [N|=NAME]
 *
 * `build` brings a store to where runs of every sort are under way, prints where they stand, and ends itself with
 * SIGKILL. `recover` opens it, lets every run end and prints what came of them; at the Nth boundary, or at one of that name, it ends itself with
 * SIGKILL instead. Boundaries are: before each call into SQLite until the engine is open; then before each run
 * is read, before and after each commit, before each step's effect and after it.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { JournalEvent } from './core/event.ts';
import { Engine, type EngineProbe, RetryAfterError, type StepContext, workflow } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';
import type { EngineOptions } from './options.ts';
import type { Append, AppendResult } from './store.ts';
import { VirtualClock } from './testing.ts';

const [, , folder = '', mode = '', at = '0'] = process.argv;
const path = join(folder, 'engine.db');
const building = mode === 'build';

/** Whether `Engine.open` is through, and whether all runs have ended. */
let opened = false;
let ended = false;

/** What happened outside, and what was durable then: one line each, in order. */
const lines = join(folder, 'lines');
const note = (line: string): void => appendFileSync(lines, `${line}\n`);

// ---- boundaries ----------------------------------------------------------------------------------

const boundaries: string[] = [];
let left = at.startsWith('=') ? 0 : Number(at);
function boundary(name: string): void {
  if (building || ended) return;
  boundaries.push(name);
  if (--left !== 0 && at !== `=${name}`) return;
  note(`killed ${name}`);
  process.kill(process.pid, 'SIGKILL');
}

/** Appends that the transaction under way holds. */
let batch: readonly Append[] = [];

/** The outcome of a step is durable from here on, whoever hears of it. */
function committed(): void {
  for (const { runId, entry } of batch) {
    if (entry === undefined) continue;
    for (const event of JSON.parse(entry.body) as JournalEvent[]) {
      if (event.kind !== 'step-completed' && event.kind !== 'step-failed') continue;
      note(`recorded ${runId}/${event.op}`);
    }
  }
  batch = [];
}

type Call = (this: { source?: string }, ...values: unknown[]) => unknown;

/** Of the calls of an engine that is open: reading the journal of a run that is loaded, and a commit. */
function isBoundary(sql: string, values: unknown[]): boolean {
  return !opened || sql === 'commit' || (sql.startsWith('select idx as') && values[1] === 1);
}

function watch(
  owner: Record<string, Call>,
  method: string,
  sqlOf: (statement: { source?: string }, sql: unknown) => string,
): void {
  const call = owner[method] as Call;
  owner[method] = function (...values): unknown {
    const sql = sqlOf(this, values[0]).trim().replaceAll(/\s+/g, ' ').slice(0, 40);
    if (isBoundary(sql, values)) boundary(`before ${sql}`);
    const result = call.apply(this, values);
    if (sql === 'commit') {
      committed();
      boundary('after commit');
    }
    return result;
  };
}

function watchSqlite(): void {
  const db = new Database(':memory:');
  const statements = Object.getPrototypeOf(db.prepare('select 1')) as Record<string, Call>;
  for (const method of ['run', 'get', 'all'])
    watch(statements, method, ({ source = '' }) => source);
  watch(Object.getPrototypeOf(db) as Record<string, Call>, 'exec', (_, sql) => String(sql));
  db.close();
}

class WatchedStore extends SqliteStore {
  override append(appends: readonly Append[]): Promise<AppendResult[]> {
    batch = appends;
    return super.append(appends);
  }
}

const probe: EngineProbe = { effectDone: ({ step = '' }) => boundary(`done ${step}`) };

// ---- workflows -----------------------------------------------------------------------------------

function effect(step: StepContext, name: string): string {
  boundary(`begins ${name}`);
  note(`effect ${step.idempotencyKey} ${step.ballot} ${name}`);
  return name;
}
const done = (name: string) => (step: StepContext) => effect(step, name);
/** Under way when the store is left. */
const underWay = (name: string) => (step: StepContext) => {
  effect(step, name);
  return building ? new Promise<string>(() => {}) : name;
};

const steps = workflow('steps', async (ctx) => {
  const first = await ctx.step('first', done('first'));
  const both = await Promise.all([
    ctx.step('left', done('left')),
    ctx.step('right', underWay('right')),
  ]);
  return [first, ...both, await ctx.step('last', done('last'))];
});
/** More than its journal holds. */
const TRIES = 22;
const retrying = workflow('retrying', (ctx) =>
  ctx.step(
    'flaky',
    (step) => {
      effect(step, `try ${step.attempt} after ${String(step.lastHeartbeat)}`);
      step.heartbeat(step.attempt);
      if (step.attempt < TRIES) throw new RetryAfterError('again', 0);
      if (step.attempt < TRIES + 2) throw new Error('later');
      return step.attempt;
    },
    { retry: { initial: '1h', factor: 1, max: '1h', jitter: false } },
  ),
);
const sleeping = workflow('sleeping', async (ctx) => {
  await ctx.step('before', done('before'));
  await ctx.sleep('nap', '3h');
  return ctx.step('after', done('after'));
});
const queued = workflow('queued', (ctx) => ctx.step('work', underWay('work')));
const child = workflow('child', async (ctx, long: boolean) => {
  if (long) await ctx.sleep('long', '5h');
  return ctx.step('child', underWay('child'));
});
const parent = workflow('parent', async (ctx) => {
  const awaited = await ctx.child(child, false, { id: 'awaited' });
  for (const onParentClose of ['cancel', 'terminate', 'abandon'] as const) {
    await ctx.child(child, true, { id: onParentClose, onParentClose });
  }
  return awaited.result();
});
const tick = workflow('tick', (ctx) => ctx.step('tick', done('tick')));
const mended = workflow('mended', async (ctx) => {
  await ctx.step('first', done('first'));
  if (building) await new Promise(() => {});
  return ctx.receive('go');
});
const lost = workflow('lost', async (ctx) => {
  await ctx.step('first', done('first'));
  await new Promise(() => {});
});
const updated = workflow('updated', async (ctx) => {
  const seen: string[] = [];
  ctx.onUpdate('set', async (value: string) => {
    seen.push(await ctx.step('set', underWay(value)));
    return value.toUpperCase();
  });
  await ctx.condition(() => seen.length === 1);
  return seen;
});
const undoing = workflow('undoing', async (ctx) => {
  for (const name of ['one', 'two', 'three']) {
    await ctx.step(name, done(name), {
      compensate: (_, step) => (name === 'two' ? underWay : done)(`undo ${name}`)(step) as never,
    });
  }
  throw new Error('it went wrong');
});
const continuing = workflow('continuing', async (ctx, round: number): Promise<string> => {
  const name = await ctx.step('round', (round === 2 ? underWay : done)(`round ${round}`));
  return round < 3 ? ctx.continueAsNew(round + 1) : name;
});
const again = workflow(
  'again',
  async (ctx) => {
    await ctx.step('work', done('work'));
    throw new Error('try again');
  },
  { retry: { attempts: 2, initial: '1h', factor: 1, max: '1h' } },
);
const late = workflow('late', (ctx) => ctx.step('late', done('late')));
const limited = workflow('limited', (ctx) => ctx.sleep('for ever', '9999d'), { timeout: '4h' });
const listening = workflow('listening', async (ctx) => {
  await ctx.sleep('busy', '2h');
  return [await ctx.receive('word'), await ctx.receive('word')];
});
const sending = workflow('sending', async (ctx) => {
  await ctx.step('first', underWay('first'));
  await ctx.signal('listening', 'word', 'from a run');
  return (await ctx.child(child, false)).result();
});
const shielded = workflow('shielded', async (ctx) => {
  try {
    await ctx.sleep('nap', '9d');
  } finally {
    await ctx.shield((inner) => inner.step('clean up', underWay('clean up')));
  }
});

const workflows = [
  steps,
  retrying,
  sleeping,
  queued,
  child,
  parent,
  tick,
  mended,
  lost,
  updated,
  undoing,
  continuing,
  again,
  late,
  limited,
  listening,
  sending,
  shielded,
];

// ---- the two modes -------------------------------------------------------------------------------

class TimedEngine extends Engine {
  static async begun(options: EngineOptions, clock: VirtualClock): Promise<TimedEngine> {
    const engine = new TimedEngine({ ...options, clock });
    clock.attach(() => engine.executor.activity);
    await engine.begin();
    return engine;
  }
}

/** Each process begins when the one before it ended. */
class KeptClock extends VirtualClock {
  override nowMs(): number {
    const nowMs = super.nowMs();
    if (nowMs !== savedMs) writeFileSync(saved, String((savedMs = nowMs)));
    return nowMs;
  }
}
const saved = join(folder, 'now');
let savedMs = existsSync(saved) ? Number(readFileSync(saved, 'utf8')) : Date.UTC(2030, 0, 1, 0, 30);

watchSqlite();
const clock = new KeptClock(savedMs, !building);
const engine = await TimedEngine.begun(
  {
    store: new WatchedStore(path),
    workflows,
    queues: { narrow: { concurrency: 1 } },
    probe,
  },
  clock,
);
opened = true;

/** Acknowledged runs, by id. */
const IDS = [
  'steps',
  'retrying',
  'sleeping',
  'q1',
  'q2',
  'q3',
  'parent',
  'awaited',
  'cancel',
  'terminate',
  'abandon',
  'mended',
  'updated',
  'undoing',
  'continuing',
  'again',
  'late',
  'limited',
  'listening',
  'sending',
  'shielded',
];

async function build(): Promise<void> {
  await engine.schedules.create('even', { every: '2h', workflow: tick });
  for (const one of [
    steps,
    retrying,
    sleeping,
    mended,
    lost,
    updated,
    undoing,
    again,
    limited,
    listening,
    sending,
    parent,
    shielded,
  ]) {
    await engine.start(one as typeof steps, undefined, { id: one.name });
  }
  await engine.start(continuing, 1, { id: 'continuing' });
  for (const [id, priority] of [
    ['q1', 0],
    ['q2', 0],
    ['q3', 1],
  ] as const) {
    await engine.start(queued, undefined, { id, queue: 'narrow', priority });
  }
  await engine.start(late, undefined, { id: 'late', delay: '1h' });
  await clock.advance(1);
  await engine.get('mended').signal('go', 'kept');
  await engine.get('lost').signal('go', 'kept');
  await engine.get('listening').signal('word', 'from outside');
  await engine.get('updated').update('set', 'a', { id: 'u', waitFor: 'accepted' });
  await engine.get('shielded').cancel('enough');
  for (let i = 0; i < 5; i++) await clock.advance(1);
  console.log(JSON.stringify(await standing()));
  note('killed when it was built');
  process.stdout.write('', () => process.kill(process.pid, 'SIGKILL'));
  await new Promise(() => {});
}

async function standing(): Promise<object> {
  const where: Record<string, unknown> = {};
  for (const id of [...IDS, 'lost', 'aether.schedule/even']) {
    const { status, pending } = await engine.get(id).describe();
    where[id] = [status, ...pending.map(({ kind, name }) => `${kind} ${name}`)].join(', ');
  }
  return where;
}

async function recover(): Promise<void> {
  const results: Record<string, unknown> = {};
  for (const id of IDS) {
    results[id] = await engine
      .get(id)
      .result()
      .catch((error: Error) => `${error.name}: ${error.message}`);
  }
  ended = true;
  const { status, pending, events } = await engine.get('lost').describe();
  results['lost'] = [status, pending[0]?.name, events];
  const histories: Record<string, string[]> = {};
  const ticks: string[] = [];
  for await (const { id, runId, name } of engine.list()) {
    if (name === 'tick') ticks.push(id);
    if (name === 'tick') continue;
    const { events: recorded } = await engine.get(id, { runId }).history();
    (histories[id] ??= []).push(recorded.map(describe).toSorted().join('; '));
  }
  await engine.close();
  const store = new SqliteStore(path);
  await store.open();
  const damage = await store.verify();
  await store.close();
  console.log(JSON.stringify({ outcome: { results, histories, damage }, ticks, boundaries }));
}

function describe({
  kind,
  name = '',
  ...event
}: {
  kind: string;
  name?: string;
  [field: string]: unknown;
}): string {
  const number = event['op'] === undefined ? '' : ` ${event['op'] as number}`;
  return `${kind}${number} ${name}`.trim();
}

await clock.awaited(building ? build() : recover());
