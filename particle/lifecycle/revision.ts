/**
 * The order in which deploys of one app replace each other.
 *
 * A revision is (generation, claimant): the generation counts up, the claimant is the node that claimed it. Two nodes
 * may claim one generation at the same time; both are written under keys of their own, so neither overwrites the other,
 * and every reader ranks them alike.
 *
 * V1. Revisions of one app are totally ordered, and each is written by one workflow only.
 * V2. The current revision is the highest published one; a lower one that is published later changes nothing.
 */
export interface Revision {
  generation: number;
  /** Node id. */
  claimant: string;
}

/** Negative when `a` is lower. */
export function compareRevisions(a: Revision, b: Revision): number {
  if (a.generation !== b.generation) return a.generation - b.generation;
  return a.claimant < b.claimant ? -1 : a.claimant > b.claimant ? 1 : 0;
}

/** Text that sorts as revisions do. */
export function revisionText(revision: Revision): string {
  return `${String(revision.generation).padStart(12, '0')}/${revision.claimant}`;
}
