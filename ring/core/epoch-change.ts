/** The changes an epoch can go through, as values: the register keeps what these return. */
import { AetherError } from '../../spec/error.ts';
import type { Epoch, EpochMember, Issuer, TokenUse } from './epoch.ts';
import { isDialable } from './ways.ts';

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
    revokedTokens: [],
    roots: [],
  };
}

/** A node that is to become a member, and the use of a token that it comes with. */
export interface Newcomer {
  member: EpochMember;
  use: TokenUse;
}

/** Tokens that have expired for one node's clock are shown to another one's for so long at most. */
const USE_KEPT_SECONDS = 3_600;

/**
 * The next epoch, with more members. It is pending when one of them takes part of the ring, and
 * settled at once when they are compute only. Uses of tokens are counted if and only if the members are admitted.
 */
export function withMembers(
  epoch: Epoch,
  newcomers: readonly Newcomer[],
  nowSeconds: number,
): Epoch {
  const members = newcomers.map(({ member }) => member);
  const moves = members.some(({ tokens }) => tokens.length > 0);
  const next = changed(epoch, [...epoch.members, ...members], moves);
  const kept = epoch.uses.filter((use) => use.expiresSeconds + USE_KEPT_SECONDS > nowSeconds);
  return { ...next, uses: [...kept, ...newcomers.map(({ use }) => use)] };
}

/**
 * The next epoch, without a member. It is pending when parts of the ring go over to others, or a vote.
 *
 * @throws EpochChangeError ERR_RING_LAST_VOTER when nobody else could keep the epoch.
 */
export function withoutMember(epoch: Epoch, id: string): Epoch {
  const rest = epoch.members.filter((each) => each.id !== id);
  if (!rest.some(mayVote)) {
    throw new EpochChangeError('no other node of the lattice could keep its epoch', {
      code: 'ERR_RING_LAST_VOTER',
      hint: 'add a node with the role of storage first; or, if it is the last node, stop it',
    });
  }
  const member = epoch.members.find((each) => each.id === id);
  const isVoter = epoch.voters.includes(id);
  return changed(epoch, rest, isVoter || (member?.tokens.length ?? 0) > 0);
}

/** Who may change the epoch, and mint tokens. */
export type Electorate = Pick<Epoch, 'voters' | 'issuers'>;

/** The pending change is done: data is where the new placement looks for it. */
export function settled(epoch: Epoch, electorate: Electorate): Epoch {
  const { previous: _, ...rest } = epoch;
  return { ...rest, ...electorate, number: epoch.number + 1 };
}

/** The next epoch, with other voters. */
export function withElectorate(epoch: Epoch, { voters, issuers }: Electorate): Epoch {
  return { ...changed(epoch, epoch.members, false), voters, issuers };
}

/**
 * Some that came with the pending change are lost: they are not admitted, and their tokens not used. When nobody else comes or
 * goes, the change is given up. Until now every write reached the old placement too, so that it is whole.
 */
export function withoutLost(epoch: Epoch, lost: readonly string[]): Epoch {
  const isLost = (id: string): boolean => lost.includes(id);
  const rest = {
    ...epoch,
    number: epoch.number + 1,
    members: epoch.members.filter(({ id }) => !isLost(id)),
    uses: epoch.uses.filter(({ node }) => !isLost(node)),
  };
  const { previous: _, ...givenUp } = rest;
  return joining(rest).length + leaving(rest).length > 0 ? rest : givenUp;
}

/** Who comes with the pending change. */
export function joining(epoch: Epoch): EpochMember[] {
  return epoch.previous === undefined ? [] : absentFrom(epoch.previous, epoch.members);
}

/** Who goes with the pending change. */
export function leaving(epoch: Epoch): EpochMember[] {
  return epoch.previous === undefined ? [] : absentFrom(epoch.members, epoch.previous);
}

/** Everybody whom the epoch lets take part: also who is about to leave, and nobody who is revoked. */
export function participants(epoch: Epoch): EpochMember[] {
  const revoked = new Set(epoch.revoked);
  return [...epoch.members, ...leaving(epoch)].filter(({ id }) => !revoked.has(id));
}

/** Who can become a voter: who can be dialled, and holds data for the lattice or was given the role. */
export function mayVote({ address, tokens, roles }: EpochMember): boolean {
  return isDialable(address) && (tokens.length > 0 || roles.includes('voter'));
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
