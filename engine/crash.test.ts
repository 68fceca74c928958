/** kill -9 at every boundary, each in turn, not at random; and what else can happen to a store. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { t as root, type Test, test } from 'tap';
import { Engine, workflow } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';
import { MemoryStore } from './io/memory.ts';
import type { Append, AppendResult } from './store.ts';

type Place = 'committed' | 'effectDone';

const CHILD = join(import.meta.dirname, 'crash.testchild.ts');

/** Half of a child's life is compiling. */
const COMPILED = mkdtempSync(join(tmpdir(), 'aether-compiled-'));
root.teardown(() => rmSync(COMPILED, { recursive: true, force: true }));

/** Effects of the workflow in the child, in any order. */
const EFFECTS = ['reserve', 'left', 'right', 'charge', 'pack', 'ship'];

/** With the start of the child, which leaves no mark of its own. */
const EFFECTS_DONE = EFFECTS.length + 1;

/** Boundaries that are tried side by side. */
const ABREAST = 4;

// Some fifty processes, one after the other on a busy machine.
root.setTimeout(240_000);

for (const where of ['committed', 'effectDone'] as const) {
  test(
    `killed at each ${where}: it goes on, and finished steps stay finished`,
    { timeout: 110_000 },
    (t) => killEverywhere(t, where),
  );
}
test('a damaged run is quarantined and named; others go on', damaged);
test('one commit holds what many runs did in a turn', groupCommit);
test(
  'when the disk fails nothing is acknowledged, and the run goes on once it works again',
  diskFails,
);
test('an engine that was taken over commits nothing more', fenced);

interface Exit {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(folder: string, ...args: string[]): Promise<Exit> {
  const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED };
  const one = spawn(process.execPath, [CHILD, folder, ...args], { env });
  const [stdout, stderr, [status, signal]] = await Promise.all([
    text(one.stdout),
    text(one.stderr),
    once(one, 'exit') as Promise<[number | null, string | null]>,
  ]);
  return { status, signal, stdout, stderr };
}

async function killEverywhere(t: Test, where: Place): Promise<void> {
  let next = 1;
  const reached: number[] = [];
  const histories = new Set<number>();
  const work = async (): Promise<void> => {
    for (let boundary = next++; ; boundary = next++) {
      const folder = mkdtempSync(join(tmpdir(), 'aether-crash-'));
      t.teardown(() => rmSync(folder, { recursive: true, force: true }));
      const killed = await run(folder, where, String(boundary));
      if (killed.signal !== 'SIGKILL') {
        t.equal(killed.status, 0, `past the last boundary nothing is killed ${killed.stderr}`);
        return;
      }
      reached.push(boundary);
      const resumed = await run(folder);
      t.equal(resumed.status, 0, resumed.stderr);
      const { result, events } = JSON.parse(resumed.stdout) as { result: string; events: number };
      t.equal(result, 'visa packed', `${where} ${boundary}`);
      histories.add(events);
      checkEffects(t, where, effects(folder));
    }
  };
  await Promise.all(Array.from({ length: ABREAST }, work));
  t.equal(histories.size, 1, 'the same history wherever it was cut');
  const [events] = histories;
  t.equal(
    reached.length,
    where === 'committed' ? events : EFFECTS_DONE,
    'every boundary was tried',
  );
}

function checkEffects(t: Test, where: Place, log: string[]): void {
  t.same(new Set(log.map((line) => line.split(' ')[0])), new Set(EFFECTS));
  t.equal(new Set(log).size, EFFECTS.length, 'a step that runs again has the same key');
  const again = log.filter((line, i) => log.indexOf(line) < i).map((line) => line.split(' ')[0]);
  const besides = again.filter((name) => name === 'left' || name === 'right').length;
  if (where === 'committed') {
    // One of two parallel steps may still be in flight when the outcome of the other is committed.
    t.ok(again.length === besides && besides <= 1, `finished steps ran once: ${log.join()}`);
  } else {
    t.ok(
      again.length <= 1 || (again.length === 2 && besides === 2),
      `only what was in flight: ${log.join()}`,
    );
  }
}

function effects(folder: string): string[] {
  try {
    return readFileSync(join(folder, 'effects'), 'utf8').trim().split('\n');
  } catch {
    return [];
  }
}

async function damaged(t: Test): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'aether-damage-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'engine.db');
  const waits = workflow('waits', async (ctx) => [
    await ctx.step('a', () => 'A'),
    await ctx.receive('go'),
  ]);
  const open = (): Promise<Engine> =>
    Engine.open({ store: new SqliteStore(path), workflows: [waits] });
  const first = await open();
  for (const id of ['good', 'bad']) {
    const handle = await first.start(waits, undefined, { id });
    while ((await handle.describe()).pending[0]?.kind !== 'receive') continue;
  }
  await first.close();
  const db = new Database(path);
  const { changes } = db
    .prepare(
      `update entry set body = replace(body, '"payload":"A"', '"payload":"B"')
       where run = (select number from run where workflow_id = 'bad')`,
    )
    .run();
  t.ok(changes > 0);
  db.close();
  const second = await open();
  await t.rejects(second.get('bad').signal('go'), {
    code: 'ERR_ENGINE_STORE_CORRUPT',
    message: /entry 2 is damaged/,
  });
  await t.rejects(second.get('bad').result(), { code: 'ERR_ENGINE_STORE_CORRUPT' });
  t.match(await second.get('bad').describe(), {
    status: 'quarantined',
    pending: [{ name: 'ERR_ENGINE_STORE_CORRUPT' }],
  });
  await second.get('good').signal('go', 1);
  t.same(await second.get('good').result(), ['A', 1]);
  await second.close();
}

async function groupCommit(t: Test): Promise<void> {
  const steps = workflow('steps', async (ctx) => {
    for (let i = 0; i < 10; i++) await ctx.step('s', () => i);
  });
  const folder = mkdtempSync(join(tmpdir(), 'aether-group-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const open = (name: string): Promise<Engine> =>
    Engine.open({ store: new SqliteStore(join(folder, name)), workflows: [steps] });
  const alone = await open('alone.db');
  await (await alone.start(steps)).result();
  t.equal(alone.commits, 11, 'start + first step, nine outcomes, last outcome + end');
  await alone.close();
  const many = await open('many.db');
  const handles = await Promise.all(Array.from({ length: 64 }, () => many.start(steps)));
  await Promise.all(handles.map((handle) => handle.result()));
  const events = 64 * 22;
  t.ok(many.commits < events / 20, `${many.commits} commits for ${events} events`);
  await many.close();
}

class FailingStore extends MemoryStore {
  failing = false;
  override append(batch: readonly Append[]): Promise<AppendResult[]> {
    if (this.failing) return Promise.reject(new Error('ENOSPC'));
    return super.append(batch);
  }
}

async function diskFails(t: Test): Promise<void> {
  let calls = 0;
  const store = new FailingStore();
  const body = workflow('w', async (ctx) => {
    const go = await ctx.receive('go');
    await ctx.step('after', () => void calls++);
    return go;
  });
  const engine = await Engine.open({ store, workflows: [body] });
  t.teardown(() => engine.close());
  const handle = await engine.start(body);
  store.failing = true;
  await t.rejects(handle.signal('go', 1), { message: 'ENOSPC' });
  await t.rejects(engine.start(body), { message: 'ENOSPC' });
  t.equal(calls, 0, 'what follows from it did not begin');
  store.failing = false;
  await handle.signal('go', 2);
  t.equal(await handle.result(), 2);
  t.equal(calls, 1);
}

async function fenced(t: Test): Promise<void> {
  const store = new MemoryStore();
  const waits = workflow('w', (ctx) => ctx.receive('go'));
  const old = await Engine.open({ store, workflows: [waits] });
  const handle = await old.start(waits, undefined, { id: 'id' });
  const owner = await Engine.open({ store, workflows: [waits] });
  t.teardown(() => Promise.all([owner.close(), old.close()]));
  await t.rejects(handle.signal('go', 'from the old owner'), { code: 'ERR_ENGINE_FENCED' });
  await owner.get('id').signal('go', 'from the new one');
  t.equal(await owner.get('id').result(), 'from the new one');
}
