/** A member as a node sees it. */
import type { Facts, MemberState } from './swim-message.ts';
import { textsOf } from './swim-trail.ts';
import type { View } from './swim-view.ts';

export interface SwimMember {
  id: string;
  state: MemberState;
  incarnation: number;
  /** Where it is dialled first. */
  address: string;
  facts?: Facts;
  /** Round trip: of direct probes, smoothed, or estimated by coordinates; milliseconds. */
  rttMs?: number;
  /** What led to its state, oldest first; times as given to the core. Empty: nobody ever accused it. */
  trail: { atMs: number; text: string }[];
}

/**
 * @param index of one of the view's roster.
 * @param rttMs as far as it is known.
 * @param load as it said last to this node.
 */
export function memberOf(
  view: View,
  index: number,
  rttMs: number | undefined,
  load: number | undefined,
): SwimMember {
  const { id, state, incarnation } = view.updateOf(index);
  const told = view.factsOf(index);
  const facts = told === undefined || load === undefined ? told : { ...told, load };
  return {
    id,
    state,
    incarnation,
    address: facts?.addresses[0] ?? view.roster.members[index]?.address ?? '',
    ...(facts === undefined ? {} : { facts }),
    ...(rttMs === undefined ? {} : { rttMs }),
    trail: textsOf(view.get(index)?.trail),
  };
}
