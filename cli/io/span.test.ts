import { test } from 'tap';
import { spanText } from './span.ts';

test('a length of time is its two largest units', (t) => {
  for (const [ms, text] of [
    [0, '0 s'],
    [999, '0 s'],
    [61_000, '1 min 1 s'],
    [3_600_000, '1 h'],
    [86_399_999, '23 h 59 min'],
    [8 * 86_400_000 + 61_000, '8 d'],
  ] as const)
    t.equal(spanText(ms), text);
  t.end();
});
