/**
 * Cron expressions: minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, `@weekly`, `@monthly`,
 * `@yearly`. Fields are lists of numbers, names, ranges and steps. Where both days are restricted, either will do (POSIX).
 *
 * When clocks change: a time of day that is skipped counts at the jump; one that comes twice counts the first time. An
 * hour field that begins with `*` means all that clocks show: then what is skipped is left out, what comes twice counts
 * twice, and the distances stay even (as in Vixie cron).
 */
import { AetherError } from '../../spec/error.ts';
import type { Zone } from './zone.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** The 29th of February can be the same day of the week again after 40 years. */
const DAYS_MAX = 41 * 366;

const MACROS: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Of `min` and those after it. */
  readonly names?: readonly string[];
}

const FIELDS: readonly Field[] = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12, names: MONTHS },
  { name: 'day of week', min: 0, max: 7, names: WEEKDAYS },
];

export interface Cron {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly weekdays: ReadonlySet<number>;
  readonly anyDay: boolean;
  readonly anyWeekday: boolean;
  /** The hour field begins with `*`. */
  readonly everyHour: boolean;
}

/** @throws AetherError ERR_ENGINE_SCHEDULE */
export function parseCron(text: string): Cron {
  const fields = (MACROS[text.trim().toLowerCase()] ?? text).trim().split(/\s+/);
  if (fields.length !== FIELDS.length) throw refusal(text, `it has ${fields.length} fields, not 5`);
  const [minutes, hours, days, months, weekdays] = fields.map((field, i) =>
    valuesOf(field, FIELDS[i] as Field, text),
  ) as [number[], number[], number[], number[], number[]];
  return {
    minutes,
    hours,
    days: new Set(days),
    months: new Set(months),
    weekdays: new Set(weekdays.map((day) => day % 7)),
    anyDay: fields[2]?.startsWith('*') === true,
    anyWeekday: fields[4]?.startsWith('*') === true,
    everyHour: fields[1]?.startsWith('*') === true,
  };
}

/** Instants after `afterMs`, ascending; ends when none comes for 41 years. */
export function* cronTimes(cron: Cron, zone: Zone, afterMs: number): Generator<number> {
  const wallMs = afterMs + zone.offsetMs(afterMs);
  // The day before may still have the second pass of a doubled hour, or its midnight skipped.
  let dayMs = Math.floor(wallMs / DAY_MS) * DAY_MS - DAY_MS;
  let last = afterMs;
  for (let idle = 0; idle < DAYS_MAX; idle++, dayMs += DAY_MS) {
    if (!matchesDay(cron, dayMs)) continue;
    for (const atMs of instantsOf(cron, zone, dayMs)) {
      if (atMs <= last) continue;
      last = atMs;
      idle = 0;
      yield atMs;
    }
  }
}

function matchesDay(cron: Cron, dayMs: number): boolean {
  const date = new Date(dayMs);
  if (!cron.months.has(date.getUTCMonth() + 1)) return false;
  const day = cron.days.has(date.getUTCDate());
  const weekday = cron.weekdays.has(date.getUTCDay());
  return cron.anyDay || cron.anyWeekday ? day && weekday : day || weekday;
}

function instantsOf(cron: Cron, zone: Zone, dayMs: number): number[] {
  const walls = cron.hours.flatMap((hour) =>
    cron.minutes.map((minute) => dayMs + (hour * 60 + minute) * MINUTE_MS),
  );
  const offsetMs = zone.offsetOfDay(dayMs);
  if (offsetMs !== undefined) return walls.map((wallMs) => wallMs - offsetMs);
  const instants = walls.flatMap((wallMs) => {
    const shown = zone.instants(wallMs);
    return cron.everyHour ? shown : [shown[0] ?? zone.jumpOver(wallMs)];
  });
  return [...new Set(instants)].toSorted((a, b) => a - b);
}

function valuesOf(text: string, field: Field, whole: string): number[] {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const [, range = '', step] = /^([^/]+)(?:\/(\d+))?$/.exec(part) ?? [];
    const [first = '', second] = range.split('-');
    const from = first === '*' ? field.min : valueOf(first, field, whole);
    const open = first === '*' || (step !== undefined && second === undefined);
    const to = second === undefined ? (open ? field.max : from) : valueOf(second, field, whole);
    const by = step === undefined ? 1 : Number(step);
    if (from > to || by < 1 || (first === '*' && second !== undefined)) {
      throw refusal(whole, `${field.name} "${part}" is no range`);
    }
    for (let value = from; value <= to; value += by) values.add(value);
  }
  return [...values].toSorted((a, b) => a - b);
}

function valueOf(text: string, { name, min, max, names }: Field, whole: string): number {
  const named = names?.indexOf(text.toLowerCase()) ?? -1;
  const value = named >= 0 ? min + named : Number(/^\d+$/.exec(text)?.[0] ?? Number.NaN);
  if (value >= min && value <= max) return value;
  throw refusal(whole, `${name} "${text}" is not from ${min} to ${max}`);
}

function refusal(text: string, why: string): AetherError {
  return new AetherError(`not a cron expression: ${JSON.stringify(text)}: ${why}`, {
    code: 'ERR_ENGINE_SCHEDULE',
    hint: "write minute, hour, day of month, month and day of week, such as '30 9 * * mon-fri'",
  });
}
