/**
 * Who is alive, for the node that stands on it.
 *
 * It runs in a thread of the process's own for it, on sockets of its own, so that nothing that keeps the main loop busy delays an answer
 * to a probe. With a clock or chance that is not the machine's it runs on the main loop, as that is where they are.
 */
import { uptime } from 'node:os';
import type { Clock } from '../../spec/clock.ts';
import type { Log } from '../../spec/log.ts';
import type { Random } from '../../spec/random.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { systemRandom } from '../../spec/system-random.ts';
import type { SwimMember } from '../core/swim-member.ts';
import type { MemberState } from '../core/swim-message.ts';
import type { SwimOptions } from '../core/swim-options.ts';
import type { OwnFacts } from '../core/swim-self.ts';
import type { RosterMember } from '../core/swim-view.ts';
import type { Peers } from './peers.ts';
import type { RingStore } from './ring-store.ts';
import { SwimDriver } from './swim-driver.ts';
import { type EpochView, type SwimSockets, SWIM } from './swim-protocol.ts';
import { SwimThread } from './swim-thread.ts';
import type { TransportCounts } from './transport-counts.ts';

export interface MembershipOptions {
  self: { id: string; facts: OwnFacts };
  swim: SwimOptions;
  /** How its own sockets are opened. */
  sockets: SwimSockets;
  /** By which it goes where its own sockets do not. */
  peers: Peers;
  store: RingStore;
  clock: Clock;
  random: Random;
  log: Log;
  /** The newest known here. */
  epoch(): EpochView;
  /** What this node shows of itself: core/node-certificate.ts. */
  certificate(): Uint8Array | undefined;
  /** The sender uses an epoch of this number. */
  heardEpoch(number: number, from: string): void;
  changed(member: SwimMember, before: MemberState | undefined): void;
  /** The node has slept or stood still: what it held for a time, it may hold no more. */
  slept(): void;
}

export interface Membership {
  /** Who may be a member under the epoch of the moment, with the last known address of each. */
  setRoster(members: RosterMember[]): void;
  /** What this node says of itself from now on. */
  setFacts(facts: OwnFacts): void;
  /** This node has another certificate. */
  certified(): void;
  /** The last control link to a member broke. */
  linkLost(id: string): void;
  /** Tells the others that this node goes. */
  leave(): void;
  stop(): Promise<void>;
  /** As it is known on the main loop. */
  member(id: string): SwimMember | undefined;
  /** Of sockets of its own; undefined: it has none. */
  counts(): TransportCounts | undefined;
}

/** Whether membership goes to a thread. */
export function isOfTheMachine(clock: Clock, random: Random): boolean {
  return clock === systemClock && random === systemRandom;
}

export function openMembership(options: MembershipOptions): Membership {
  const isApart = isOfTheMachine(options.clock, options.random);
  return isApart ? new SwimThread(options) : onMainLoop(options);
}

export function onMainLoop(options: MembershipOptions): Membership {
  const { self, store, peers } = options;
  const incarnation = store.incarnation() + 1;
  store.setIncarnation(incarnation);
  const driver = new SwimDriver({
    ...options,
    self: { ...self, incarnation },
    uptimeMs: () => uptime() * 1_000,
    epochNumber: () => options.epoch().number,
    send: (to, body) => peers.cast(to, SWIM, body),
    keepIncarnation: (value) => store.setIncarnation(value),
  });
  peers.onCast(SWIM, (body, from) => driver.receive(body, from));
  return {
    setRoster(members) {
      const near = members.map(({ id }) => id).filter((id) => peers.isLinked(id));
      driver.setRoster(members, near);
    },
    setFacts: (facts) => driver.setFacts(facts),
    certified: () => {},
    linkLost: (id) => driver.linkLost(id),
    leave: () => driver.leave(),
    stop: () => Promise.resolve(driver.stop()),
    member: (id) => driver.member(id),
    counts: () => undefined,
  };
}
