import nodeCrypto, { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { Engine, workflow, type WorkflowContext } from './index.ts';
import { MemoryStore, TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => void setImmediate(resolve));
}

function temporalNow(): { instant(): unknown } {
  return (globalThis as unknown as { Temporal: { Now: { instant(): unknown } } }).Temporal.Now;
}

const CALLS: Record<string, { call: () => unknown; instead: string }> = {
  'Date.now()': { call: () => Date.now(), instead: 'ctx.now()' },
  'new Date()': { call: () => new Date(), instead: 'ctx.now()' },
  'Date()': { call: () => Date(), instead: 'ctx.now()' },
  'Math.random()': { call: () => Math.random(), instead: 'ctx.random()' },
  'setTimeout()': { call: () => setTimeout(() => {}, 1), instead: 'ctx.sleep()' },
  'setInterval()': { call: () => setInterval(() => {}, 1).unref(), instead: 'ctx.sleep()' },
  'setImmediate()': { call: () => setImmediate(() => {}), instead: 'ctx.sleep()' },
  'timers.setTimeout()': { call: () => wait(1), instead: 'ctx.sleep()' },
  'fetch()': { call: () => fetch('data:,x'), instead: 'ctx.step()' },
  'crypto.randomUUID()': { call: () => crypto.randomUUID(), instead: 'ctx.uuid()' },
  'crypto.getRandomValues()': {
    call: () => crypto.getRandomValues(new Uint8Array(1)),
    instead: 'ctx.random()',
  },
  'crypto.subtle.digest()': {
    call: () => crypto.subtle.digest('SHA-256', new Uint8Array(1)),
    instead: 'ctx.step()',
  },
  'crypto.randomBytes()': { call: () => nodeCrypto.randomBytes(1), instead: 'ctx.random()' },
  'performance.now()': { call: () => performance.now(), instead: 'ctx.now()' },
  'performance.mark()': { call: () => performance.mark('m'), instead: 'ctx.now()' },
  'process.hrtime.bigint()': { call: () => process.hrtime.bigint(), instead: 'ctx.now()' },
  'AbortSignal.timeout()': { call: () => AbortSignal.timeout(1), instead: 'ctx.scope()' },
  ...('Temporal' in globalThis && {
    'Temporal.Now.instant()': { call: () => temporalNow().instant(), instead: 'ctx.now()' },
  }),
  'process.hrtime()': { call: () => process.hrtime(), instead: 'ctx.now()' },
};

for (const [name, { call, instead }] of Object.entries(CALLS)) {
  test(`refused in a body: ${name}`, async (t) => {
    const calls = workflow('calls', async (ctx) => {
      await ctx.step('before', () => 1);
      call();
      await ctx.step('after', () => 2);
    });
    const engine = await open(t, { workflows: [calls] });
    const handle = await engine.start(calls);
    await until(async () => (await handle.describe()).status === 'stuck');
    const { pending } = await handle.describe();
    t.equal(pending[0]?.name, 'ERR_ENGINE_STRICT_MODE');
    const why = pending[0]?.lastError ?? '';
    t.ok(why.includes(`the body of workflow "calls" calls ${name} (`), why);
    t.match(why, /strict\.test\.ts:\d+:\d+/);
    t.equal((await handle.history()).events.at(-1)?.kind, 'step-completed');

    const lax = await Engine.open({ store: new MemoryStore(), workflows: [calls] });
    t.teardown(() => lax.close());
    const recorded = await lax.start(calls);
    await recorded.result();
    const report = await Engine.replay(calls, await recorded.history());
    t.equal(report.ok, false);
    t.ok(report.divergence?.actual.includes(name));
    t.match(report.divergence?.at, /strict\.test\.ts/);
  });
  test(`what to use instead of ${name}`, async (t) => {
    let hint = '';
    const calls = workflow('calls', async () => {
      try {
        call();
      } catch (error) {
        ({ hint } = error as { hint: string });
      }
    });
    const engine = await open(t, { workflows: [calls] });
    const handle = await engine.start(calls);
    await until(async () => (await handle.describe()).status === 'stuck');
    t.ok(hint.includes(instead), hint);
  });
}

test('steps, handlers of queries, codecs and others are not disturbed', async (t) => {
  const everything = (): number =>
    Date.now() + Math.random() + performance.now() + randomUUID().length + +new Date();
  const step = async (): Promise<boolean> => {
    await wait(1);
    await new Promise((resolve) => void setTimeout(resolve, 1));
    return everything() > 0 && new Date().constructor === Date && new Date() instanceof Date;
  };
  const body = async (ctx: WorkflowContext): Promise<unknown> => {
    ctx.onQuery('now', () => everything() > 0);
    const at = new Date(ctx.now());
    const first = await ctx.step('step', step);
    ctx.compensate('undo', () => void everything());
    await ctx.receive('go');
    return [first, at.getTime(), ctx.uuid().length];
  };
  const good = workflow('good', body);
  const codec = {
    encode: (bytes: Uint8Array) => (everything(), bytes),
    decode: (bytes: Uint8Array) => (everything(), bytes),
  };
  const engine = await open(t, { workflows: [good], codec, startAt: 5 });
  const handle = await engine.start(good);
  // Microtasks of the process run between those of the body.
  let others = 0;
  const run = { going: true };
  const other = async (): Promise<void> => {
    while (run.going) {
      others += everything() > 0 ? 1 : 0;
      await Promise.resolve();
      if (others % 100 === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
  };
  const beside = other();
  await until(async () => (await handle.describe()).pending[0]?.kind === 'receive');
  t.equal(await handle.query('now'), true);
  await handle.signal('go');
  t.same(await handle.result(), [true, 5, 36]);
  run.going = false;
  await beside;
  t.ok(others > 100);
});

test('handlers and conditions are bodies too', async (t) => {
  const handles = workflow('handles', async (ctx) => {
    ctx.onSignal('go', () => void Math.random());
    await ctx.receive('never');
  });
  const watches = workflow('watches', async (ctx) => {
    await ctx.condition(() => Date.now() < 0);
  });
  const engine = await open(t, { workflows: [handles, watches] });
  const handle = await engine.start(handles);
  await handle.signal('go');
  t.equal((await handle.describe()).status, 'stuck');
  const watching = await engine.start(watches);
  await until(async () => (await watching.describe()).status === 'stuck');
});

test('a run that was refused goes on once its body is mended', async (t) => {
  const store = new MemoryStore();
  const deploy = (id: (ctx: WorkflowContext) => string): Promise<Engine> =>
    Engine.open({
      store,
      strict: true,
      workflows: [
        workflow('w', async (ctx) => {
          const a = ctx.step('a', () => 'a');
          return [await a, id(ctx).length];
        }),
      ],
    });
  const first = await deploy(() => crypto.randomUUID());
  await first.start('w', undefined, { id: 'id' });
  await until(async () => (await first.get('id').describe()).status === 'stuck');
  await first.close();
  const second = await deploy((ctx) => ctx.uuid());
  t.same(await second.get('id').result(), ['a', 36]);
  await second.close();
});

test('when the last strict engine is closed everything is as it was', async (t) => {
  const before = [Date, Date.now, setTimeout, fetch, nodeCrypto.randomUUID, wait];
  const one = await TestEngine.open({ workflows: [] });
  const two = await TestEngine.open({ workflows: [] });
  t.not(Date.now, before[1]);
  await one.close();
  const again = await two.crash();
  t.not(Date.now, before[1], 'one is open');
  await again.close();
  await again.close();
  const after = [Date, Date.now, setTimeout, fetch, nodeCrypto.randomUUID, wait];
  for (const [i, value] of before.entries()) t.equal(after[i], value);
  t.equal(new Date().constructor, Date);
});
