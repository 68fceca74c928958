/** Schedules in the form of crontab(5): minute, hour, day of month, month, day of week. */

interface FieldRule {
  noun: string;
  min: number;
  max: number;
  names?: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const FIELDS: readonly FieldRule[] = [
  { noun: 'minute', min: 0, max: 59 },
  { noun: 'hour', min: 0, max: 23 },
  { noun: 'day of month', min: 1, max: 31 },
  { noun: 'month', min: 1, max: 12, names: MONTHS },
  { noun: 'day of week', min: 0, max: 7, names: DAYS },
];

/** Says what is wrong with a cron line. @returns undefined when nothing is */
export function cronProblem(cron: string): string | undefined {
  const fields = cron.split(' ');
  if (fields.length !== FIELDS.length)
    return `it has ${fields.length} fields, not ${FIELDS.length}`;
  for (const [i, rule] of FIELDS.entries()) {
    const part = fields[i]?.split(',').find((each) => !isPart(each, rule));
    if (part !== undefined)
      return `"${part.slice(0, 40)}" is no ${rule.noun} (${rule.min} to ${rule.max})`;
  }
  return undefined;
}

/** `*`, `5`, `1-5`, and with a step `*`/15 or 10-40/5. */
function isPart(part: string, rule: FieldRule): boolean {
  const [range = '', step, ...more] = part.split('/');
  if (more.length > 0) return false;
  if (step !== undefined && !(/^[0-9]{1,3}$/.test(step) && Number(step) > 0)) return false;
  if (range === '*') return true;
  const ends = range.split('-').map((end) => number(end, rule));
  const [from, to] = ends;
  if (from === undefined || !ends.every((end) => end !== undefined)) return false;
  if (ends.length === 1) return step === undefined;
  return ends.length === 2 && from <= (to as number);
}

function number(text: string, { min, max, names }: FieldRule): number | undefined {
  const named = names?.indexOf(text.toLowerCase()) ?? -1;
  if (named >= 0) return named + min;
  const value = /^[0-9]{1,2}$/.test(text) ? Number(text) : -1;
  return value >= min && value <= max ? value : undefined;
}
