import { type Test, test } from 'tap';
import { Engine, type Schedules, workflow } from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

const HOUR_MS = 3_600_000;

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open({ startAt: 0, skipTime: false, ...options });
  t.teardown(() => engine.close());
  return engine;
}

async function list(schedules: Schedules): Promise<object[]> {
  const all = [];
  for await (const one of schedules.list()) all.push(one);
  return all;
}

function counted(begun: number[], lastsMs = 0): ReturnType<typeof workflow<unknown, unknown>> {
  return workflow('work', async (ctx, input: unknown) => {
    begun.push(ctx.now());
    if (lastsMs > 0) await ctx.sleep('work', lastsMs);
    return input;
  });
}

test('an interval starts its workflow, over crashes, no time twice and none left out', async (t) => {
  let starts = 0;
  const work = workflow('work', async (ctx, input: string) => {
    await ctx.step('count', () => ++starts);
    return input;
  });
  let engine = await open(t, { workflows: [work] });
  await engine.schedules.create('s', { every: '1h', workflow: work, input: 'in' });
  await engine.schedules.create('s', { every: '1h', workflow: work, input: 'in' });
  await t.rejects(engine.schedules.create('s', { every: '2h', workflow: work }), {
    code: 'ERR_ENGINE_ALREADY_EXISTS',
  });
  for (let crash = 0; crash < 6; crash++) {
    await engine.advance('30m');
    engine = await engine.crash();
  }
  await engine.advance(1);
  t.equal(starts, 3);
  const ids = [1, 2, 3].map((hour) => `s/${new Date(hour * HOUR_MS).toISOString()}`);
  for (const id of ids) t.equal(await engine.get(id).result(), 'in');
  t.same(await list(engine.schedules), [
    { id: 's', paused: false, next: [4, 5, 6, 7, 8].map((hour) => hour * HOUR_MS), last: ids[2] },
  ]);
  const runs = [];
  for await (const run of engine.list()) runs.push(run.id);
  t.same(runs, ids, 'schedules are not among the runs of programs');
  await engine.close();
});

test('cron goes by the clocks of its zone', async (t) => {
  const begun: number[] = [];
  const startAt = Date.UTC(2026, 2, 28);
  const engine = await open(t, { workflows: [counted(begun)], startAt });
  const spec = { cron: '30 2 * * *', zone: 'Europe/Berlin', workflow: 'work' };
  await engine.schedules.create('s', spec);
  await engine.advance('3d');
  t.same(
    begun.map((atMs) => new Date(atMs).toISOString().slice(0, 16)),
    ['2026-03-28T01:30', '2026-03-29T01:00', '2026-03-30T00:30'],
  );
});

for (const [overlap, expected] of [
  ['skip', [1, 3, 5]],
  ['buffer-one', [1, 2.5, 4, 5.5]],
  ['allow-all', [1, 2, 3, 4, 5]],
] as const) {
  test(`when the run before is open: ${overlap}`, async (t) => {
    const begun: number[] = [];
    const work = counted(begun, 1.5 * HOUR_MS);
    const engine = await open(t, { workflows: [work] });
    await engine.schedules.create('s', { every: '1h', workflow: work, overlap });
    await engine.advance(5.9 * HOUR_MS);
    t.same(
      begun.filter((atMs, i) => begun.indexOf(atMs) === i).map((atMs) => atMs / HOUR_MS),
      expected,
    );
  });
}

test('when the run before is open: cancel-other', async (t) => {
  const ended: string[] = [];
  const work = workflow('work', async (ctx) => {
    try {
      await ctx.sleep('long', '90m');
      ended.push('done');
    } catch (error) {
      ended.push((error as Error).message);
      throw error;
    }
  });
  const engine = await open(t, { workflows: [work] });
  await engine.schedules.create('s', { every: '1h', workflow: work, overlap: 'cancel-other' });
  await engine.advance('3h');
  t.match(ended, [/the next one is due/, /the next one is due/]);
  const runs = [];
  for await (const run of engine.list()) runs.push(run.status);
  t.same(runs, ['cancelled', 'cancelled', 'sleeping']);
});

test('pause and resume: what came due meanwhile is left out', async (t) => {
  const begun: number[] = [];
  const engine = await open(t, { workflows: [counted(begun)] });
  await engine.schedules.create('s', { every: '1h', workflow: 'work', paused: true, note: 'soon' });
  t.match(await list(engine.schedules), [{ paused: true, note: 'soon', next: [] }]);
  await engine.advance('90m');
  await engine.schedules.resume('s', 'now');
  await engine.advance('1h');
  await engine.schedules.pause('s', 'holiday');
  const again = await engine.crash();
  t.teardown(() => again.close());
  await again.advance('3h');
  t.match(await list(again.schedules), [{ paused: true, note: 'holiday' }]);
  await again.schedules.resume('s');
  await again.advance('1h');
  t.same(
    begun.map((atMs) => atMs / HOUR_MS),
    [2, 6],
  );
});

test('trigger, backfill, delete', async (t) => {
  const engine = await open(t, { workflows: [counted([])] });
  await engine.schedules.create('s', { every: '1h', workflow: 'work', input: 7 });
  const id = await engine.schedules.trigger('s');
  t.equal(await engine.get(id).result(), 7);
  await engine.advance('1h');
  const ids = await engine.schedules.backfill('s', -HOUR_MS, HOUR_MS);
  t.same(
    ids,
    [-1, 0, 1].map((hour) => `s/${new Date(hour * HOUR_MS).toISOString()}`),
  );
  for (const one of ids) t.equal(await engine.get(one).result(), 7);
  const runs = [];
  for await (const run of engine.list()) runs.push(run.id);
  t.equal(runs.length, 4, 'what had been started was not started again');
  await t.rejects(engine.schedules.backfill('s', 0, HOUR_MS * 2_000), {
    message: /more than 1000/,
  });
  await engine.schedules.delete('s');
  t.same(await list(engine.schedules), []);
  await engine.advance('5h');
  await t.rejects(engine.schedules.trigger('s'), { code: 'ERR_ENGINE_NOT_FOUND' });
  await t.rejects(engine.schedules.pause('none'), { code: 'ERR_ENGINE_NOT_FOUND' });
  await engine.schedules.create('s', { every: '2h', workflow: 'work' });
  t.match(await list(engine.schedules), [{ id: 's', next: [8 * HOUR_MS, 10 * HOUR_MS] }]);
});

test('triggers do not make the history of a schedule long', async (t) => {
  const engine = await open(t, { workflows: [counted([])], skipTime: false });
  await engine.schedules.create('s', { cron: '@yearly', workflow: 'work', overlap: 'skip' });
  for (let i = 0; i < 200; i++) await engine.schedules.trigger('s');
  const schedule = await engine.get('aether.schedule/s').describe();
  t.ok(schedule.events < 500, `${schedule.events} events`);
  t.match(await list(engine.schedules), [{ id: 's', last: String }]);
});

test('what was missed is caught up with, as far as the policy says', async (t) => {
  const begun: number[] = [];
  const work = counted(begun);
  for (const [catchup, expected] of [
    ['150m', 3],
    ['0ms', 1],
  ] as const) {
    begun.length = 0;
    const first = await TestEngine.open({ workflows: [work], startAt: 0, skipTime: false });
    const spec = { every: '1h', workflow: work, catchup, overlap: 'allow-all' } as const;
    await first.schedules.create('s', spec);
    await first.advance(1);
    // The process is not there for five hours.
    first.clock.detach();
    await first.advance('5h');
    const engine = await first.crash();
    await engine.advance(1);
    await engine.advance('59m');
    t.equal(begun.length, expected === 1 ? 0 : expected, `catchup ${catchup}`);
    await engine.advance('1m');
    t.equal(begun.length, expected === 1 ? 1 : expected + 1);
    await engine.close();
  }
});

test('jitter delays each start by less than that, and goes on for long', async (t) => {
  const begun: number[] = [];
  const work = counted(begun);
  const engine = await open(t, { workflows: [work] });
  await engine.schedules.create('s', { every: '1h', workflow: work, jitter: '10m' });
  await engine.advance('300h');
  await engine.advance('10m');
  t.equal(begun.length, 300, 'also where the schedule goes on as a new run');
  const late = begun.map((atMs, i) => atMs - (i + 1) * HOUR_MS);
  t.ok(late.every((ms) => ms >= 0 && ms < 600_000));
  t.ok(new Set(late).size > 250);
});

test('what is no schedule is refused', async (t) => {
  const engine = await open(t, { workflows: [counted([])] });
  const create = (spec: object) => engine.schedules.create('s', { workflow: 'work', ...spec });
  await t.rejects(create({}), { code: 'ERR_ENGINE_SCHEDULE' });
  await t.rejects(create({ cron: '* * * * *', every: 1 }), { code: 'ERR_ENGINE_SCHEDULE' });
  await t.rejects(create({ cron: '0 0 31 2 *' }), { message: /no time to come/ });
  await t.rejects(create({ cron: '@daily', zone: 'Mars/Base' }), { code: 'ERR_ENGINE_SCHEDULE' });
  await t.rejects(create({ every: 0 }), { code: 'ERR_ENGINE_SCHEDULE' });
  await t.rejects(create({ every: 1, workflow: 'none' }), { code: 'ERR_ENGINE_NOT_FOUND' });
  t.same(await list(engine.schedules), []);
});

test('a schedule replays as it was recorded', async (t) => {
  const { scheduleWorkflow } = await import('./schedules.ts');
  const engine = await open(t, { workflows: [counted([], HOUR_MS * 1.5)] });
  await engine.schedules.create('s', {
    every: '1h',
    workflow: 'work',
    overlap: 'buffer-one',
    jitter: '1m',
  });
  await engine.advance('10h');
  await engine.schedules.trigger('s');
  const history = await engine.get('aether.schedule/s').history();
  t.match(await Engine.replay(scheduleWorkflow, history), { ok: true });
});

test('a run that stays open is known however long the schedule goes on', async (t) => {
  let starts = 0;
  const waits = workflow('waits', async (ctx) => {
    await ctx.step('count', () => ++starts);
    await ctx.receive('end');
  });
  const engine = await open(t, { workflows: [waits] });
  await engine.schedules.create('s', { every: '1h', workflow: waits });
  await engine.advance('130h');
  const { runId } = await engine.get('aether.schedule/s').describe();
  t.equal(starts, 1);
  await engine.get(`s/${new Date(HOUR_MS).toISOString()}`).signal('end');
  await engine.advance('1h');
  t.equal(starts, 2);
  t.equal((await engine.get('aether.schedule/s').describe()).runId, runId);
});

test('a start that is refused is told, and does not end the schedule', async (t) => {
  let refuses = true;
  const validate = (value: unknown): object =>
    refuses ? { issues: [{ message: 'not today' }] } : { value };
  const picky = workflow('picky', async (_ctx, input: unknown) => input, {
    input: { '~standard': { version: 1, vendor: 'test', validate } },
  });
  const engine = await open(t, { workflows: [picky] });
  await engine.schedules.create('s', { every: '1h', workflow: picky });
  await engine.advance('1h');
  t.match(await list(engine.schedules), [{ lastError: /not today/, last: undefined }]);
  refuses = false;
  await engine.advance('1h');
  t.match(await list(engine.schedules), [{ lastError: undefined, last: String }]);
});

test('a schedule that is often triggered and seldom due keeps its history short', async (t) => {
  const work = counted([]);
  const engine = await open(t, { workflows: [work] });
  await engine.schedules.create('s', { cron: '@yearly', workflow: work });
  const events = async (): Promise<number> =>
    (await engine.get('aether.schedule/s').describe()).events;
  for (let i = 0; i < 200; i++) await engine.schedules.trigger('s');
  t.ok((await events()) < 500);
  await engine.schedules.pause('s');
  for (let i = 0; i < 200; i++) await engine.schedules.trigger('s');
  t.ok((await events()) < 500);
});
