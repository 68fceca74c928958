import { AetherError } from './error.ts';

/** Milliseconds, or text such as '250ms', '5s', '10m', '2h', '7d', '1h30m'. */
export type Duration = number | string;

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/gy;

/**
 * A duration in whole milliseconds.
 *
 * @throws AetherError ERR_DURATION when it is negative, not finite or not of the form above.
 */
export function durationMs(duration: Duration): number {
  if (typeof duration === 'number') {
    if (Number.isFinite(duration) && duration >= 0) return Math.round(duration);
  } else {
    let total = 0;
    let end = 0;
    PART.lastIndex = 0;
    for (let part = PART.exec(duration); part !== null; part = PART.exec(duration)) {
      total += Number(part[1]) * (UNIT_MS[part[2] as string] as number);
      end = PART.lastIndex;
    }
    const isWhole = end > 0 && end === duration.length;
    if (isWhole && Number.isFinite(total)) return Math.round(total);
  }
  throw new AetherError(`not a duration: ${JSON.stringify(duration)}`, {
    code: 'ERR_DURATION',
    hint: "write milliseconds as a number, or text such as '250ms', '5s', '10m', '2h', '7d'",
  });
}
