/**
 * What a change of the placement moves.
 *
 * Why a row acknowledged before the change is not missed after it: it is on a quorum of the
 * previous owners. A member that becomes an owner reads the range from a quorum of these first, and
 * so meets the row. A change swaps as many owners out as in, or changes their number by one; so the
 * next owners that have the row are a quorum again, or meet every quorum.
 */
import type { HashRing, TokenRange } from './hash-ring.ts';

/** A piece of the circle that a member becomes an owner of. */
export interface Gain {
  range: TokenRange;
  /** The previous owners, by number of replicas; a quorum of each of these sets has to be read. */
  sources: string[][];
}

/** The pieces that `node` gains for buckets with one of these numbers of replicas. */
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
      .filter(({ before, after }) => after.includes(node) && !before.includes(node))
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
