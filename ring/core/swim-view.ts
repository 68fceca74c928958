/**
 * What a node knows of the others: the roster, which all nodes share, and what differs from it.
 *
 * A member of which nothing was heard takes no memory of its own; a lattice of N nodes that are well is one
 * roster and N nearly empty views.
 */
import { type Digest, type Facts, isNewer, type MemberState, type Update } from './swim-message.ts';
import type { Trail } from './swim-trail.ts';

export interface RosterMember {
  id: string;
  /** Where it was last known to listen, `host:port`. */
  address: string;
  /** What is known of it already, alive; none: not heard of. */
  known?: Update;
}

/** Who may be a member. Does not change; another roster is another object. */
export class Roster {
  readonly members: readonly RosterMember[];
  readonly #ids: readonly string[];
  readonly #indexes: Map<string, number>;
  readonly #hashes: Uint32Array;
  /** Of what is known of the members; 0: nothing. */
  readonly #incarnations: Float64Array;
  readonly #partitions = new Map<number, Partition>();
  /** Of the members of which something is known. */
  readonly digest: Digest;
  /** Members of which nothing is known. */
  readonly strangers: readonly number[];

  constructor(members: readonly RosterMember[]) {
    this.members = members;
    this.#ids = members.map(({ id }) => id);
    this.#indexes = new Map(this.#ids.map((id, index) => [id, index]));
    this.#hashes = Uint32Array.from(members, ({ id }) => textHash(id));
    this.#incarnations = Float64Array.from(members, ({ known }) => known?.incarnation ?? 0);
    let [first, second] = [0, 0];
    const strangers: number[] = [];
    members.forEach(({ known: update }, index) => {
      if (update === undefined) {
        strangers.push(index);
        return;
      }
      const hash = this.hash(index, update, update.facts);
      first ^= hash;
      second = (second + spread(hash)) >>> 0;
    });
    this.digest = [first >>> 0, second];
    this.strangers = strangers;
  }

  idOf(index: number): string | undefined {
    return this.#ids[index];
  }

  /** @returns -1 for a stranger. */
  indexOf(id: string): number {
    return this.#indexes.get(id) ?? -1;
  }

  /** Of what is known of a member, which is alive then; 0 when nothing is. */
  incarnationOf(index: number): number {
    return this.#incarnations[index] ?? 0;
  }

  /** Of what is known of a member; 0 when nothing is. */
  hash(index: number, { incarnation, state }: Update, facts: Facts | undefined): number {
    if (incarnation === 0) return 0;
    let hash = mix(this.#hashes[index] ?? 0, incarnation | 0);
    hash = mix(hash, (incarnation / 2 ** 32) * 4 + RANK[state]);
    hash = mix(hash, facts?.incarnation ?? 0);
    return mix(hash, facts?.version ?? 0) >>> 0;
  }

  /** Where a member stands on a ring, 0 to 2^32 - 1: on each elsewhere. */
  placeOn(ring: number, index: number): number {
    return mix(mix(this.#hashes[index] ?? 0, ring), ring) >>> 0;
  }

  /** In which of so many parts (a power of two) of a digest the member is. */
  partOf(index: number, parts: number): number {
    return (this.#hashes[index] ?? 0) & (parts - 1);
  }

  /** The parts of a digest, made once for each number of them. @param parts a power of two. */
  partition(parts: number): Partition {
    let partition = this.#partitions.get(parts);
    if (partition === undefined) {
      partition = {
        members: Array.from({ length: parts }, () => []),
        sums: new Uint32Array(parts),
      };
      for (let index = 0; index < this.members.length; index++) {
        const part = this.partOf(index, parts);
        partition.members[part]?.push(index);
        const known = this.members[index]?.known;
        const hash = known === undefined ? 0 : this.hash(index, known, known.facts);
        partition.sums[part] = (partition.sums[part] ?? 0) + spread(hash);
      }
      this.#partitions.set(parts, partition);
    }
    return partition;
  }
}

interface Partition {
  /** Whose place it is, for each part. */
  readonly members: readonly number[][];
  /** Digests of what the roster says of them, modulo 2^32. */
  readonly sums: Uint32Array;
}

export const RANK: Record<MemberState, number> = { alive: 0, suspect: 1, dead: 2, left: 3 };

/** What is known of a member that differs from the roster. */
export interface Tracked {
  /** Claim to pass on; never changed, only replaced. */
  update: Update;
  facts: Facts | undefined;
  /** While suspect: since when, and when it is declared dead (Infinity: not before it was probed). */
  suspectedMs: number;
  deadlineMs: number;
  trail: Trail;
}

export class View {
  #roster: Roster;
  #tracked = new Map<number, Tracked>();
  /**
   * Bit i: somebody is tracked whose index is i modulo 32; below, whose index divided by 32 is. Where few are, both together
   * save most of the looks into the map.
   */
  #lowBits = 0;
  #highBits = 0;
  #first: number;
  #second: number;
  #alive: number;
  #usable: number;

  constructor(roster: Roster) {
    this.#roster = roster;
    [this.#first, this.#second] = roster.digest;
    this.#alive = roster.members.length - roster.strangers.length;
    this.#usable = roster.members.length;
  }

  get roster(): Roster {
    return this.#roster;
  }

  get size(): number {
    return this.#roster.members.length;
  }

  /** Of some members no more is known than the roster says. */
  get hasUnheard(): boolean {
    for (let index = 0; index < this.size; index++)
      if (this.incarnationOf(index) === 0) return true;
    return false;
  }

  /** Members that are alive, this node among them. */
  get alive(): number {
    return this.#alive;
  }

  /** Members that are alive or suspect. */
  get usable(): number {
    return this.#usable;
  }

  get digest(): Digest {
    return [this.#first, this.#second];
  }

  get(index: number): Tracked | undefined {
    if ((this.#lowBits & (1 << index)) === 0) return undefined;
    if ((this.#highBits & (1 << (index >> 5))) === 0) return undefined;
    return this.#tracked.get(index);
  }

  tracked(): IterableIterator<[number, Tracked]> {
    return this.#tracked.entries();
  }

  updateOf(index: number): Update {
    return this.get(index)?.update ?? this.#baseline(index);
  }

  stateOf(index: number): MemberState {
    const tracked = this.get(index);
    if (tracked !== undefined) return tracked.update.state;
    return this.#roster.incarnationOf(index) === 0 ? 'suspect' : 'alive';
  }

  incarnationOf(index: number): number {
    return this.get(index)?.update.incarnation ?? this.#roster.incarnationOf(index);
  }

  factsOf(index: number): Facts | undefined {
    const tracked = this.get(index);
    return tracked === undefined ? this.#roster.members[index]?.known?.facts : tracked.facts;
  }

  isUsable(index: number): boolean {
    return RANK[this.stateOf(index)] <= RANK.suspect;
  }

  /** Replaces what is known of a member. */
  set(index: number, update: Update, facts: Facts | undefined): Tracked {
    const before = this.updateOf(index);
    this.#count(before, this.#roster.hash(index, before, this.factsOf(index)), -1);
    this.#count(update, this.#roster.hash(index, update, facts), 1);
    const tracked = this.track(index);
    tracked.update = update;
    tracked.facts = facts;
    return tracked;
  }

  /** The member with memory of its own. */
  track(index: number): Tracked {
    let tracked = this.get(index);
    if (tracked === undefined) {
      const update = this.#baseline(index);
      const { facts } = update;
      tracked = { update, facts, suspectedMs: 0, deadlineMs: Infinity, trail: undefined };
      this.#keep(index, tracked);
    }
    return tracked;
  }

  #keep(index: number, tracked: Tracked): void {
    this.#tracked.set(index, tracked);
    this.#lowBits |= 1 << index;
    this.#highBits |= 1 << (index >> 5);
  }

  /** Goes over to another roster. @returns who of the new one is not known yet, and who was in the old one only. */
  setRoster(roster: Roster): { strangers: readonly number[]; gone: string[] } {
    const before = new View(this.#roster);
    before.#tracked = this.#tracked;
    before.#lowBits = this.#lowBits;
    before.#highBits = this.#highBits;
    this.#roster = roster;
    this.#tracked = new Map();
    this.#lowBits = 0;
    this.#highBits = 0;
    [this.#first, this.#second] = roster.digest;
    this.#alive = roster.members.length - roster.strangers.length;
    this.#usable = roster.members.length;
    if (before.size === 0) return { strangers: roster.strangers, gone: [] };
    const strangers: number[] = [];
    roster.members.forEach(({ id, known }, index) => {
      const old = before.roster.indexOf(id);
      if (old < 0) {
        if (known === undefined) strangers.push(index);
        return;
      }
      const tracked = before.get(old);
      const update = before.updateOf(old);
      if (tracked === undefined && update.incarnation === 0) return;
      this.set(index, update, before.factsOf(old));
      if (tracked !== undefined) this.#keep(index, tracked);
    });
    const gone = before.roster.members.map(({ id }) => id).filter((id) => roster.indexOf(id) < 0);
    return { strangers, gone };
  }

  /** Digests of the parts, four bytes each. @param parts a power of two. */
  hashes(parts: number): Uint8Array {
    const roster = this.#roster;
    const sums = roster.partition(parts).sums.slice();
    for (const [index, { update, facts }] of this.#tracked) {
      const before = this.#baseline(index);
      const change =
        spread(roster.hash(index, update, facts)) -
        spread(roster.hash(index, before, before.facts));
      const part = roster.partOf(index, parts);
      sums[part] = (sums[part] ?? 0) + change;
    }
    const bytes = new DataView(new ArrayBuffer(parts * 4));
    sums.forEach((sum, part) => bytes.setUint32(part * 4, sum));
    return new Uint8Array(bytes.buffer);
  }

  /** What is known of the members in some parts, as it is told whole. @param chosen one bit for each part. */
  updatesIn(parts: number, chosen: Uint8Array): Update[] {
    const updates: Update[] = [];
    this.#roster.partition(parts).members.forEach((members, part) => {
      if (((chosen[part >> 3] ?? 0) & (1 << (part & 7))) === 0) return;
      for (const index of members) {
        const update = this.updateOf(index);
        const facts = this.factsOf(index);
        if (update.incarnation === 0) continue; // Known from the roster alone.
        updates.push(facts === update.facts || facts === undefined ? update : { ...update, facts });
      }
    });
    return updates;
  }

  #baseline(index: number): Update {
    const { known, id } = this.#roster.members[index] as RosterMember;
    return known ?? { id, state: 'suspect', incarnation: 0 };
  }

  #count({ state }: Update, hash: number, by: 1 | -1): void {
    this.#first = (this.#first ^ hash) >>> 0;
    this.#second = (this.#second + by * spread(hash)) >>> 0;
    if (state === 'alive') this.#alive += by;
    if (RANK[state] <= RANK.suspect) this.#usable += by;
  }
}

/** How many parts the digest of so many members has: about sixteen members each. */
export function partsOf(members: number): number {
  return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, members / 16))));
}

/** @returns one bit for each part whose four bytes differ. */
export function differences(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bits = new Uint8Array(Math.ceil(a.length / 32));
  for (let at = 0; at < a.length; at++) {
    const part = at >> 2;
    if (a[at] !== b[at]) bits[part >> 3] = (bits[part >> 3] ?? 0) | (1 << (part & 7));
  }
  return bits;
}

/** The newer of two. */
export function newest(a: Facts | undefined, b: Facts | undefined): Facts | undefined {
  return isNewer(a, b) ? a : b;
}

/** FNV-1a, mixed once more. */
function textHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix(hash, text.length) >>> 0;
}

/** The step of MurmurHash3. */
function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ Math.imul(value, 0xcc9e2d51), 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

/** So that the sum says more than the exclusive or. 0 stays 0. */
function spread(hash: number): number {
  const mixed = Math.imul(hash, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
