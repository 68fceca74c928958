/** The command line of the simulator: which suite is run with what, what is said of it, and how it ends. */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { commit, exitCodeOf, printJson, printTable, record } from '../../bench/report.ts';
import type { Suite } from './suite.ts';

const USAGE = `usage: sim [--suite NAME] [--nodes N] [--seed S] [--seeds N] [--json] [--record]`;

/** @returns the exit status: 0 every bound held, 1 one did not, 2 one could not be asserted (or usage). */
export async function simulate(
  args: readonly string[],
  suiteOf: (name: string) => Promise<Suite | undefined> = suiteNamed,
): Promise<0 | 1 | 2> {
  const { values } = parseArgs({
    args: [...args],
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
  const isWhole = [nodes, seed, seeds].every((value) => Number.isSafeInteger(value) && value > 0);
  const suite = isWhole ? await suiteOf(values.suite) : undefined;
  if (suite === undefined) {
    console.error(USAGE);
    return 2;
  }
  const progress = (text: string): void => void process.stderr.write(`${text}\n`);
  const result = await suite.run({ nodes, seed, seeds, progress });
  if (values.json) printJson(result);
  else printTable(result);
  if (values.record) record(result, { seed });
  const broken = result.bounds.filter(({ holds }) => holds === false);
  if (broken.length > 0)
    progress(
      `bounds broken: ${broken.length} of ${result.bounds.length} (seed ${seed}, commit ${commit()})`,
    );
  return exitCodeOf(result);
}

async function suiteNamed(name: string): Promise<Suite | undefined> {
  const file = new URL(`${name}.ts`, import.meta.url);
  if (!/^[a-z-]+$/.test(name) || !existsSync(file)) return undefined;
  return ((await import(file.href)) as { suite?: Suite }).suite;
}
