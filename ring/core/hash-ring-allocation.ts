/**
 * Tokens for a new member, chosen so that everybody's share stays near its due for one, two and three
 * replicas.
 *
 * A token is placed in a gap between two tokens, and takes a slice of the gap from the member above. With more
 * replicas it also takes from the members met next, out of the gaps below: the newcomer enters their
 * owners, the last ones drop out. For each token the gaps of the members with most beyond their
 * due are tried, and the one is kept after which the squared deviations from the due are least. The idea
 * (greedy, by the variance of replicated ownership, tokens of others never moved) is that of Cassandra's
 * ReplicationAwareTokenAllocator (CASSANDRA-7032); here all replica counts up to three count, by
 * the rule of `Spread`, as what balances n replicas in n zones is each zone for itself.
 */
import type { EpochMember } from './epoch.ts';
import { fairShares, type Weighted } from './hash-ring-share.ts';
import { Spread, Terrain } from './hash-ring-spread.ts';

/** The circle has this many positions. */
const POSITIONS = 2 ** 32;
/** Tokens of a member with weight 1. 16 allocated ones balance better than 256 random ones. */
const TOKENS_PER_WEIGHT = 16;
/** Replica counts that are balanced. */
const REPLICA_COUNTS = [1, 2, 3] as const;
/** How much a deviation counts at each of them. The first owner does the most work. */
const IMPORTANCES: readonly (readonly number[])[] = [
  [1, 0.3, 0.3],
  // In turn, when the one before leaves somebody with too much.
  [1, 0.1, 0.3],
  [1, 0.1, 0.1],
];
/** What nobody should have beyond its due, as a part of it. */
const EXCESS_MAX = [0.05, Infinity, 0.12] as const;
/** Gaps that are tried for one token, and for all tokens of a heavy member. */
const TRIES_PER_TOKEN = 256;
const TRIES = 16_384;
/** How many gaps below a new token are looked at for what it takes there. More than it takes mostly. */
const LOOK_BACK = 64;

/**
 * Chooses the tokens of a new member. Takes some 10 ms at 100 members and 100 ms at 1,000.
 *
 * @param existing members already on the ring; their tokens stay.
 * @param newcomer its weight is its share relative to the others (0 gives no tokens).
 * @returns 16 tokens per unit of weight, ascending
 */
export function allocateTokens(existing: readonly EpochMember[], newcomer: Weighted): number[] {
  const count = Math.round(TOKENS_PER_WEIGHT * newcomer.weight);
  const members = existing.filter(({ tokens }) => tokens.length > 0);
  if (count === 0) return [];
  if (members.length === 0) {
    return Array.from({ length: count }, (_, i) => Math.floor(((i + 1) * POSITIONS) / count) - 1);
  }
  let best: Allocation | undefined;
  for (const importances of IMPORTANCES) {
    const next = new Allocation(members, newcomer, count, importances);
    if (best === undefined || next.excess < best.excess) best = next;
    if (best.excess <= 1) break;
  }
  return best?.tokens ?? [];
}

/** The ring as a list of seats linked both ways, as a new token comes between two others. */
class Circle {
  readonly token: Uint32Array;
  readonly holder: Uint32Array;
  readonly next: Uint32Array;
  readonly previous: Uint32Array;
  size: number;

  constructor(members: readonly EpochMember[], room: number) {
    const seats = members
      .flatMap(({ tokens }, holder) => tokens.map((token) => ({ token, holder })))
      .toSorted((a, b) => a.token - b.token);
    const { length } = seats;
    this.size = length;
    this.token = new Uint32Array(length + room);
    this.holder = new Uint32Array(length + room);
    this.next = new Uint32Array(length + room);
    this.previous = new Uint32Array(length + room);
    seats.forEach(({ token, holder }, seat) => {
      this.token[seat] = token;
      this.holder[seat] = holder;
      this.next[seat] = (seat + 1) % length;
      this.previous[seat] = (seat + length - 1) % length;
    });
  }

  /** How many positions a seat owns. */
  width(seat: number): number {
    const before = this.token[this.previous[seat] as number] as number;
    const width = (this.token[seat] as number) - before;
    return width > 0 ? width : width + POSITIONS;
  }

  /** Gives the lowest positions of a seat to a new one below it. @returns the new seat */
  cut(seat: number, width: number, holder: number): number {
    const below = this.previous[seat] as number;
    const made = this.size++;
    this.token[made] = ((this.token[below] as number) + width) % POSITIONS;
    this.holder[made] = holder;
    this.next[made] = seat;
    this.previous[made] = below;
    this.next[below] = made;
    this.previous[seat] = made;
    return made;
  }
}

/** Who owns how much at one number of replicas. */
class Sharing {
  /** Positions that each member owns and should own. */
  readonly held: Float64Array;
  readonly due: Float64Array;
  readonly #circle: Circle;
  readonly #weights: Float64Array;
  readonly #newcomer: number;
  readonly #spread: Spread;
  /** By seat, `#spread.size` each. */
  readonly #owners: Uint32Array;
  /** Members that a token would take from, and how much. */
  readonly #losers: number[] = [];
  readonly #losses: number[] = [];

  /** @param members the last is the newcomer; it has a seat already, as everybody */
  constructor(circle: Circle, members: readonly Weighted[], terrain: Terrain, replicas: number) {
    this.#circle = circle;
    this.#weights = Float64Array.from(members, ({ weight }) => weight);
    this.#newcomer = members.length - 1;
    this.#spread = new Spread(terrain, replicas);
    this.#owners = new Uint32Array(circle.token.length * this.#spread.size);
    this.due = Float64Array.from(fairShares(members, replicas), (share) => share * POSITIONS);
    this.held = new Float64Array(members.length);
    for (let seat = 0; seat < circle.size; seat++) this.#settle(seat);
  }

  /**
   * How the squared deviations change if the newcomer takes `width` positions of a seat.
   *
   * @param progress part of its tokens that the newcomer has then.
   */
  cost(seat: number, width: number, progress: number): number {
    const gain = this.#weigh(seat, width);
    let cost = 0;
    for (let i = 0; i < this.#losers.length; i++) {
      const loser = this.#losers[i] as number;
      const due = this.due[loser] as number;
      const before = (this.held[loser] as number) / due - 1;
      const loss = (this.#losses[i] as number) / due;
      cost += (this.#weights[loser] as number) * loss * (loss - 2 * before);
    }
    const newcomer = this.#newcomer;
    const own =
      ((this.held[newcomer] as number) + gain) / (this.due[newcomer] as number) - progress;
    // Its first tokens are free to be where they serve the others; the last ones have to make it up.
    const patience = progress * progress * own;
    return cost + (this.#weights[newcomer] as number) * patience * patience;
  }

  /** The most that a member has beyond its due, as a part of it. */
  get excess(): number {
    return this.held.reduce(
      (most, held, i) => Math.max(most, held / (this.due[i] as number) - 1),
      0,
    );
  }

  /** The newcomer has a new seat. */
  update(made: number): void {
    const { holder, next, previous } = this.#circle;
    const size = this.#spread.size;
    // Until now its positions were part of the seat above.
    const above = (next[made] as number) * size;
    this.#owners.copyWithin(made * size, above, above + size);
    let seat = made;
    do {
      this.#forget(seat);
      if (!this.#settle(seat)) return;
      seat = previous[seat] as number;
      // Below a seat that it has already, the newcomer is met there first.
    } while (holder[seat] !== this.#newcomer);
  }

  /** What the newcomer would gain, and from whom. */
  #weigh(seat: number, width: number): number {
    const { holder, next, previous } = this.#circle;
    const spread = this.#spread;
    const newcomer = this.#newcomer;
    this.#losers.length = 0;
    this.#losses.length = 0;
    let gain = 0;
    let first = seat;
    for (let gap = 0; gap < LOOK_BACK; gap++) {
      spread.begin();
      let isDone = false;
      let at = first;
      for (; at !== seat && !isDone; at = next[at] as number)
        isDone = spread.meet(holder[at] as number);
      if (isDone) break;
      const before = spread.count;
      isDone = spread.meet(newcomer);
      if (spread.count === before) break;
      for (; !isDone; at = next[at] as number) isDone = spread.meet(holder[at] as number);
      const loser = this.#missing(first);
      if (loser !== undefined) {
        const loss = gap === 0 ? width : this.#circle.width(first);
        gain += loss;
        const known = this.#losers.indexOf(loser);
        if (known < 0) this.#losses[this.#losers.push(loser) - 1] = loss;
        else this.#losses[known] = (this.#losses[known] as number) + loss;
      }
      first = previous[first] as number;
    }
    return gain;
  }

  /** The owner of a seat that the last walk did not take. */
  #missing(seat: number): number | undefined {
    const { size, taken } = this.#spread;
    for (let i = seat * size; i < seat * size + size; i++) {
      const owner = this.#owners[i] as number;
      let isTaken = false;
      for (let j = 0; j < size && !isTaken; j++) isTaken = taken[j] === owner;
      if (!isTaken) return owner;
    }
    return undefined;
  }

  #forget(seat: number): void {
    const { size } = this.#spread;
    const width = this.#circle.width(seat);
    for (let i = seat * size; i < seat * size + size; i++) {
      const owner = this.#owners[i] as number;
      this.held[owner] = (this.held[owner] as number) - width;
    }
  }

  /** Looks up the owners of a seat. @returns whether the newcomer is one of them */
  #settle(seat: number): boolean {
    const { holder, next } = this.#circle;
    const spread = this.#spread;
    spread.begin();
    for (let at = seat; !spread.meet(holder[at] as number); at = next[at] as number);
    const width = this.#circle.width(seat);
    for (let i = 0; i < spread.size; i++) {
      const owner = spread.taken[i] as number;
      this.#owners[seat * spread.size + i] = owner;
      this.held[owner] = (this.held[owner] as number) + width;
    }
    return spread.taken.includes(this.#newcomer);
  }
}

/** One newcomer's way onto the ring, token by token. */
class Allocation {
  readonly #circle: Circle;
  readonly #members: readonly Weighted[];
  readonly #newcomer: number;
  readonly #count: number;
  /** What the newcomer should own as the only owner. */
  readonly #due: number;
  readonly tokens: number[];
  /** The most that a member has beyond its due, as a multiple of what it should have at most. */
  readonly excess: number;

  constructor(
    existing: readonly EpochMember[],
    newcomer: Weighted,
    count: number,
    importances: readonly number[],
  ) {
    this.#circle = new Circle(existing, count);
    this.#members = [...existing, newcomer];
    this.#newcomer = existing.length;
    this.#count = count;
    const total = this.#members.reduce((sum, { weight }) => sum + weight, 0);
    this.#due = (POSITIONS * newcomer.weight) / total;

    const circle = this.#circle;
    // Owners are counted with everybody on the ring, so the first token comes before that.
    this.#take(this.#widest(), this.#due / count);
    const terrain = new Terrain(this.#members);
    const sharings = REPLICA_COUNTS.map(
      (replicas) => new Sharing(circle, this.#members, terrain, replicas),
    );
    const { held, due } = sharings[0] as Sharing;
    const excess = (member: number): number => (held[member] as number) / (due[member] as number);
    const seats = this.#seatsByMember();
    const fullestFirst = [...seats.keys()];
    for (let has = 1; has < count; has++) {
      fullestFirst.sort((a, b) => excess(b) - excess(a));
      const width = (this.#due - (held[this.#newcomer] as number)) / (count - has);
      let best: number | undefined;
      let least = Infinity;
      for (const seat of this.#candidates(fullestFirst, seats, width)) {
        let cost = 0;
        for (let i = 0; i < sharings.length; i++) {
          const sharing = sharings[i] as Sharing;
          cost += (importances[i] as number) * sharing.cost(seat, width, (has + 1) / count);
        }
        if (cost >= least) continue;
        best = seat;
        least = cost;
      }
      const made = this.#take(best ?? this.#widest(), width);
      for (const sharing of sharings) sharing.update(made);
    }
    const made = circle.token.subarray(circle.size - count);
    this.tokens = Array.from(made).toSorted((a, b) => a - b);
    this.excess = Math.max(
      ...sharings.map((sharing, i) => sharing.excess / (EXCESS_MAX[i] as number)),
    );
  }

  #seatsByMember(): number[][] {
    const seats: number[][] = Array.from({ length: this.#newcomer }, () => []);
    for (let seat = 0; seat < this.#circle.size; seat++)
      seats[this.#circle.holder[seat] as number]?.push(seat);
    return seats;
  }

  /** Seats from which a slice can be cut, those of the fullest members first; as many as are tried. */
  *#candidates(fullestFirst: number[], seats: number[][], width: number): Iterable<number> {
    let left = Math.min(TRIES_PER_TOKEN, Math.ceil(TRIES / this.#count));
    for (const member of fullestFirst) {
      for (const seat of seats[member] as number[]) {
        if (this.#circle.width(seat) <= width) continue;
        yield seat;
        if (--left === 0) return;
      }
    }
  }

  #widest(): number {
    let widest = 0;
    for (let seat = 1; seat < this.#circle.size; seat++)
      if (this.#circle.width(seat) > this.#circle.width(widest)) widest = seat;
    return widest;
  }

  /** Gives the newcomer a slice of a seat. @returns its new seat */
  #take(seat: number, width: number): number {
    // What is left keeps a position at least, as its token stays.
    const most = this.#circle.width(seat) - 1;
    return this.#circle.cut(seat, Math.max(1, Math.min(Math.round(width), most)), this.#newcomer);
  }
}
