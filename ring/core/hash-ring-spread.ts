/**
 * How far apart the owners of a key are: the rule by which a walk up the ring takes members or passes
 * them over.
 *
 * Seen from a key, a member has a level (how many of its zone were met before it) and a round (how
 * many of its region come before it: those of lower levels, and those of its own level met before
 * it). The owners are the members of the lowest level, among these of the lowest round, among these
 * the first met. So no two owners share a zone while another zone is left, and as long as that allows
 * it no region has two owners more than another. A member without a zone is a zone of its own; members
 * without a region are one region together; zones of different regions are different zones.
 *
 * How many members each level and round has does not depend on the key. So it is known beforehand which
 * is the last one needed, and how many of it, and a walk ends as soon as it has met the owners.
 */
import type { EpochMember } from './epoch.ts';

/** Where a member stands. */
export type Place = Pick<EpochMember, 'zone' | 'region'>;

interface Rank {
  readonly level: number;
  readonly round: number;
}

interface RegionRank extends Rank {
  readonly region: number;
}

/** The places of all members that hold tokens. */
export class Terrain {
  /** Zone and region of each member, as numbers from 0. */
  readonly zones: readonly number[];
  readonly regions: readonly number[];
  /** The ranks that there are, the lowest first. Which member has which depends on the key. */
  readonly ranks: readonly RegionRank[];

  constructor(members: readonly Place[]) {
    this.regions = numbered(members.map(({ region }) => region));
    const ofZone = ({ zone }: Place, i: number): unknown =>
      zone === undefined ? i : `${this.regions[i]} ${zone}`;
    this.zones = numbered(members.map(ofZone));
    const met = new Map<number, number>();
    const levels = this.zones.map((zone) => {
      const level = met.get(zone) ?? 0;
      met.set(zone, level + 1);
      return level;
    });
    const rounds = new Map<number, number>();
    this.ranks = levels
      .map((level, i) => ({ level, region: this.regions[i] as number }))
      .toSorted((a, b) => a.level - b.level)
      .map(({ level, region }) => {
        const round = rounds.get(region) ?? 0;
        rounds.set(region, round + 1);
        return { level, round, region };
      })
      .toSorted(compareRanks);
  }
}

/** Picks the owners out of members met one after another. One object serves many walks, in turn. */
export class Spread {
  /** Owners that every key has. */
  readonly size: number;
  /** The members taken, by index, in the order met. */
  readonly taken: Uint32Array;
  /** How many of `taken` belong to this walk. */
  count = 0;
  /** The last rank needed. All members of lower ranks are owners. */
  readonly #last: Rank;
  /** Owners of the last rank. */
  readonly #lastSize: number;
  #lastLeft = 0;
  /** Ranks of those taken. */
  readonly #levels: Uint32Array;
  readonly #rounds: Uint32Array;
  readonly #zones: Uint32Array;
  /** For each member, where its region begins in the tables by region and level. */
  readonly #rows: Uint32Array;
  /** By region and level: members of the region at lower levels. */
  readonly #below: Uint32Array;
  /** Walks are numbered: what a table has of another walk does not count. */
  #walk = 0;
  readonly #metIn: Uint32Array;
  readonly #zoneMetIn: Uint32Array;
  readonly #zoneMet: Uint32Array;
  readonly #levelMetIn: Uint32Array;
  readonly #levelMet: Uint32Array;

  constructor({ zones, regions, ranks }: Terrain, replicas: number) {
    this.size = Math.min(replicas, ranks.length);
    this.taken = new Uint32Array(this.size);
    this.#levels = new Uint32Array(this.size);
    this.#rounds = new Uint32Array(this.size);
    const last = ranks[this.size - 1] ?? { level: 0, round: 0 };
    this.#last = last;
    this.#lastSize = this.size - ranks.filter((rank) => compareRanks(rank, last) < 0).length;
    const levels = last.level + 1;
    this.#zones = Uint32Array.from(zones);
    this.#rows = Uint32Array.from(regions, (region) => region * levels);
    const cells = levels * new Set(regions).size;
    this.#below = new Uint32Array(cells);
    for (const { region, level } of ranks) {
      for (let above = level + 1; above < levels; above++) {
        const cell = region * levels + above;
        this.#below[cell] = (this.#below[cell] as number) + 1;
      }
    }
    this.#metIn = new Uint32Array(zones.length);
    this.#zoneMetIn = new Uint32Array(zones.length);
    this.#zoneMet = new Uint32Array(zones.length);
    this.#levelMetIn = new Uint32Array(cells);
    this.#levelMet = new Uint32Array(cells);
  }

  begin(): void {
    this.#walk++;
    this.count = 0;
    this.#lastLeft = this.#lastSize;
  }

  /** Meets a member, for the first time in this walk or again. @returns true when it has all owners */
  meet(member: number): boolean {
    const walk = this.#walk;
    if (this.#metIn[member] === walk) return false;
    this.#metIn[member] = walk;
    const zone = this.#zones[member] as number;
    const level = this.#zoneMetIn[zone] === walk ? (this.#zoneMet[zone] as number) : 0;
    this.#zoneMetIn[zone] = walk;
    this.#zoneMet[zone] = level + 1;
    const last = this.#last;
    if (level > last.level) return false;
    const cell = (this.#rows[member] as number) + level;
    const before = this.#levelMetIn[cell] === walk ? (this.#levelMet[cell] as number) : 0;
    this.#levelMetIn[cell] = walk;
    this.#levelMet[cell] = before + 1;
    const round = (this.#below[cell] as number) + before;
    if (level === last.level) {
      if (round > last.round) return false;
      if (round === last.round && --this.#lastLeft < 0) return false;
    }
    this.#levels[this.count] = level;
    this.#rounds[this.count] = round;
    this.taken[this.count++] = member;
    return this.count === this.size;
  }

  /** The members taken, the preferred first. */
  inOrder(): number[] {
    return Array.from(this.taken.subarray(0, this.count), (member, at) => ({
      member,
      level: this.#levels[at] as number,
      round: this.#rounds[at] as number,
    }))
      .toSorted(compareRanks)
      .map(({ member }) => member);
  }
}

function compareRanks(a: Rank, b: Rank): number {
  return a.level - b.level || a.round - b.round;
}

/** Numbers for names, from 0 in the order of appearance. */
function numbered(names: readonly unknown[]): number[] {
  const numbers = new Map<unknown, number>();
  return names.map((name) => {
    const number = numbers.get(name) ?? numbers.size;
    numbers.set(name, number);
    return number;
  });
}
