/** Rings as they grow, member by member. */
import type { EpochMember } from './epoch.ts';
import { HashRing } from './hash-ring.ts';
import { allocateTokens } from './hash-ring-allocation.ts';
import { fairShares, type Weighted } from './hash-ring-share.ts';

export type Seat = Weighted;

/** Who joins as the i-th. */
export type Layout = (i: number) => Seat;

/** What must balance at every size: each name with who joins. */
export const LAYOUTS: Readonly<Record<string, Layout>> = {
  equal: () => ({ weight: 1 }),
  weights: (i) => ({ weight: mixedWeight(i) }),
  zones: (i) => ({ weight: 1, zone: pick('abc', i) }),
  'zones-weights': (i) => ({ weight: mixedWeight(i), zone: pick('abc', i) }),
  'unequal-zones': (i) => ({ weight: 1, zone: pick('aaabcabbca', i) }),
  'unequal-zones-weights': (i) => ({ weight: mixedWeight(i), zone: pick('aaabcabbca', i) }),
};

/** Not in step with the zones. */
function mixedWeight(i: number): number {
  return [1, 2, 4, 1, 1, 2, 4][i % 7] as number;
}

function pick(letters: string, i: number): string {
  return letters.charAt(i % letters.length);
}

/** The member after these. */
export function memberAfter(members: readonly EpochMember[], seat: Seat): EpochMember {
  const id = `n${members.length}`;
  const tokens = allocateTokens(members, seat);
  return { id, name: '', address: '', roles: [], ...seat, tokens };
}

export function membersOf(seats: readonly Seat[]): EpochMember[] {
  const members: EpochMember[] = [];
  for (const seat of seats) members.push(memberAfter(members, seat));
  return members;
}

/** The most that a member owns, as a multiple of its fair share. */
export function maxOverMean(members: readonly EpochMember[], replicas: number): number {
  const holders = members.filter(({ tokens }) => tokens.length > 0);
  const owned = new HashRing(holders).ownership(replicas);
  const due = fairShares(holders, replicas);
  return Math.max(...holders.map(({ id }, i) => (owned.get(id) ?? 0) / (due[i] as number)));
}
