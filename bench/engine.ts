/**
 * The engine on SQLite at full durability, beside other durable-execution engines that do the same work and beside a
 * bare journal, on the same disk in the same run. bench/README.md says how to read it.
 */
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { aether } from './engine/aether.ts';
import { againstCeiling, againstPeers } from './engine/bounds.ts';
import { CASES, type Case } from './engine/cases.ts';
import { crashMid } from './engine/crash-mid.ts';
import { Field } from './engine/field.ts';
import { endAll } from './engine/live.ts';
import { longRun, replay } from './engine/long-runs.ts';
import { installPackages, packagesFolder, versionOf } from './engine/packages.ts';
import { installPostgres, postgresIsInstalled } from './engine/postgres.ts';
import { sleeping } from './engine/sleeping.ts';
import { PEERS, SOURCES } from './engine/sources.ts';
import { storm } from './engine/storm.ts';
import type { Source } from './engine/subject.ts';
import type { Trial } from './engine/trial.ts';
import { Medians } from './medians.ts';
import type { Bench, BenchOptions, BenchResult, Bound, Figure } from './report.ts';

const TRIALS: readonly Trial[] = [crashMid, sleeping, storm, longRun, replay];

export const bench: Bench = { name: 'engine', run };

async function run(options: BenchOptions): Promise<BenchResult> {
  // Not /tmp, which may be in memory, where an fsync costs nothing.
  const folder = mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
  // A database that refuses to be root's has to get to its own folder.
  chmodSync(folder, 0o711);
  const cleanUp = async (): Promise<void> => {
    await endAll();
    rmSync(folder, { recursive: true, force: true });
  };
  options.onInterrupt(cleanUp);
  const wanted = ({ name }: { name: string }): boolean =>
    options.cases.length === 0 || options.cases.includes(name);
  try {
    const field = new Field(folder, packagesFolder(), options.progress);
    if (options.withPeers) await install(options.progress);
    if (!existsSync(field.packages)) {
      for (const peer of PEERS) field.leaveOut(peer, 'not installed; --with-peers installs it');
    }
    const loads = await measureLoads(CASES.filter(wanted), options, field);
    const trials = await measureTrials(TRIALS.filter(wanted), options, field);
    return {
      figures: [...loads.figures, ...trials.figures],
      bounds: [...loads.bounds, ...trials.bounds],
    };
  } finally {
    await cleanUp();
  }
}

/** What cannot be installed is said, and the peers that need it will be left out. */
async function install(say: (text: string) => void): Promise<void> {
  try {
    say('installing the peers');
    await installPackages();
    if (!postgresIsInstalled()) installPostgres();
  } catch (error) {
    say(String(error));
  }
}

async function measureLoads(
  cases: readonly Case[],
  options: BenchOptions,
  field: Field,
): Promise<BenchResult> {
  if (cases.length === 0) return { figures: [], bounds: [] };
  for (const source of SOURCES.filter((one) => field.has(one))) {
    options.progress(`opening ${source.name}`);
    await field.open(source);
  }
  const medians = new Medians();
  for (let round = 1; round <= options.rounds; round++) {
    for (const { name, operation, callers, metric, value } of cases) {
      for (const source of SOURCES.filter((one) => field.has(one))) {
        options.progress(`round ${round}/${options.rounds}: ${name} ${source.name}`);
        const plan = { operation, callers, seconds: options.secondsPerCase };
        const load = await field.load(source, plan);
        if (load !== undefined) medians.add(name, source.name, metric, value(load));
      }
    }
  }
  await field.close();
  const measured = SOURCES.filter((source) => field.has(source));
  const figures = cases.flatMap(({ name, metric, unit, ratio }) => {
    const of = ({ name: subject }: Source): number => medians.value(name, subject, metric);
    const ceiling = medians.value(name, 'ceiling', metric);
    return [
      ...measured.map((source) => figure(field, source, name, metric, of(source), unit)),
      ...measured
        .filter((source) => source.name !== 'ceiling')
        .map((source) => {
          const share = Number((of(source) / ceiling).toPrecision(3));
          return figure(field, source, name, ratio, share, '1');
        }),
    ];
  });
  const peers = PEERS.filter((peer) => field.has(peer));
  const bounds: Bound[] = [];
  for (const { name, metric, ceiling, timesBestPeer } of cases) {
    const of = (subject: string): number => medians.value(name, subject, metric);
    if (ceiling !== undefined) {
      const verdict = againstCeiling(ceiling, of('aether'), of('ceiling'));
      bounds.push({ bench: 'engine', case: name, ...verdict });
    }
    if (timesBestPeer !== undefined) {
      const values = new Map(peers.map((peer) => [peer.name, of(peer.name)]));
      const verdict = againstPeers(timesBestPeer, of('aether'), values, field.leftOut);
      bounds.push({ bench: 'engine', case: name, ...verdict });
    }
  }
  return { figures, bounds };
}

async function measureTrials(
  trials: readonly Trial[],
  options: BenchOptions,
  field: Field,
): Promise<BenchResult> {
  const medians = new Medians();
  const subjectsOf = ({ isForPeers }: Trial): readonly Source[] =>
    isForPeers === true ? [aether, ...PEERS.filter((peer) => field.has(peer))] : [aether];
  for (let round = 1; round <= options.rounds; round++) {
    for (const trial of trials) {
      for (const source of subjectsOf(trial)) {
        options.progress(`round ${round}/${options.rounds}: ${trial.name} ${source.name}`);
        const folder = field.emptyFolder(trial.name);
        const values = await field.attempt(source, () =>
          trial.measure(folder, source, field.packages),
        );
        rmSync(folder, { recursive: true });
        for (const metric of values === undefined ? [] : Object.keys(trial.units)) {
          medians.add(trial.name, source.name, metric, values?.[metric] ?? Number.NaN);
        }
      }
    }
  }
  const figures = trials.flatMap((trial) =>
    Object.entries(trial.units).flatMap(([metric, unit]) =>
      subjectsOf(trial).map((source) => {
        const value = medians.value(trial.name, source.name, metric);
        return figure(field, source, trial.name, metric, value, unit);
      }),
    ),
  );
  const bounds = trials.flatMap((trial) =>
    trial
      .bounds((metric) => medians.value(trial.name, 'aether', metric))
      .map(({ text, holds }): Bound => ({ bench: 'engine', case: trial.name, text, holds })),
  );
  return { figures, bounds };
}

function figure(
  field: Field,
  source: Source,
  name: string,
  metric: string,
  value: number,
  unit: string,
): Figure {
  const peer = PEERS.find((one) => one.name === source.name);
  const durability = field.durabilityOf(source);
  return {
    bench: 'engine',
    case: name,
    subject: source.name,
    metric,
    value,
    unit,
    ...(peer && { version: versionOf(field.packages, peer.package) }),
    ...(durability && {
      durability: durability.full ? durability.text : `not full: ${durability.text}`,
    }),
  };
}
