import { type Test, test } from 'tap';
import type { RunRecord } from './core/record.ts';
import { Engine, TimeoutError, workflow } from './index.ts';
import { Endings } from './io/endings.ts';
import type { Executor } from './io/executor.ts';
import type { Store } from './store.ts';
import { MemoryStore, TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

const waits = workflow('waits', (ctx) => ctx.receive('go'));

test('a wait that is over before it began, or has no duration, leaves nothing behind', async (t) => {
  const fails = workflow('fails', async (ctx) => {
    await ctx.receive('go');
    throw new Error('broken');
  });
  const engine = await open(t, { workflows: [fails] });
  const handle = await engine.start(fails);
  await t.rejects(handle.result({ signal: AbortSignal.abort(new Error('gone')) }), /gone/);
  await t.rejects(handle.result({ timeout: 'soon' }), { code: 'ERR_DURATION' });
  await t.rejects(handle.update('u', 1, { timeout: 'soon' }), { code: 'ERR_DURATION' });
  await t.rejects(handle.query('q', 1, { timeout: 'soon' }), { code: 'ERR_DURATION' });
  await handle.signal('go');
  await t.rejects(handle.result(), /broken/);
  await new Promise((resolve) => void setImmediate(resolve));
  // A rejection that nobody looks at would have ended this process.
});

test('how long one waits goes by the clock of the engine', async (t) => {
  const engine = await open(t, { workflows: [waits], startAt: 0 });
  const handle = await engine.start(waits);
  await t.rejects(handle.result({ timeout: '30d' }), TimeoutError);
  t.equal(engine.clock.now(), 30 * 86_400_000);
  const still = await open(t, { workflows: [waits], skipTime: false });
  const other = await still.start(waits);
  const waiting = other.result({ timeout: '30d' });
  await Promise.all([t.rejects(waiting, TimeoutError), still.advance('30d')]);
});

test('who does not wait any more is forgotten, though the run goes on', async (t) => {
  const listening = new Set<object>();
  const executor: Pick<Executor, 'ending' | 'recordOf'> = {
    ending: () => {
      const listener = {};
      listening.add(listener);
      return () => void listening.delete(listener);
    },
    recordOf: async () => ({ workflowId: 'a', status: 'running' }) as RunRecord,
  };
  const endings = new Endings(executor as Executor, {} as Store);
  const over = new AbortController();
  const waiting = [endings.last('a', 'r', over.signal), endings.last('a', 'r')];
  await new Promise((resolve) => void setImmediate(resolve));
  t.equal(listening.size, 2);
  over.abort(new Error('given up'));
  await t.rejects(waiting[0] as Promise<unknown>, /given up/);
  t.equal(listening.size, 1);
});

test('an update is rejected also when its run ends in the commit that accepts it', async (t) => {
  const breaks = workflow('breaks', async (ctx) => {
    let asked = false;
    ctx.onUpdate('u', async () => {
      asked = true;
      await ctx.sleep('long', '1d');
    });
    await ctx.condition(() => asked);
    throw new Error('broken');
  });
  const engine = await open(t, { workflows: [breaks] });
  const handle = await engine.start(breaks);
  await t.rejects(handle.update('u'), {
    code: 'ERR_ENGINE_UPDATE_REJECTED',
    message: /ended before/,
  });
});

test('what a query gives, and what a summary says, is a copy', async (t) => {
  const lists = workflow('lists', async (ctx) => {
    const items = ['a'];
    ctx.onQuery('items', () => items);
    ctx.onQuery('later', async () => items);
    ctx.onQuery('odd', () => () => items);
    await ctx.receive('go');
    return items;
  });
  const engine = await open(t, { workflows: [lists] });
  const handle = await engine.start(lists, undefined, { id: 'a', attributes: { k: 'v' } });
  (await handle.query<string[]>('items')).push('forged');
  for await (const run of engine.list()) run.attributes['k'] = 'forged';
  for await (const run of engine.list()) t.same(run.attributes, { k: 'v' });
  await t.rejects(handle.query('later'), { code: 'ERR_ENGINE_QUERY', message: /asynchronous/ });
  await t.rejects(handle.query('odd'), { code: 'ERR_ENGINE_PAYLOAD_TYPE' });
  await handle.signal('go');
  t.same(await handle.result(), ['a']);
});

test('without its codec a run is stuck, whatever it waits for, and goes on with it', async (t) => {
  const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0x55);
  const codec = { encode: flip, decode: flip };
  const store = new MemoryStore();
  const joins = workflow(
    'joins',
    async (ctx, input: string) => input + (await ctx.receive<string>('go')),
  );
  const first = await Engine.open({ store, workflows: [joins], codec });
  await first.start(joins, 'a', { id: 'begun' });
  await first.start(joins, 'b', { id: 'delayed', delay: 1 });
  await first.close();
  const second = await Engine.open({ store, workflows: [joins] });
  for (const id of ['begun', 'delayed']) {
    while ((await second.get(id).describe()).status !== 'stuck') continue;
    t.match((await second.get(id).describe()).pending, [{ name: 'ERR_ENGINE_PAYLOAD_UNREADABLE' }]);
  }
  await second.close();
  const third = await Engine.open({ store, workflows: [joins], codec });
  t.teardown(() => third.close());
  for (const id of ['begun', 'delayed']) await third.get(id).signal('go', 'c');
  t.equal(await third.get('begun').result(), 'ac');
  t.equal(await third.get('delayed').result(), 'bc');
  const history = await third.get('begun').history();
  t.match(await Engine.replay(joins, history, { codec }), { ok: true });
  t.match(await Engine.replay(joins, history), { divergence: { actual: /through a codec/ } });
  await t.rejects(Engine.replay(joins, { ...history, format: 99 }, { codec }), {
    code: 'ERR_ENGINE_HISTORY_FORMAT',
  });
});
