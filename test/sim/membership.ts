/**
 * Membership at scale: the cores that ship, on a virtual clock.
 *
 * The first run has all nodes that were asked for: 60 virtual seconds, of which some are idle, then five kills under
 * loss as TCP has it (late, not lost). It alone counts for wall time and memory. What follows is measured at 10, 100,
 * 1,000 and 10,000 nodes as far as asked for; beside more than 10,000 nodes less of it, to have an end.
 */
import { type BenchResult, type Bound, commit, type Figure } from '../../bench/report.ts';
import { ACTIVE_MAX } from '../../ring/core/partial-view.ts';
import { type SwimOptions, swimOptions } from '../../ring/core/swim-options.ts';
import { randomInt, seededRandom } from '../../spec/random.ts';
import { nodesOf, play, type Scenario, SCENARIOS } from './scenario.ts';
import type { SimOptions, Suite } from './suite.ts';
import { SwimLattice } from './swim-lattice.ts';

/** Of hashicorp/memberlist's DefaultLANConfig, which serf uses. */
const LAN: Partial<SwimOptions> = {
  probeIntervalMs: 1_000,
  ackTimeoutMs: 500,
  suspicionPeriods: 4,
  gossipIntervalMs: 200,
  syncIntervalMs: 30_000,
};
const CURVE = [10, 100, 1_000, 10_000];
/** Kills per size for the mean time to the first suspicion: more than 1,000 in all. */
const KILLS = 300;
/** In the 60 seconds that are looked at as a whole. */
const HEADLINE_KILLS = 5;
/** Of a lattice: where half of the members die within seconds, there is hardly anybody to tell. */
const DYING_SHARE_MAX = 0.3;
/** Each kill is news in the memory of each node. */
const AT_ONCE_MAX = 60;
/** Largest lattice of which nearly half is cut off; of a larger one so many nodes are. */
const HALVED_MAX = 100;
const CUT_OFF = 10;
const STORMY_NODES = 100;
/** Of a lattice with neighbours so many die at once. */
const SHATTERED = 0.3;
/** Beyond, so many deaths are too much news for the memory of all. */
const SHATTERED_MAX = 1_000;
const PERIOD_MS = swimOptions().probeIntervalMs;

/** What becomes known of one kill. */
interface Kill {
  readonly atMs: number;
  firstSuspectMs: number;
  allSuspectMs: number;
  firstDeadMs: number;
  allDeadMs: number;
  suspecting: number;
  burying: number;
}

/**
 * Watches who learns of which kill. A death of one that was not killed is a false one, unless it is `unwell`; with
 * `isDeaf`, what those who are unwell think of others does not count either.
 */
class Watch {
  readonly kills = new Map<number, Kill>();
  /** (node, incarnation) that somebody declared dead though it was well. */
  readonly falseDeaths = new Set<string>();
  readonly #lattice: SwimLattice;
  readonly #unwell: ReadonlySet<number>;

  constructor(
    lattice: SwimLattice,
    unwell: ReadonlySet<number> = new Set(),
    isDeaf: boolean = false,
  ) {
    this.#lattice = lattice;
    this.#unwell = unwell;
    lattice.changed = (observer, member, state) => {
      const kill = this.kills.get(member);
      if (state === 'suspect') this.#suspected(kill);
      if (state === 'dead' && !(isDeaf && unwell.has(observer)))
        this.#buried(kill, observer, member);
    };
  }

  kill(index: number): void {
    this.#lattice.kill(index);
    this.kills.set(index, {
      atMs: this.#lattice.nowMs,
      firstSuspectMs: NaN,
      allSuspectMs: NaN,
      firstDeadMs: NaN,
      allDeadMs: NaN,
      suspecting: 0,
      burying: 0,
    });
  }

  #suspected(kill: Kill | undefined): void {
    if (kill === undefined) return;
    const { nowMs, size } = this.#lattice;
    if (kill.suspecting++ === 0) kill.firstSuspectMs = nowMs;
    if (kill.suspecting === size - this.kills.size) kill.allSuspectMs = nowMs;
  }

  #buried(kill: Kill | undefined, observer: number, member: number): void {
    const { nowMs, size } = this.#lattice;
    if (kill === undefined) {
      if (this.#unwell.has(member)) return;
      const incarnation = this.#lattice.view(observer, member)?.incarnation;
      this.falseDeaths.add(`${member} ${incarnation}`);
      return;
    }
    if (kill.burying++ === 0) kill.firstDeadMs = nowMs;
    if (kill.burying === size - this.kills.size) kill.allDeadMs = nowMs;
  }
}

/** Sent per node and second while nothing happens, in bytes of frames. */
function idleBytes(lattice: SwimLattice): number {
  lattice.run(2_000);
  const before = lattice.bytes;
  const seconds = 15;
  lattice.run(seconds * 1_000);
  return (lattice.bytes - before) / lattice.size / seconds;
}

interface Headline {
  lattice: SwimLattice;
  kills: Kill[];
  falseDeaths: number;
  bytes: number;
  wallSeconds: number;
  rssMiB: number;
}

/** 60 virtual seconds with five kills, or three in ten. */
function headline(nodes: number, seed: number): Headline {
  const startMs = performance.now();
  const lattice = new SwimLattice({
    nodes,
    seed,
    isSettled: true,
    sampleEvery: nodes > 10_000 ? 1_021 : nodes > 100 ? 64 : 1,
  });
  const watch = new Watch(lattice);
  const bytes = idleBytes(lattice);
  Object.assign(lattice.network, { loss: 0.02, isStream: true });
  const random = seededRandom(seed);
  const victims = new Set<number>();
  const most = Math.max(1, Math.floor(nodes * DYING_SHARE_MAX));
  while (victims.size < Math.min(HEADLINE_KILLS, most)) victims.add(randomInt(random, nodes));
  for (const victim of victims) lattice.after(randomInt(random, 5_000), () => watch.kill(victim));
  lattice.run(60_000 - lattice.nowMs);
  return {
    lattice,
    kills: [...watch.kills.values()],
    falseDeaths: watch.falseDeaths.size,
    bytes,
    wallSeconds: (performance.now() - startMs) / 1_000,
    rssMiB: process.resourceUsage().maxRSS / 1_024,
  };
}

/** Milliseconds from kills to the first suspicion of each: a few of a lattice at once, many lattices. */
function detections(nodes: number, seed: number): number[] {
  const atOnce = Math.min(AT_ONCE_MAX, Math.max(1, Math.floor(nodes * 0.03)));
  const found: number[] = [];
  const random = seededRandom(seed);
  for (let wave = 0; found.length < KILLS; wave++) {
    const lattice = new SwimLattice({
      nodes,
      seed: seed + wave,
      isSettled: true,
      sampleEvery: 997,
    });
    const watch = new Watch(lattice);
    lattice.run(1_000);
    const victims = new Set<number>();
    while (victims.size < atOnce) victims.add(randomInt(random, nodes));
    for (const victim of victims)
      lattice.after(1 + randomInt(random, 500), () => watch.kill(victim));
    const isOver = (): boolean =>
      watch.kills.size === victims.size &&
      [...watch.kills.values()].every(({ suspecting }) => suspecting > 0);
    lattice.runUntil(isOver, 20_000);
    for (const { atMs, firstSuspectMs } of watch.kills.values()) found.push(firstSuspectMs - atMs);
  }
  return found;
}

/** Milliseconds from the end of a cut to one view; NaN when that takes a minute. */
function heal(nodes: number, seed: number): { cut: number; healMs: number } {
  const cut = nodes <= HALVED_MAX ? Math.round((nodes * 11) / 25) : CUT_OFF;
  const lattice = new SwimLattice({ nodes, seed, isSettled: true, sampleEvery: 997 });
  let wrong = 0;
  lattice.changed = (_observer, _member, state, before = 'suspect') => {
    wrong += Number(state !== 'alive') - Number(before !== 'alive');
  };
  lattice.run(2_000);
  lattice.network.canReach = (from, to) => from < cut === to < cut;
  const isSplit = (): boolean => wrong === 2 * cut * (nodes - cut);
  lattice.runUntil(isSplit, 30_000);
  lattice.run(20_000);
  lattice.network.canReach = () => true;
  return { cut, healMs: lattice.runUntil(() => wrong === 0, 60_000) ?? NaN };
}

/** How many of those who run the first of them reaches along neighbours. */
function reached(lattice: SwimLattice, running: readonly number[]): number {
  const seen = new Set(running.slice(0, 1));
  for (const index of seen)
    for (const neighbor of lattice.neighbors(index))
      if (lattice.isRunning(neighbor)) seen.add(neighbor);
  return seen.size;
}

/**
 * Kills 30 % at once, whose neighbours see their links break.
 *
 * @returns the share of the others that is one overlay then, and when all are again (not in a large lattice).
 */
function shatter(nodes: number, seed: number): { share: number; wholeMs?: number } {
  const lattice = new SwimLattice({ nodes, seed, isSettled: true, sampleEvery: 997 });
  lattice.run(5_000);
  const random = seededRandom(seed);
  const victims = new Set<number>();
  while (victims.size < nodes * SHATTERED) victims.add(randomInt(random, nodes));
  for (const victim of victims) lattice.kill(victim);
  const running = nodesOf('*', nodes).filter((index) => lattice.isRunning(index));
  const share = reached(lattice, running) / running.length;
  if (nodes > SHATTERED_MAX) return { share };
  for (const victim of victims) {
    const id = lattice.ids[victim] ?? '';
    for (const neighbor of lattice.neighbors(victim))
      if (lattice.isRunning(neighbor)) lattice.event(neighbor, { kind: 'link-lost', id });
  }
  const isWhole = (): boolean => reached(lattice, running) === running.length;
  return { share, wholeMs: lattice.runUntil(isWhole, 30_000) ?? NaN };
}

const LOADS = [
  { name: '10 % of the messages lost', loss: 0.1, isStream: false },
  { name: '10 % of the segments lost, as TCP has it', loss: 0.1, isStream: true },
  { name: '8 % of the nodes stopped for 2 s, on for 4 ms', stallMs: [2_000, 2_000], awakeMs: 4 },
  {
    name: '10 % lost, 8 % of the nodes stopped for 1 to 20 s, on for 4 ms',
    loss: 0.1,
    stallMs: [1_000, 20_000],
    awakeMs: 4,
  },
] as const satisfies readonly Load[];

interface Load {
  readonly name: string;
  readonly loss?: number;
  readonly isStream?: boolean;
  readonly stallMs?: readonly [least: number, most: number];
  readonly awakeMs?: number;
}

/** Nodes that were well and that somebody declared dead, in ten minutes of a load. */
function falseFailures(load: Load, seed: number, lifeguard: boolean): number {
  const nodes = STORMY_NODES;
  const lattice = new SwimLattice({
    nodes,
    seed,
    isSettled: true,
    sampleEvery: 997,
    swim: { lifeguard },
  });
  const { loss = 0, isStream = false, stallMs = [0, 0], awakeMs = 0 } = load;
  Object.assign(lattice.network, { loss, isStream });
  const random = seededRandom(seed);
  const unwell = new Set(nodesOf(`0-${Math.round(nodes * 0.08) - 1}`, nodes));
  const watch = new Watch(lattice, unwell);
  const [least, most] = stallMs;
  const stop = (index: number): void => {
    const forMs = least + randomInt(random, most - least + 1);
    lattice.stall(index, forMs);
    lattice.after(forMs + awakeMs, () => stop(index));
  };
  if (most > 0)
    for (const index of unwell) lattice.after(2_000 + randomInt(random, 2_000), () => stop(index));
  lattice.run(600_000);
  return watch.falseDeaths.size;
}

/** What went wrong in a scenario. */
export function failuresOf(scenario: Scenario, seed: number): string[] {
  const { name, nodes, mayDie } = scenario;
  const lattice = new SwimLattice({ nodes, seed });
  const watch = new Watch(lattice, new Set(nodesOf(mayDie, nodes)), true);
  play(scenario, lattice);
  const running = nodesOf('*', nodes).filter((index) => lattice.isRunning(index));
  const failures = [];
  if (!lattice.allSee(running, running, 'alive')) failures.push(`${name}: not one view`);
  if (watch.falseDeaths.size > 0)
    failures.push(`${name}: declared dead, and was not: ${[...watch.falseDeaths].join(', ')}`);
  return failures;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function spreadMs(kills: readonly Kill[]): number {
  return Math.max(...kills.map((kill) => kill.allSuspectMs - kill.firstSuspectMs));
}

/** What a run has shown so far. */
class Findings implements BenchResult {
  readonly figures: Figure[] = [];
  readonly bounds: Bound[] = [];
  readonly #options: SimOptions;

  constructor(options: SimOptions) {
    this.#options = options;
  }

  /** @param size of the lattice; that which was asked for is `membership`. */
  figure(size: number, metric: string, value: number, unit: string, subject = 'aether'): void {
    const exact = Number(value.toPrecision(10));
    this.figures.push({
      bench: 'membership',
      case: this.#case(size),
      subject,
      metric,
      value: exact,
      unit,
      nodes: size,
    });
  }

  bound(size: number, text: string, holds: boolean): void {
    const where = `seed ${this.#options.seed}, commit ${commit()}`;
    const bound = { bench: 'membership', case: this.#case(size), holds };
    this.bounds.push({ ...bound, text: holds ? text : `${text} (${where})` });
    if (!holds) this.#options.progress(`BROKEN ${bound.case}: ${text} (${where})`);
  }

  #case(size: number): string {
    return size === this.#options.nodes ? 'membership' : `membership-${size}`;
  }
}

/** What is measured at each size. */
interface Curve {
  readonly bytes: Map<number, number>;
  readonly spreadMs: Map<number, number>;
  readonly healMs: Map<number, number>;
  kills: number;
}

function measureWhole(nodes: number, seed: number, found: Findings, curve: Curve): void {
  const { lattice, kills, falseDeaths, bytes, wallSeconds, rssMiB } = headline(nodes, seed);
  const burialMs = Math.max(...kills.map((kill) => kill.allDeadMs - kill.firstDeadMs));
  const killToAllMs = Math.max(...kills.map((kill) => kill.allDeadMs - kill.atMs));
  const toSuspectMs = kills.map((kill) => kill.firstSuspectMs - kill.atMs);
  curve.bytes.set(nodes, bytes);
  curve.spreadMs.set(nodes, spreadMs(kills));
  found.figure(nodes, 'nodes', nodes, '1');
  found.figure(nodes, 'traceHash', lattice.traceHash, '1');
  found.figure(nodes, 'wallSeconds', wallSeconds, 's');
  found.figure(nodes, 'rssMiB', rssMiB, 'MiB');
  found.figure(nodes, 'messages', lattice.messages, '1');
  found.figure(nodes, 'disseminationMs', spreadMs(kills), 'ms');
  found.figure(nodes, 'deadToAllMs', burialMs, 'ms');
  found.figure(nodes, 'killToAllMs', killToAllMs, 'ms');
  if (nodes > (CURVE.at(-1) ?? 0))
    found.figure(nodes, 'firstSuspectPeriods', mean(toSuspectMs) / PERIOD_MS, '1');
  measureLinks(lattice, found);
  found.bound(
    nodes,
    `all learn of a suspicion within 1 s of the first: ${spreadMs(kills)} ms; and of every death`,
    spreadMs(kills) <= 1_000 && burialMs >= 0,
  );
  found.bound(nodes, `nobody else is declared dead: ${falseDeaths}`, falseDeaths === 0);
  const [wallMax, rssMax] = nodes > 10_000 ? [360, 6_144] : [60, 2_048];
  found.bound(
    nodes,
    `60 virtual seconds in at most ${wallMax} s and ${rssMax} MiB`,
    wallSeconds <= wallMax && rssMiB <= rssMax,
  );
}

/** Links that a node keeps, where it does not keep them to all. */
function measureLinks(lattice: SwimLattice, found: Findings): void {
  const { size } = lattice;
  const links = nodesOf('*', size)
    .filter((index) => lattice.isRunning(index))
    .map((index) => lattice.neighbors(index).length);
  if (links.every((count) => count === 0)) return;
  const most = links.reduce((a, b) => Math.max(a, b));
  found.figure(size, 'linksPerNodeMean', mean(links), '1');
  found.figure(size, 'linksPerNodeMax', most, '1');
  found.bound(size, `a node has ${ACTIVE_MAX} neighbours at most: ${most}`, most <= ACTIVE_MAX);
}

function measureShatter(size: number, seed: number, found: Findings): void {
  const { share, wholeMs } = shatter(size, seed);
  found.figure(size, 'connectedShare', share, '1');
  found.bound(
    size,
    `when 30 % die at once 99 % of the others are still connected: ${(share * 100).toFixed(2)} %`,
    share >= 0.99,
  );
  if (wholeMs === undefined) return;
  found.figure(size, 'reconnectedMs', wholeMs, 'ms');
  found.bound(size, `and all of them within 10 s: ${wholeMs} ms`, wholeMs <= 10_000);
}

function measureSize(size: number, seed: number, found: Findings, curve: Curve): void {
  if (!curve.bytes.has(size)) {
    const { bytes, kills } = headline(size, seed);
    curve.bytes.set(size, bytes);
    curve.spreadMs.set(size, spreadMs(kills));
    found.figure(size, 'disseminationMs', spreadMs(kills), 'ms');
  }
  const toSuspectMs = detections(size, seed);
  curve.kills += toSuspectMs.length;
  const periods = mean(toSuspectMs) / PERIOD_MS;
  found.figure(size, 'firstSuspectPeriods', periods, '1');
  found.bound(
    size,
    `first suspicion within 1.75 periods on the mean of ${toSuspectMs.length} kills (SWIM expects 1.58): ${periods.toFixed(3)}`,
    periods <= 1.75,
  );
  const { cut, healMs } = heal(size, seed);
  curve.healMs.set(size, healMs);
  found.figure(size, 'healMs', healMs, 'ms');
  found.figure(size, 'healedNodes', cut, '1');
  found.figure(size, 'bytesPerNodePerSecond', curve.bytes.get(size) ?? NaN, 'B/s');
  if (size > swimOptions().fullMeshMembersMax) measureShatter(size, seed, found);
  const lan = idleBytes(new SwimLattice({ nodes: size, seed, isSettled: true, swim: LAN }));
  found.figure(size, 'bytesPerNodePerSecond', lan, 'B/s', 'aether at memberlist LAN constants');
}

function judgeCurve(nodes: number, found: Findings, curve: Curve): void {
  const bytes = [...curve.bytes.values()];
  const [least, most] = [Math.min(...bytes), Math.max(...bytes)];
  found.bound(
    nodes,
    `idle bytes do not grow with the lattice (serf: 269 to 290 B/s): ${least.toFixed(0)} to ${most.toFixed(0)} B/s`,
    most <= least * 1.25,
  );
  const heals = [...curve.healMs.values()];
  found.bound(
    nodes,
    `a healed cut is one view within 30 s, and not later in a larger lattice by more than 5 s: ${heals.join(', ')} ms`,
    heals.every((healMs) => healMs <= Math.min(30_000, Math.min(...heals) + 5_000)),
  );
  const steps = [...curve.spreadMs].toSorted(([a], [b]) => a - b);
  found.bound(
    nodes,
    `dissemination grows no faster than the logarithm: ${steps.map(([, ms]) => ms).join(', ')} ms`,
    steps.every(([size, ms]) => ms <= 250 * Math.log10(size)),
  );
  if (curve.healMs.has(10_000))
    found.bound(nodes, `more than 1,000 kills: ${curve.kills}`, curve.kills > 1_000);
}

function measureFaults(options: SimOptions, found: Findings): void {
  const { nodes, seed } = options;
  let withLifeguard = 0;
  for (const load of LOADS) {
    options.progress(`${STORMY_NODES} nodes: ${load.name}`);
    withLifeguard += falseFailures(load, seed, true);
  }
  const without = falseFailures(LOADS[3], seed, false);
  found.figure(nodes, 'falseFailures', withLifeguard, '1');
  found.figure(nodes, 'falseFailuresWithoutLifeguard', without, '1');
  found.bound(
    nodes,
    `no healthy node failed under ${LOADS.length} loads, and without Lifeguard at least 50 in the last: ${without}`,
    withLifeguard === 0 && without >= 50,
  );

  options.progress(`${SCENARIOS.length} scenarios of faults`);
  const failures = SCENARIOS.flatMap((scenario) => failuresOf(scenario, seed));
  const what = `one view and no false death after each of ${SCENARIOS.length} scenarios`;
  found.bound(nodes, [what, ...failures].join('; '), failures.length === 0);
}

async function run(options: SimOptions): Promise<BenchResult> {
  const { nodes, seed } = options;
  const found = new Findings(options);
  const curve: Curve = { bytes: new Map(), spreadMs: new Map(), healMs: new Map(), kills: 0 };
  options.progress(`${nodes} nodes for 60 virtual seconds`);
  measureWhole(nodes, seed, found, curve);
  for (const { metric, value } of found.figures) options.progress(`  ${metric} ${value}`);
  const largest = CURVE.at(-1) ?? 0;
  const sizes = CURVE.filter((size) => size < Math.min(nodes, largest));
  if (nodes <= largest) sizes.push(nodes);
  else
    options.progress(
      `beside ${nodes}: kills and cuts at up to ${sizes.at(-1)} nodes, no loads and no scenarios; --nodes ${largest} has them`,
    );
  for (const size of sizes) {
    options.progress(`${size} nodes: idle, kills, a cut`);
    measureSize(size, seed, found, curve);
  }
  judgeCurve(nodes, found, curve);

  if (nodes <= largest) measureFaults(options, found);
  const again = Math.min(nodes, 100);
  const traces = [0, 0].map(() => headline(again, seed).lattice.traceHash);
  found.bound(
    nodes,
    `one seed is one run: ${traces.join(' and ')} at ${again} nodes`,
    traces[0] === traces[1],
  );
  return found;
}

export const suite: Suite = { run };
