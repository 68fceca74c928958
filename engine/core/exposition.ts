/**
 * Counts in the text form that Prometheus reads: `# HELP`, `# TYPE`, one line per series.
 *
 * Source: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4.
 */
export type Labels = Readonly<Record<string, string>>;

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Lines of all series. */
  lines(): string[];
}

/** One series that only grows. */
export class Count {
  value = 0;
}

/** One series of observations, counted by size. */
export class Distribution {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** @param bounds upper bounds, inclusive, ascending */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at++;
    (this.#counts[at] as number)++;
    this.#sum += value;
  }

  lines(name: string, labels: Labels): string[] {
    let total = 0;
    const buckets = this.#counts.map((count, i) => {
      total += count;
      const le = i === this.#bounds.length ? '+Inf' : String(this.#bounds[i]);
      return line(`${name}_bucket`, { ...labels, le }, total);
    });
    return [
      ...buckets,
      line(`${name}_sum`, labels, this.#sum),
      line(`${name}_count`, labels, total),
    ];
  }
}

/** Series of one name that differ in the values of their labels. */
class Series<T> {
  readonly #names: readonly string[];
  readonly #make: () => T;
  readonly #byValues = new Map<string, { labels: Labels; one: T }>();

  constructor(names: readonly string[], make: () => T) {
    this.#names = names;
    this.#make = make;
  }

  of(...values: string[]): T {
    const key = values.join('\n');
    let known = this.#byValues.get(key);
    if (known === undefined) {
      const labels = Object.fromEntries(this.#names.map((name, i) => [name, values[i] ?? '']));
      this.#byValues.set(key, (known = { labels, one: this.#make() }));
    }
    return known.one;
  }

  lines(format: (one: T, labels: Labels) => string[]): string[] {
    return [...this.#byValues.values()].flatMap(({ one, labels }) => format(one, labels));
  }
}

export class Counter implements Family {
  readonly type = 'counter';
  readonly name: string;
  readonly help: string;
  readonly #series: Series<Count>;

  constructor(name: string, help: string, labels: readonly string[] = []) {
    this.name = name;
    this.help = help;
    this.#series = new Series(labels, () => new Count());
    if (labels.length === 0) this.#series.of();
  }

  /** The series with these values of the labels, in their order. Keep it where it is counted often. */
  of(...values: string[]): Count {
    return this.#series.of(...values);
  }

  lines(): string[] {
    return this.#series.lines(({ value }, labels) => [line(this.name, labels, value)]);
  }
}

export class Histogram implements Family {
  readonly type = 'histogram';
  readonly name: string;
  readonly help: string;
  readonly #series: Series<Distribution>;

  constructor(
    name: string,
    help: string,
    bounds: readonly number[],
    labels: readonly string[] = [],
  ) {
    this.name = name;
    this.help = help;
    this.#series = new Series(labels, () => new Distribution(bounds));
    if (labels.length === 0) this.#series.of();
  }

  /** See `Counter.of`. */
  of(...values: string[]): Distribution {
    return this.#series.of(...values);
  }

  lines(): string[] {
    return this.#series.lines((one, labels) => one.lines(this.name, labels));
  }
}

/** What is now, asked for when it is read. */
export class Gauge implements Family {
  readonly type = 'gauge';
  readonly name: string;
  readonly help: string;
  readonly #read: () => readonly (readonly [Labels, number])[];

  constructor(name: string, help: string, read: () => readonly (readonly [Labels, number])[]) {
    this.name = name;
    this.help = help;
    this.#read = read;
  }

  lines(): string[] {
    return this.#read().map(([labels, value]) => line(this.name, labels, value));
  }
}

export function exposition(families: readonly Family[]): string {
  return families
    .flatMap((family) => [
      `# HELP ${family.name} ${family.help}`,
      `# TYPE ${family.name} ${family.type}`,
      ...family.lines(),
    ])
    .map((one) => `${one}\n`)
    .join('');
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
