import { test } from 'tap';
import { Cluster } from './epoch/cluster.ts';
import { MUTATIONS } from './epoch/mutations.ts';

const SEEDS = 200;
/** From here on all of them are found soon. */
const MUTATION_SEED_FIRST = 740;
const MUTATION_SEEDS_MAX = 700;

test('one seed is one run', (t) => {
  const [first, again, other] = [7, 7, 8].map((seed) => new Cluster({ seed }).run());
  t.strictSame(first, again);
  t.not(first?.traceHash, other?.traceHash);
  t.end();
});

test('the register keeps its promises, and serves once all is mended', (t) => {
  const runs = Array.from({ length: SEEDS }, (_, i) => new Cluster({ seed: 1 + i }).run());
  for (const { seed, violation } of runs) t.equal(violation, undefined, `seed ${seed}`);
  const total = (what: string): number =>
    runs.reduce((sum, { seen }) => sum + (seen[what] ?? 0), 0);
  t.ok(runs.reduce((sum, { writes }) => sum + writes, 0) > 5 * SEEDS, 'it writes');
  for (const what of ['crash', 'pause', 'partition', 'lost disk', 'rolled-back disk', 'start'])
    t.ok(total(what) > SEEDS / 2, what);
  for (const what of ['voters committed', 'read committed', 'write conflict', 'write unknown'])
    t.ok(total(what) > SEEDS / 2, what);
  t.end();
});

for (const [name, parts] of Object.entries(MUTATIONS)) {
  test(`without its protection it breaks them: ${name}`, (t) => {
    let violation: string | undefined;
    for (let i = 0; violation === undefined && i < MUTATION_SEEDS_MAX; i++)
      violation = new Cluster({ seed: MUTATION_SEED_FIRST + i, parts }).run().violation;
    t.ok(violation, `found: ${violation}`);
    t.end();
  });
}
