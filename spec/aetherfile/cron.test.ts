import { test } from 'tap';
import { cronProblem } from './cron.ts';

test('schedules that can be kept', (t) => {
  const lines = [
    '* * * * *',
    '15 2 * * *',
    '*/15 0-6,22-23 1,15 * 1-5',
    '0-30/10 12 31 12 7',
    '0 0 1 jan-mar MON,fri',
  ];
  for (const cron of lines) t.equal(cronProblem(cron), undefined, cron);
  t.end();
});

test('schedules that cannot', (t) => {
  const lines: [string, RegExp][] = [
    ['* * * *', /4 fields/],
    ['* * * * * *', /6 fields/],
    ['60 * * * *', /"60" is no minute/],
    ['* 24 * * *', /"24" is no hour/],
    ['* * 0 * *', /"0" is no day of month/],
    ['* * * 13 *', /"13" is no month/],
    ['* * * * 8', /"8" is no day of week/],
    ['* * * mon *', /"mon" is no month/],
    ['30-10 * * * *', /"30-10"/],
    ['*/0 * * * *', /"\*\/0"/],
    ['5/2 * * * *', /"5\/2"/],
    ['1-2-3 * * * *', /"1-2-3"/],
    ['1,, * * * *', /"" is no minute/],
    ['- * * * *', /"-"/],
    ['a * * * *', /"a"/],
  ];
  for (const [cron, problem] of lines) t.match(cronProblem(cron), problem, cron);
  t.end();
});
