/** The members of the lattice as one node sees them: what the epoch and membership say of each, in words for people. */
import type { Clock } from '../spec/clock.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { participants } from './core/epoch-change.ts';
import { HashRing } from './core/hash-ring.ts';
import type { RelayCandidate } from './core/relay-choice.ts';
import type { SwimMember } from './core/swim-member.ts';
import type { MemberState } from './core/swim-message.ts';
import { isDialable, relayOf } from './core/ways.ts';

/** A member as this node sees it. */
export interface MemberView {
  id: string;
  name: string;
  address: string;
  state: MemberState;
  /** 0: not heard of since this node started. */
  incarnation: number;
  zone?: string;
  region?: string;
  roles: string[];
  weight: number;
  /** Share of the ring, 0 to 1. */
  ownership: number;
  rttMs?: number;
  /** How busy it is: 0 idle, 1 full. */
  load?: number;
  /** How its traffic is carried. */
  tier?: string;
  /** Workflow types whose code it has. */
  types?: readonly string[];
  /** Number of the epoch under which its certificate was given; 0: it has none. */
  certificateEpoch?: number;
  /** What led to its state. */
  why?: string;
  /** Names of the relays that lead to it; none: all can dial it. */
  relays?: readonly string[];
  /** Of these, the one by which this node speaks with it now; none: directly. */
  via?: string;
}

/** A member as this node sees it, and how it came to see it so. */
export interface MemberTrail {
  member: MemberView;
  /** What was noted when, the oldest first; at most the last sixteen. `atMs`: Unix milliseconds. */
  trail: { atMs: number; text: string }[];
}

/** What a node tells the others of itself while it runs. */
export type Described = Pick<MemberView, 'load' | 'tier' | 'types'>;

/** As spec/id.ts writes them. */
const NODE_ID = /\bn[a-z2-7]{52}\b/g;

export interface MemberViewsOptions {
  self: string;
  clock: Clock;
  epoch: () => Epoch;
  member: (id: string) => SwimMember | undefined;
  /** What this node says of itself now; the others hear of some of it only in time. */
  own: () => Described;
  /** The relay by which this node speaks with the other. */
  via: (id: string) => string | undefined;
}

export class MemberViews {
  readonly #options: MemberViewsOptions;
  #placement: { epoch: Epoch; ring: HashRing } | undefined;

  constructor(options: MemberViewsOptions) {
    this.#options = options;
  }

  /** Members of the epoch, this node first; also who is about to leave. */
  all(): MemberView[] {
    const { self, epoch } = this.#options;
    const ownership = this.ring().ownership();
    const own = (member: EpochMember): number => (member.id === self ? 0 : 1);
    return participants(epoch())
      .toSorted((a, b) => own(a) - own(b))
      .map((member) => this.#view(member, ownership.get(member.id) ?? 0));
  }

  of(node: string): MemberView | undefined {
    const entry = this.#entry(node);
    return entry && this.#view(entry, this.ring().ownership().get(node) ?? 0);
  }

  trail(node: string): MemberTrail | undefined {
    const { clock, member } = this.#options;
    const view = this.of(node);
    if (view === undefined) return undefined;
    const bootedMs = clock.nowMs() - clock.monotonicMs();
    const trail = (member(node)?.trail ?? []).map(({ atMs, text }) => ({
      atMs: Math.round(bootedMs + atMs),
      text: this.#named(text),
    }));
    return { member: view, trail };
  }

  nameOf(id: string): string {
    return this.#entry(id)?.name ?? id;
  }

  /** The placement of the epoch. */
  ring(): HashRing {
    const epoch = this.#options.epoch();
    if (this.#placement?.epoch !== epoch)
      this.#placement = { epoch, ring: new HashRing(epoch.members) };
    return this.#placement.ring;
  }

  relayCandidates(): RelayCandidate[] {
    const { self, epoch, member } = this.#options;
    return participants(epoch()).flatMap(({ id, roles, zone, region }) => {
      const { state, facts, rttMs } = member(id) ?? {};
      const isUsable = id !== self && state === 'alive' && facts?.addresses.every(isDialable);
      if (isUsable !== true) return [];
      return [
        {
          id,
          roles,
          ...(zone === undefined ? {} : { zone }),
          ...(region === undefined ? {} : { region }),
          ...(rttMs === undefined ? {} : { rttMs }),
        },
      ];
    });
  }

  #entry(node: string): EpochMember | undefined {
    return participants(this.#options.epoch()).find(({ id }) => id === node);
  }

  #view(entry: EpochMember, ownership: number): MemberView {
    const { tokens: _, ...facts } = entry;
    const member = this.#options.member(entry.id);
    const own = entry.id === this.#options.self ? this.#options.own() : {};
    const relays = member?.facts?.addresses.flatMap((address) => relayOf(address) ?? []) ?? [];
    const via = this.#options.via(entry.id);
    const why = member?.trail.at(-1)?.text;
    return {
      ...facts,
      address: member?.address ?? entry.address,
      state: member?.state ?? 'suspect',
      incarnation: member?.incarnation ?? 0,
      ownership,
      ...(member?.rttMs === undefined ? {} : { rttMs: Math.round(member.rttMs * 100) / 100 }),
      ...describedBy({ ...member?.facts, ...own }),
      ...(why === undefined ? {} : { why: this.#named(why) }),
      ...(relays.length === 0 ? {} : { relays: relays.map((id) => this.nameOf(id)) }),
      ...(via === undefined ? {} : { via: this.nameOf(via) }),
    };
  }

  /** With names instead of ids. */
  #named(text: string): string {
    return text.replaceAll(NODE_ID, (id) => this.nameOf(id));
  }
}

function describedBy(
  facts: Described & Pick<MemberView, 'certificateEpoch'>,
): Described & Pick<MemberView, 'certificateEpoch'> {
  const { load, tier, types, certificateEpoch } = facts;
  return {
    ...(certificateEpoch === undefined ? {} : { certificateEpoch }),
    ...(load === undefined ? {} : { load }),
    ...(tier === undefined ? {} : { tier }),
    ...(types === undefined ? {} : { types }),
  };
}
