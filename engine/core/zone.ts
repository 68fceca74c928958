/** Wall time and instants of a time zone, as the runtime's zone data has them. */
import { AetherError } from '../../spec/error.ts';

const HOUR_MS = 3_600_000;
/** A change of offset that concerns a wall time is no farther from it, read as UTC: offsets are below 15 h, gaps below 25 h. */
const REACH_MS = 40 * HOUR_MS;

/** A wall time is written as the Unix ms at which UTC's clocks show it. */
export class Zone {
  readonly #format: Intl.DateTimeFormat;

  /** @param name of the IANA data base. @throws AetherError ERR_ENGINE_SCHEDULE */
  constructor(name: string) {
    try {
      this.#format = new Intl.DateTimeFormat('en-US', {
        timeZone: name,
        calendar: 'iso8601',
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
      });
    } catch (error) {
      throw new AetherError(`there is no time zone ${JSON.stringify(name)}`, {
        code: 'ERR_ENGINE_SCHEDULE',
        hint: "write a name such as 'Europe/Berlin', or 'UTC'",
        cause: error,
      });
    }
  }

  /** Wall time minus instant. */
  offsetMs(atMs: number): number {
    const seconds = Math.floor(atMs / 1_000) * 1_000;
    const parts: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(seconds)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second) - seconds;
  }

  /** The offset of the whole day, if it has only one. */
  offsetOfDay(dayMs: number): number | undefined {
    const offsetMs = this.offsetMs(dayMs - REACH_MS);
    return offsetMs === this.offsetMs(dayMs + 24 * HOUR_MS + REACH_MS) ? offsetMs : undefined;
  }

  /** When clocks show this: never (skipped), once, or twice, ascending. */
  instants(wallMs: number): number[] {
    const offsets = new Set([this.offsetMs(wallMs - REACH_MS), this.offsetMs(wallMs + REACH_MS)]);
    return [...offsets]
      .map((offsetMs) => wallMs - offsetMs)
      .filter((atMs) => atMs + this.offsetMs(atMs) === wallMs)
      .toSorted((a, b) => a - b);
  }

  /** The instant at which clocks jump over a wall time that is skipped. */
  jumpOver(wallMs: number): number {
    let before = wallMs - REACH_MS;
    let after = wallMs + REACH_MS;
    const offsetMs = this.offsetMs(before);
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2);
      if (this.offsetMs(middle) === offsetMs) before = middle;
      else after = middle;
    }
    return after;
  }
}
