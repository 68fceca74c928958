/**
 * kill -9 with 500 runs half-way, and what it takes until all that were acknowledged have their results: from the start
 * of the next process, Node's own start included. Where the engine is a server beside the process, it is killed as well.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Source, STEPS } from './subject.ts';
import { type Start, SubjectProcess } from './subject-process.ts';
import type { Trial } from './trial.ts';

const RUNS = 500;

export const crashMid: Trial = {
  name: 'crash-mid',
  units: {
    recoverySeconds: 's',
    acknowledged: '1',
    rerunSteps: '1',
    wrongReruns: '1',
    lost: '1',
  },
  isForPeers: true,
  measure,
  bounds: (value) => [
    {
      text: `${RUNS} runs half-way are done within 1.5 s of the restart; measured ${value('recoverySeconds').toPrecision(3)} s for ${value('acknowledged')}`,
      holds: value('recoverySeconds') <= 1.5 && value('acknowledged') === RUNS,
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

async function measure(
  folder: string,
  source: Source,
  packages: string,
): Promise<Readonly<Record<string, number>>> {
  const effects = join(folder, 'effects');
  const acknowledged = join(folder, 'acknowledged');
  await using ends = new AsyncDisposableStack();
  const backend = await source.startBackend?.({ folder, packages });
  ends.defer(async () => backend?.stop());
  const open = async (more: Partial<Start>): Promise<SubjectProcess> => {
    const address = backend?.address ?? '';
    const start = { folder, address, packages, effects, again: false, ...more };
    const subject = await SubjectProcess.open(source, start);
    ends.defer(() => subject.kill());
    return subject;
  };
  const victim = await open({ killedAfter: (RUNS * STEPS) / 2 });
  await victim.startMids(RUNS, acknowledged);
  await backend?.crash?.kill();
  const before = lines(effects);
  const started = lines(acknowledged).map(Number);

  const fromMs = performance.now();
  const opening = open({ again: true });
  const restarting = Promise.resolve(backend?.crash?.restart());
  // Both, also when one fails: what has begun can then be ended.
  await Promise.allSettled([opening, restarting]);
  await restarting;
  const heir = await opening;
  let completed: Set<number>;
  try {
    completed = new Set(await heir.midResults(started));
  } catch {
    // It never answered: those count that did their last step.
    const last = lines(effects).filter((key) => key.endsWith(`/${STEPS - 1}`));
    completed = new Set(last.map((key) => Number(runOf(key))));
  }
  const recoverySeconds = (performance.now() - fromMs) / 1_000;

  const known = new Set(before);
  const rerun = lines(effects)
    .slice(before.length)
    .filter((key) => known.has(key));
  const last = new Map(before.map((key) => [runOf(key), key]));
  return {
    recoverySeconds,
    acknowledged: started.length,
    rerunSteps: rerun.length,
    // Only a run's last step can have been in flight, and it runs again once.
    wrongReruns: rerun.filter((key, i) => last.get(runOf(key)) !== key || rerun.indexOf(key) < i)
      .length,
    lost: started.filter((run) => !completed.has(run)).length,
  };
}

function runOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/'));
}

function lines(file: string): string[] {
  return readFileSync(file, 'utf8').split('\n').slice(0, -1);
}
