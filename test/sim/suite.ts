/** What a suite of the simulator is: `test/sim/NAME.ts` exports one as `suite`. */
import type { BenchResult } from '../../bench/report.ts';

export interface SimOptions {
  /** Nodes of the simulated lattice. */
  readonly nodes: number;
  /** First seed. The same seed is the same run. */
  readonly seed: number;
  /** How many seeds, where a suite runs many: `seed`, `seed + 1`, … */
  readonly seeds: number;
  /** Says what is being run, on stderr. */
  progress(text: string): void;
}

export interface Suite {
  run(options: SimOptions): Promise<BenchResult>;
}
