import * as fc from 'fast-check';
import { test } from 'tap';
import { cronTimes, parseCron } from './cron.ts';
import { Zone } from './zone.ts';

/** The first times of an expression after an instant, as ISO text without seconds. */
function times(cron: string, zone: string, after: string, count: number): string[] {
  const found: string[] = [];
  for (const atMs of cronTimes(parseCron(cron), new Zone(zone), Date.parse(after))) {
    found.push(new Date(atMs).toISOString().slice(0, 16));
    if (found.length === count) break;
  }
  return found;
}

test('fields: lists, ranges, steps, names, macros', (t) => {
  const from = '2026-01-01T00:00:00Z';
  t.same(times('30 9 * * mon-fri', 'UTC', from, 3), [
    '2026-01-01T09:30',
    '2026-01-02T09:30',
    '2026-01-05T09:30',
  ]);
  t.same(times('*/20 8,10-11 * * *', 'UTC', from, 7), [
    '2026-01-01T08:00',
    '2026-01-01T08:20',
    '2026-01-01T08:40',
    '2026-01-01T10:00',
    '2026-01-01T10:20',
    '2026-01-01T10:40',
    '2026-01-01T11:00',
  ]);
  t.same(times('0 0 1 jan,JUL *', 'UTC', from, 2), ['2026-07-01T00:00', '2027-01-01T00:00']);
  t.same(times('5/25 0 * * *', 'UTC', from, 2), ['2026-01-01T00:05', '2026-01-01T00:30']);
  t.same(times('0 0 * * 7', 'UTC', from, 1), times('@weekly', 'UTC', from, 1));
  t.same(times('@hourly', 'UTC', from, 1), ['2026-01-01T01:00'], 'after, not at');
  t.end();
});

test('two restricted days: either will do; the 29th of February waits for its year', (t) => {
  t.same(times('0 0 13 * fri', 'UTC', '2026-02-01T00:00:00Z', 4), [
    '2026-02-06T00:00',
    '2026-02-13T00:00',
    '2026-02-20T00:00',
    '2026-02-27T00:00',
  ]);
  t.same(times('0 0 29 2 *', 'UTC', '2026-01-01T00:00:00Z', 2), [
    '2028-02-29T00:00',
    '2032-02-29T00:00',
  ]);
  t.same(times('0 0 30 2 *', 'UTC', '2026-01-01T00:00:00Z', 1), [], 'never');
  t.end();
});

test('a time of day that is skipped counts at the jump, once', (t) => {
  // Berlin: on 2026-03-29 02:00 becomes 03:00 (01:00 UTC).
  const from = '2026-03-28T12:00:00Z';
  t.same(times('30 2 * * *', 'Europe/Berlin', from, 2), ['2026-03-29T01:00', '2026-03-30T00:30']);
  t.same(times('0,15,30 2 * * *', 'Europe/Berlin', from, 2), [
    '2026-03-29T01:00',
    '2026-03-30T00:00',
  ]);
  t.same(times('30 2,3 * * *', 'Europe/Berlin', from, 3), [
    '2026-03-29T01:00',
    '2026-03-29T01:30',
    '2026-03-30T00:30',
  ]);
  t.same(times('0 0 4 11 *', 'America/Sao_Paulo', '2018-11-01T00:00:00Z', 1), ['2018-11-04T03:00']);
  t.same(
    times('0 12 * * *', 'Pacific/Apia', '2011-12-29T23:00:00Z', 2),
    ['2011-12-30T10:00', '2011-12-30T22:00'],
    'a whole day',
  );
  t.end();
});

test('a time of day that comes twice counts the first time', (t) => {
  // Berlin: on 2026-10-25 03:00 summer time (01:00 UTC) becomes 02:00.
  const from = '2026-10-24T12:00:00Z';
  t.same(times('30 2 * * *', 'Europe/Berlin', from, 2), ['2026-10-25T00:30', '2026-10-26T01:30']);
  t.same(times('30 1 1 11 *', 'America/New_York', '2026-10-01T00:00:00Z', 1), ['2026-11-01T05:30']);
  t.same(
    times('45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T00:00:00Z', 1),
    ['2026-04-04T14:45'],
    'half an hour',
  );
  t.end();
});

test('with every hour the distances stay even over both changes', (t) => {
  t.same(times('*/30 * * * *', 'Europe/Berlin', '2026-03-29T00:15:00Z', 3), [
    '2026-03-29T00:30',
    '2026-03-29T01:00',
    '2026-03-29T01:30',
  ]);
  t.same(times('0 * * * *', 'Europe/Berlin', '2026-10-24T23:30:00Z', 3), [
    '2026-10-25T00:00',
    '2026-10-25T01:00',
    '2026-10-25T02:00',
  ]);
  t.end();
});

test('what is no expression is refused, and named', (t) => {
  for (const [text, why] of [
    ['* * * *', /4 fields/],
    ['60 * * * *', /minute "60" is not from 0 to 59/],
    ['* * * * funday', /day of week "funday"/],
    ['5-1 * * * *', /"5-1" is no range/],
    ['*/0 * * * *', /"\*\/0" is no range/],
    ['1.5 * * * *', /minute/],
    ['', /1 fields/],
  ] as const) {
    t.throws(() => parseCron(text), { code: 'ERR_ENGINE_SCHEDULE', message: why }, text);
  }
  t.throws(() => new Zone('Mars/Base'), { code: 'ERR_ENGINE_SCHEDULE' });
  t.end();
});

test('times ascend and are what clocks show, in any zone', (t) => {
  const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'];
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.integer({ min: 0, max: 59 }),
      fc.integer({ min: Date.UTC(2000), max: Date.UTC(2040) }),
      (zone, minute, after) => {
        const found: number[] = [];
        for (const atMs of cronTimes(parseCron(`${minute} * * * *`), new Zone(zone), after)) {
          if (found.push(atMs) === 30) break;
        }
        const clock = new Intl.DateTimeFormat('en', { timeZone: zone, minute: 'numeric' });
        let last = after;
        return found.every((atMs) => {
          const isLater = atMs > last && atMs - last <= 90 * 60_000;
          last = atMs;
          return isLater && Number(clock.format(atMs)) === minute;
        });
      },
    ),
    { numRuns: 100 },
  );
  t.end();
});
