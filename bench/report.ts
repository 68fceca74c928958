/** Figures of a benchmark: as a table for people, as JSON lines for programs, and into bench/history.jsonl. */
import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

export interface Figure {
  readonly bench: string;
  readonly case: string;
  /** `aether`, a peer's name, or `ceiling`: the least that the same work must cost. */
  readonly subject: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  /** Of the subject, where it is not ours. */
  readonly version?: string;
  /** What a commit of the subject has reached when it is acknowledged. */
  readonly durability?: string;
  /** Size of the lattice, where figures of one case differ by it. */
  readonly nodes?: number;
}

/** What a figure must keep. `holds` undefined: it could not be measured here, `why` says why. */
export interface Bound {
  readonly bench: string;
  readonly case: string;
  readonly text: string;
  readonly holds: boolean | undefined;
  readonly why?: string;
}

export interface BenchOptions {
  /** Names of the cases to measure; none: all. */
  readonly cases: readonly string[];
  /** All subjects are measured once in each round, in turn. Figures are medians over rounds. At least 3. */
  readonly rounds: number;
  /** Length of one measurement. */
  readonly secondsPerCase: number;
  /** Whether what is compared with and is not installed yet is to be installed. */
  readonly withPeers: boolean;
  /** Says what is being measured or left out, on stderr. */
  readonly progress: (text: string) => void;
  /** What is to be done when the benchmark is interrupted, before it ends. */
  readonly onInterrupt: (cleanUp: () => Promise<void>) => void;
}

export interface BenchResult {
  readonly figures: readonly Figure[];
  readonly bounds: readonly Bound[];
}

/** What `bench/NAME.ts` exports as `bench`. */
export interface Bench {
  readonly name: string;
  run(options: BenchOptions): Promise<BenchResult>;
}

/** A line for each case and metric, a column for each subject. */
export function printTable({ figures, bounds }: BenchResult): void {
  const subjects = [...new Set(figures.map(({ subject }) => subject))];
  const rows = new Map<string, Map<string, Figure>>();
  for (const figure of figures) {
    const name =
      figure.nodes === undefined ? figure.case : `${figure.case} (${figure.nodes} nodes)`;
    const key = JSON.stringify([name, figure.metric, figure.unit]);
    rows.set(key, (rows.get(key) ?? new Map<string, Figure>()).set(figure.subject, figure));
  }
  const texts = [
    ['case', 'metric', 'unit', ...subjects],
    ...[...rows].map(([key, row]) =>
      (JSON.parse(key) as string[]).concat(
        subjects.map((subject) => format(row.get(subject)?.value)),
      ),
    ),
  ];
  const isText = (column: number): boolean => column < 3;
  const widths = (texts[0] ?? []).map((_, i) =>
    Math.max(...texts.map((row) => row[i]?.length ?? 0)),
  );
  const pad = (cell: string, i: number): string =>
    isText(i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0);
  for (const row of texts) console.log(row.map(pad).join('  ').trimEnd());
  for (const subject of subjects) {
    const { version, durability } = figures.find((figure) => figure.subject === subject) ?? {};
    const about = [version, durability].filter((text) => text !== undefined);
    if (about.length > 0) console.log(`${subject}: ${about.join('; ')}`);
  }
  for (const bound of bounds) {
    const verdict = bound.holds === undefined ? 'not asserted' : bound.holds ? 'holds' : 'BROKEN';
    console.log(
      `${verdict.padEnd(12)}  ${bound.case}: ${bound.text}${bound.why ? ` (${bound.why})` : ''}`,
    );
  }
}

export function printJson({ figures, bounds }: BenchResult): void {
  for (const figure of figures) console.log(JSON.stringify(figure));
  for (const { holds, ...bound } of bounds) {
    const asserted = holds !== undefined;
    console.log(JSON.stringify({ ...bound, asserted, ...(asserted ? { holds } : {}) }));
  }
}

/** 0: every bound held; 1: one did not; 2: one could not be asserted. */
export function exitCodeOf({ bounds }: BenchResult): 0 | 1 | 2 {
  const verdicts = new Set(bounds.map((bound) => bound.holds));
  return verdicts.has(false) ? 1 : verdicts.has(undefined) ? 2 : 0;
}

/**
 * Appends the figures with where they come from: they compare only within one run.
 *
 * @param how the run was made, beside that: its seed, where there is one.
 */
export function record({ figures }: BenchResult, how: Readonly<Record<string, number>> = {}): void {
  const run = {
    at: new Date().toISOString(),
    commit: commit(),
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    ...how,
  };
  const lines = figures.map((figure) => `${JSON.stringify({ ...figure, run })}\n`);
  const file = process.env['AETHER_BENCH_HISTORY'] ?? join(import.meta.dirname, 'history.jsonl');
  appendFileSync(file, lines.join(''));
}

/** The short hash of the checked-out commit, or `unknown`. */
export function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}

function format(value: number | undefined): string {
  if (value === undefined) return '';
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}
