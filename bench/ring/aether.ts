/**
 * A `Ring` node as a member: TLS, identity and epoch included. It owns no keys, as serf's agents hold no data: only the
 * founder stores. Nodes have a process each, or there are as many processes as cores.
 *
 * As a program: it loads the ring, says so, starts each node that it is told to, and reports each change of membership.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type MemberView, mintJoinToken, Ring, type RingOptions } from '../../ring/index.ts';
import type { Layout } from './lattice-process.ts';
import type { Heard, Kind, Member } from './member.ts';

/** memberlist's for a LAN (config.go), so that only the implementations differ. */
export const SERF_LAN: RingOptions['swim'] = {
  probeIntervalMs: 1_000,
  ackTimeoutMs: 500,
  indirectProbes: 3,
  suspicionPeriods: 4,
  suspicionFactorMax: 6,
  confirmations: 2,
  healthFactorMax: 8,
  gossipIntervalMs: 200,
  gossipFanout: 3,
  gossipRepeats: 4,
  syncIntervalMs: 30_000,
};

interface Start {
  readonly data: string;
  readonly name: string;
  readonly swim: RingOptions['swim'];
  /** None: it founds the lattice, and admits so many. */
  readonly seed?: Seed;
  readonly admits: number;
}

interface Seed {
  readonly address: string;
  readonly token: string;
}

type Said = { kind: 'loaded' } | { kind: 'seed'; seed: Seed } | { kind: 'heard'; news: News[] };
type News = Pick<Heard, 'state'> & { readonly by: string; readonly name: string };

/** @param folder for the data of all members */
export function aether({ folder, nodes, isHosted }: Layout, swim: RingOptions['swim']): Kind {
  const { promise: isOpen, resolve: open } = Promise.withResolvers<Seed>();
  const listeners = new Map<string, (of: Omit<Heard, 'atMs' | 'by'>) => void>();
  const hear = (said: Said): void => {
    if (said.kind === 'seed') open(said.seed);
    else if (said.kind === 'heard')
      for (const { by, name, state } of said.news)
        listeners.get(by)?.({ who: Number(name.slice(1)), state });
  };
  const hosts = Array.from(
    { length: isHosted ? availableParallelism() : 0 },
    () => new Program(hear),
  );
  return {
    isOpen,
    member(index, listener): Member {
      const name = `n${index}`;
      listeners.set(name, listener);
      let program = hosts[index % hosts.length];
      return {
        get pid() {
          return program?.pid;
        },
        async prepare() {
          program ??= new Program(hear);
          await program.loaded;
        },
        join() {
          const start = { data: join(folder, name), name, swim, admits: nodes };
          if (index === 0) program?.start(start);
          else void isOpen.then((seed) => program?.start({ ...start, seed }));
        },
      };
    },
  };
}

/** This file as a process. */
class Program {
  readonly #child: ChildProcess;
  readonly loaded: Promise<unknown>;

  constructor(hear: (said: Said) => void) {
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const;
    this.#child = fork(import.meta.filename, [], { stdio: [...stdio] });
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error('a program of nodes did not come up');
    });
    ended.catch(() => {});
    this.loaded = Promise.race([once(this.#child, 'message'), ended]);
    this.loaded.catch(() => {});
    this.#child.on('message', hear);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  start(start: Start): void {
    this.#child.send(start);
  }
}

async function serve({ data, name, swim, seed, admits }: Start): Promise<void> {
  const ring = await Ring.open({
    data,
    name,
    ...(swim === undefined ? {} : { swim }),
    ...(seed === undefined ? {} : { join: [seed.address], token: seed.token }),
  });
  const reported = new Map<string, MemberView['state']>();
  const report = ({ incarnation, name: who, id, state }: MemberView): void => {
    // Who is in the epoch only, and has not been heard of, is not known to be alive.
    if (incarnation === 0 || id === ring.id || reported.get(id) === state) return;
    reported.set(id, state);
    tell({ by: name, name: who, state: state === 'left' ? 'dead' : state });
  };
  ring.onChange((change) => {
    if (change.kind === 'member') report(change.member);
  });
  for (const member of ring.members()) report(member);
  if (seed === undefined) {
    const token = mintJoinToken(data, { uses: admits, roles: ['compute'] });
    say({ kind: 'seed', seed: { address: ring.address, token } });
  }
}

let news: News[] = [];

/** What is heard in one turn of the loop goes in one message. */
function tell(heard: News): void {
  news.push(heard);
  if (news.length > 1) return;
  setImmediate(() => {
    say({ kind: 'heard', news });
    news = [];
  });
}

function say(said: Said): void {
  process.send?.(said);
}

if (import.meta.main) {
  process.once('disconnect', () => process.exit());
  process.on('message', (start: Start) => void serve(start));
  say({ kind: 'loaded' });
}
