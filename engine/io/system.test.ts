import { mock } from 'node:test';
import { test } from 'tap';
import { systemClock } from './system.ts';

const DAY_MS = 86_400_000;

test("a delay may be longer than Node's timers take", async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  let woken = 0;
  systemClock.after(60 * DAY_MS, () => woken++);
  const cancel = systemClock.after(60 * DAY_MS, () => woken++);
  // In ticks of a day, since a timer that is set within a tick counts from the tick's end.
  for (let day = 1; day <= 59; day++) mock.timers.tick(DAY_MS);
  t.equal(woken, 0);
  cancel();
  for (let day = 60; day <= 62; day++) mock.timers.tick(DAY_MS);
  t.equal(woken, 1);
});
