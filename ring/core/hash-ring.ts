/**
 * Consistent hashing with allocated tokens: who owns a key.
 *
 * A ring is the circle of the 32-bit numbers. A member sits on it at its tokens; a token owns what
 * lies between the token before it (exclusive) and itself (inclusive). The owners of a key are among the
 * members met when walking up from the key's hash: the first ones, as far as zones and regions allow
 * (hash-ring-spread.ts). (Karger et al., Consistent hashing and random trees, STOC 1997; the walk: DeCandia
 * et al., Dynamo, SOSP 2007, preference lists.)
 *
 * I1  Owners follow from (members, key, replicas) alone: every node computes the same list.
 * I2  The first n owners for more replicas are the owners for n.
 * I3  Adding a member changes owners only by putting that member in; removing is its mirror image.
 */
import type { EpochMember } from './epoch.ts';
import { Spread, Terrain } from './hash-ring-spread.ts';

/** The circle has this many positions. */
const POSITIONS = 2 ** 32;

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
  readonly #terrain: Terrain;
  /** By replicas, then by token. */
  readonly #owners: Map<number, string[][]> = new Map();
  /** By replicas: what picks the owners. */
  readonly #spreads: Map<number, Spread> = new Map();
  /** Members that hold tokens: no key has more owners. */
  readonly size: number;

  constructor(members: readonly EpochMember[]) {
    this.#members = members.filter(({ tokens }) => tokens.length > 0);
    this.size = this.#members.length;
    this.#terrain = new Terrain(this.#members);
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

  /** The share of the circle that each member owns; the shares add up to the owners of a key. */
  ownership(replicas = 1): Map<string, number> {
    const shares = new Map(this.#members.map(({ id }) => [id, 0]));
    this.#tokens.forEach((token, seat) => {
      const share = this.#width(token, seat) / POSITIONS;
      for (const id of this.#ownersAt(seat, replicas))
        shares.set(id, (shares.get(id) ?? 0) + share);
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
    let spread = this.#spreads.get(replicas);
    if (spread === undefined)
      this.#spreads.set(replicas, (spread = new Spread(this.#terrain, replicas)));
    if (spread.size === 0) return [];
    spread.begin();
    for (let seat = start; !spread.meet(this.#holders[seat] as number);)
      seat = (seat + 1) % this.#tokens.length;
    return spread.inOrder().map((holder) => (this.#members[holder] as EpochMember).id);
  }

  #width(token: number, seat: number): number {
    const before = this.#tokens[(seat + this.#tokens.length - 1) % this.#tokens.length] as number;
    if (this.#tokens.length === 1) return POSITIONS;
    return seat === 0 ? token + POSITIONS - before : token - before;
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
