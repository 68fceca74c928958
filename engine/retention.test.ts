import { test } from 'tap';
import { Engine, workflow } from './index.ts';
import { MemoryStore } from './io/memory.ts';
import { TestEngine } from './testing.ts';

const quick = workflow('quick', async (ctx) => ctx.step('s', () => 1));
const sleeper = workflow('sleeper', async (ctx) => ctx.sleep('nap', '30d'));

async function ids(engine: Engine): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of engine.list()) found.push(id);
  return found;
}

test('closed runs are forgotten after their time, open ones never; their ids are free again', async (t) => {
  const engine = await TestEngine.open({
    workflows: [quick, sleeper],
    retention: '1d',
    skipTime: false,
  });
  t.teardown(() => engine.close());
  await engine.start(sleeper, undefined, { id: 'sleeps' });
  for (let i = 0; i < 450; i++)
    await (await engine.start(quick, undefined, { id: `q${i}` })).result();
  await engine.advance('23h');
  await (await engine.start(quick, undefined, { id: 'later' })).result();
  t.equal((await ids(engine)).length, 452, 'none is older than a day');
  await engine.advance('2h');
  const last = await engine.start(quick, undefined, { id: 'last' });
  await last.result();
  while ((await ids(engine)).length > 3) continue;
  t.same((await ids(engine)).toSorted(), ['last', 'later', 'sleeps']);
  await t.rejects(engine.get('q0').result(), { code: 'ERR_ENGINE_NOT_FOUND' });
  t.equal(await (await engine.start(quick, undefined, { id: 'q0' })).result(), 1);
  t.equal((await engine.get('sleeps').describe()).status, 'sleeping');
});

test('what became old while no engine ran is forgotten at open', async (t) => {
  const engine = await TestEngine.open({ workflows: [quick], retention: '1d', skipTime: false });
  await (await engine.start(quick, undefined, { id: 'old' })).result();
  await engine.advance('2d');
  const again = await engine.crash();
  t.teardown(() => again.close());
  while ((await ids(again)).length > 0) continue;
  await t.rejects(again.get('old').describe(), { code: 'ERR_ENGINE_NOT_FOUND' });
});

test('a sweep that fails is logged; runs go on', async (t) => {
  class Failing extends MemoryStore {
    failures = 1;
    override prune(request: { closedBefore: number; limit: number }): Promise<number> {
      if (this.failures-- > 0) return Promise.reject(new Error('ENOSPC'));
      return super.prune(request);
    }
  }
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const ignore = (): void => {};
  const log = { debug: ignore, info: ignore, warn: ignore, error: resolve };
  const engine = await Engine.open({
    store: new Failing(),
    workflows: [quick],
    retention: '1m',
    log,
  });
  t.match(await promise, { err: { message: 'ENOSPC' } });
  t.equal(await (await engine.start(quick)).result(), 1);
  await engine.close();
});

test('the end of a child is there for as long as its parent may ask', async (t) => {
  const child = workflow('child', async (ctx, left: number) => {
    await ctx.sleep('nap', '12h');
    return left === 0 ? 'done' : ctx.continueAsNew(left - 1);
  });
  const parent = workflow('parent', async (ctx) => {
    const started = await ctx.child(child, 5, { id: 'child' });
    await ctx.sleep('busy', '10d');
    return started.result();
  });
  const workflows = [parent, child, quick];
  const engine = await TestEngine.open({ workflows, retention: '1d', skipTime: false });
  await engine.start(parent, undefined, { id: 'parent' });
  for (let day = 0; day < 8; day++) await engine.advance('1d');
  await (await engine.start(quick, undefined, { id: 'old' })).result();
  await engine.advance('1d');
  const again = await engine.crash();
  t.teardown(() => again.close());
  await again.advance('2d');
  t.equal(await again.get('parent').result(), 'done');
  await (await again.start(quick)).result();
  while ((await ids(again)).includes('old')) continue;
  while ((await ids(again)).includes('child')) continue;
});

test('a schedule fires each time once, whatever is forgotten of its runs', async (t) => {
  const fired: string[] = [];
  const job = workflow('job', async (ctx) => {
    await ctx.step('s', () => void fired.push(ctx.workflowId));
    await ctx.sleep('nap', '90m');
  });
  const engine = await TestEngine.open({ workflows: [job], retention: '1m', skipTime: false });
  await engine.schedules.create('hourly', { every: '1h', workflow: job });
  for (let hour = 0; hour < 60; hour++) await engine.advance('1h');
  const again = await engine.crash();
  t.teardown(() => again.close());
  for (let hour = 0; hour < 60; hour++) await again.advance('1h');
  t.equal(fired.length, 60, 'each second time was left out');
  t.equal(new Set(fired).size, 60);
});

test('who has the handle of a forgotten run hears of what goes on for it, and of nothing else', async (t) => {
  const loop = workflow('loop', async (ctx, left: number): Promise<string> => {
    await ctx.sleep('nap', '1d');
    return left === 0 ? ctx.receive<string>('end') : ctx.continueAsNew(left - 1);
  });
  const workflows = [loop, quick];
  const engine = await TestEngine.open({ workflows, retention: '2d', skipTime: false });
  t.teardown(() => engine.close());
  const sweep = async (): Promise<void> => {
    await (await engine.start(quick)).result();
    await engine.advance('1m');
  };
  const first = await engine.start(loop, 4, { id: 'loop' });
  const { runId } = await first.describe();
  await engine.advance('36h');
  const second = engine.get<string>('loop', { runId: (await first.describe()).runId });
  for (let day = 0; day < 5; day++) {
    await engine.advance('1d');
    await sweep();
  }
  const forgotten = { code: 'ERR_ENGINE_NOT_FOUND' };
  await t.rejects(engine.get('loop', { runId }).describe(), forgotten);
  await first.signal('end', 'done');
  for (const handle of [first, second, engine.get('loop', { runId })]) {
    t.equal(await handle.result(), 'done');
  }
  await engine.advance('3d');
  await sweep();
  await engine.start(loop, 0, { id: 'loop' });
  for (const handle of [first, second]) await t.rejects(handle.result(), forgotten);
  await t.rejects(first.signal('end'), forgotten);
});

test('a retention that would forget what counts for the rate of a queue is refused', async (t) => {
  const queues = { slow: { rate: { limit: 1, per: '1d' } } };
  const options = { store: new MemoryStore(), workflows: [quick], queues };
  await t.rejects(Engine.open({ ...options, retention: '23h' }), {
    code: 'ERR_ENGINE_OPTIONS',
    message: /retention 23h .*"slow"/,
  });
  await (await Engine.open({ ...options, retention: '1d' })).close();
});

test('a retention so short that results would go before they are read is refused', async (t) => {
  await t.rejects(Engine.open({ store: new MemoryStore(), workflows: [quick], retention: '59s' }), {
    code: 'ERR_ENGINE_OPTIONS',
    hint: /'1m'/,
  });
});
