/** The equation of core/signature.ts by OpenSSL. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Equation } from '../core/signature.ts';

/** SubjectPublicKeyInfo of an ed25519 key: this head, then the 32 bytes (RFC 8410 §4). */
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');
/** Keys that are verified with again and again: of the root, of issuers and voters. */
const KEYS_MAX = 64;
const keys = new Map<string, KeyObject>();

export const opensslEquation: Equation = (publicKey, message, signature) =>
  verify(null, message, keyOf(publicKey), signature);

/** To read a key takes a tenth of what a verification does. */
function keyOf(publicKey: Uint8Array): KeyObject {
  const name = String.fromCharCode(...publicKey);
  const known = keys.get(name);
  if (known !== undefined) return known;
  const der = Buffer.concat([SPKI_HEAD, publicKey]);
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const [oldest] = keys.keys();
  if (keys.size >= KEYS_MAX && oldest !== undefined) keys.delete(oldest);
  keys.set(name, key);
  return key;
}
