/**
 * kill -9 with 500 runs half-way, and what it takes until all are done: from the start of the next process, Node's own
 * start included.
 *
 * As a program: FOLDER kill|go-on. Every effect is a line in FOLDER/effects, every acknowledged start one in
 * FOLDER/started.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Engine, workflow } from '../../engine/index.ts';
import { SqliteStore } from '../../engine/io/sqlite.ts';
import { inProcess, type Trial } from './trial.ts';

const RUNS = 500;
const STEPS = 10;
const KILLED_AFTER = (RUNS * STEPS) / 2;

export const crashMid: Trial = {
  name: 'crash-mid',
  units: { recoverySeconds: 's', rerunSteps: '1', wrongReruns: '1', lost: '1' },
  async measure(folder) {
    const { signal, stderr } = spawnSync(process.execPath, [import.meta.filename, folder, 'kill']);
    if (signal !== 'SIGKILL') throw new Error(`it was not killed: ${String(stderr)}`);
    const before = lines(join(folder, 'effects'));
    const started = lines(join(folder, 'started'));
    const fromMs = performance.now();
    const completed = new Set(inProcess(import.meta.filename, [folder, 'go-on']).split('\n'));
    const recoverySeconds = (performance.now() - fromMs) / 1_000;
    const again = lines(join(folder, 'effects')).slice(before.length);
    const known = new Set(before);
    const rerun = again.filter((key) => known.has(key));
    const last = new Map(before.map((key) => [runOf(key), key]));
    return {
      recoverySeconds,
      rerunSteps: rerun.length,
      // Only a run's last step can have been in flight, and it runs again once.
      wrongReruns: rerun.filter((key, i) => last.get(runOf(key)) !== key || rerun.indexOf(key) < i)
        .length,
      lost: started.filter((id) => !completed.has(id)).length,
    };
  },
  bounds: (value) => [
    {
      text: `${RUNS} runs half-way are done within 1.5 s of the restart; measured ${value('recoverySeconds').toPrecision(3)} s`,
      holds: value('recoverySeconds') <= 1.5,
    },
    {
      text: `only steps in flight run again; measured ${value('rerunSteps')}, of which others ${value('wrongReruns')}`,
      holds: value('wrongReruns') === 0,
    },
    {
      text: `no acknowledged run is lost; measured ${value('lost')}`,
      holds: value('lost') === 0,
    },
  ],
};

function runOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/'));
}

function lines(file: string): string[] {
  return readFileSync(file, 'utf8').split('\n').slice(0, -1);
}

async function program(folder: string, mode: string): Promise<void> {
  const effects = join(folder, 'effects');
  let left = mode === 'kill' ? KILLED_AFTER : Infinity;
  const mid = workflow('mid', async (ctx) => {
    for (let i = 0; i < STEPS; i++) {
      await ctx.step('step', (step) => {
        appendFileSync(effects, `${step.idempotencyKey}\n`);
        if (--left === 0) process.kill(process.pid, 'SIGKILL');
      });
    }
  });
  const engine = await Engine.open({
    store: new SqliteStore(join(folder, 'engine.db')),
    workflows: [mid],
  });
  if (mode === 'kill') {
    const starts = Array.from({ length: RUNS }, async (_, i) => {
      const handle = await engine.start(mid, undefined, { id: `mid-${i}` });
      appendFileSync(join(folder, 'started'), `${handle.id}\n`);
      await handle.result();
    });
    await Promise.all(starts);
    return;
  }
  for await (const { id } of engine.list()) {
    await engine.get(id).result();
    console.log(id);
  }
  await engine.close();
}

if (import.meta.main) await program(process.argv[2] ?? '', process.argv[3] ?? '');
