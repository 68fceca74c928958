/**
 * The one verifier of the lattice.
 *
 * Verifiers of Ed25519 disagree about keys and signatures that no honest signer makes, and some accept a signature that
 * fits every message. All of Aether verifies here, by one rule, so two nodes never give two verdicts:
 *
 * V1  The key and the point R of the signature are canonical encodings, and not of small order.
 * V2  The number S of the signature is below the order L.
 * V3  [S]B − [k]A encodes to R, byte for byte, with k reduced modulo L: the equation without the cofactor, which RFC 8032
 *     §5.1.7 allows.
 * V4  A key that is let in or certifies others has no torsion component either.
 *
 * What V3 computes is the same in every implementation, so that it may be handed in: a node has OpenSSL do it
 * (io/ed25519.ts), ten times as fast as the arithmetic here.
 */
import { Point } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';

/**
 * V3, for a key and a signature that keep V1 and V2; false also for a key that is no point. May throw: that is a no.
 */
export type Equation = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
) => boolean;

const ORDER = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;

/** V3 in JavaScript: a millisecond and a half. */
export const plainEquation: Equation = (publicKey, message, signature) => {
  const encodedR = signature.subarray(0, 32);
  const hash = sha512.create().update(encodedR).update(publicKey).update(message).digest();
  const base = Point.BASE.multiply(toNumber(signature.subarray(32)), false);
  const challenged = Point.fromBytes(publicKey).multiply(toNumber(hash) % ORDER, false);
  return isEqual(base.subtract(challenged).toBytes(), encodedR);
};

let equation = plainEquation;

/** From now on V3 is computed so. */
export function computeWith(faster: Equation): void {
  equation = faster;
}

/** Members of a set that has so many at most: the oldest goes first. */
class Recent {
  readonly #members = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  has(member: string): boolean {
    return this.#members.has(member);
  }

  add(member: string): void {
    const [oldest] = this.#members;
    if (this.#members.size >= this.#max && oldest !== undefined) this.#members.delete(oldest);
    this.#members.add(member);
  }
}

/**
 * Signatures that were found good, by all that a verdict depends on: while nodes join, each hears the same record from many
 * others. What was found bad is not remembered, or who sends nonsense would push the rest out.
 */
const proven = new Recent(1_024);
/** Of a message that is remembered so: what nodes sign is shorter, being of digests. */
const PROVEN_BYTES_MAX = 1_024;
const sound = new Recent(1_024);

/** True when `signature` over `message` was made with the secret of `publicKey`; never throws. */
export function isSigned(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  if (!isProper(publicKey) || !isProper(signature.subarray(0, 32))) return false; // V1
  if (!isBelow(signature.subarray(32), ORDER_BYTES)) return false; // V2
  const claim =
    message.length > PROVEN_BYTES_MAX ? undefined : claimOf(publicKey, message, signature);
  if (claim !== undefined && proven.has(claim)) return true;
  try {
    if (!equation(publicKey, message, signature)) return false; // V3
  } catch {
    return false;
  }
  if (claim !== undefined) proven.add(claim);
  return true;
}

/**
 * V1 and V4: whether a key may be let in, or certify others; a millisecond for a key that is new here.
 *
 * With a small-order key anybody can sign; with a torsion component, verifiers elsewhere disagree.
 */
export function isSoundKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32 || !isProper(publicKey)) return false;
  const name = String.fromCharCode(...publicKey);
  if (sound.has(name)) return true;
  try {
    if (!Point.fromBytes(publicKey).isTorsionFree()) return false;
  } catch {
    return false;
  }
  sound.add(name);
  return true;
}

/** The field's prime 2²⁵⁵ − 19 and the order L, little-endian as all numbers here. */
const PRIME_BYTES = fromNumber(2n ** 255n - 19n);
const ORDER_BYTES = fromNumber(ORDER);
/** The y of the eight points whose order divides 8: with either sign of x they are all of them, and their other encodings. */
const ORDER_8 = 0x7a03_ac92_77fd_c74e_c6cc_392c_fa53_202a_0f67_100d_760b_3cba_4fd8_4d3d_706a_17c7n;
const SMALL_ORDER: readonly Uint8Array[] = [
  0n,
  1n,
  2n ** 255n - 20n,
  ORDER_8,
  2n ** 255n - 19n - ORDER_8,
].map(fromNumber);

/** V1. */
function isProper(encoded: Uint8Array): boolean {
  const y = Uint8Array.from(encoded);
  y[31] = (y[31] as number) & 0x7f; // The bit above is the sign of x.
  return isBelow(y, PRIME_BYTES) && !SMALL_ORDER.some((small) => isEqual(small, y));
}

function isBelow(number: Uint8Array, bound: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) {
    const [own, most] = [number[i] as number, bound[i] as number];
    if (own !== most) return own < most;
  }
  return false;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function toNumber(bytes: Uint8Array): bigint {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function fromNumber(number: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}

/** Key and signature have fixed lengths: two claims never run together. */
function claimOf(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): string {
  return String.fromCharCode(...publicKey, ...signature, ...message);
}
