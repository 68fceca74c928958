/** The changes an epoch can go through, as values: the voter signs and keeps what these return. */
import { AetherError } from '../../spec/error.ts';
import type { Epoch, EpochMember, Issuer, TokenUse } from './epoch.ts';

/** A change that the epoch does not allow now. Nothing was changed. */
export class EpochChangeError extends AetherError {
  static override readonly code: string = 'ERR_RING_CHANGE_REFUSED';
}

export function foundingEpoch(lattice: string, founder: EpochMember, issuer: Issuer): Epoch {
  return {
    number: 1,
    lattice,
    members: [founder],
    voters: [founder.id],
    issuers: [issuer],
    uses: [],
    revoked: [],
    roots: [],
  };
}

/**
 * The next epoch, with one more member. It is pending when the member takes part of the ring, and
 * settled at once when it is compute only.
 *
 * @param use of a token: counted if and only if the member is admitted.
 */
export function withMember(epoch: Epoch, member: EpochMember, use: TokenUse): Epoch {
  const next = changed(epoch, [...epoch.members, member], member.tokens.length > 0);
  return { ...next, uses: [...epoch.uses, use] };
}

/** The next epoch, without a member. @throws EpochChangeError for a voter: it cannot be replaced. */
export function withoutMember(epoch: Epoch, id: string): Epoch {
  if (epoch.voters.includes(id)) {
    throw new EpochChangeError('this node is the only voter of its lattice', {
      code: 'ERR_RING_LAST_VOTER',
      hint: 'let the other nodes leave first; then stop this one',
    });
  }
  const member = epoch.members.find((each) => each.id === id);
  const rest = epoch.members.filter((each) => each.id !== id);
  return changed(epoch, rest, (member?.tokens.length ?? 0) > 0);
}

/** The pending change is done: data is where the new placement looks for it. */
export function settled(epoch: Epoch): Epoch {
  const { previous: _, ...rest } = epoch;
  return { ...rest, number: epoch.number + 1 };
}

/**
 * The pending change is given up, and with it the uses of tokens by who came. Until now every write reached the
 * old placement too, so that it is whole and needs no streaming.
 */
export function reverted(epoch: Epoch): Epoch {
  const members = epoch.previous ?? epoch.members;
  const came = new Set(joining(epoch).map(({ id }) => id));
  return { ...settled(epoch), members, uses: epoch.uses.filter(({ node }) => !came.has(node)) };
}

/** Who comes with the pending change. */
export function joining(epoch: Epoch): EpochMember[] {
  return epoch.previous === undefined ? [] : absentFrom(epoch.previous, epoch.members);
}

/** Who goes with the pending change. */
export function leaving(epoch: Epoch): EpochMember[] {
  return epoch.previous === undefined ? [] : absentFrom(epoch.members, epoch.previous);
}

/** Everybody whom the epoch lets take part: also who is about to leave. */
export function participants(epoch: Epoch): EpochMember[] {
  return [...epoch.members, ...leaving(epoch)];
}

function changed(epoch: Epoch, members: EpochMember[], moves: boolean): Epoch {
  // I4 of epoch.ts.
  if (epoch.previous !== undefined)
    throw new EpochChangeError(`epoch ${epoch.number} is still pending`);
  const next = { ...epoch, number: epoch.number + 1, members };
  return moves ? { ...next, previous: epoch.members } : next;
}

function absentFrom(these: EpochMember[], members: EpochMember[]): EpochMember[] {
  return members.filter((member) => !these.some(({ id }) => id === member.id));
}
