import { type Test, test } from 'tap';
import { Engine, workflow } from './index.ts';
import { MemoryStore, TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => void setImmediate(resolve));
}

/** Says when it begins, and ends when it is told to. */
function gated(began: string[]): ReturnType<typeof workflow<string, string>> {
  return workflow('gated', async (ctx, name: string) => {
    await ctx.step('begin', () => void began.push(name));
    await ctx.receive('end');
    return name;
  });
}

test('a queue lets so many runs at once; the larger priority first, then the earlier start', async (t) => {
  const began: string[] = [];
  const work = gated(began);
  const engine = await open(t, { workflows: [work], queues: { q: { concurrency: 2 } } });
  const start = (name: string, priority = 0) =>
    engine.start(work, name, { id: name, queue: 'q', priority });
  for (const name of ['a', 'b', 'c', 'd']) await start(name);
  await start('urgent', 1);
  await until(() => began.length === 2);
  t.match(await engine.get('c').describe(), {
    status: 'sleeping',
    queue: 'q',
    pending: [{ kind: 'queue', name: 'q' }],
  });
  for (const name of ['b', 'urgent', 'a', 'c', 'd']) {
    await until(() => began.includes(name));
    await engine.get(name).signal('end');
    t.equal(await engine.get(name).result(), name);
    const running = began.length - ['b', 'urgent', 'a', 'c', 'd'].indexOf(name) - 1;
    t.ok(running <= 2, `${running} at once`);
  }
  t.same(began, ['a', 'b', 'urgent', 'c', 'd']);
});

test('over crashes who waits keeps the place, and who has one has it', async (t) => {
  const began: string[] = [];
  const work = gated(began);
  let engine = await open(t, { workflows: [work], queues: { q: { concurrency: 1 } } });
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) await engine.start(work, name, { id: name, queue: 'q' });
  await until(() => began.length === 1);
  for (const name of names) {
    engine = await engine.crash();
    await until(() => began.includes(name));
    // Time for another to begin, if the place were given twice.
    for (let turns = 0; turns < 20; turns++) await until(() => true);
    t.same(began, names.slice(0, names.indexOf(name) + 1));
    await engine.get(name).signal('end');
    t.equal(await engine.get(name).result(), name);
  }
  await engine.close();
});

test('terminated while it waits, it leaves the line', async (t) => {
  const began: string[] = [];
  const work = gated(began);
  const engine = await open(t, { workflows: [work], queues: { q: { concurrency: 1 } } });
  for (const name of ['a', 'b', 'c']) await engine.start(work, name, { id: name, queue: 'q' });
  await engine.get('b').terminate();
  await until(() => began.length === 1);
  await engine.get('a').terminate();
  await until(() => began.length === 2);
  t.same(began, ['a', 'c']);
});

test('fairness keys take turns; without fairness it goes by start', async (t) => {
  for (const [fairness, order] of [
    [true, ['x1', 'y1', 'x2', 'y2', 'x3', 'x4']],
    [false, ['x1', 'x2', 'x3', 'x4', 'y1', 'y2']],
  ] as const) {
    const began: string[] = [];
    const work = gated(began);
    const engine = await open(t, {
      workflows: [work],
      queues: { q: { concurrency: 1, fairness } },
    });
    for (const name of ['x1', 'x2', 'x3', 'x4', 'y1', 'y2']) {
      const fairnessKey = name.slice(0, 1);
      await engine.start(work, name, { id: name, queue: 'q', fairnessKey });
    }
    for (const name of order) {
      await until(() => began.includes(name));
      await engine.get(name).signal('end');
    }
    t.same(began, order);
  }
});

test('a rate limits how many begin in any such time, over a crash too', async (t) => {
  const begun: number[] = [];
  const quick = workflow('quick', async (ctx) => {
    const now = ctx.now();
    await ctx.step('begin', () => void begun.push(now));
  });
  const queues = { q: { rate: { limit: 2, per: '1m' } } };
  const first = await open(t, { workflows: [quick], queues, startAt: 1_000, skipTime: false });
  for (let i = 0; i < 5; i++) await first.start(quick, undefined, { id: `${i}`, queue: 'q' });
  await first.get('1').result();
  await first.advance('59s');
  t.same(begun, [1_000, 1_000]);
  const engine = await first.crash();
  t.teardown(() => engine.close());
  await engine.advance(999);
  t.equal(begun.length, 2, 'what had ended before the crash counts');
  await engine.advance(1);
  t.same(begun.slice(2), [61_000, 61_000]);
  await engine.advance('1m');
  t.same(begun.slice(4), [121_000]);
});

test('after a crash a rate counts what began within its time, however long it had waited, and each once', async (t) => {
  let begun = 0;
  const quick = workflow('quick', async (ctx, goesOn: boolean): Promise<void> => {
    await ctx.step('begin', () => ++begun);
    if (goesOn) ctx.continueAsNew(false);
  });
  const queues = { q: { rate: { limit: 2, per: '1m' } } };
  const first = await open(t, { workflows: [quick], queues, skipTime: false });
  for (let i = 0; i < 5; i++) await first.start(quick, false, { queue: 'q' });
  await first.advance('1m');
  t.equal(begun, 4, 'two of them waited for a minute');
  await first.advance('30s');
  const second = await first.crash();
  t.teardown(() => second.close());
  await second.advance(29_999);
  t.equal(begun, 4);
  await second.advance(1);
  t.equal(begun, 5);
  await second.advance('1h');
  await second.start(quick, true, { queue: 'q' });
  await second.advance(0);
  t.equal(begun, 7, 'it begins, and goes on');
  const third = await second.crash();
  t.teardown(() => third.close());
  for (let i = 0; i < 2; i++) await third.start(quick, false, { queue: 'q' });
  await third.advance(0);
  t.equal(begun, 8, 'one may go');
  await third.advance('1m');
  t.equal(begun, 9);
});

test('a delayed start gets in line when its delay is over; a retry gets in line again', async (t) => {
  const began: string[] = [];
  const work = workflow('work', async (ctx, name: string) => {
    await ctx.step('begin', () => void began.push(name));
    if (name === 'flaky' && began.filter((one) => one === 'flaky').length < 2) {
      await ctx.sleep('fail', '1m');
      throw new Error('no');
    }
    await ctx.sleep('work', '1h');
  });
  const engine = await open(t, {
    workflows: [work],
    queues: { q: { concurrency: 1 } },
    skipTime: false,
  });
  const start = (name: string, options: object) =>
    engine.start(work, name, { id: name, queue: 'q', ...options });
  await start('late', { delay: '30m', priority: 9 });
  await start('flaky', { retry: { attempts: 2, initial: '1m', jitter: false } });
  await start('next', {});
  await start('last', {});
  await engine.advance('29m');
  t.same(began, ['flaky', 'next']);
  await engine.advance('1h');
  t.same(began, ['flaky', 'next', 'late']);
  await engine.advance('2h');
  t.same(began, ['flaky', 'next', 'late', 'last', 'flaky'], 'its second try is a later start');
});

test('continueAsNew keeps the place', async (t) => {
  const began: string[] = [];
  const loop = workflow('loop', async (ctx, input: { name: string; left: number }) => {
    await ctx.step('begin', () => void began.push(input.name));
    if (input.left > 0) ctx.continueAsNew({ ...input, left: input.left - 1 });
  });
  const engine = await open(t, { workflows: [loop], queues: { q: { concurrency: 1 } } });
  const handles = [];
  for (const name of ['a', 'b'])
    handles.push(await engine.start(loop, { name, left: 2 }, { queue: 'q' }));
  for (const handle of handles) await handle.result();
  t.same(began, ['a', 'a', 'a', 'b', 'b', 'b']);
});

test('an unknown queue is refused; who waits in one that was taken away begins', async (t) => {
  const began: string[] = [];
  const work = gated(began);
  const store = new MemoryStore();
  const first = await Engine.open({ store, workflows: [work], queues: { q: { concurrency: 1 } } });
  await t.rejects(first.start(work, 'x', { id: 'x', queue: 'none' }), {
    code: 'ERR_ENGINE_QUEUE_UNKNOWN',
    hint: /there are: q/,
  });
  await t.rejects(first.get('x').describe(), { code: 'ERR_ENGINE_NOT_FOUND' });
  for (const name of ['a', 'b']) await first.start(work, name, { id: name, queue: 'q' });
  await until(() => began.length === 1);
  await first.close();
  const second = await Engine.open({ store, workflows: [work] });
  t.teardown(() => second.close());
  await until(() => began.length === 2);
  await t.rejects(Engine.open({ store, workflows: [], queues: { q: { concurrency: 0 } } }), {
    code: 'ERR_ENGINE_QUEUE',
  });
});

test('who started earlier goes first, also when a delay made it join later', async (t) => {
  const began: string[] = [];
  const work = workflow('work', async (ctx, name: string) => {
    began.push(name);
    await ctx.sleep('work', '1h');
  });
  const engine = await open(t, {
    workflows: [work],
    queues: { q: { concurrency: 1 } },
    skipTime: false,
  });
  await engine.start(work, 'late', { queue: 'q', delay: '10m' });
  for (const name of ['a', 'b', 'c']) await engine.start(work, name, { queue: 'q' });
  await engine.advance('4h');
  t.same([...new Set(began)], ['a', 'late', 'b', 'c']);
});

test('cancelled before it has begun, it is cancelled at once, and its body is not called', async (t) => {
  const began: string[] = [];
  const work = gated(began);
  const engine = await open(t, {
    workflows: [work],
    queues: { q: { concurrency: 1 } },
    skipTime: false,
  });
  await engine.start(work, 'a', { id: 'a', queue: 'q' });
  const waiting = await engine.start(work, 'b', { id: 'b', queue: 'q' });
  const delayed = await engine.start(work, 'c', { id: 'c', delay: '1h' });
  for (const handle of [waiting, delayed]) {
    await handle.cancel('not needed');
    await t.rejects(handle.result(), { name: 'CancelledError', message: /not needed/ });
    t.match(await Engine.replay(work, await handle.history()), { ok: true });
  }
  await engine.get('a').terminate();
  await engine.advance('2h');
  t.same(began, ['a']);
});

test('stuck in the line or with a place: nothing grows, and the order holds once it is mended', async (t) => {
  const began: string[] = [];
  const store = new MemoryStore();
  let engine: Engine | undefined;
  t.teardown(() => engine?.close());
  const deploy = async (version: string): Promise<Engine> => {
    await engine?.close();
    const work = workflow(
      'work',
      async (ctx, name: string) => {
        await ctx.step('begin', () => void began.push(name));
        await ctx.receive('end');
      },
      { version },
    );
    engine = await Engine.open({ store, workflows: [work], queues: { q: { concurrency: 1 } } });
    return engine;
  };
  const first = await deploy('1');
  for (const name of ['a', 'b']) await first.start('work', name, { id: name, queue: 'q' });
  await first.start('work', 'late', { id: 'late', delay: 1 });
  await until(() => began.length === 2);
  const other = await deploy('2');
  for (const name of ['a', 'b']) {
    await until(async () => (await other.get(name).describe()).status === 'stuck');
  }
  await other.get('a').terminate();
  // Its place is free now; the next one cannot take it yet.
  for (let turns = 0; turns < 20; turns++) await until(() => true);
  t.equal((await other.get('b').history()).events.length, 1);
  const mended = await deploy('1');
  await until(() => began.includes('b'));
  t.match(await mended.get('b').describe(), { status: 'running' });
  t.same(
    began.filter((name) => name !== 'late'),
    ['a', 'b'],
  );
});
