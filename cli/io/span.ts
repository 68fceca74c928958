/** A length of time for people: its two largest units. */

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** As `3 d 4 h`, `59 min 3 s` or `0 s`. @param ms from 0 on */
export function spanText(ms: number): string {
  const parts = UNITS.map(([unit, unitMs], i) => {
    const aboveMs = UNITS[i - 1]?.[1] ?? Number.POSITIVE_INFINITY;
    return { unit, count: Math.floor((ms % aboveMs) / unitMs) };
  });
  const first = parts.findIndex(({ count }) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(({ count }) => count > 0)
    .map(({ count, unit }) => `${count} ${unit}`)
    .join(' ');
}
