/** What members should own, were the ring perfectly balanced. */
import { type Place, Terrain } from './hash-ring-spread.ts';

export interface Weighted extends Place {
  readonly weight: number;
}

/**
 * The share of the circle that each member should own: proportional to its weight, as far as the rule
 * of `Spread` allows. (Of three replicas in three zones each zone gets one, however little it weighs;
 * nobody gets two of one key.)
 *
 * @param members those with tokens. @returns shares that add up to the number of owners of a key
 */
export function fairShares(members: readonly Weighted[], replicas: number): number[] {
  const { zones, regions, ranks } = new Terrain(members);
  const size = Math.min(replicas, members.length);
  const last = ranks[size - 1];
  const shares = members.map(() => 0);
  if (last === undefined) return shares;

  const byRegion = [...Map.groupBy(members.keys(), (i) => regions[i] as number).values()];
  const needed = ranks.filter(
    ({ level, round }) => (level - last.level || round - last.round) <= 0,
  );
  const certain = needed.filter(({ level, round }) => level < last.level || round < last.round);
  const ofRegions = poured(
    size,
    byRegion.map((group, region) => ({
      weight: weightOf(group),
      low: certain.filter((rank) => rank.region === region).length,
      high: needed.filter((rank) => rank.region === region).length,
    })),
  );
  byRegion.forEach((group, region) => {
    const byZone = [...Map.groupBy(group, (i) => zones[i] as number).values()];
    const ofZones = poured(
      ofRegions[region] as number,
      byZone.map((zone) => ({
        weight: weightOf(zone),
        low: Math.min(zone.length, last.level),
        high: Math.min(zone.length, last.level + 1),
      })),
    );
    byZone.forEach((zone, at) => {
      const ofMembers = poured(
        ofZones[at] as number,
        zone.map((i) => ({ weight: weightOf([i]), low: 0, high: 1 })),
      );
      zone.forEach((i, seat) => (shares[i] = ofMembers[seat] as number));
    });
  });
  return shares;

  function weightOf(group: readonly number[]): number {
    return group.reduce((total, i) => total + (members[i]?.weight ?? 0), 0);
  }
}

interface Vessel {
  readonly weight: number;
  readonly low: number;
  readonly high: number;
}

/** Halvings after which the level is as exact as a number can be. */
const HALVINGS = 60;

/** Distributes an amount by weight so that each gets at least its low and at most its high mark. */
function poured(amount: number, vessels: readonly Vessel[]): number[] {
  const at = (level: number): number[] =>
    vessels.map(({ weight, low, high }) => Math.min(high, Math.max(low, weight * level)));
  let [less, more] = [0, Math.max(...vessels.map(({ weight, high }) => high / weight))];
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (less + more) / 2;
    const sum = at(middle).reduce((total, share) => total + share, 0);
    if (sum < amount) less = middle;
    else more = middle;
  }
  return at(more);
}
