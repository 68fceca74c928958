import { test } from 'tap';
import { systemClock } from '../../spec/system-clock.ts';
import { firstOf, NOT_NEEDED } from './first-of.ts';

test('who is ended as another succeeds has failed only if it was begun before', async (t) => {
  const last = Promise.withResolvers<void>();
  const reasons: unknown[] = [];
  const waits = (i: number, signal: AbortSignal): Promise<never> =>
    new Promise((_, fail) => {
      signal.addEventListener('abort', () => {
        reasons[i] = signal.reason;
        fail(new Error('ended'));
      });
    });
  const attempts = [
    (signal: AbortSignal) => waits(0, signal),
    () => last.promise.then(() => 'one'),
    (signal: AbortSignal) => {
      last.resolve();
      return waits(2, signal);
    },
  ];
  t.equal(await firstOf<string>(attempts, 0, systemClock), 'one');
  t.match(reasons[0], { name: 'AbortError' });
  t.equal(reasons[2], NOT_NEEDED);
});
