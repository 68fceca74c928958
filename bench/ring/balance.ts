/**
 * How evenly the ring shares keys out while 1,000 members join, and what a member that joins or leaves
 * moves; beside what it costs to allocate tokens and to look up owners.
 *
 * Balance and moves are computed from the tokens, exactly: another run gives the same figures.
 */
import type { EpochMember } from '../../ring/core/epoch.ts';
import { HashRing } from '../../ring/core/hash-ring.ts';
import { LAYOUTS, maxOverMean, memberAfter } from '../../ring/core/hash-ring.testkit.ts';
import { fairShares } from '../../ring/core/hash-ring-share.ts';
import type { BenchOptions, BenchResult, Bound, Figure } from '../report.ts';

const BENCH = 'ring';
const SIZES: readonly number[] = [10, 100, 1_000];
const BALANCE: readonly { name: string; replicas: number; most: number }[] = [
  { name: 'balance-rf1', replicas: 1, most: 1.05 },
  { name: 'balance-rf3', replicas: 3, most: 1.12 },
];
/** Beyond its due, as a part of all keys. */
const MOVED_EXTRA = 0.01;
/** Every step is looked at up to here, then every 50th. */
const EVERY_UP_TO = 100;
const THEN_EVERY = 50;
const LOOKUPS = 200_000;
/** Part of 100 members that leaves, and is replaced. */
const LEAVERS_SHARE = 0.3;
/** Nobody has more than this many times its due after that. */
const REFILLED_MAX = 1.12;

/** The cases of this file that are wanted, by name; `balance-rf1-zones` and its like are part of `balance-rf1`. */
export function balance(options: BenchOptions): BenchResult {
  const { cases } = options;
  const figures: Figure[] = [];
  const bounds: Bound[] = [];
  const wanted = (name: string): boolean =>
    cases.length === 0 || cases.some((each) => each === name || each.startsWith(`${name}-`));
  const add = (name: string, metric: string, value: number, unit: string, nodes: number): void =>
    void figures.push({
      bench: BENCH,
      case: name,
      subject: 'aether',
      metric,
      value: Number(value.toPrecision(4)),
      unit,
      nodes,
    });
  const hold = (name: string, text: string, holds: boolean): void =>
    void bounds.push({ bench: BENCH, case: name, text, holds });
  const balances = BALANCE.filter(({ name }) => wanted(name));

  for (const [layout, seatAt] of Object.entries(LAYOUTS)) {
    const isPlain = layout === 'equal';
    const isMeasured = isPlain && ['moved', 'churn', 'allocate', 'lookup'].some(wanted);
    if (balances.length === 0 && !isMeasured) continue;
    const members: EpochMember[] = [];
    const moves = new Moves();
    let slowestMs = 0;
    for (let count = 1; count <= (SIZES.at(-1) ?? 0); count++) {
      const startedMs = performance.now();
      members.push(memberAfter(members, seatAt(count - 1)));
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      if (isPlain && wanted('moved') && (count <= EVERY_UP_TO || count % THEN_EVERY === 0))
        moves.measure(members);
      if (!SIZES.includes(count)) continue;
      options.progress(`${layout}: ${count} members`);
      for (const { name, replicas, most } of balances) {
        const value = maxOverMean(members, replicas);
        const one = isPlain ? name : `${name}-${layout}`;
        add(one, 'maxOverMean', value, '1', count);
        const text = `${count} nodes: at most ${most}; measured ${value.toFixed(3)}`;
        hold(one, text, value <= most);
      }
      if (isPlain && wanted('allocate')) add('allocate', 'slowestMs', slowestMs, 'ms', count);
      if (isPlain && wanted('lookup')) add('lookup', 'perSecond', lookups(members), '1/s', count);
    }
    if (isPlain && wanted('moved')) {
      const { nodes } = moves;
      add('moved', 'ratioToIdeal', moves.worst.single, '1', nodes);
      add('moved', 'ratioToIdealRf3', moves.worst.triple, '1', nodes);
      const text = `never more than 1/N + ${MOVED_EXTRA} of the keys, N up to ${nodes}, joining or leaving`;
      hold(
        'moved',
        `${text}; at most ${moves.extra.toFixed(4)} beyond 1/N`,
        moves.extra <= MOVED_EXTRA,
      );
      hold('moved', 'only to who joins and from who leaves', moves.strays === 0);
    }
    if (isPlain && wanted('churn')) {
      options.progress('churn: members leave, others join');
      for (const { size, members: left } of afterChurn(members.slice(0, 100))) {
        add('churn', `maxOverMeanRf1-${size}`, maxOverMean(left, 1), '1', left.length);
        add('churn', `maxOverMeanRf3-${size}`, maxOverMean(left, 3), '1', left.length);
        if (size === 'left') continue;
        const most = Math.max(maxOverMean(left, 1), maxOverMean(left, 3));
        const text = `at most ${REFILLED_MAX} once as many came as left; measured ${most.toFixed(3)}`;
        hold('churn', text, most <= REFILLED_MAX);
      }
    }
  }
  return { figures, bounds };
}

/** What joining and leaving moves, in the worst step seen. */
class Moves {
  /** Moved over what has to move, for the first owner and for sets of three. */
  readonly worst = { single: 0, triple: 0 };
  /** Part of all keys whose first owner changed beyond 1/N. */
  extra = 0;
  /** Owners changed otherwise than by who joined or left. */
  strays = 0;
  nodes = 0;

  /** The last member joins, which is also the last one leaving; and another leaves. */
  measure(members: readonly EpochMember[]): void {
    this.nodes = members.length;
    if (members.length < 2) return;
    const other = (members.length * 7) % (members.length - 1);
    for (const index of [members.length - 1, other]) {
      const without = members.toSpliced(index, 1);
      const id = (members[index] as EpochMember).id;
      const single = this.#moved(without, members, id, 1);
      const due = fairShares(members, 1)[index] as number;
      this.worst.single = Math.max(this.worst.single, single / due);
      this.extra = Math.max(this.extra, single - 1 / members.length);
      if (members.length < 4) continue;
      const triple = this.#moved(without, members, id, 3);
      const dueOfThree = fairShares(members, 3)[index] as number;
      this.worst.triple = Math.max(this.worst.triple, triple / dueOfThree);
    }
  }

  /** Part of the circle whose owners are others with the member than without. */
  #moved(
    without: EpochMember[],
    members: readonly EpochMember[],
    id: string,
    replicas: number,
  ): number {
    const [small, large] = [new HashRing(without), new HashRing(members)];
    let moved = 0;
    // Tokens of the smaller ring are tokens of the larger: nothing changes inside its ranges.
    for (const { range, owners } of large.ranges(replicas)) {
      const before = small.owners(range.last, replicas);
      const gained = owners.filter((owner) => !before.includes(owner));
      if (gained.length === 0) continue;
      if (gained.length > 1 || gained[0] !== id) this.strays++;
      moved += (range.last - range.first + 1) / 2 ** 32;
    }
    return moved;
  }
}

/** A ring after a part of its members left, and after as many others joined. */
function afterChurn(members: readonly EpochMember[]): { size: string; members: EpochMember[] }[] {
  const leavers = Math.round(members.length * LEAVERS_SHARE);
  // Who leaves is as good as random: tokens know nothing of this order.
  const left = members
    .map((member, i) => ({ member, order: Math.imul(i + 1, 0x9e3779b1) >>> 0 }))
    .toSorted((a, b) => a.order - b.order)
    .slice(leavers)
    .map(({ member }) => member);
  const refilled = [...left];
  for (let i = 0; i < leavers; i++)
    refilled.push({ ...memberAfter(refilled, { weight: 1 }), id: `again${i}` });
  return [
    { size: 'left', members: left },
    { size: 'refilled', members: refilled },
  ];
}

function lookups(members: readonly EpochMember[]): number {
  const ring = new HashRing(members);
  const look = (): void => {
    for (let i = 0; i < LOOKUPS; i++) ring.owners(`key${i}`, 3);
  };
  look();
  const startedMs = performance.now();
  look();
  return LOOKUPS / ((performance.now() - startedMs) / 1_000);
}
