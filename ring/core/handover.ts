/**
 * How one set of voters makes the next, for anybody to check (C1 to C4 of spec/epoch.md).
 *
 * The entry in which two sets decide together is signed by a majority of each. Whoever knows that the first
 * are voters learns from it that the second are. Chained, such proofs lead from the founder to the voters of today.
 */
import type { Configuration } from './configuration.ts';
import type { Position } from './fenced-log.ts';

export interface VoterSignature {
  /** The voter. */
  readonly node: string;
  readonly signature: Uint8Array;
}

export interface Handover extends Position {
  /** A joint one: of the voters before, and those after. */
  readonly configuration: Configuration;
  /** Of the value at that entry, which is not needed to check the signatures. */
  readonly digest: Uint8Array;
  readonly signatures: readonly VoterSignature[];
}

/**
 * True when `configuration` is the one that the handovers lead to, or the joint one that begins the next.
 *
 * @param founders the first voters.
 * @param isCertified whether a quorum has signed a handover.
 */
export function isReached(
  configuration: Configuration,
  founders: readonly string[],
  handovers: readonly Handover[],
  isCertified: (handover: Handover) => boolean,
): boolean {
  let [number, voters] = [1, founders];
  for (const handover of handovers) {
    if (!isNext(handover.configuration, number, voters) || !isCertified(handover)) return false; // C2
    number += 2;
    ({ voters } = handover.configuration);
  }
  if (isNext(configuration, number, voters)) return true; // C3
  const { previous, ...rest } = configuration;
  return previous === undefined && rest.number === number && isSame(rest.voters, voters); // C3
}

/** V2: joint, and the voters before are these. */
function isNext(
  { number, previous }: Configuration,
  before: number,
  voters: readonly string[],
): boolean {
  return number === before + 1 && previous !== undefined && isSame(previous, voters);
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((node, i) => node === b[i]);
}
