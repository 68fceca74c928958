/** Statistics of repeated measurements. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The value below which a share `p` of the values lies. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

/** Values of several rounds by case, subject and metric. */
export class Medians {
  readonly #values = new Map<string, number[]>();

  add(name: string, subject: string, metric: string, value: number): void {
    const key = JSON.stringify([name, subject, metric]);
    this.#values.set(key, [...(this.#values.get(key) ?? []), value]);
  }

  /** @returns to five digits; NaN where nothing was measured */
  value(name: string, subject: string, metric: string): number {
    const values = this.#values.get(JSON.stringify([name, subject, metric])) ?? [];
    return Number(median(values).toPrecision(5));
  }
}
