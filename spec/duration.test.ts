import * as fc from 'fast-check';
import { test } from 'tap';
import { durationMs } from './duration.ts';

test('durations', (t) => {
  const cases: [string | number, number][] = [
    [0, 0],
    [1.6, 2],
    ['0s', 0],
    ['250ms', 250],
    ['5s', 5_000],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['1h30m', 5_400_000],
    ['1m500ms', 60_500],
    ['1.5s', 1_500],
    ['0.4ms', 0],
  ];
  for (const [duration, expected] of cases)
    t.equal(durationMs(duration), expected, String(duration));
  t.end();
});

test('what is no duration is refused, whole', (t) => {
  const cases = [
    -1,
    NaN,
    Infinity,
    '',
    '5',
    's',
    '5 s',
    ' 5s',
    '5s ',
    '5sx',
    '-5s',
    '+5s',
    '1e3s',
    '.5s',
    '5.s',
  ];
  for (const duration of [...cases, '5S', '5s\n', `${'9'.repeat(400)}d`]) {
    t.throws(() => durationMs(duration), { code: 'ERR_DURATION' }, JSON.stringify(duration));
  }
  t.end();
});

test('parts add up', (t) => {
  const part = fc.nat({ max: 1_000 });
  fc.assert(
    fc.property(part, part, part, (hours, minutes, ms) => {
      const total = hours * 3_600_000 + minutes * 60_000 + ms;
      return durationMs(`${hours}h${minutes}m${ms}ms`) === total && durationMs(total) === total;
    }),
  );
  t.end();
});
