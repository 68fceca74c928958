/** How soon a lattice that was cut in two is one again: 25 nodes on hosts of their own, 14 on one side. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { commandAmongHosts, lacksHosts } from '../../test/hosts.ts';
import { enlist, endAll } from '../engine/live.ts';
import { Medians } from '../medians.ts';
import type { BenchOptions, BenchResult } from '../report.ts';
import type { Healed, Layout } from './heal-process.ts';

const CASE = 'heal-25';
const LAYOUT: Layout = { sides: [14, 11] };
const MOST_MS = 30_000;
const PROGRAM = fileURLToPath(new URL('heal-process.ts', import.meta.url));
const UNITS = { ms: 'ms', epochs: '1' } as const;

export async function heal(options: BenchOptions): Promise<BenchResult> {
  if (options.cases.length > 0 && !options.cases.includes(CASE)) return { figures: [], bounds: [] };
  const of = { bench: 'ring', case: CASE };
  const lacking = lacksHosts();
  if (lacking !== undefined) {
    options.progress(`left out: ${CASE}: ${lacking}`);
    const text = `one view within ${MOST_MS / 1_000} s`;
    return { figures: [], bounds: [{ ...of, text, holds: undefined, why: lacking }] };
  }
  const medians = new Medians();
  options.onInterrupt(endAll);
  for (let round = 1; round <= options.rounds; round++) {
    options.progress(`round ${round}/${options.rounds}: ${CASE}`);
    for (const [metric, value] of Object.entries(await measure()))
      medians.add(CASE, 'aether', metric, value);
  }
  const value = (metric: keyof Healed): number => medians.value(CASE, 'aether', metric);
  return {
    figures: Object.entries(UNITS).map(([metric, unit]) =>
      Object.assign({ metric, unit }, of, {
        subject: 'aether',
        value: value(metric as keyof Healed),
      }),
    ),
    bounds: [
      {
        ...of,
        text: `one view within ${MOST_MS / 1_000} s; measured ${value('ms')} ms`,
        holds: value('ms') <= MOST_MS,
      },
      { ...of, text: `one epoch; measured ${value('epochs')}`, holds: value('epochs') === 1 },
    ],
  };
}

async function measure(): Promise<Healed> {
  const [program, args] = commandAmongHosts(PROGRAM, [JSON.stringify(LAYOUT)]);
  // Ctrl-C is for the benchmark, which then ends this.
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    detached: true,
  });
  const ended = once(child, 'close');
  enlist(async () => {
    child.kill('SIGKILL');
    await ended;
  }, ended);
  const text = (await (child.stdout as Readable).toArray()).join('');
  await ended;
  if (text === '') throw new Error(`${CASE}: its process ended`);
  return JSON.parse(text) as Healed;
}
