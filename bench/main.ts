/**
 * `node bench/main.ts NAME [CASE...] [--json] [--record] [--rounds N] [--seconds S]`
 *
 * With cases, only those are measured.
 * Runs `bench/NAME.ts`. Exit status: 0 every bound held, 1 one did not, 2 one could not be asserted (or usage).
 */
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Bench, exitCodeOf, printJson, printTable, record } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
  },
});

const notBenches = new Set(['main', 'report']);
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  .map((file) => file.slice(0, -'.ts'.length))
  .filter((name) => !notBenches.has(name));
const [name = '', ...cases] = positionals;
const rounds = Number(values.rounds);
const secondsPerCase = Number(values.seconds);
if (!names.includes(name) || !(rounds >= 3) || !(secondsPerCase > 0)) {
  console.error(
    `usage: bench NAME [CASE...] [--json] [--record] [--rounds N≥3] [--seconds S]\nNAME: ${names.join(', ')}`,
  );
  process.exit(2);
}

const { bench } = (await import(`./${name}.ts`)) as { bench: Bench };
const result = await bench.run({
  cases,
  rounds,
  secondsPerCase,
  progress: (text) => void process.stderr.write(`${text}\n`),
});
if (values.json) printJson(result);
else printTable(result);
if (values.record) record(result);
process.exitCode = exitCodeOf(result);
