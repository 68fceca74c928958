/** What jumps of the wall clock do: nothing to durations while an engine is open; times of day come when they are shown. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { compileShim, PLACE } from './disk.testkit.ts';
import { workflow } from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const START_AT = Date.UTC(2030, 0, 1);
/** Back and forth, and both in a row. */
const JUMPS = [[-HOUR_MS], [DAY_MS], [-HOUR_MS, DAY_MS, -DAY_MS]];

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open({ startAt: START_AT, skipTime: false, ...options });
  t.teardown(() => engine.close());
  return engine;
}

/** After a crash, and a jump while nothing ran. */
async function restarted(t: Test, engine: TestEngine, jumpMs: number): Promise<TestEngine> {
  engine.clock.jump(jumpMs);
  const again = await engine.crash();
  t.teardown(() => again.close());
  return again;
}

/** Everything that takes two hours, by what it waits for; each says when it has come, in elapsed time. */
function waits(came: (name: string) => void) {
  const one = (name: string, body: Parameters<typeof workflow>[1], options = {}) =>
    workflow(
      name,
      async (ctx, input) => {
        await body(ctx, input);
        await ctx.step('came', () => came(name));
      },
      options,
    );
  return [
    one('sleep', (ctx) => ctx.sleep('nap', '2h')),
    one('receive', (ctx) => ctx.receive('word', { timeout: '2h' }).catch(() => {})),
    one('condition', (ctx) => ctx.condition(() => false, { timeout: '2h' })),
    one('scope', (ctx) =>
      ctx.scope((inner) => inner.sleep('long', '9d'), { timeout: '2h' }).catch(() => {}),
    ),
    one('retry', (ctx) =>
      ctx.step(
        'flaky',
        ({ attempt }) => {
          if (attempt === 1) throw new Error('again');
        },
        { retry: { initial: '2h', max: '2h', jitter: false } },
      ),
    ),
    one('delay', async () => {}),
    one('deadline', async (ctx) => {
      const child = await ctx.child(endless, undefined, { timeout: '2h' });
      await child.result().catch(() => {});
    }),
    endless,
  ];
}
const endless = workflow('endless', (ctx) => ctx.sleep('for ever', '9999d'));
const NAMES = ['sleep', 'receive', 'condition', 'scope', 'retry', 'delay', 'deadline'];

async function startAll(engine: TestEngine): Promise<void> {
  for (const name of NAMES) {
    await engine.start(name, undefined, { id: name, ...(name === 'delay' ? { delay: '2h' } : {}) });
  }
  await engine.advance(0);
}

for (const jumps of JUMPS) {
  const words = jumps.map((ms) => `${ms / HOUR_MS} h`).join(', ');

  test(`while it runs, durations are as long as they are: ${words}`, async (t) => {
    const came: string[] = [];
    const engine = await open(t, { workflows: waits((name) => void came.push(name)) });
    await startAll(engine);
    await engine.advance('30m');
    for (const ms of jumps) {
      engine.clock.jump(ms);
      await engine.advance('10m');
    }
    await engine.advance(90 * MINUTE_MS - jumps.length * 10 * MINUTE_MS - 1);
    t.same(came, [], 'none too early');
    await engine.advance(1);
    t.same(came.toSorted(), NAMES.toSorted(), 'none lost');
    await engine.advance('4d');
    t.equal(came.length, NAMES.length, 'none twice');
  });
}

test('over a restart deadlines go by the wall clock: set forward', async (t) => {
  const came: string[] = [];
  const engine = await open(t, { workflows: waits((name) => void came.push(name)) });
  await startAll(engine);
  const again = await restarted(t, engine, DAY_MS);
  await again.advance(0);
  t.same(came.toSorted(), NAMES.toSorted(), 'all are due');
  await (await restarted(t, again, -DAY_MS)).advance('4d');
  t.equal(came.length, NAMES.length, 'none twice');
});

test('over a restart deadlines go by the wall clock: set back', async (t) => {
  const came: string[] = [];
  const engine = await open(t, { workflows: waits((name) => void came.push(name)) });
  await startAll(engine);
  const again = await restarted(t, engine, -HOUR_MS);
  await again.advance(3 * HOUR_MS - 1);
  t.same(came, []);
  await again.advance(1);
  t.same(came.toSorted(), NAMES.toSorted(), 'none lost');
  t.equal(again.clock.now(), START_AT + 2 * HOUR_MS);
});

test('a time of day comes when the wall clock shows it', async (t) => {
  const came: number[] = [];
  const alarm = workflow('alarm', async (ctx, at: number) => {
    await ctx.sleepUntil('alarm', at);
    await ctx.step('came', () => void came.push(at));
  });
  const engine = await open(t, { workflows: [alarm] });
  for (const hour of [1, 2, 3]) await engine.start(alarm, START_AT + hour * HOUR_MS);
  await engine.advance('30m');
  engine.clock.jump(-HOUR_MS);
  await engine.advance('30m');
  t.same(came, [], 'shown again what it showed before');
  engine.clock.jump(HOUR_MS);
  await engine.advance(0);
  t.same(came, [START_AT + HOUR_MS]);
  const again = await restarted(t, engine, HOUR_MS);
  await again.advance(0);
  t.same(came, [START_AT + HOUR_MS, START_AT + 2 * HOUR_MS]);
  const last = await restarted(t, again, -HOUR_MS);
  await last.advance(2 * HOUR_MS);
  t.same(came, [START_AT + HOUR_MS, START_AT + 2 * HOUR_MS, START_AT + 3 * HOUR_MS]);
});

for (const place of ['while it runs', 'over a restart'] as const) {
  const jumped = async (t: Test, engine: TestEngine, ms: number): Promise<TestEngine> => {
    if (place === 'over a restart') return restarted(t, engine, ms);
    engine.clock.jump(ms);
    return engine;
  };

  test(`a schedule ${place}: set back, no time starts twice`, async (t) => {
    const started: string[] = [];
    const tick = workflow('tick', (ctx) =>
      ctx.step('tick', () => void started.push(ctx.workflowId.slice('s/2030-01-01T'.length, -8))),
    );
    let engine = await open(t, { workflows: [tick] });
    await engine.schedules.create('s', {
      cron: '0 * * * *',
      zone: 'Europe/Berlin',
      workflow: tick,
    });
    await engine.advance(2 * HOUR_MS + 5 * MINUTE_MS);
    t.same(started, ['01:00', '02:00']);
    engine = await jumped(t, engine, -HOUR_MS);
    await engine.advance('115m');
    t.same(started, ['01:00', '02:00', '03:00'], '02:00 was shown twice');
    engine = await jumped(t, engine, -2 * HOUR_MS);
    await engine.advance('4h');
    t.same(started, ['01:00', '02:00', '03:00', '04:00', '05:00']);
  });

  test(`a schedule ${place}: set forward, it catches up as its rule says`, async (t) => {
    const started: string[] = [];
    const tick = workflow('tick', (ctx) =>
      ctx.step('tick', () => void started.push(ctx.workflowId.slice(2, -8))),
    );
    let engine = await open(t, { workflows: [tick] });
    const spec = { workflow: tick, catchup: '3h', overlap: 'allow-all' } as const;
    await engine.schedules.create('d', { ...spec, cron: '30 9 * * *', zone: 'Europe/Berlin' });
    await engine.schedules.create('h', { ...spec, every: '1h' });
    await engine.advance('30m');
    engine = await jumped(t, engine, DAY_MS);
    await engine.advance(0);
    const caughtUp = ['2030-01-01T22:00', '2030-01-01T23:00', '2030-01-02T00:00'];
    t.same(started, caughtUp, 'the last three hours; a daily run of 16 hours ago is too late');
    started.length = 0;
    await engine.advance('7h');
    engine = await jumped(t, engine, HOUR_MS);
    await engine.advance(0);
    t.same(started.slice(-2), ['2030-01-02T08:00', '2030-01-02T08:30'], 'what was jumped over');
    started.length = 0;
    engine = await jumped(t, engine, HOUR_MS / 2);
    await engine.advance('24h');
    t.ok(started.includes('2030-01-03T08:30'), 'the next one by the clock that hangs on the wall');
    t.equal(started.length, 26);
    t.equal(new Set(started).size, 26);
  });
}

test('deadlines of a step are elapsed time', async (t) => {
  const ended: string[] = [];
  const hang = workflow('hang', async (ctx, options: object) => {
    const error = await ctx
      .step('hang', () => new Promise<void>(() => {}), { ...options, retry: { attempts: 1 } })
      .catch(({ cause }: Error) => cause as Error);
    ended.push((error as Error).message);
  });
  const engine = await open(t, { workflows: [hang] });
  for (const one of ['timeout', 'totalTimeout', 'heartbeatTimeout']) {
    await engine.start(hang, { [one]: '2h' });
  }
  await engine.advance('1h');
  engine.clock.jump(DAY_MS);
  await engine.advance('30m');
  engine.clock.jump(-2 * DAY_MS);
  await engine.advance(30 * MINUTE_MS - 1);
  t.same(ended, []);
  await engine.advance(1);
  t.match(ended, [/longer than 2h$/, /longer than 2h in all/, /no sign of life/]);
});

test('the rate of a queue is one of elapsed time', async (t) => {
  let begun = 0;
  const quick = workflow('quick', (ctx) => ctx.step('begun', () => ++begun));
  const queues = { q: { rate: { limit: 2, per: '1h' } } };
  const engine = await open(t, { workflows: [quick], queues });
  for (let i = 0; i < 9; i++) await engine.start(quick, undefined, { queue: 'q' });
  await engine.advance(0);
  t.equal(begun, 2);
  engine.clock.jump(DAY_MS);
  await engine.advance(HOUR_MS - 1);
  t.equal(begun, 2, 'set forward, no more may go');
  engine.clock.jump(-2 * DAY_MS);
  await engine.advance(1);
  t.equal(begun, 4, 'set back, as many may go');
  const again = await restarted(t, engine, -DAY_MS);
  await again.advance(HOUR_MS - 1);
  t.equal(begun, 4, 'what began in days to come began now');
  await again.advance(1);
  t.equal(begun, 6);
});

test('closed runs are kept by the wall clock', async (t) => {
  const quick = workflow('quick', (ctx) => ctx.step('s', () => 1));
  const engine = await open(t, { workflows: [quick], retention: '1d' });
  const run = async (id: string) => (await engine.start(quick, undefined, { id })).result();
  const kept = async () => {
    await engine.advance('1m');
    await run(`sweeps at ${engine.clock.now()}`);
    await engine.advance(0);
    return engine
      .get('first')
      .describe()
      .then(
        () => true,
        () => false,
      );
  };
  await run('first');
  engine.clock.jump(-HOUR_MS);
  await engine.advance('24h');
  t.equal(await kept(), true);
  await engine.advance('1h');
  t.equal(await kept(), false);
});

test('runs are in order of their start, also when the clock was set back in between', async (t) => {
  const began: string[] = [];
  const work = workflow('work', async (ctx, name: string) => {
    await ctx.step('begin', () => void began.push(name));
    await ctx.receive('end');
  });
  const queues = { q: { concurrency: 1 } };
  let engine = await open(t, { workflows: [work], queues });
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) {
    await engine.start(work, name, { id: name, queue: 'q' });
    await engine.advance(0);
    engine = await restarted(t, engine, -HOUR_MS);
  }
  const listed: string[] = [];
  for await (const { id } of engine.list()) listed.push(id);
  t.same(listed, names);
  for (const name of names) {
    await engine.advance(0);
    await engine.get(name).signal('end');
    await engine.get(name).result();
  }
  t.same(began, names);
});

test('the clock of a real process is set forward and back, while it runs and in between', async (t) => {
  const folder = mkdtempSync(join(PLACE, 'aether-clock-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const shim = process.platform === 'linux' ? compileShim(folder, 'clock.shim.c') : undefined;
  if (shim === undefined) {
    t.pass('skipped', {
      skip: 'setting the clock of a process needs Linux and a C compiler named cc',
    });
    return;
  }
  const control = join(folder, 'ahead');
  writeFileSync(control, Buffer.alloc(8));
  const child = join(import.meta.dirname, 'clock.testchild.ts');
  const { status, stdout, stderr } = spawnSync(process.execPath, [child, folder, control], {
    env: { ...process.env, LD_PRELOAD: shim, AETHER_SHIM_CLOCK: control },
    encoding: 'utf8',
  });
  t.equal(status, 0, stderr);
  t.same(JSON.parse(stdout), {
    moved: [DAY_MS, -DAY_MS, 0, DAY_MS].map((ms) => ms / HOUR_MS),
    short: ['done', 'done'],
    hour: ['sleeping', 'sleeping', 'sleeping', 'done'],
    order: ['hour', 'short 1', 'short 2', 'last'],
  });
});
