/**
 * A `Ring` node in a process of its own, as a member: TLS, identity and epoch included. It owns no keys, as
 * serf's agents hold no data: only the founder stores.
 *
 * As a program: it loads the ring, says so, joins when it is told, and reports each change of membership.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type MemberView, mintJoinToken, Ring, type RingOptions } from '../../ring/index.ts';
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

type Said = { kind: 'loaded' } | { kind: 'seed'; seed: Seed } | ({ kind: 'heard' } & News);
type News = Pick<Heard, 'state'> & { readonly name: string };

/** @param folder for the data of all members */
export function aether(folder: string, swim: RingOptions['swim'], admits: number): Kind {
  const { promise: isOpen, resolve: open } = Promise.withResolvers<Seed>();
  return {
    isOpen,
    member(index, hear): Member {
      let child: ChildProcess | undefined;
      return {
        get pid() {
          return child?.pid;
        },
        async prepare() {
          child = fork(import.meta.filename, [], {
            stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
          });
          const ended = once(child, 'exit').then(() => {
            throw new Error(`node ${index} did not come up`);
          });
          ended.catch(() => {});
          const loaded = once(child, 'message');
          await Promise.race([loaded, ended]);
          child.on('message', (said: Said) => {
            if (said.kind === 'seed') open(said.seed);
            else if (said.kind === 'heard')
              hear({ who: Number(said.name.slice(1)), state: said.state });
          });
        },
        join() {
          const start = { data: join(folder, `n${index}`), name: `n${index}`, swim, admits };
          if (index === 0) child?.send(start);
          else void isOpen.then((seed) => child?.send({ ...start, seed }));
        },
      };
    },
  };
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
    say({ kind: 'heard', name: who, state: state === 'left' ? 'dead' : state });
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

function say(said: Said): void {
  process.send?.(said);
}

if (import.meta.main) {
  process.once('disconnect', () => process.exit());
  say({ kind: 'loaded' });
  const [start] = (await once(process, 'message')) as [Start];
  await serve(start);
}
