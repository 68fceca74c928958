/** Keys and signatures that no honest signer makes. */
import { Point } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';

export const ORDER: bigint = Point.CURVE().n;
const PRIME = Point.CURVE().p;

export function toBytes(number: bigint, length = 32): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}

export function toNumber(bytes: Uint8Array): bigint {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

/** The eight points whose order divides 8. */
export const TORSION: readonly Point[] = (() => {
  const generator = Point.fromHex(
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  );
  const points = [Point.ZERO];
  while (points.length < 8) points.push((points.at(-1) as Point).add(generator));
  return points;
})();

/** All encodings of these points that some implementation reads: y with and without the prime, both signs of x. */
export const SMALL_ORDER_ENCODINGS: readonly Uint8Array[] = TORSION.flatMap((point) => {
  const y = toNumber(point.toBytes()) % 2n ** 255n;
  const numbers = y + PRIME < 2n ** 255n ? [y, y + PRIME] : [y];
  return numbers.flatMap((each) => [toBytes(each), toBytes(each + 2n ** 255n)]);
});

/** A secret number, and its public key with a torsion component added. */
export interface MixedKey {
  secret: bigint;
  publicKey: Uint8Array;
}

export function mixedKey(secret: bigint, torsion: Point): MixedKey {
  return { secret, publicKey: Point.BASE.multiply(secret).add(torsion).toBytes() };
}

/** k of RFC 8032 §5.1.7, reduced. */
export function challenge(
  encodedR: Uint8Array,
  publicKey: Uint8Array,
  message: Uint8Array,
): bigint {
  const hash = sha512.create().update(encodedR).update(publicKey).update(message).digest();
  return toNumber(hash) % ORDER;
}

/** As RFC 8032 §5.1.6, with the number given in place of the hash that an honest signer takes, and torsion added to R. */
export function signWith(
  { secret, publicKey }: MixedKey,
  message: Uint8Array,
  nonce: bigint,
  torsion: Point = Point.ZERO,
): Uint8Array {
  const encodedR = Point.BASE.multiply(nonce).add(torsion).toBytes();
  const s = (nonce + challenge(encodedR, publicKey, message) * secret) % ORDER;
  return Uint8Array.from([...encodedR, ...toBytes(s)]);
}

/** A signature of a key with torsion that fits without the cofactor: one in eight does. */
export function signMixed(key: MixedKey, message: Uint8Array): Uint8Array {
  for (let nonce = 1n; ; nonce++) {
    const signature = signWith(key, message, nonce);
    if (challenge(signature.subarray(0, 32), key.publicKey, message) % 8n === 0n) return signature;
  }
}
