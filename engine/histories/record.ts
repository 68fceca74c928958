/**
 * Records a history of every kind for the release that package.json names:
 *
 *   node engine/histories/record.ts
 *
 * What was recorded once is never recorded again: later releases must read it as it is.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { trace } from '@opentelemetry/api';
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base';
import type { Engine, History } from '../index.ts';
import { TestEngine, type TestEngineOptions } from '../testing.ts';
import workflows, {
  bug,
  chance,
  mended,
  pages,
  parent,
  races,
  retried,
  rounds,
  saga,
  scopes,
  signals,
  steps,
  timed,
  timers,
  updates,
  waits,
  ways,
  waysBefore,
} from './workflows.ts';

/** @returns an engine of which every run is kept, closed or open. */
type Scenario = () => Promise<TestEngine>;

const open = (options: Partial<TestEngineOptions> = {}): Promise<TestEngine> =>
  TestEngine.open({ workflows, ...options });

const ended = (engine: Engine, id: string): Promise<unknown> =>
  engine
    .get(id)
    .result()
    .catch(() => {});

/** Resolves once what the run waits for first has that name. */
async function waiting(engine: Engine, id: string, name: string): Promise<void> {
  while ((await engine.get(id).describe()).pending[0]?.name !== name) {
    await new Promise((resolve) => void setImmediate(resolve));
  }
}

const SCENARIOS: Record<string, Scenario> = {
  async steps() {
    const engine = await open();
    await engine.start(steps, { order: 1, items: new Map([['b', 2]]) }, { id: 'steps' });
    await engine.start(races, undefined, { id: 'races' });
    await engine.start(chance, undefined, { id: 'chance' });
    await engine.start(timers, undefined, { id: 'timers' });
    for (const id of ['steps', 'races', 'chance', 'timers']) await engine.get(id).result();
    return engine;
  },

  async signals() {
    const engine = await open();
    const handle = await engine.start(signals, undefined, {
      id: 'signals',
      signal: { name: 'early', payload: { before: 'anyone waited' } },
    });
    for (const note of ['a', 'b']) await handle.signal('note', note, { id: note });
    await waiting(engine, 'signals', 'late');
    await handle.signal('late');
    await handle.result();
    return engine;
  },

  async updates() {
    const engine = await open();
    const handle = await engine.start(updates, undefined, { id: 'updates' });
    await Promise.all(['melon', 'fig'].map((item) => handle.update('add', item, { id: item })));
    await handle.update('refuse', undefined, { id: 'refuse' }).catch(() => {});
    await handle.update('close', undefined, { id: 'close' });
    await handle.result();
    return engine;
  },

  async children() {
    const engine = await open();
    await (await engine.start(parent, undefined, { id: 'parent' })).result();
    await ended(engine, 'parent/cancel');
    await ended(engine, 'parent/terminate');
    return engine;
  },

  async scopes() {
    const engine = await open();
    const handle = await engine.start(scopes, undefined, { id: 'scopes' });
    await waiting(engine, 'scopes', 'go');
    await handle.cancel('changed my mind');
    await ended(engine, 'scopes');
    for (const input of ['undone', 'stuck']) {
      await engine.start(saga, input, { id: input });
      await ended(engine, input);
    }
    return engine;
  },

  async continued() {
    const engine = await open();
    const signal = { name: 'go', payload: new Date(1) };
    await (await engine.start(pages, 1, { id: 'pages', signal })).result();
    return engine;
  },

  async rounds() {
    const engine = await open();
    const handle = await engine.start(rounds, 1, { id: 'rounds' });
    await handle.update('note', undefined, { id: 'note' });
    for (const id of ['once', 'once', 'twice']) await handle.signal('next', undefined, { id });
    await handle.result();
    return engine;
  },

  async ends() {
    const engine = await open();
    const start = async (id: string, options = {}): Promise<void> =>
      void (await engine.start(waits, id, { id, ...options }));
    await start('open', { attributes: { customer: 'c1' } });
    await start('terminate');
    await start('cancel');
    await start('hold');
    for (const id of ['open', 'terminate', 'cancel', 'hold']) await waiting(engine, id, 'go');
    await engine.get('terminate').terminate('no more');
    await engine.get('cancel').cancel('no longer');
    await engine.get('hold').cancel();
    await start('time out', { timeout: '1h' });
    await start('never began', { delay: '1d' });
    await engine.get('never began').cancel('not needed');
    for (const id of ['terminate', 'cancel', 'hold', 'time out', 'never began']) {
      await ended(engine, id);
    }
    await engine.start(retried, undefined, { id: 'retried' });
    await ended(engine, 'retried');
    return engine;
  },

  async versions() {
    const before = await open({ workflows: [waysBefore] });
    await before.start(waysBefore, undefined, { id: 'before', signal: { name: 'go' } });
    await ended(before, 'before');
    return before;
  },

  async 'versions-marked'() {
    const engine = await open();
    await engine.start(ways, undefined, { id: 'after', signal: { name: 'go' } });
    await ended(engine, 'after');
    return engine;
  },

  async kept() {
    bug.there = true;
    const first = await open();
    const handle = await first.start(mended, undefined, { id: 'mended' });
    await waiting(first, 'mended', 'ERR_ENGINE_FOREIGN_AWAIT');
    for (const go of [1, 2]) await handle.signal('go', go, { id: `go ${go}` });
    bug.there = false;
    const engine = await first.crash();
    await engine.get('mended').result();
    return engine;
  },

  async queues() {
    const engine = await open({ queues: { q: { concurrency: 1, fairness: true } } });
    const options = { queue: 'q', fairnessKey: 'tenant', signal: { name: 'go' } };
    await engine.start(pages, 2, { id: 'has a place', ...options });
    await engine.start(pages, 3, { id: 'waits', priority: 1, delay: '1m', ...options });
    for (const id of ['has a place', 'waits']) await engine.get(id).result();
    return engine;
  },

  async traced() {
    trace.setGlobalTracerProvider(new BasicTracerProvider());
    const engine = await open();
    await engine.start(steps, { order: 2, items: new Map() }, { id: 'steps' });
    await engine.start(timers, undefined, { id: 'timers' });
    for (const id of ['steps', 'timers']) await engine.get(id).result();
    trace.disable();
    return engine;
  },

  async schedules() {
    const engine = await open({ skipTime: false, startAt: Date.UTC(2026, 2, 27) });
    const { schedules } = engine;
    await schedules.create('cron', {
      cron: '30 9 * * mon-fri',
      zone: 'Europe/Berlin',
      workflow: timed,
      input: '1m',
      jitter: '5m',
      note: 'the report',
    });
    await schedules.create('buffer', {
      every: '1h',
      workflow: timed,
      input: '90m',
      overlap: 'buffer-one',
    });
    await engine.advance('4h');
    await schedules.pause('buffer', 'holiday');
    await engine.advance('2h');
    await schedules.resume('buffer');
    await engine.advance('2h');
    await schedules.delete('buffer');
    // Long enough that it goes on as a new run, with one run of its own open all the time.
    await schedules.create('skip', { every: '1h', workflow: timed, input: '9d' });
    await engine.advance('4d');
    await schedules.trigger('cron');
    await schedules.backfill('cron', Date.UTC(2026, 2, 23), Date.UTC(2026, 2, 25));
    await engine.advance('10m');
    return engine;
  },
};

/** Every run of an engine, schedules included, in order of their start. */
async function histories(engine: Engine): Promise<History[]> {
  const found: History[] = [];
  for (const filter of [{}, { name: 'aether.schedule' }]) {
    for await (const { id, runId } of engine.list(filter)) {
      found.push(await engine.get(id, { runId }).history());
    }
  }
  return found;
}

/** @returns the files that it wrote */
async function record(folder: string): Promise<string[]> {
  mkdirSync(folder);
  const files: string[] = [];
  for (const [scenario, run] of Object.entries(SCENARIOS)) {
    const engine = await run();
    for (const [i, history] of (await histories(engine)).entries()) {
      const file = join(folder, `${scenario}-${i + 1}.json`);
      writeFileSync(file, `${JSON.stringify(history, null, 1)}\n`);
      files.push(file);
    }
    await engine.close();
  }
  return files;
}

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };
const folder = join(import.meta.dirname, version);
if (existsSync(folder)) {
  console.error(`${folder} is there, and stays as it is`);
  process.exitCode = 1;
} else {
  console.log(`${(await record(folder)).length} histories of ${version}`);
}
