/**
 * What the root keys of a lattice sign: who founded it, and which key is the root from now on.
 *
 * Q1  The lattice keeps the name of its first root. Each later root is signed by the one before, for its place in the
 *     succession: whoever knows the name can follow it.
 * Q2  Only the newest root is heard: what an earlier one signs adds nothing.
 * Q3  A later root signs the founder anew. Whoever comes with a token that names a root takes no proof of an earlier one.
 * Q4  A root's key is a sound one (core/signature.ts), and none that the lattice had before.
 */
import { AetherError } from '../../spec/error.ts';
import { keyOf } from '../../spec/id.ts';
import { equal } from './canonical.ts';
import { encode } from './codec.ts';
import type { Epoch, RootKey } from './epoch.ts';
import { isSigned, isSoundKey } from './signature.ts';

/** A root key that the lattice does not take. Nothing was changed. */
export class RootKeyError extends AetherError {
  static override readonly code: string = 'ERR_RING_ROOT_FORGED';
}

/** The first voter of a lattice. The lattice is in what is signed (C1, C5 of spec/epoch.md). */
export interface Founder {
  node: string;
  /** By the lattice's first root. */
  signature: Uint8Array;
}

interface Signer {
  publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

export function founderMessage(lattice: string, node: string): Uint8Array {
  return encode(['aether-founder-v1', lattice, node]);
}

/** What the root before the one at `place` signs; the first root has place 0. */
function rootMessage(lattice: string, place: number, key: Uint8Array): Uint8Array {
  return encode(['aether-root-v1', lattice, place, key]);
}

/** All root keys that the lattice has had, the first one first. */
export function rootKeys({ lattice, roots }: Pick<Epoch, 'lattice' | 'roots'>): Uint8Array[] {
  return [keyOf(lattice) ?? new Uint8Array(), ...roots.map(({ key }) => key)];
}

/** Which root keys a lattice has had, and who founded it: what a new one is to sign. */
export interface RootSuccession {
  lattice: string;
  /** Id of the first voter. */
  founder: string;
  /** As rootKeys. */
  roots: Uint8Array[];
}

/** The statement by which `next` becomes the root after all others; needs the newest root's secret, once. */
export function successor(
  { lattice, founder, roots }: RootSuccession,
  newest: Signer,
  next: Signer,
): RootKey {
  return {
    key: next.publicKey,
    signature: newest.sign(rootMessage(lattice, roots.length, next.publicKey)),
    founder: next.sign(founderMessage(lattice, founder)),
  };
}

/** Whether roots follow on each other from the lattice's name, and the newest signed the founder (Q1, Q3). */
export function isFounded(
  { lattice, roots }: Pick<Epoch, 'lattice' | 'roots'>,
  founder: Founder,
): boolean {
  const keys = rootKeys({ lattice, roots });
  const isFollowed = roots.every(({ key, signature }, i) =>
    isSigned(keys[i] as Uint8Array, rootMessage(lattice, i + 1, key), signature),
  );
  const signature = roots.at(-1)?.founder ?? founder.signature;
  const message = founderMessage(lattice, founder.node);
  return isFollowed && isSigned(keys.at(-1) as Uint8Array, message, signature);
}

/**
 * The next epoch, with a new root; the epoch itself when it has it already.
 *
 * @throws RootKeyError ERR_RING_ROOT_FORGED, ERR_RING_ROOT_WEAK.
 */
export function withRoot(epoch: Epoch, founder: Founder, root: RootKey): Epoch {
  if (equal(rootKeys(epoch).at(-1) as Uint8Array, root.key)) return epoch;
  if (!isSoundKey(root.key) || rootKeys(epoch).some((key) => equal(key, root.key))) {
    throw new RootKeyError('the new root key is not sound, or was a root of this lattice before', {
      code: 'ERR_RING_ROOT_WEAK',
      hint: 'let aether cap rotate-root make the key: name a file that is not there',
    }); // Q4
  }
  const next = { ...epoch, number: epoch.number + 1, roots: [...epoch.roots, root] };
  if (isFounded(next, founder)) return next;
  throw new RootKeyError('the new root key is not signed by the newest root of this lattice', {
    hint: 'give the newest root with --root; one that was replaced signs nothing any more',
  }); // Q2
}
