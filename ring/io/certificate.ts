/**
 * The certificate a node shows in TLS: self-signed, its key is the node key.
 *
 * TLS 1.3 proves that the peer holds the secret of the certificate's key; what remains to be checked
 * is that the certificate is its own, by our own verifier: TLS would take a key that anybody can sign with. The lattice
 * decides who is a member by that key alone, so names, dates and extensions in it mean nothing.
 */
import { createPublicKey, hash, randomBytes, type X509Certificate } from 'node:crypto';
import { AetherError } from '../../spec/error.ts';
import { nodeId } from '../../spec/id.ts';
import { digestWith } from '../core/digest.ts';
import { computeWith, isSigned } from '../core/signature.ts';
import { opensslEquation } from './ed25519.ts';
import type { SigningKey } from './keys.ts';

/** Who loads this file talks to peers, and has to verify what they say, fast. */
computeWith(opensslEquation);
digestWith((message) => new Uint8Array(hash('sha256', message, 'buffer')));

/** A peer that is not who its certificate should say. The connection was ended. */
export class IdentityError extends AetherError {
  static override readonly code: string = 'ERR_RING_IDENTITY';
}

/**
 * A certificate in PEM (RFC 5280 §4.1, RFC 8410).
 *
 * @param subject the node whose key the certificate holds; only a test gives another than the signer.
 */
export function createCertificate(signer: SigningKey, subject: SigningKey = signer): string {
  const name = der(
    0x30,
    der(0x31, der(0x30, COMMON_NAME, der(0x0c, utf8(nodeId(subject.publicKey))))),
  );
  const validity = der(0x30, time('20200101000000Z'), time('99991231235959Z'));
  const serial = Buffer.concat([Buffer.from([0x01]), randomBytes(15)]);
  const publicKey = createPublicKey(subject.secret).export({ format: 'der', type: 'spki' });
  const version3 = der(0xa0, der(0x02, Buffer.from([2])));
  const signed = der(0x30, version3, der(0x02, serial), ED25519, name, validity, name, publicKey);
  const bits = der(0x03, Buffer.from([0]), signer.sign(signed));
  const base64 = der(0x30, signed, ED25519, bits).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/**
 * The id of the node that a TLS peer's certificate is of.
 *
 * @throws IdentityError ERR_RING_IDENTITY when there is none, or it is not signed by its own key.
 */
export function certifiedNode(certificate: X509Certificate | undefined): string {
  if (certificate === undefined) throw notItsOwn('the peer shows no certificate');
  const { publicKey } = certificate;
  if (publicKey.asymmetricKeyType !== 'ed25519') throw notItsOwn('its key is not an ed25519 key');
  const key = new Uint8Array(
    Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url'),
  );
  const [signed, algorithm, bits] = children(certificate.raw);
  const whole =
    signed !== undefined &&
    algorithm?.equals(ED25519) === true &&
    bits !== undefined &&
    isSigned(key, signed, bits.subarray(-64));
  if (!whole) throw notItsOwn('it is not signed by its own key');
  return nodeId(key);
}

function notItsOwn(why: string): IdentityError {
  return new IdentityError(`the peer's certificate proves no node: ${why}`, {
    hint: 'something other than an Aether node answers or calls at this address',
  });
}

const ED25519 = Buffer.from('300506032b6570', 'hex');
const COMMON_NAME = Buffer.from('0603550403', 'hex');

/** One DER element. */
function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

/** The elements inside a DER sequence that OpenSSL has already accepted as a certificate. */
function children(sequence: Buffer): Buffer[] {
  const found: Buffer[] = [];
  const { start, end } = extent(sequence, 0);
  for (let at = start; at < end;) {
    const element = extent(sequence, at);
    found.push(sequence.subarray(at, element.end));
    at = element.end;
  }
  return found;
}

function extent(bytes: Buffer, at: number): { start: number; end: number } {
  const first = bytes[at + 1] ?? 0;
  const width = first < 0x80 ? 0 : first & 0x7f;
  const length = width === 0 ? first : bytes.readUIntBE(at + 2, width);
  return { start: at + 2 + width, end: at + 2 + width + length };
}

function utf8(text: string): Buffer {
  return Buffer.from(text, 'utf8');
}

function time(generalized: string): Buffer {
  return der(0x18, Buffer.from(generalized, 'ascii'));
}
