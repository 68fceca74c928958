/** Of two claims about a member, which counts, and how it is passed on. */
import { type Facts, isNewer, type Update } from './swim-message.ts';
import { RANK } from './swim-view.ts';

/** SWIM §4.2, as one order: (incarnation, state). */
export function isNews(claim: Update, known: Update): boolean {
  if (claim.incarnation !== known.incarnation) return claim.incarnation > known.incarnation;
  return RANK[claim.state] > RANK[known.state];
}

/** Whoever makes the claim, which is no news, need not be told what is known. */
export function isAsMuch(claim: Update | undefined, known: Update): boolean {
  if (claim?.incarnation !== known.incarnation || claim.state !== known.state) return false;
  if ((claim.accusers?.length ?? 0) < (known.accusers?.length ?? 0)) return false;
  return known.facts === undefined || !isNewer(known.facts, claim.facts);
}

/** The claim as it is told: a live member with its facts, a suspect with its accusers. */
export function toPassOn(claim: Update, facts: Facts | undefined, by?: string): Update {
  const { id, state, incarnation } = claim;
  if (state === 'alive') {
    if (claim.facts === facts && claim.accusers === undefined) return claim;
    return { id, state, incarnation, ...(facts === undefined ? {} : { facts }) };
  }
  if (state !== 'suspect') return { id, state, incarnation };
  if (claim.facts === undefined && claim.accusers !== undefined) return claim;
  return { id, state, incarnation, accusers: claim.accusers ?? (by === undefined ? [] : [by]) };
}

/** What is known of a suspect, with these accusers; the claim itself where it says just that, as whoever hears it next can keep it too. */
export function accusedBy(accusers: readonly string[], claim: Update, known: Update): Update {
  const isAll =
    claim.accusers?.length === accusers.length &&
    accusers.every((id, at) => id === claim.accusers?.[at]);
  const isBare = claim.facts === undefined && known.facts === undefined;
  return isAll && isBare ? claim : { ...known, accusers };
}
