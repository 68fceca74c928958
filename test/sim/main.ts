/**
 * `node test/sim/main.ts [--suite NAME] [--nodes N] [--seed S] [--seeds N] [--json] [--record]`
 *
 * Runs `test/sim/NAME.ts`: the cores that ship, on a virtual clock and a network that loses, delays and splits.
 * Exit status: 0 every bound held, 1 one did not, 2 one could not be asserted (or usage).
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { exitCodeOf, printJson, printTable, record } from '../../bench/report.ts';
import type { Suite } from './suite.ts';

const USAGE = `usage: sim [--suite NAME] [--nodes N] [--seed S] [--seeds N] [--json] [--record]`;

const { values } = parseArgs({
  options: {
    suite: { type: 'string', default: 'membership' },
    nodes: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '100' },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
});

const [nodes, seed, seeds] = [values.nodes, values.seed, values.seeds].map(Number) as [
  number,
  number,
  number,
];
const file = new URL(`${values.suite}.ts`, import.meta.url);
const isWhole = [nodes, seed, seeds].every((value) => Number.isSafeInteger(value) && value > 0);
if (!/^[a-z-]+$/.test(values.suite) || !existsSync(file) || !isWhole) {
  console.error(USAGE);
  process.exit(2);
}
const { suite } = (await import(file.href)) as { suite?: Suite };
if (suite === undefined) {
  console.error(USAGE);
  process.exit(2);
}
const result = await suite.run({
  nodes,
  seed,
  seeds,
  progress: (text) => void process.stderr.write(`${text}\n`),
});
if (values.json) printJson(result);
else printTable(result);
if (values.record) record(result);
process.exitCode = exitCodeOf(result);
