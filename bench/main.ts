/**
 * `node bench/main.ts NAME [CASE...] [--with-peers] [--json] [--record] [--rounds N] [--seconds S]`
 *
 * With cases, only those are measured.
 * Runs `bench/NAME.ts`. Exit status: 0 every bound held, 1 one did not, 2 one could not be asserted (or usage).
 */
import { readdirSync } from 'node:fs';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';
import { type Bench, exitCodeOf, printJson, printTable, record } from './report.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'with-peers': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
  },
});

const notBenches = new Set(['apt', 'main', 'medians', 'report']);
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  .map((file) => file.slice(0, -'.ts'.length))
  .filter((name) => !notBenches.has(name));
const [name = '', ...cases] = positionals;
const rounds = Number(values.rounds);
const secondsPerCase = Number(values.seconds);
if (!names.includes(name) || !(rounds >= 3) || !(secondsPerCase > 0)) {
  console.error(
    `usage: bench NAME [CASE...] [--with-peers] [--json] [--record] [--rounds N≥3] [--seconds S]\nNAME: ${names.join(', ')}`,
  );
  process.exit(2);
}

const cleanUps: (() => Promise<void>)[] = [];
const interrupted = new Promise<void>((resolve) => {
  for (const signal of SIGNALS) {
    process.once(signal, () => {
      process.exitCode = 128 + constants.signals[signal];
      resolve();
    });
  }
});

const { bench } = (await import(`./${name}.ts`)) as { bench: Bench };
const measured = bench.run({
  cases,
  rounds,
  secondsPerCase,
  withPeers: values['with-peers'],
  progress: (text) => void process.stderr.write(`${text}\n`),
  onInterrupt: (cleanUp) => void cleanUps.push(cleanUp),
});
const result = await Promise.race([measured, interrupted]);
if (result === undefined) {
  // What it was measuring fails now, which says nothing.
  measured.catch(() => {});
  await Promise.all(cleanUps.map((cleanUp) => cleanUp()));
  process.exit();
}
if (values.json) printJson(result);
else printTable(result);
if (values.record) record(result);
process.exit(exitCodeOf(result));
