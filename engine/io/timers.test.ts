import * as fc from 'fast-check';
import { test } from 'tap';
import { VirtualClock } from '../testing.ts';
import { elapsedTime, Timers } from './timers.ts';

test('whatever is set and deleted, what is left fires in order, and nothing else stays', async (t) => {
  const act = fc.record({ op: fc.nat(40), delayMs: fc.nat(50), keep: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 200 }), async (acts) => {
      const clock = new VirtualClock(0, false);
      const fired: { op: number; atMs: number }[] = [];
      const timers = new Timers(elapsedTime(clock), ({ op }) =>
        fired.push({ op, atMs: clock.nowMs() }),
      );
      const expected = new Map<number, number>();
      for (const { op, delayMs, keep } of acts) {
        if (keep) {
          timers.set({ runId: 'r', op }, delayMs);
          if (!expected.has(op)) expected.set(op, delayMs);
        } else {
          timers.delete({ runId: 'r', op });
          expected.delete(op);
        }
        if (timers.size !== expected.size) return false;
      }
      await clock.advance(60);
      const inTime = fired.every(({ op, atMs }) => expected.get(op) === atMs);
      const inOrder = fired.every(({ atMs }, i) => atMs >= (fired[i - 1]?.atMs ?? 0));
      return inTime && inOrder && fired.length === expected.size && timers.size === 0;
    }),
    { numRuns: 50 },
  );
  t.end();
});
