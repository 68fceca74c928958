/**
 * The epoch register under faults: `--suite epoch --seeds N`.
 *
 * Each seed is a lattice whose nodes crash, stand still, lose disks and messages while voters change.
 * No seed may show a violation; and with each protection switched off, some seed must.
 */
import { commit } from '../../bench/report.ts';
import type { BenchResult, Bound, Figure } from '../../bench/report.ts';
import { Cluster } from './epoch/cluster.ts';
import { MUTATIONS } from './epoch/mutations.ts';
import type { Suite } from './suite.ts';

const BENCH = 'epoch';
const SAYS_EVERY = 500;
/** Some protections matter once in many runs: they are looked for in so many at least. */
const MUTATION_SEEDS_MIN = 4_000;

export const suite: Suite = {
  async run(options): Promise<BenchResult> {
    const { seed: first, seeds } = options;
    const figures: Figure[] = [];
    const bounds: Bound[] = [];
    const figure = (name: string, metric: string, value: number, unit: string): void => {
      figures.push({ bench: BENCH, case: name, subject: 'aether', metric, value, unit });
    };
    let commits = 0;
    let violations = 0;
    for (let seed = first; seed < first + seeds; seed++) {
      const run = new Cluster({ seed }).run();
      commits += run.writes;
      if (run.violation !== undefined) {
        violations++;
        options.progress(`seed ${seed}, commit ${commit()}: ${run.violation}`);
      }
      const done = seed - first + 1;
      if (done % SAYS_EVERY === 0)
        options.progress(`${done} of ${seeds} seeds, ${commits} commits`);
    }
    figure('epoch', 'seeds', seeds, '1');
    figure('epoch', 'violations', violations, '1');
    figure('epoch', 'commits', commits, '1');
    const isSafe = violations === 0;
    bounds.push({ bench: BENCH, case: 'epoch', text: 'no violation', holds: isSafe });
    const limit = Math.max(seeds, MUTATION_SEEDS_MIN);
    for (const [name, parts] of Object.entries(MUTATIONS)) {
      let tried = 0;
      let found: string | undefined;
      while (found === undefined && tried < limit) {
        const seed = first + tried++;
        // By what comes of it, not by the rule that is broken.
        found = new Cluster({ seed, parts, sees: 'consequences' }).run().violation;
      }
      options.progress(
        `${name}: ${found === undefined ? 'not found' : `seed ${first + tried - 1}: ${found}`}`,
      );
      if (found !== undefined) figure(name, 'seedsToFind', tried, '1');
      bounds.push({
        bench: BENCH,
        case: name,
        text: `found in ${limit} seeds`,
        holds: found !== undefined,
      });
    }
    return { figures, bounds };
  },
};
