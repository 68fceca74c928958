import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { simulate } from './simulate.ts';
import type { Suite } from './suite.ts';
import { SwimLattice } from './swim-lattice.ts';

/** A lattice at rest for five seconds, which says afterwards that its bound held, or not. */
function resting(holds: boolean | undefined): Suite {
  return {
    run({ nodes, seed }) {
      const lattice = new SwimLattice({ nodes, seed, isSettled: true });
      lattice.run(5_000);
      const of = { bench: 'membership', case: 'resting' };
      const subject = 'aether';
      return Promise.resolve({
        figures: [
          { ...of, subject, metric: 'messages', value: lattice.messages, unit: '1', nodes },
          { ...of, subject, metric: 'traceHash', value: lattice.traceHash, unit: '1', nodes },
        ],
        bounds: [{ ...of, text: 'it rests', holds, ...(holds === undefined ? { why: '?' } : {}) }],
      });
    },
  };
}

/** What it says on stdout and stderr, a line each. */
function listen(t: Test): { out: string[]; err: string[] } {
  const heard = { out: [] as string[], err: [] as string[] };
  t.capture(console, 'log', (line: string) => void heard.out.push(line));
  t.capture(process.stderr, 'write', (line: string) => heard.err.push(line) > 0);
  return heard;
}

test('a broken bound is status 1, with seed and commit; one that was not asserted is 2', async (t) => {
  const heard = listen(t);
  const args = ['--nodes', '10', '--seed', '7', '--json'];
  t.equal(await simulate(args, () => Promise.resolve(resting(true))), 0);
  t.strictSame(heard.err, []);
  t.equal(await simulate(args, () => Promise.resolve(resting(undefined))), 2);
  t.equal(await simulate(args, () => Promise.resolve(resting(false))), 1);
  t.match(heard.err, [/^bounds broken: 1 of 1 \(seed 7, commit [0-9a-f]{7,}\)\n$/]);
  t.match(JSON.parse(heard.out.at(-1) ?? ''), { case: 'resting', asserted: true, holds: false });
});

test('--record adds the figures to the history, each with size, seed and commit', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-sim-test-'));
  const history = join(folder, 'history.jsonl');
  process.env['AETHER_BENCH_HISTORY'] = history;
  t.teardown(() => {
    delete process.env['AETHER_BENCH_HISTORY'];
    rmSync(folder, { recursive: true, force: true });
  });
  const heard = listen(t);
  for (const nodes of ['5', '10']) {
    const args = ['--nodes', nodes, '--seed', '7', '--json', '--record'];
    await simulate(args, () => Promise.resolve(resting(true)));
  }
  const lines = readFileSync(history, 'utf8').trim().split('\n');
  const recorded = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.match(
    recorded,
    [5, 5, 10, 10].map((nodes) => ({
      nodes,
      run: { seed: 7, commit: /^[0-9a-f]{7,}$/, node: process.version, at: /^\d{4}-/ },
    })),
  );
  const said = heard.out.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.strictSame(
    recorded.map(({ run: _run, ...figure }) => figure),
    said.filter(({ metric }) => metric !== undefined),
    'what was printed is what was recorded',
  );
});

test('the process ends with that status', async (t) => {
  const main = join(import.meta.dirname, 'main.ts');
  const sim = spawn(process.execPath, [main, '--suite', 'no-such-suite'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said = sim.stderr.setEncoding('utf8').toArray();
  const [code] = (await once(sim, 'exit')) as [number];
  t.equal(code, 2);
  t.match((await said).join(''), /^usage: sim /);
});
