/**
 * Which relays a node keeps that cannot be dialled: few, near, and not all in one place.
 *
 * Who has the role of a relay is taken before others, then who keeps data or votes, as these run all the time. Of them first
 * the nearest, then who is in a region, or at least a zone, where none of the chosen is. Who was chosen and still
 * serves stays, so that the ways to the node change seldom.
 */
import { type Random, shuffled } from '../../spec/random.ts';

/** A member that can be dialled and is alive. */
export interface RelayCandidate {
  id: string;
  roles: readonly string[];
  zone?: string;
  region?: string;
  /** None: not measured yet. */
  rttMs?: number;
}

export const RELAYS = 3;

/** @returns ids, at most RELAYS, the best first. @param kept those of the last choice. */
export function chooseRelays(
  candidates: readonly RelayCandidate[],
  kept: readonly string[],
  random: Random,
): string[] {
  const willing = mostWilling(candidates);
  const chosen = kept.flatMap((id) => willing.find((each) => each.id === id) ?? []);
  const rest = shuffled(random, willing).filter((each) => !chosen.includes(each));
  rest.sort((a, b) => (a.rttMs ?? Infinity) - (b.rttMs ?? Infinity) || 0);
  while (chosen.length < RELAYS && rest.length > 0) {
    const elsewhere = (where: 'region' | 'zone'): number =>
      rest.findIndex((each) => chosen.every((other) => other[where] !== each[where]));
    const at = [elsewhere('region'), elsewhere('zone'), 0].find((index) => index >= 0) ?? 0;
    chosen.push(...rest.splice(at, 1));
  }
  return chosen.map(({ id }) => id);
}

function mostWilling(candidates: readonly RelayCandidate[]): readonly RelayCandidate[] {
  const withRole = (...roles: string[]): RelayCandidate[] =>
    candidates.filter((each) => each.roles.some((role) => roles.includes(role)));
  const relays = withRole('relay');
  if (relays.length > 0) return relays;
  const steady = withRole('storage', 'voter');
  return steady.length > 0 ? steady : candidates;
}
