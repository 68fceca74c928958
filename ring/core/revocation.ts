/**
 * Putting nodes and tokens out for good, as changes of the epoch.
 *
 * A node is out in two steps. The first changes no placement, so it waits for nothing: from that epoch on nobody speaks with
 * the node, and what it owns counts as on a node that is down. The second takes it out of the placement, as when it
 * left, and whoever tends the epoch makes it.
 *
 * V1  Who is revoked takes part in nothing (`participants` of epoch-change.ts), issues nothing, and never comes back under
 *     its key, whatever token it has.
 * V2  Nobody is revoked without whom no majority of the voters is left: the epoch could not change any more. Of the voters that it
 *     is asked for, or not at all (R5 of spec/epoch.md).
 * V3  A token that is revoked lets nobody in. Its id is kept until the token would have expired anyway.
 */
import { AetherError } from '../../spec/error.ts';
import { equal } from './canonical.ts';
import type { Epoch, RevokedToken } from './epoch.ts';
import { EpochChangeError, joining, withoutLost } from './epoch-change.ts';
import { type Configuration, isQuorum } from './configuration.ts';
import { type JoinGrant, TokenError } from './token.ts';

export const REVOKED = 'ERR_RING_REVOKED';

/** What has expired for one node's clock is shown to another one's for so long at most. */
const KEPT_SECONDS = 3_600;

/**
 * The next epoch, in which the member is revoked; the epoch itself when it is so already.
 *
 * @param deciding the voters that change the epoch now.
 * @throws EpochChangeError ERR_RING_NODE_NOT_FOUND, ERR_RING_LAST_VOTER: nothing was changed.
 */
export function withRevoked(epoch: Epoch, node: string, deciding: Configuration): Epoch {
  if (epoch.revoked.includes(node)) return epoch;
  const everybody = [...epoch.members, ...(epoch.previous ?? [])];
  if (!everybody.some(({ id }) => id === node)) {
    throw new EpochChangeError(`the lattice has no member ${node}`, {
      code: 'ERR_RING_NODE_NOT_FOUND',
      hint: 'aether ring status lists the members',
    });
  }
  const revoked = [...epoch.revoked, node];
  if (!isQuorum(deciding, (voter) => !revoked.includes(voter))) {
    throw new EpochChangeError('without this node the voters of the epoch have no majority', {
      code: 'ERR_RING_LAST_VOTER',
      hint: 'add nodes with the role of storage, and try again',
    }); // V2
  }
  // Who was to come does not: what it was to hold is where it was.
  const isJoining = joining(epoch).some(({ id }) => id === node);
  const next = isJoining ? withoutLost(epoch, [node]) : { ...epoch, number: epoch.number + 1 };
  const issuers = next.issuers.filter((issuer) => issuer.node !== node);
  return { ...next, revoked, issuers };
}

/** A revoked node that still has a place in the ring. */
export function revokedMember(epoch: Epoch): string | undefined {
  return epoch.members.find(({ id }) => epoch.revoked.includes(id))?.id;
}

/** The next epoch, in which the token is revoked; the epoch itself when it is so already. */
export function withRevokedToken(epoch: Epoch, revoked: RevokedToken, nowSeconds: number): Epoch {
  if (epoch.revokedTokens.some(({ token }) => equal(token, revoked.token))) return epoch;
  const kept = epoch.revokedTokens.filter(
    ({ expiresSeconds }) => expiresSeconds + KEPT_SECONDS > nowSeconds,
  );
  return { ...epoch, number: epoch.number + 1, revokedTokens: [...kept, revoked] };
}

/** V1. @throws AetherError ERR_RING_REVOKED. */
export function checkNode(epoch: Epoch, node: string): void {
  if (epoch.revoked.includes(node)) throw revokedError(node);
}

/** V3. @throws TokenError ERR_RING_TOKEN_REVOKED. */
export function checkGrant(epoch: Epoch, { id }: JoinGrant): void {
  if (!epoch.revokedTokens.some(({ token }) => equal(token, id))) return;
  throw new TokenError('the token was revoked', {
    code: 'ERR_RING_TOKEN_REVOKED',
    hint: 'mint a new one: aether cap mint join',
  });
}

export function revokedError(node: string): AetherError {
  return new AetherError(`node ${node} is revoked`, {
    code: REVOKED,
    hint: 'its key is never let in again; start on an empty data folder with a new token',
  });
}
