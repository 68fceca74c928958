import { type Test, test } from 'tap';
import { TimeoutError, workflow } from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

const HOUR_MS = 3_600_000;

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open({ startAt: 0, ...options });
  t.teardown(() => engine.close());
  return engine;
}

/** Turns of the event loop in which a test waits for something that is not the engine's. */
async function elsewhere(): Promise<void> {
  for (let turns = 0; turns < 100; turns++) await new Promise((done) => void setImmediate(done));
}

function counted(): { ticks: () => number; tick: ReturnType<typeof workflow<unknown, unknown>> } {
  let ticks = 0;
  const tick = workflow('tick', (ctx) => ctx.step('tick', () => ++ticks));
  return { ticks: () => ticks, tick };
}
const nap = workflow('nap', (ctx, duration: string) => ctx.sleep('nap', duration));
const loop = workflow('loop', async (ctx) => {
  for (let rounds = 0; rounds < 20; rounds++) await ctx.sleep('round', '1h');
  ctx.continueAsNew(undefined);
});

test('time jumps while a call is awaited, and stands still otherwise', async (t) => {
  const engine = await open(t, { workflows: [nap] });
  const handle = await engine.start(nap, '30d');
  await elsewhere();
  t.equal(engine.clock.now(), 0);
  await handle.result();
  t.equal(engine.clock.now(), 30 * 24 * HOUR_MS);
  const other = await engine.start(nap, '1h');
  while ((await other.describe()).status !== 'completed') continue;
  t.equal(engine.clock.now(), (30 * 24 + 1) * HOUR_MS, 'who looks again and again waits too');
});

test('a schedule and an endless loop go as far as somebody waits', async (t) => {
  const { tick, ticks } = counted();
  const engine = await open(t, { workflows: [tick, nap, loop] });
  await engine.schedules.create('s', { every: '1h', workflow: tick });
  const endless = await engine.start(loop);
  await elsewhere();
  t.equal(ticks(), 0);
  await (await engine.start(nap, '90m')).result();
  t.equal(ticks(), 1);
  t.equal(engine.clock.now(), 1.5 * HOUR_MS);
  await t.rejects(endless.result({ timeout: '46h' }), TimeoutError);
  await elsewhere();
  t.equal(engine.clock.now(), 47.5 * HOUR_MS, 'a timeout is of this time');
  t.equal(ticks(), 47);
  await engine.advance('1h');
  await elsewhere();
  t.equal(engine.clock.now(), 48.5 * HOUR_MS);
});

test('a wait for a step that hangs ends too, in real time', async (t) => {
  const gate = Promise.withResolvers<number>();
  const hangs = workflow('hangs', (ctx) => ctx.step('hang', () => gate.promise));
  const engine = await open(t, { workflows: [hangs, nap] });
  const handle = await engine.start(hangs);
  await t.rejects(handle.result({ timeout: 1 }), TimeoutError);
  t.equal(engine.clock.now(), 0, 'time does not jump over a step');
  gate.resolve(7);
  t.equal(await handle.result({ timeout: '1d' }), 7);
  const byHand = await open(t, { workflows: [nap], skipTime: false });
  const sleeping = await byHand.start(nap, '2d');
  await t.rejects(sleeping.result({ timeout: 1 }), TimeoutError);
  const waiting = sleeping.result({ timeout: '1d' });
  await byHand.advance(24 * HOUR_MS - 1);
  await Promise.all([t.rejects(waiting, TimeoutError), byHand.advance(1)]);
});

test('a run that is stuck says why, so that a test that waits for it does', async (t) => {
  const { args: said } = t.capture(console, 'error');
  const calls = workflow('calls', async () => Date.now());
  const engine = await open(t, { workflows: [calls] });
  const handle = await engine.start(calls, undefined, { id: 'c1' });
  t.equal((await handle.describe()).status, 'stuck');
  t.match(said(), [
    [
      'run stuck',
      { workflowId: 'c1', reason: /Date\.now/, hint: /ctx\.now/, at: /testing\.test\.ts/ },
    ],
  ]);
});
