/** 10,000 timers that are due at one moment: how long they take to drain, and what a run that starts meanwhile waits. */
import { join } from 'node:path';
import { Engine, workflow } from '../../engine/index.ts';
import { SqliteStore } from '../../engine/io/sqlite.ts';
import type { Trial } from './trial.ts';

const SLEEPERS = 10_000;
/** From now until they are due: long enough to start them all. */
const NAP_MS = 8_000;

export const storm: Trial = {
  name: 'storm-10k',
  units: { drainSeconds: 's', startMaxMs: 'ms', started: '1' },
  async measure(folder) {
    const count = { woken: 0 };
    const dueMs = Date.now() + NAP_MS;
    const sleeper = workflow('sleeper', async (ctx) => {
      await ctx.sleepUntil('nap', dueMs);
      await ctx.step('after', () => void count.woken++);
    });
    const quick = workflow('quick', (ctx) => ctx.step('step', () => 1));
    const store = new SqliteStore(join(folder, 'engine.db'));
    const engine = await Engine.open({ store, workflows: [sleeper, quick] });
    const handles = await Promise.all(
      Array.from({ length: SLEEPERS }, () => engine.start(sleeper)),
    );
    const drained = Promise.all(handles.map((handle) => handle.result())).then(() => Date.now());
    if (Date.now() > dueMs) throw new Error('the timers were due before all runs had started');
    while (count.woken === 0) await new Promise((resolve) => void setTimeout(resolve, 1));
    let startMaxMs = 0;
    let started = 0;
    while (count.woken < SLEEPERS) {
      const fromMs = performance.now();
      await (await engine.start(quick)).result();
      startMaxMs = Math.max(startMaxMs, performance.now() - fromMs);
      started++;
    }
    const drainSeconds = ((await drained) - dueMs) / 1_000;
    await engine.close();
    return { drainSeconds, startMaxMs, started };
  },
  bounds: (value) => [
    {
      text: `a run that starts meanwhile has ended within 250 ms; measured ${value('startMaxMs').toPrecision(3)} at most, of ${value('started')}`,
      holds: value('startMaxMs') <= 250 && value('started') > 0,
    },
  ],
};
