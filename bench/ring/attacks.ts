/**
 * What an attack costs honest nodes: calls of a member while strangers or another member flood, beside the same without an
 * attack, in the same run and by turns.
 *
 * The node that is attacked, the honest member and the attacker are a process each (`attacks-process.ts`). Each has a machine of its
 * own; here the member gets what it wants of this one, the node what is left, and the attacker what the two leave, which only the
 * class of real time makes sure of: in any other the scheduler lets who runs end its slice now and then, and that would count as
 * latency that no attacker causes.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Ring } from '../../ring/index.ts';
import { Medians, percentile } from '../medians.ts';
import type { BenchOptions, BenchResult, Bound, Figure } from '../report.ts';
import type { Kind, Ready } from './attacks-process.ts';

const BENCH = 'ring';
const PROGRAM = fileURLToPath(new URL('attacks-process.ts', import.meta.url));
const KINDS: readonly Kind[] = [
  'none',
  'connections',
  'joins',
  'slow',
  'casts',
  'calls',
  'frames',
  'pings',
  'dense',
];
/** The member's is higher: on its own machine no thread of the node, as those that collect garbage, stands in its way. */
const REAL_TIME = { target: ['--rr', '1'], member: ['--rr', '2'] } as const;
const RATIO_MAX = 2;
/** Nothing differs from nothing by more, or the machine has something else to do. */
const NOISE_MAX = 0.1;
/** Measurements in a row. One of the quiet stands before an attack and one behind it. */
const SLICES = { quiet: 1, aether: 2 };
/** Compilers and heaps have found their size by then. */
const WARM_UP_MS = 6_000;
/** What an attack has left behind is cleared by then. */
const SETTLE_MS = 500;
/** USER_HZ of Linux. */
const TICK_MS = 10;
const METRICS = { p99Ms: 'ms', loopShare: '%', rssMiB: 'MiB' } as const;

/**
 * The cases `attack-KIND` that are wanted: `p99Ms`, `loopShare` and `rssMiB` of `aether` beside those of `quiet`, and `attackerCpu`.
 * `none` is measured with them: it says what the others' p99 is worth.
 */
export async function attacks(options: BenchOptions): Promise<BenchResult> {
  const wanted = KINDS.filter(
    (kind) =>
      options.cases.length === 0 ||
      options.cases.some((each) => each === 'attack' || each === `attack-${kind}`),
  );
  if (wanted.length === 0) return { figures: [], bounds: [] };
  const kinds: Kind[] = ['none', ...wanted.filter((kind) => kind !== 'none')];
  const why = lacksRealTime();
  if (why !== undefined) {
    options.progress(`left out: attack: ${why}`);
    return {
      figures: [],
      bounds: kinds.map((kind) => ({ ...boundOf(kind), holds: undefined, why })),
    };
  }
  const folder = mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
  const field = new Field(folder);
  try {
    return report(kinds, await field.measure(kinds, options));
  } finally {
    await field.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

class Field {
  readonly #folder: string;
  readonly #children: ChildProcess[] = [];
  readonly #medians = new Medians();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async measure(kinds: readonly Kind[], options: BenchOptions): Promise<Medians> {
    const target = this.#open('target', join(this.#folder, 'target'));
    const { address, id, tokens } = (await said(target)) as Ready;
    const member = this.#open('member', join(this.#folder, 'member'), address, id, tokens[0]);
    const taken = join(this.#folder, 'taken');
    await (
      await Ring.open({ data: taken, join: [address], token: tokens[1], roles: ['compute'] })
    ).close();
    await said(member);
    await pause(WARM_UP_MS);
    resetPeak(target);
    /** Each kind is compared with the quiet before and after it. */
    const slices = async (of: readonly Kind[], subject: keyof typeof SLICES): Promise<void> => {
      for (let i = 0; i < SLICES[subject]; i++) {
        const before = await ask(target);
        const p99Ms = percentile(await ask(member, options.secondsPerCase * 1_000), 0.99);
        const { utilization } = performance.eventLoopUtilization(await ask(target), before);
        for (const kind of of) {
          this.#medians.add(kind, subject, 'p99Ms', p99Ms);
          this.#medians.add(kind, subject, 'loopShare', utilization * 100);
        }
      }
    };
    const quiet = peakMiB(target);
    for (let round = 1; round <= options.rounds; round++) {
      let before: Kind[] = [];
      for (const kind of kinds) {
        options.progress(`round ${round}/${options.rounds}: attack-${kind}`);
        await slices([...before, kind], 'quiet');
        before = [kind];
        resetPeak(target);
        const attacker = this.#attack([kind, address, taken, tokens[2]]);
        await said(attacker);
        const [fromMs, fromCpuMs] = [performance.now(), cpuMsOf(attacker)];
        await slices([kind], 'aether');
        const cpu = (cpuMsOf(attacker) - fromCpuMs) / (performance.now() - fromMs);
        this.#medians.add(kind, 'aether', 'attackerCpu', cpu * 100);
        this.#medians.add(kind, 'aether', 'rssMiB', peakMiB(target));
        this.#medians.add(kind, 'quiet', 'rssMiB', quiet);
        await end(attacker);
        await pause(SETTLE_MS);
      }
      await slices(before, 'quiet');
    }
    return this.#medians;
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map(end));
  }

  #open(role: keyof typeof REAL_TIME, ...args: string[]): ChildProcess {
    const command = [...REAL_TIME[role], process.execPath, PROGRAM, role, ...args];
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const;
    return this.#keep(spawn('chrt', command, { stdio: [...stdio] }));
  }

  #attack(args: string[]): ChildProcess {
    return this.#keep(fork(PROGRAM, ['attacker', ...args]));
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#children.push(child);
    return child;
  }
}

function report(kinds: readonly Kind[], medians: Medians): BenchResult {
  const figures: Figure[] = [];
  const bounds: Bound[] = [];
  for (const kind of kinds) {
    const bound = boundOf(kind);
    const of = { bench: BENCH, case: bound.case };
    const value = (subject: string, metric: string): number => medians.value(kind, subject, metric);
    const cpu = value('aether', 'attackerCpu');
    figures.push({ ...of, subject: 'aether', metric: 'attackerCpu', value: cpu, unit: '%' });
    for (const [metric, unit] of Object.entries(METRICS))
      for (const subject of ['aether', 'quiet'])
        figures.push({ ...of, subject, metric, value: value(subject, metric), unit });
    const ratio = (metric: keyof typeof METRICS): number =>
      value('aether', metric) / value('quiet', metric);
    const text = `${bound.text}; measured ${ratio('p99Ms').toFixed(2)}`;
    if (kind === 'none') {
      const isQuiet = Math.abs(ratio('p99Ms') - 1) <= NOISE_MAX;
      const why = 'something else uses this machine: the ratios of the others say little';
      bounds.push({ ...bound, text, ...(isQuiet ? { holds: true } : { holds: undefined, why }) });
      continue;
    }
    bounds.push({ ...bound, text, holds: ratio('p99Ms') <= RATIO_MAX });
    bounds.push({
      ...of,
      text: `rssMiB at most ${RATIO_MAX} times that before all attacks; measured ${ratio('rssMiB').toFixed(2)}`,
      holds: ratio('rssMiB') <= RATIO_MAX,
    });
  }
  return { figures, bounds };
}

function boundOf(kind: Kind): Pick<Bound, 'bench' | 'case' | 'text'> {
  const text =
    kind === 'none'
      ? `p99Ms without an attack is that without an attack, by ${NOISE_MAX * 100} %`
      : `p99Ms at most ${RATIO_MAX} times that without an attack`;
  return { bench: BENCH, case: `attack-${kind}`, text };
}

/** @returns why no process can have the class of real time; undefined: it can. */
function lacksRealTime(): string | undefined {
  try {
    execFileSync('chrt', [...REAL_TIME.member, 'true'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'needs chrt (util-linux) and the right to the class of real time, as root has it';
  }
}

/** @returns what the child says next. */
function said(child: ChildProcess): Promise<unknown> {
  return new Promise((done, fail) => {
    const died = (): void => fail(new Error('a process of the benchmark died'));
    child.once('exit', died).once('message', (message) => {
      child.off('exit', died);
      done(message);
    });
  });
}

/** The target says how its loop was used, the member how long its calls of so many milliseconds took. */
async function ask(target: ChildProcess): Promise<EventLoopUtilization>;
async function ask(member: ChildProcess, milliseconds: number): Promise<number[]>;
async function ask(child: ChildProcess, milliseconds = 0): Promise<unknown> {
  const answer = said(child);
  child.send(milliseconds);
  return answer;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((wake) => void setTimeout(wake, milliseconds));
}

/** The most that was resident since `resetPeak`, MiB. */
function peakMiB({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024;
}

function resetPeak({ pid }: ChildProcess): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** @returns what the process has had of the CPU, milliseconds. */
function cpuMsOf({ pid }: ChildProcess): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user) + Number(system)) * TICK_MS;
}
