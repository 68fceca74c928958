/** Figures of a benchmark: as a table for people, as JSON lines for programs, and into bench/history.jsonl. */
import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { cpus } from 'node:os';

export interface Figure {
  readonly bench: string;
  readonly case: string;
  /** `aether`, a peer's name, or `ceiling`: the least that the same work must cost. */
  readonly subject: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
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
  /** Says what is being measured, on stderr. */
  progress(text: string): void;
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

export function printTable({ figures, bounds }: BenchResult): void {
  const cells = figures.map((figure) => [
    figure.case,
    figure.subject,
    figure.metric,
    format(figure.value),
    figure.unit,
  ]);
  const heads = ['case', 'subject', 'metric', 'value', 'unit'];
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...cells.map((row) => (row[i] ?? '').length)),
  );
  const line = (row: string[]): string =>
    row
      .map((cell, i) => (i === 3 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ');
  console.log([heads, ...cells].map(line).join('\n'));
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

/** Appends the figures with where they come from: they compare only within one run. */
export function record({ figures }: BenchResult): void {
  const run = {
    at: new Date().toISOString(),
    commit: commit(),
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
  };
  const lines = figures.map((figure) => `${JSON.stringify({ ...figure, run })}\n`);
  appendFileSync(new URL('history.jsonl', import.meta.url), lines.join(''));
}

/** The checkout that is measured. */
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

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}
