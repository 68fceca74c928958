/**
 * Consistent hashing with allocated tokens: who owns a key.
 *
 * A ring is the circle of the 32-bit numbers. A member sits on it at its tokens; a token owns what
 * lies between the token before it (exclusive) and itself (inclusive). The owners of a key are the
 * members met first when walking up from the key's hash, by zones: a second replica goes into a
 * zone only when no other zone is left. A member without a zone is a zone of its own.
 *
 * I1  Owners follow from (members, key, replicas) alone: every node computes the same list.
 * I2  The first n owners for more replicas are the owners for n, if at least n zones exist.
 * I3  Adding a member changes owners only by putting that member in; removing is its mirror image.
 */
import type { EpochMember } from './epoch.ts';

/** The circle has this many positions. */
const POSITIONS = 2 ** 32;
/** Tokens of a member with weight 1. 16 allocated ones balance better than 256 random ones. */
const TOKENS_PER_WEIGHT = 16;

/** A piece of the circle that does not wrap, both ends inclusive. */
export interface TokenRange {
  first: number;
  last: number;
}

export class HashRing {
  readonly #tokens: Uint32Array;
  /** Index of the member at each token. */
  readonly #holders: Uint32Array;
  readonly #members: readonly EpochMember[];
  /** By replicas, then by token. */
  readonly #owners: Map<number, string[][]> = new Map();
  /** Members that hold tokens: no key has more owners. */
  readonly size: number;

  constructor(members: readonly EpochMember[]) {
    this.#members = members.filter(({ tokens }) => tokens.length > 0);
    this.size = this.#members.length;
    const seats = this.#members
      .flatMap(({ id, tokens }, holder) => tokens.map((token) => ({ token, holder, id })))
      // The id decides between equal tokens (I1).
      .toSorted((a, b) => a.token - b.token || (a.id < b.id ? -1 : 1));
    this.#tokens = Uint32Array.from(seats, ({ token }) => token);
    this.#holders = Uint32Array.from(seats, ({ holder }) => holder);
  }

  /**
   * Ids of the members that own a key, the preferred first; fewer than `replicas` when the ring has
   * fewer members.
   *
   * @param key its text or its `hashKey`.
   */
  owners(key: string | number, replicas: number): string[] {
    if (this.size === 0) return [];
    return this.#ownersAt(this.#seatOf(typeof key === 'string' ? hashKey(key) : key), replicas);
  }

  /** Each member's share of the circle, as first owner; the shares add up to 1. */
  ownership(): Map<string, number> {
    const shares = new Map(this.#members.map(({ id }) => [id, 0]));
    this.#tokens.forEach((token, seat) => {
      const id = this.#holderId(seat);
      shares.set(id, (shares.get(id) ?? 0) + this.#width(token, seat) / POSITIONS);
    });
    return shares;
  }

  /** The whole circle in pieces, upwards from 0, each with its owners. */
  ranges(replicas: number): { range: TokenRange; owners: string[] }[] {
    const pieces: { range: TokenRange; owners: string[] }[] = [];
    let first = 0;
    this.#tokens.forEach((last, seat) => {
      if (last >= first)
        pieces.push({ range: { first, last }, owners: this.#ownersAt(seat, replicas) });
      first = last + 1;
    });
    // Beyond the last token the circle wraps to the first.
    if (this.size > 0 && first < POSITIONS) {
      pieces.push({ range: { first, last: POSITIONS - 1 }, owners: this.#ownersAt(0, replicas) });
    }
    return pieces;
  }

  /** The first token at or above a position, wrapping. */
  #seatOf(position: number): number {
    let low = 0;
    let high = this.#tokens.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#tokens[middle] as number) < position) low = middle + 1;
      else high = middle;
    }
    return low % this.#tokens.length;
  }

  #ownersAt(seat: number, replicas: number): string[] {
    let lists = this.#owners.get(replicas);
    if (lists === undefined) this.#owners.set(replicas, (lists = []));
    return (lists[seat] ??= this.#walk(seat, replicas));
  }

  #walk(start: number, replicas: number): string[] {
    const wanted = Math.min(replicas, this.size);
    const met = new Set<number>();
    const zones = new Set<string>();
    const chosen: number[] = [];
    const passedOver: number[] = [];
    for (let step = 0; step < this.#tokens.length && chosen.length < wanted; step++) {
      const holder = this.#holders[(start + step) % this.#tokens.length] as number;
      if (met.has(holder)) continue;
      met.add(holder);
      const { zone, id } = this.#members[holder] as EpochMember;
      // A zone's name never begins with NUL, so an id stands apart from it.
      const place = zone ?? `\0${id}`;
      (zones.has(place) ? passedOver : chosen).push(holder);
      zones.add(place);
    }
    return [...chosen, ...passedOver]
      .slice(0, wanted)
      .map((holder) => (this.#members[holder] as EpochMember).id);
  }

  #holderId(seat: number): string {
    return (this.#members[this.#holders[seat] as number] as EpochMember).id;
  }

  #width(token: number, seat: number): number {
    const before = this.#tokens[(seat + this.#tokens.length - 1) % this.#tokens.length] as number;
    if (this.#tokens.length === 1) return POSITIONS;
    return seat === 0 ? token + POSITIONS - before : token - before;
  }
}

/**
 * Tokens for a new member: each takes its slice from whoever has most beyond its due, out of that
 * member's widest gap, so that all end near their share (after the idea of Cassandra's
 * allocate_tokens_for_local_replication_factor).
 *
 * @param existing members already on the ring; their tokens stay.
 * @param weight share relative to the others; 0 gives no tokens.
 */
export function allocateTokens(existing: readonly EpochMember[], weight: number): number[] {
  const count = Math.round(TOKENS_PER_WEIGHT * weight);
  const gaps = new Gaps(existing);
  if (gaps.isEmpty) {
    return Array.from({ length: count }, (_, i) => Math.floor(((i + 1) * POSITIONS) / count) - 1);
  }
  const due = POSITIONS / (gaps.weight + weight);
  const tokens: number[] = [];
  let missing = due * weight;
  while (tokens.length < count) {
    const slice = Math.max(1, Math.round(missing / (count - tokens.length)));
    const { token, width } = gaps.cut(slice, due, tokens);
    tokens.push(token);
    missing -= width;
  }
  return tokens.toSorted((a, b) => a - b);
}

/** What one token owns: the positions above `after`, which may be negative for the piece that wraps. */
interface Gap {
  after: number;
  width: number;
}

interface Holding {
  weight: number;
  total: number;
  gaps: Gap[];
}

/** Gaps this close to the widest are as good to cut. */
const WIDE_SHARE = 0.9;

function distanceToNearest(position: number, tokens: readonly number[]): number {
  let nearest = POSITIONS;
  for (const token of tokens) {
    const apart = Math.abs(token - position) % POSITIONS;
    nearest = Math.min(nearest, apart, POSITIONS - apart);
  }
  return nearest;
}

/** What lies below each token, by member, while slices are cut off. */
class Gaps {
  readonly weight: number;
  readonly isEmpty: boolean;
  readonly #members: Holding[];

  constructor(existing: readonly EpochMember[]) {
    const members = existing.filter(({ tokens }) => tokens.length > 0);
    const seats = members
      .flatMap(({ tokens }, holder) => tokens.map((token) => ({ token, holder })))
      .toSorted((a, b) => a.token - b.token);
    this.isEmpty = seats.length === 0;
    this.weight = members.reduce((total, member) => total + member.weight, 0);
    this.#members = members.map(({ weight }) => ({ weight, total: 0, gaps: [] }));
    let before = (seats.at(-1)?.token ?? 0) - POSITIONS;
    for (const { token, holder } of seats) {
      const member = this.#members[holder] as Holding;
      member.gaps.push({ after: before, width: token - before });
      member.total += token - before;
      before = token;
    }
  }

  /**
   * Cuts a slice of about `width` positions off the lower end of a gap.
   *
   * @param tokens what the new member has so far: gaps far from these are preferred, as its tokens
   *   should meet all neighbourhoods of the circle (that balances the further replicas).
   */
  cut(width: number, due: number, tokens: readonly number[]): { token: number; width: number } {
    let from = this.#members[0] as Holding;
    for (const member of this.#members) {
      if (member.total - due * member.weight > from.total - due * from.weight) from = member;
    }
    const widest = Math.max(...from.gaps.map((gap) => gap.width));
    const distance = ({ after }: Gap): number => distanceToNearest(after, tokens);
    const gap = from.gaps
      .filter((each) => each.width >= widest * WIDE_SHARE)
      .reduce((a, b) => (distance(b) > distance(a) ? b : a));
    // What is left keeps a position at least, as its token stays.
    const taken = Math.min(width, gap.width - 1);
    gap.after += taken;
    gap.width -= taken;
    from.total -= taken;
    return { token: (gap.after + POSITIONS) % POSITIONS, width: taken };
  }
}

/** The position of a key: MurmurHash3 x86 32-bit (Appleby, public domain) of its UTF-8 bytes. */
export function hashKey(key: string): number {
  const bytes = UTF8.encode(key);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length & ~3;
  let hash = 0;
  for (let at = 0; at < whole; at += 4) {
    hash ^= scramble(view.getUint32(at, true));
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = bytes.length - 1; at >= whole; at--) tail = (tail << 8) | (bytes[at] as number);
  hash ^= scramble(tail) ^ bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const UTF8 = new TextEncoder();

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
