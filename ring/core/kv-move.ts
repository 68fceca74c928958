/**
 * What a change of the placement moves.
 *
 * Why a row acknowledged before the change is not missed after it: it is on a quorum of the
 * previous owners. Whoever has to be sure of a range reads it from a quorum of these first, and so
 * meets the row. Of n owners with quorums of q, a change makes n' with quorums of q'; k of these are new:
 *
 * - no fewer than before: the new ones read. Of those that stay, n' - k, at least q - (n - n' + k) have the row: with the
 *   new ones n' - (n - q), or all k if nobody is left that has it. Either is met by each quorum of q', as
 *   n - q < q <= q', and k >= n' - (n - q) then;
 * - fewer, as when a lattice is smaller than the number of replicas: the row may have been on
 *   too few of those that stay (on one of two, when a third leaves), so each of them reads.
 */
import type { HashRing, TokenRange } from './hash-ring.ts';

/** A piece of the circle whose rows a member has to read from the previous owners. */
export interface Gain {
  range: TokenRange;
  /** The previous owners, by number of replicas; a quorum of each of these sets has to be read. */
  sources: string[][];
}

/** The pieces that `node` has to be sure of for buckets with one of these numbers of replicas. */
export function gains(
  previous: HashRing,
  next: HashRing,
  node: string,
  replicaCounts: readonly number[],
): Gain[] {
  const found: Gain[] = [];
  for (const range of commonRanges(previous, next)) {
    const sources = replicaCounts
      .map((replicas) => ({
        before: previous.owners(range.last, replicas),
        after: next.owners(range.last, replicas),
      }))
      .filter(
        ({ before, after }) =>
          after.includes(node) && (!before.includes(node) || after.length < before.length),
      )
      .map(({ before }) => before)
      .filter((owners) => owners.length > 0);
    if (sources.length > 0) found.push({ range, sources });
  }
  return found;
}

/** The circle cut at the tokens of both rings: inside a piece, owners are the same on either. */
function commonRanges(a: HashRing, b: HashRing): TokenRange[] {
  const ends = [...a.ranges(1), ...b.ranges(1)].map(({ range }) => range.last);
  const ranges: TokenRange[] = [];
  let first = 0;
  for (const last of new Set(ends.toSorted((x, y) => x - y))) {
    ranges.push({ first, last });
    first = last + 1;
  }
  return ranges;
}
