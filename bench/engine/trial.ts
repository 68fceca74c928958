import { execFileSync } from 'node:child_process';
import type { Bound } from '../report.ts';
import type { Source } from './subject.ts';

/** A case that is no load on an open engine: it is measured once in each round, in its own way. */
export interface Trial {
  readonly name: string;
  readonly units: Readonly<Record<string, string>>;
  /** Whether peers do it as well; else it is measured for our engine alone. */
  readonly isForPeers?: boolean;
  /**
   * @param folder an empty one
   * @param packages where `bench/peers` is installed
   * @returns a value for each metric of `units`
   */
  measure(
    folder: string,
    source: Source,
    packages: string,
  ): Promise<Readonly<Record<string, number>>>;
  /** What our medians must keep. */
  bounds(value: (metric: string) => number): Pick<Bound, 'text' | 'holds'>[];
}

/** Runs this file as a program of its own. @returns what it printed */
export function inProcess(file: string, args: readonly string[]): string {
  return execFileSync(process.execPath, [file, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
