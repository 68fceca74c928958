/**
 * All members of a lattice under measurement, and the clock that measures them. `lattice.ts` runs it as the first
 * process in a network and a process namespace of its own: `lo` counts this lattice alone, and nothing of
 * it outlives this process.
 *
 * As a program: LAYOUT, as JSON; then it does what each message asks for and answers with the figures.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { median } from '../medians.ts';
import { aether, SERF_LAN } from './aether.ts';
import type { Heard, Kind, Member } from './member.ts';
import { serf } from './serf.ts';

export interface Layout {
  readonly subject: 'aether' | 'aether-defaults' | 'serf';
  /** Members that are started together; one more comes late. */
  readonly nodes: number;
  /** For the data of all. */
  readonly folder: string;
  /** Nodes of ours in as many processes as there are cores, instead of one each. */
  readonly isHosted: boolean;
}

export type Figures = Readonly<Record<string, number>>;

export type Request =
  | { kind: 'join' }
  | { kind: 'idle'; seconds: number }
  | { kind: 'sleep'; seconds: number }
  | { kind: 'kill'; members: number };

/** One answer to each request, in order; of a kill, figures of each member. */
export type Answer = { figures: Figures[] } | { failure: string };

const JOIN_MS = 120_000;
const FORGET_MS = 60_000;
const RETURN_MS = 60_000;
const KILL_GAP_MS = 1_000;
/** Linux counts CPU time in hundredths of a second for programs (USER_HZ). */
const TICK_MS = 10;

class Lattice {
  readonly #nodes: number;
  readonly #kind: Kind;
  readonly #members: Member[];
  readonly #heard: Heard[] = [];
  /** What each knows of each, suspicion aside: by member, by subject. */
  readonly #known: Map<number, Heard['state']>[];
  readonly #live: Set<number>;

  constructor({ nodes }: Layout, kind: Kind) {
    this.#nodes = nodes;
    this.#kind = kind;
    this.#live = new Set();
    this.#known = Array.from({ length: nodes + 1 }, () => new Map());
    this.#members = Array.from({ length: nodes + 1 }, (_, by) =>
      kind.member(by, ({ who, state }) => {
        this.#heard.push({ atMs: performance.now(), by, who, state });
        if (state !== 'suspect') this.#known[by]?.set(who, state);
      }),
    );
  }

  async perform(request: Request): Promise<Figures[]> {
    if (request.kind === 'join') return this.#join();
    if (request.kind === 'idle') return this.#idle(request.seconds);
    if (request.kind === 'sleep') return this.#sleep(request.seconds);
    return this.#kill(request.members);
  }

  async #join(): Promise<Figures[]> {
    const waiting = [...this.#members];
    const prepare = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await next.prepare();
    };
    await Promise.all(Array.from({ length: availableParallelism() }, prepare));
    this.#start(0);
    await this.#kind.isOpen;
    const usedMs = cpuMs(this.#pids(this.#members.keys()));
    const startedMs = performance.now();
    for (let i = 1; i < this.#nodes; i++) this.#start(i);
    await this.#until(() => this.#areKnown('alive', this.#live), JOIN_MS, 'all see all');
    const ms = performance.now() - startedMs;
    const cpuMsPerNode = (cpuMs(this.#pids(this.#members.keys())) - usedMs) / this.#nodes;
    // So that the last one finds them at rest.
    await pause(2_000);
    const late = this.#nodes;
    const calledMs = performance.now();
    this.#start(late);
    await this.#until(() => this.#areKnown('alive', this.#live), JOIN_MS, 'all see the late one');
    return [{ ms, lateMs: performance.now() - calledMs, cpuMsPerNode }];
  }

  async #idle(seconds: number): Promise<Figures[]> {
    const pids = this.#pids(this.#live);
    const [before, usedMs, startedMs] = [loopback(), cpuMs(pids), performance.now()];
    await pause(seconds * 1_000);
    const after = loopback();
    const per = (pids.length * (performance.now() - startedMs)) / 1_000;
    return [
      {
        bytesPerSecond: (after.bytes - before.bytes) / per,
        packetsPerSecond: (after.packets - before.packets) / per,
        cpuMsPerSecond: (cpuMs(pids) - usedMs) / per,
        rssMiB: median(pids.map(rssMiB)),
      },
    ];
  }

  /** The late member stands still, as a laptop with its lid closed. */
  async #sleep(seconds: number): Promise<Figures[]> {
    const sleeper = this.#nodes;
    const others = new Set([...this.#live].filter((i) => i !== sleeper));
    const stoppedMs = performance.now();
    this.#signal(sleeper, 'SIGSTOP');
    await pause(seconds * 1_000);
    const missedBy = [...others].filter((i) => this.#known[i]?.get(sleeper) === 'dead').length;
    const wokenMs = performance.now();
    this.#signal(sleeper, 'SIGCONT');
    await this.#until(() => this.#areKnown('alive', this.#live), RETURN_MS, 'the sleeper is back');
    const ms = performance.now() - wokenMs;
    // Whom it accuses after its sleep may show only after its next probes.
    await pause(3_000);
    const blamed = (state: Heard['state']): number =>
      new Set(
        this.#heard
          .filter((each) => each.atMs > stoppedMs && each.who !== sleeper && each.state === state)
          .map(({ who }) => who),
      ).size;
    return [{ ms, missedBy, accused: blamed('suspect'), buried: blamed('dead') }];
  }

  /** kill -9, one after the other without waiting for what comes of it. */
  async #kill(members: number): Promise<Figures[]> {
    const victims = Array.from({ length: members }, (_, i) => i + 1);
    const killedMs = new Map<number, number>();
    for (const victim of victims) {
      this.#live.delete(victim);
      killedMs.set(victim, performance.now());
      this.#signal(victim, 'SIGKILL');
      await pause(KILL_GAP_MS);
    }
    const victimSet = new Set(victims);
    await this.#until(() => this.#areKnown('dead', victimSet), FORGET_MS, 'all know of the dead');
    return victims.map((victim) => {
      const fromMs = killedMs.get(victim) as number;
      const heard = this.#heard.filter(
        ({ atMs, by, who }) => atMs >= fromMs && who === victim && this.#live.has(by),
      );
      const at = (state: Heard['state']): number[] =>
        heard.filter((each) => each.state === state).map(({ atMs }) => atMs - fromMs);
      const [dead, ms] = [Math.min(...at('dead')), Math.max(...at('dead'))];
      return {
        firstSuspectMs: Math.min(...at('suspect')),
        firstDeadMs: dead,
        spreadMs: ms - dead,
        ms,
      };
    });
  }

  #start(index: number): void {
    this.#live.add(index);
    this.#members[index]?.join();
  }

  /** Whether all that live know so of all these. */
  #areKnown(state: Heard['state'], whom: ReadonlySet<number>): boolean {
    return [...this.#live].every((by) =>
      [...whom].every((who) => who === by || this.#known[by]?.get(who) === state),
    );
  }

  /** Of those that have a process. */
  #pids(indexes: Iterable<number>): number[] {
    return [...indexes].flatMap((index) => this.#members[index]?.pid ?? []);
  }

  #signal(index: number, signal: NodeJS.Signals): void {
    const pid = this.#members[index]?.pid;
    if (pid !== undefined) process.kill(pid, signal);
  }

  async #until(isSo: () => boolean, withinMs: number, what: string): Promise<void> {
    const untilMs = performance.now() + withinMs;
    while (!isSo()) {
      if (performance.now() > untilMs) throw new Error(`not within ${withinMs / 1_000} s: ${what}`);
      await pause(2);
    }
  }
}

/** What `lo` has carried in this network namespace; what is sent there is also received. */
function loopback(): { bytes: number; packets: number } {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((each) => each.trim().startsWith('lo:'));
  const [bytes = Number.NaN, packets = Number.NaN] = (line ?? '')
    .trim()
    .split(/[\s:]+/)
    .slice(1)
    .map(Number);
  return { bytes, packets };
}

/** User and system time of all threads (proc(5), fields 14 and 15). */
function cpuMs(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of new Set(pids)) {
    // The name in parentheses may have spaces in it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * TICK_MS;
}

function rssMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024;
}

function kindOf(layout: Layout): Kind {
  if (layout.subject === 'serf') return serf();
  return aether(layout, layout.subject === 'aether' ? SERF_LAN : undefined);
}

if (import.meta.main) {
  // The kernel ends the others of the namespace with its first process.
  process.once('disconnect', () => process.exit());
  const layout = JSON.parse(process.argv[2] ?? '') as Layout;
  const lattice = new Lattice(layout, kindOf(layout));
  process.on('message', (request: Request) => {
    lattice.perform(request).then(
      (figures) => process.send?.({ figures } satisfies Answer),
      (error: unknown) => process.send?.({ failure: String(error) } satisfies Answer),
    );
  });
}
