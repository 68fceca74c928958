import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { TestEngine } from 'aether/engine/testing';
import { runExample, stateFolder } from '../test/example.ts';
import { report, reports, schedule } from './cron-report.ts';

/** A Friday; in the night to Sunday the clocks of Berlin go forward. */
const FRIDAY = Date.UTC(2026, 2, 27);
const DAY_MS = 24 * 3_600_000;

async function open(t: Test): Promise<TestEngine> {
  const engine = await TestEngine.open({ workflows: [report], startAt: FRIDAY, skipTime: false });
  t.teardown(() => engine.close());
  await engine.schedules.create('daily', schedule);
  return engine;
}

/** Days that are reported on. Each report takes as long as `printer`. */
function written(t: Test, printer?: Promise<void>): string[] {
  const days: string[] = [];
  t.capture(reports, 'write', async (day: string) => {
    await printer;
    days.push(day);
  });
  return days;
}

async function started(engine: TestEngine): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of engine.list({ name: 'report' })) ids.push(id);
  return ids;
}

test('half past nine is that of Berlin, summer and winter, on working days', async (t) => {
  const days = written(t);
  const engine = await open(t);
  await engine.advance(5 * DAY_MS);
  t.same(days, ['2026-03-27', '2026-03-30', '2026-03-31']);
  t.same(await started(engine), [
    'daily/2026-03-27T08:30:00.000Z',
    'daily/2026-03-30T07:30:00.000Z',
    'daily/2026-03-31T07:30:00.000Z',
  ]);
});

test('what came while no engine was open is made up for, up to twelve hours later', async (t) => {
  const days = written(t);
  const first = await open(t);
  await first.advance(1);
  // No engine until Monday evening, eleven hours after that day's time; Friday's is too long ago.
  first.clock.detach();
  await first.advance(3 * DAY_MS + 18.5 * 3_600_000);
  t.same(days, []);
  const second = await first.crash();
  t.teardown(() => second.close());
  await second.advance(1);
  t.same(days, ['2026-03-30']);
});

test('while a report is being written the next one is left out', async (t) => {
  const printer = Promise.withResolvers<void>();
  const days = written(t, printer.promise);
  const engine = await open(t);
  await engine.advance(4 * DAY_MS);
  t.same(await started(engine), ['daily/2026-03-27T08:30:00.000Z'], "Monday's was left out");
  printer.resolve();
  await engine.get('daily/2026-03-27T08:30:00.000Z').result();
  await engine.advance(DAY_MS);
  t.same(days, ['2026-03-27', '2026-03-31']);
});

test('the command makes up for the past week, each report once', async (t) => {
  const state = stateFolder(t);
  const run = () => runExample('cron-report', ['--state', state]);
  const first = await run();
  t.equal(first.code, 0);
  const files = readdirSync(state).filter((name) => name.endsWith('.txt'));
  const made = first.said.filter((line) => line.includes(' visits'));
  t.ok(made.length >= 4 && made.length <= 6, 'five working days, give or take an edge');
  t.same(
    made.toSorted(),
    files.map(
      (name) => `  ${name.slice(0, -4)}: ${readFileSync(join(state, name), 'utf8').trim()}`,
    ),
  );
  const second = await run();
  t.equal(second.code, 0);
  t.same(
    second.said.filter((line) => made.includes(line)),
    [],
    'none is made twice',
  );
  t.match(second.said.at(-1), /^Reports of [4-6] days/);
});
