import { type Test, test } from 'tap';
import { Engine, workflow } from './index.ts';
import { MemoryStore, TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

/** Continues as new at `next`, `left` times; then gives what it received and how often it was asked. */
const loops = workflow('loops', async (ctx, left: number): Promise<unknown> => {
  let asked = 0;
  ctx.onQuery('left', () => left);
  ctx.onUpdate('ask', (by: number) => {
    asked += by;
    return [left, asked];
  });
  if (left > 0) {
    await ctx.receive('next');
    ctx.continueAsNew(left - 1);
  }
  const got: unknown[] = [];
  for (;;) {
    const item = await ctx.receive('item');
    if (item === 'end') return { got, asked };
    got.push(item);
  }
});

test('the handle of a start speaks to the run that goes on, one with a run id to that run', async (t) => {
  const engine = await open(t, { workflows: [loops] });
  const handle = await engine.start(loops, 1, { id: 'a' });
  const { runId } = await handle.describe();
  const exact = engine.get('a', { runId });
  await handle.signal('next');
  t.equal(await handle.query('left'), 0);
  t.equal(await exact.query('left'), 1);
  t.same(await handle.update('ask', 5), [0, 5]);
  await t.rejects(exact.signal('item'), { code: 'ERR_ENGINE_NOT_FOUND' });
  await t.rejects(engine.get('a', { runId: 'none' }).result(), { code: 'ERR_ENGINE_NOT_FOUND' });
  await handle.signal('item', 1);
  t.not((await handle.describe()).runId, runId);
  t.equal((await exact.describe()).status, 'continued');
  await handle.cancel('enough');
  await t.rejects(handle.result(), { name: 'CancelledError' });
  await t.rejects(handle.signal('item'), { code: 'ERR_ENGINE_NOT_FOUND' });
});

test('a run that waits to be tried again can be cancelled by the handle of its start', async (t) => {
  const fails = workflow(
    'fails',
    async () => {
      throw new Error('broken');
    },
    { retry: { attempts: 2, initial: '1d' } },
  );
  const engine = await open(t, { workflows: [fails], skipTime: false });
  const handle = await engine.start(fails);
  await engine.advance(0);
  await handle.cancel('enough');
  await t.rejects(handle.result(), { name: 'CancelledError' });
});

test('a signal that meets the moment of continueAsNew reaches the next run', async (t) => {
  const engine = await open(t, { workflows: [loops] });
  await engine.start(loops, 3, { id: 'a' });
  const handle = engine.get('a');
  for (let i = 0; i < 3; i++) {
    await Promise.all([handle.signal('next'), handle.signal('item', i)]);
  }
  await handle.signal('item', 'end');
  t.match(await handle.result(), { got: [0, 1, 2] });
});

test('a start with a signal that meets the end of the run before starts the next', async (t) => {
  const waits = workflow('waits', (ctx) => ctx.receive('go'));
  const engine = await open(t, { workflows: [waits] });
  for (let i = 0; i < 3; i++) {
    const first = await engine.start(waits, undefined, { id: `a${i}` });
    const start = (): Promise<unknown> =>
      engine.start(waits, undefined, { id: `a${i}`, onClosed: 'restart', signal: { name: 'go' } });
    await t.resolves(Promise.all([first.signal('go'), start(), start()]));
  }
});

test('ids of signals and updates are known to the run that goes on, over a crash', async (t) => {
  const engine = await open(t, { workflows: [loops] });
  const handle = await engine.start(loops, 2, { id: 'a' });
  await handle.signal('item', 1, { id: 's' });
  t.same(await handle.update('ask', 5, { id: 'u' }), [2, 5]);
  await handle.signal('next', 0, { id: 'n' });
  await handle.signal('next', 0, { id: 'n' });
  t.equal(await handle.query('left'), 1);
  const again = await engine.crash();
  t.teardown(() => again.close());
  const same = again.get('a');
  await same.signal('next', 0, { id: 'm' });
  await same.signal('item', 1, { id: 's' });
  t.same(await same.update('ask', 5, { id: 'u' }), [2, 5], 'what it gave the first time');
  await same.signal('item', 'end');
  t.same(await same.result(), { got: [1], asked: 0 });
});

test('ids of signals are known to the run that tries again', async (t) => {
  let tries = 0;
  const second = workflow(
    'second',
    async (ctx) => {
      if (++tries === 1) {
        await ctx.receive('fail');
        throw new Error('broken');
      }
      return [await ctx.receive('item'), await ctx.receive('item')];
    },
    { retry: { attempts: 2, initial: 1 } },
  );
  const engine = await open(t, { workflows: [second] });
  const handle = await engine.start(second);
  await handle.signal('item', 1, { id: 's' });
  await handle.signal('fail');
  await handle.signal('item', 1, { id: 's' });
  await handle.signal('item', 2);
  t.same(await handle.result(), [1, 2]);
});

test('signals of several names keep their order in the next run', async (t) => {
  const merges = workflow('merges', async (ctx, first: boolean): Promise<unknown> => {
    if (first) {
      await ctx.receive('next');
      ctx.continueAsNew(false);
    }
    const got: unknown[] = [];
    for (const name of ['a', 'b']) ctx.onSignal(name, (item) => void got.push(item));
    await ctx.condition(() => got.length === 3);
    return got;
  });
  const engine = await open(t, { workflows: [merges] });
  const handle = await engine.start(merges, true);
  for (const item of ['a1', 'b1', 'a2']) await handle.signal(item.slice(0, 1), item);
  await handle.signal('next');
  t.same(await handle.result(), ['a1', 'b1', 'a2']);
});

test('a cancellation that a run continued before it could heed it is handed on', async (t) => {
  const busy = workflow('busy', async (ctx, first: boolean): Promise<unknown> => {
    if (!first) return ctx.receive('never');
    ctx.onSignal('work', () => ctx.shield((inner) => inner.receive('done')));
    await ctx.receive('next');
    return ctx.continueAsNew(false);
  });
  const engine = await open(t, { workflows: [busy] });
  const handle = await engine.start(busy, true);
  await handle.signal('work');
  await handle.signal('next');
  await handle.cancel('enough');
  await handle.signal('done');
  await t.rejects(handle.result(), { name: 'CancelledError', message: /enough/ });
});

test('the result follows though the first runs of the chain are forgotten', async (t) => {
  const sleeps = workflow('sleeps', async (ctx, left: number): Promise<string> => {
    await ctx.sleep('round', '10m');
    return left > 0 ? ctx.continueAsNew(left - 1) : 'done';
  });
  const engine = await open(t, { workflows: [sleeps], skipTime: false, retention: '1m' });
  const handle = await engine.start(sleeps, 4);
  await engine.advance('35m');
  t.match(await handle.describe(), { status: 'sleeping' });
  const result = handle.result();
  await engine.advance('15m');
  t.equal(await result, 'done');
});

test('a receive that is refused does not hide that the body waits for nothing', async (t) => {
  const hides = workflow('hides', async (ctx) => {
    ctx.onSignal('a', () => {});
    try {
      await ctx.receive('a');
    } catch {
      await new Promise(() => {});
    }
  });
  const engine = await Engine.open({ store: new MemoryStore(), workflows: [hides] });
  t.teardown(() => engine.close());
  const handle = await engine.start(hides);
  t.match(await handle.describe(), {
    status: 'stuck',
    pending: [{ name: 'ERR_ENGINE_FOREIGN_AWAIT' }],
  });
});
