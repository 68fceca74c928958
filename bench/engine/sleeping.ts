/**
 * 100,000 runs that sleep: how long a new process takes to open them, and what they hold in memory.
 *
 * As a program: FILE. Opens it and prints `openSeconds` and `rssMiB`.
 */
import { join } from 'node:path';
import { Engine, workflow } from '../../engine/index.ts';
import { SqliteStore } from '../../engine/io/sqlite.ts';
import { inProcess, type Trial } from './trial.ts';

const RUNS = 100_000;
/** Started at once. */
const ABREAST = 1_000;
const MIB = 1024 * 1024;

const sleeper = workflow('sleeper', async (ctx) => {
  await ctx.step('before', () => 'done');
  await ctx.sleep('nap', '30d');
});

export const sleeping: Trial = {
  name: 'sleeping-100k',
  units: { rssMiB: 'MiB', openSeconds: 's' },
  async measure(folder) {
    const path = join(folder, 'engine.db');
    await fill(path);
    return JSON.parse(inProcess(import.meta.filename, [path])) as Record<string, number>;
  },
  bounds: (value) => [
    {
      text: `under 250 MiB; measured ${value('rssMiB').toPrecision(3)}`,
      holds: value('rssMiB') < 250,
    },
    {
      text: `open in under 3 s; measured ${value('openSeconds').toPrecision(3)}`,
      holds: value('openSeconds') < 3,
    },
  ],
};

async function fill(path: string): Promise<void> {
  const engine = await Engine.open({ store: new SqliteStore(path), workflows: [sleeper] });
  let left = RUNS;
  const starter = async (): Promise<void> => {
    while (left-- > 0) await engine.start(sleeper);
  };
  await Promise.all(Array.from({ length: ABREAST }, starter));
  while (engine.runsInMemory > 0) await new Promise((resolve) => void setImmediate(resolve));
  await engine.close();
}

async function program(path: string): Promise<void> {
  const fromMs = performance.now();
  const engine = await Engine.open({ store: new SqliteStore(path), workflows: [sleeper] });
  const openSeconds = (performance.now() - fromMs) / 1_000;
  const rssMiB = process.memoryUsage.rss() / MIB;
  console.log(JSON.stringify({ openSeconds, rssMiB }));
  await engine.close();
}

if (import.meta.main) await program(process.argv[2] ?? '');
