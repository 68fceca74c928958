/**
 * Membership of real nodes on real sockets beside serf's: how soon all know who came, who died and who woke up,
 * and what it costs to know while nothing happens.
 *
 * Lattices of one round stand side by side and are idle and killed in the same seconds; joining and waking up, which
 * are a matter of CPU time, take turns. Nodes are processes, and for joining also few with all nodes in them: what twenty-five programs
 * need to become fast is their machines' affair, and here two cores have to do it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { endAll, isOver } from '../engine/live.ts';
import { Medians } from '../medians.ts';
import type { BenchOptions, BenchResult, Bound, Figure } from '../report.ts';
import { Lattice, lacksNamespaces } from './lattice.ts';
import type { Figures, Layout, Request } from './lattice-process.ts';
import { installSerf, serfVersion } from './serf.ts';

const BENCH = 'ring';
const PEER = 'serf';
const OURS = 'aether';
const DEFAULTS = '-defaults';
/** Whose joining is bound; each in a process of its own is `-processes`. */
const HOSTED = 'aether-hosted';
const PROCESSES = '-processes';
const SUBJECTS: readonly Layout['subject'][] = ['aether', 'aether-defaults', 'serf'];
const SIZES: readonly number[] = [25, 50];
/** What is measured when nothing is asked for. */
const SIZE = 25;
const IDLE_SECONDS = 10;
/** Joining sends more for a while. */
const SETTLE_MS = 3_000;
const SLEEP_SECONDS = 20;
/** Between the sleepers of two lattices: the one is back and looked after when the next one wakes. */
const SLEEP_GAP_MS = 5_000;
/** In each round. */
const KILLS = 5;

interface BoundOf {
  readonly metric: string;
  readonly text: string;
  readonly most: (peer: number) => number;
}

interface Case {
  readonly part: Request['kind'];
  readonly units: Readonly<Record<string, string>>;
  readonly bounds: readonly BoundOf[];
  /** What must not happen at all, whatever the peer does. */
  readonly none?: readonly string[];
}

const times = (factor: number, metric: string): BoundOf => ({
  metric,
  text: `at most ${factor} times serf's`,
  most: (peer) => factor * peer,
});
/** @param slackMs what is chance, in medians of so few: equal protocols differ by that */
const noWorse = (metric: string, slackMs: number): BoundOf => ({
  metric,
  text: `no worse than serf's (within ${slackMs} ms)`,
  most: (peer) => peer + slackMs,
});

const CASES: readonly Case[] = [
  {
    part: 'join',
    units: { ms: 'ms', lateMs: 'ms', cpuMsPerNode: 'ms' },
    bounds: [times(3, 'ms'), times(3, 'lateMs')],
  },
  {
    part: 'idle',
    units: {
      bytesPerSecond: '1/s',
      packetsPerSecond: '1/s',
      cpuMsPerSecond: 'ms/s',
      rssMiB: 'MiB',
    },
    bounds: [times(3, 'bytesPerSecond'), times(4, 'cpuMsPerSecond')],
  },
  {
    part: 'sleep',
    units: { ms: 'ms', missedBy: '1', accused: '1', buried: '1' },
    bounds: [noWorse('ms', 200)],
    none: ['accused', 'buried'],
  },
  {
    part: 'kill',
    units: { firstSuspectMs: 'ms', firstDeadMs: 'ms', spreadMs: 'ms', ms: 'ms' },
    bounds: [noWorse('firstSuspectMs', 500), noWorse('spreadMs', 200), noWorse('ms', 1_000)],
  },
];

/** The cases of this file that are wanted: `join-25` and its like. */
export async function membership(options: BenchOptions): Promise<BenchResult> {
  const plans = SIZES.map((nodes) => ({
    nodes,
    cases: CASES.filter(({ part }) =>
      options.cases.length === 0 ? nodes === SIZE : options.cases.includes(`${part}-${nodes}`),
    ),
  })).filter(({ cases }) => cases.length > 0);
  const results: BenchResult[] = [];
  if (plans.length > 0 && options.withPeers) install(options.progress);
  for (const { nodes, cases } of plans) results.push(await compare(nodes, cases, options));
  return {
    figures: results.flatMap(({ figures }) => figures),
    bounds: results.flatMap(({ bounds }) => bounds),
  };
}

function install(say: (text: string) => void): void {
  try {
    if (serfVersion() === undefined) installSerf();
  } catch (error) {
    say(String(error));
  }
}

async function compare(
  nodes: number,
  cases: readonly Case[],
  options: BenchOptions,
): Promise<BenchResult> {
  const lacking = lacksNamespaces();
  if (lacking !== undefined) {
    options.progress(`left out: membership: ${lacking}`);
    return {
      figures: [],
      bounds: cases.flatMap((one) => boundsOf(nodes, one, undefined, lacking)),
    };
  }
  const version = serfVersion();
  let leftOut =
    version === undefined ? `${PEER} is not installed; --with-peers installs it` : undefined;
  if (leftOut !== undefined) options.progress(`left out: ${leftOut}`);
  const medians = new Medians();
  for (let round = 1; round <= options.rounds; round++) {
    const say = (text: string): void =>
      options.progress(`round ${round}/${options.rounds}: ${nodes} nodes: ${text}`);
    await measureHosted(nodes, cases, options, medians, say);
    const subjects = SUBJECTS.filter((subject) => subject !== PEER || leftOut === undefined);
    const failed = await measureRound(nodes, cases, subjects, options, medians, say);
    if (failed === undefined) continue;
    leftOut = `${PEER}: ${failed}`;
    options.progress(`left out: ${leftOut}`);
  }
  const measured = SUBJECTS.filter((subject) => subject !== PEER || leftOut === undefined);
  const figures = cases.flatMap(({ part, units }) =>
    Object.entries(units).flatMap(([metric, unit]) =>
      [...(part === 'join' ? [HOSTED] : []), ...measured].map((subject): Figure => {
        const name = `${part}-${nodes}${suffixOf(part, subject)}`;
        const value = medians.value(part, subject, metric);
        const of = subject === PEER && version !== undefined ? { version } : {};
        const who = subject === PEER ? PEER : OURS;
        return Object.assign(of, { bench: BENCH, case: name, subject: who, metric, value, unit });
      }),
    ),
  );
  return { figures, bounds: cases.flatMap((one) => boundsOf(nodes, one, medians, leftOut)) };
}

function suffixOf(part: Request['kind'], subject: string): string {
  if (subject.endsWith(DEFAULTS)) return DEFAULTS;
  return part === 'join' && subject === OURS ? PROCESSES : '';
}

/** Joining, of nodes in few processes. */
async function measureHosted(
  nodes: number,
  cases: readonly Case[],
  options: BenchOptions,
  medians: Medians,
  say: (text: string) => void,
): Promise<void> {
  if (!cases.some(({ part }) => part === 'join')) return;
  say(`join ${OURS}, in few processes`);
  const folder = newFolder();
  const lattice = new Lattice({ subject: OURS, nodes, folder, isHosted: true });
  const close = async (): Promise<void> => {
    await lattice.close();
    rmSync(folder, { recursive: true, force: true });
  };
  options.onInterrupt(close);
  try {
    for (const figures of await lattice.ask({ kind: 'join' }))
      for (const [metric, value] of Object.entries(figures))
        medians.add('join', HOSTED, metric, value);
  } finally {
    await close();
  }
}

function newFolder(): string {
  return mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
}

/** @returns why the peer fell out, if it did; ours may not fail */
async function measureRound(
  nodes: number,
  cases: readonly Case[],
  subjects: readonly Layout['subject'][],
  options: BenchOptions,
  medians: Medians,
  say: (text: string) => void,
): Promise<string | undefined> {
  let fallen: string | undefined;
  const folder = newFolder();
  const lattices = new Map<Layout['subject'], Lattice>();
  const ask = async (subject: Layout['subject'], request: Request): Promise<void> => {
    let found: readonly Figures[] = [];
    try {
      found = (await lattices.get(subject)?.ask(request)) ?? [];
    } catch (error) {
      if (subject !== PEER || isOver()) throw new Error(subject, { cause: error });
      fallen = error instanceof Error ? error.message : String(error);
      await lattices.get(subject)?.close();
      lattices.delete(subject);
    }
    for (const figures of found)
      for (const [metric, value] of Object.entries(figures))
        medians.add(request.kind, subject, metric, value);
  };
  const askAll = async (request: Request, gapMs = 0): Promise<void> => {
    if (!cases.some(({ part }) => part === request.kind)) return;
    say(request.kind);
    const asked = [...lattices.keys()].map(async (subject, i) => {
      await pause(i * gapMs);
      await ask(subject, request);
    });
    await Promise.all(asked);
  };
  const close = async (): Promise<void> => {
    await Promise.all([...lattices.values()].map((lattice) => lattice.close()));
    rmSync(folder, { recursive: true, force: true });
  };
  options.onInterrupt(async () => {
    await endAll();
    await close();
  });
  try {
    for (const subject of subjects) {
      say(`join ${subject}`);
      lattices.set(
        subject,
        new Lattice({ subject, nodes, folder: join(folder, subject), isHosted: false }),
      );
      await ask(subject, { kind: 'join' });
    }
    await pause(SETTLE_MS);
    const seconds = Math.max(IDLE_SECONDS, options.secondsPerCase);
    await askAll({ kind: 'idle', seconds });
    await askAll({ kind: 'sleep', seconds: SLEEP_SECONDS }, SLEEP_GAP_MS);
    await askAll({ kind: 'kill', members: KILLS });
  } finally {
    await close();
  }
  return fallen;
}

/** Of ours at serf's constants; what could not be measured says why. */
function boundsOf(
  nodes: number,
  { part, bounds, none = [] }: Case,
  medians: Medians | undefined,
  why: string | undefined,
): Bound[] {
  const name = `${part}-${nodes}`;
  const against = bounds.map(({ metric, text, most }): Bound => {
    if (medians === undefined || why !== undefined)
      return {
        bench: BENCH,
        case: name,
        text: `${metric} ${text}`,
        holds: undefined,
        ...(why && { why }),
      };
    const own = part === 'join' ? HOSTED : OURS;
    const [ours, peers] = [own, PEER].map((subject) => medians.value(part, subject, metric));
    const measured = `${metric} ${text}; measured ${ours}, serf ${peers}`;
    return {
      bench: BENCH,
      case: name,
      text: measured,
      holds: (ours as number) <= most(peers as number),
    };
  });
  const never = none.map((metric): Bound => {
    const bound = { bench: BENCH, case: name, text: `healthy nodes ${metric}: none` };
    if (medians === undefined) return { ...bound, holds: undefined, ...(why && { why }) };
    const measured = medians.value(part, OURS, metric);
    return { ...bound, text: `${bound.text}; measured ${measured}`, holds: measured === 0 };
  });
  return [...against, ...never];
}
