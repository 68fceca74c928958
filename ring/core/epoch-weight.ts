/** A member's weight as a change of the epoch: how much of the ring it holds, while it stays a member. */
import { AetherError } from '../../spec/error.ts';
import type { Epoch, EpochMember } from './epoch.ts';
import { EpochChangeError } from './epoch-change.ts';
import { allocateTokens } from './hash-ring-allocation.ts';
import { checkFacts } from './member-facts.ts';

/**
 * The next epoch, in which the member has this weight: tokens of its own accordingly, none at weight 0. Nobody else's
 * tokens move. It is pending, as parts of the ring go over.
 *
 * @returns undefined when the member has that weight already.
 * @throws AetherError ERR_RING_NODE_NOT_FOUND; ERR_RING_OPTION for a weight that it may not have; EpochChangeError
 * ERR_RING_CHANGE_REFUSED while another change is pending, or when nobody else holds a part.
 */
export function withWeight(epoch: Epoch, id: string, weight: number): Epoch | undefined {
  // I4 of epoch.ts.
  if (epoch.previous !== undefined)
    throw new EpochChangeError(`epoch ${epoch.number} is still pending`);
  const member = memberToWeigh(epoch, id, weight);
  if (member.weight === weight) return undefined;
  const others = epoch.members.filter((each) => each !== member);
  const tokens = allocateTokens(others, { ...member, weight });
  const members = epoch.members.map((each) =>
    each === member ? { ...each, weight, tokens } : each,
  );
  return { ...epoch, number: epoch.number + 1, members, previous: epoch.members };
}

/**
 * The member, if it may have this weight.
 *
 * @throws as `withWeight`, a pending change aside
 */
export function memberToWeigh(epoch: Epoch, id: string, weight: number): EpochMember {
  const member = epoch.members.find((each) => each.id === id);
  if (member === undefined)
    throw new AetherError(`no member ${id}`, { code: 'ERR_RING_NODE_NOT_FOUND' });
  checkFacts({ ...member, weight });
  const isKept = epoch.members.some((each) => each !== member && each.tokens.length > 0);
  if (weight === 0 && member.weight > 0 && !isKept) {
    throw new EpochChangeError(`no other node would keep what ${member.name} keeps`, {
      hint: 'add a node with the role of storage first',
    });
  }
  return member;
}

/** Whose weight the pending change is about. */
export function reweighted({ members, previous = [] }: Epoch): EpochMember[] {
  return members.filter((member) =>
    previous.some(({ id, weight }) => id === member.id && weight !== member.weight),
  );
}
