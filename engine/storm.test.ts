import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { PLACE } from './disk.testkit.ts';
import { Engine, workflow } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';
import { systemClock } from './io/machine-clock.ts';

const SLEEPERS = 4_000;
const HOUR_MS = 3_600_000;

test('a storm of timers does not keep new runs from starting', { timeout: 25_000 }, async (t) => {
  let woken = 0;
  const sleeper = workflow('sleeper', async (ctx) => {
    await ctx.sleep('nap', '1h');
    await ctx.step('after', () => void woken++);
  });
  const quick = workflow('quick', async (ctx) => ctx.step('s', () => 1));
  const soon = workflow('soon', async (ctx) => ctx.sleep('nap', 50));
  let aheadMs = 0;
  const clock = {
    ...systemClock,
    nowMs: (): number => systemClock.nowMs() + aheadMs,
    monotonicMs: (): number => systemClock.monotonicMs() + aheadMs,
  };
  const folder = mkdtempSync(join(PLACE, 'aether-storm-'));
  const store = new SqliteStore(join(folder, 'engine.db'));
  const engine = await Engine.open({ store, workflows: [sleeper, quick, soon], clock });
  t.teardown(async () => {
    await engine.close();
    rmSync(folder, { recursive: true });
  });
  await Promise.all(Array.from({ length: SLEEPERS }, () => engine.start(sleeper)));
  await engine.start(soon);
  aheadMs = HOUR_MS; // Seen when the clock wakes for the one that sleeps shortly.
  let meanwhile = 0;
  for (let seen = 0; seen < SLEEPERS; seen = woken) {
    await (await engine.start(quick)).result();
    if (woken > 0 && woken < SLEEPERS) meanwhile++;
  }
  t.ok(meanwhile >= 3, `${meanwhile} runs started and ended meanwhile`);
  t.equal(woken, SLEEPERS, 'each woke once');
});
