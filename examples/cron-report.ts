/**
 * A report every working day at half past nine in Berlin, summer and winter.
 *
 *   npm run example -- cron-report [--state FOLDER]
 *
 * It shows the times to come, makes up for the week that has passed, and ends. Run again, it makes no report twice.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, type ScheduleSpec, type Workflow, workflow } from 'aether/engine';
import { SqliteStore } from 'aether/engine/sqlite';

const ZONE = 'Europe/Berlin';
const WEEK_MS = 7 * 24 * 3_600_000;

/** Stands for a query of the web server's log. */
function visitsOf(day: string): number {
  return Number(day.slice(-2)) * 100;
}

/** Where reports go: to a folder if there is one. The same report again replaces itself. */
class Reports {
  folder: string | undefined;

  async write(day: string, text: string): Promise<void> {
    if (this.folder !== undefined) await writeFile(join(this.folder, `${day}.txt`), `${text}\n`);
    console.log(`  ${day}: ${text}`);
  }
}

export const reports: Reports = new Reports();

export const report: Workflow<{ team: string }, string> = workflow(
  'report',
  async (ctx, { team }: { team: string }) => {
    // The id of a scheduled run ends with the time that it is for: a late run reports on its own day.
    const due = new Date(ctx.workflowId.split('/').at(-1) ?? '');
    const day = due.toLocaleDateString('en-CA', { timeZone: ZONE });
    const visits = await ctx.step('count', () => visitsOf(day));
    await ctx.step('write', () => reports.write(day, `${team} had ${visits} visits`));
    return day;
  },
);

export const schedule: ScheduleSpec = {
  cron: '30 9 * * mon-fri',
  zone: ZONE,
  workflow: report,
  input: { team: 'web' },
  // One at a time; the one that came while no engine was open is made up for, up to twelve hours later.
  overlap: 'skip',
  catchup: '12h',
};

const workflows: [typeof report] = [report];
/** For `aether up --workflows` and `aether wf replay --workflows`. */
export default workflows;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { state: { type: 'string' } } });
  const { state = join(tmpdir(), 'aether-cron-report') } = values;
  await mkdir(state, { recursive: true });
  reports.folder = state;

  const store = new SqliteStore(join(state, 'engine.db'));
  await using engine = await Engine.open({ store, workflows });
  await engine.schedules.create('daily', schedule); // The same again is once.
  for await (const { next } of engine.schedules.list()) {
    const times = next.map((at) => new Date(at).toLocaleString('en-GB', { timeZone: ZONE }));
    console.log(`In ${ZONE} it is due at\n  ${times.join('\n  ')}`);
  }
  console.log('The past week:');
  const ids = await engine.schedules.backfill('daily', Date.now() - WEEK_MS, Date.now());
  for (const id of ids) await engine.get(id).result();
  console.log(`Reports of ${ids.length} days are in ${state}; none is made twice.`);
}

if (import.meta.main) await main();
