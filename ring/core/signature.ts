/**
 * The one verifier of the lattice.
 *
 * Verifiers disagree on keys and signatures that are not canonical, and some accept a signature
 * that fits every message (small order). All of Aether verifies here, by the strict rule of
 * RFC 8032 §5.1.7, so two nodes never give two verdicts.
 */
import { hashes, Point, verify } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';

hashes.sha512 = sha512;

/**
 * Signatures that were found good, as hashes of all that a verdict depends on, oldest first. While nodes join, each hears
 * the same record and the same certificate from many others, and to verify takes a millisecond.
 */
const proven = new Set<string>();
const PROVEN_MAX = 1_024;

/** True when `signature` over `message` was made with the secret of `publicKey`; never throws. */
export function isSigned(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  const claim = claimOf(publicKey, message, signature);
  if (proven.has(claim)) return true;
  try {
    if (!verify(signature, message, publicKey, { zip215: false })) return false;
  } catch {
    return false;
  }
  const [oldest] = proven;
  if (proven.size >= PROVEN_MAX && oldest !== undefined) proven.delete(oldest);
  proven.add(claim);
  return true;
}

/** Key and signature have fixed lengths: two claims never run together. */
function claimOf(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): string {
  const hash = sha512.create().update(publicKey).update(signature).update(message).digest();
  return String.fromCharCode(...hash);
}

/**
 * True when the key is a canonical point of the prime-order group. Others are refused at enrolment:
 * with a small-order key anybody can sign, and with a torsion component verifiers disagree.
 */
export function isSoundKey(publicKey: Uint8Array): boolean {
  try {
    const point = Point.fromBytes(publicKey, false);
    return !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    return false;
  }
}
