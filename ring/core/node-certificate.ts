/**
 * A node's certificate: an issuer's word that a node was a member when it asked, good for a day or so.
 *
 *     certificate = [1, lattice (16), issuer's key id (8), node's key (32), epoch, issued, expires, signature (64)]
 *
 * Times are Unix seconds by the issuer's clock. It holds no secret: TLS proves who shows it.
 *
 * C1  One certificate has one form in bytes: what does not encode back to itself is refused.
 * C2  The signature covers the kind, the lattice and all the rest, so that it is good for nothing else.
 * C3  It is good for the one node it names, and for LIFE_SECONDS_MAX at most, whatever an issuer signed.
 * C4  It makes nobody a member. The epoch says who is; the certificate bounds for how long a node that is out may speak
 *     with those who have not heard of it.
 */
import { AetherError } from '../../spec/error.ts';
import { keyOf, nodeId } from '../../spec/id.ts';
import { bytes, concat, count, equal, list, SKEW_SECONDS, utf8 } from './canonical.ts';
import { decode, encode } from './codec.ts';

const FORMAT = 1;
const CERTIFICATE_BYTES_MAX = 256;
const LIFE_SECONDS_MAX = 7 * 86_400;

export interface NodeCertificate {
  /** As latticeTag of token.ts. */
  lattice: Uint8Array;
  /** As keyTag of token.ts. */
  issuer: Uint8Array;
  /** The node's id. */
  node: string;
  /** Number of the epoch that made it a member, as the issuer knew it. */
  epoch: number;
  issuedSeconds: number;
  expiresSeconds: number;
  signature: Uint8Array;
}

/** A certificate that does not hold, or a request for one that was refused. Nothing was done. */
export class CertificateError extends AetherError {
  static override readonly code: string = 'ERR_RING_CERTIFICATE_MALFORMED';
}

/** What an issuer signs (C2). */
export function nodeCertificateMessage(
  certificate: Omit<NodeCertificate, 'signature'>,
): Uint8Array {
  return concat(utf8('aether-node-v1\0'), encode(toList(certificate)));
}

export function encodeNodeCertificate(certificate: NodeCertificate): Uint8Array {
  return encode([...toList(certificate), certificate.signature]);
}

/** @throws CertificateError ERR_RING_CERTIFICATE_MALFORMED. */
export function decodeNodeCertificate(encoded: unknown): NodeCertificate {
  const certificate = encoded instanceof Uint8Array ? parse(encoded) : undefined;
  if (certificate === undefined)
    throw new CertificateError('this is not a node certificate', {
      hint: 'bring both nodes to the same release',
    });
  return certificate;
}

/** The part of its life in which it is renewed has begun: the last third. */
export function isToBeRenewed(certificate: NodeCertificate, nowMs: number): boolean {
  const { issuedSeconds, expiresSeconds } = certificate;
  return nowMs / 1_000 >= issuedSeconds + ((expiresSeconds - issuedSeconds) * 2) / 3;
}

/** It should have been renewed long since: half of the time that there is for it is over. */
export function isOverdue(certificate: NodeCertificate, nowMs: number): boolean {
  const { issuedSeconds, expiresSeconds } = certificate;
  return nowMs / 1_000 >= issuedSeconds + ((expiresSeconds - issuedSeconds) * 5) / 6;
}

/** From when until when it holds, Unix milliseconds, with what clocks may differ by. */
export function lifeOf({ issuedSeconds, expiresSeconds }: NodeCertificate): {
  fromMs: number;
  untilMs: number;
} {
  return {
    fromMs: (issuedSeconds - SKEW_SECONDS) * 1_000,
    untilMs: (expiresSeconds + SKEW_SECONDS) * 1_000,
  };
}

function toList(certificate: Omit<NodeCertificate, 'signature'>): unknown[] {
  const { lattice, issuer, node, epoch, issuedSeconds, expiresSeconds } = certificate;
  return [FORMAT, lattice, issuer, keyOf(node), epoch, issuedSeconds, expiresSeconds];
}

function parse(encoded: Uint8Array): NodeCertificate | undefined {
  if (encoded.length > CERTIFICATE_BYTES_MAX) return undefined;
  try {
    const [, lattice, issuer, key, epoch, issued, expires, signature] = list(decode(encoded));
    const certificate = {
      lattice: bytes(lattice, 16),
      issuer: bytes(issuer, 8),
      node: nodeId(bytes(key, 32)),
      epoch: count(epoch),
      issuedSeconds: count(issued),
      expiresSeconds: count(expires),
      signature: bytes(signature, 64),
    };
    const lifeSeconds = certificate.expiresSeconds - certificate.issuedSeconds;
    const isOfOneForm = equal(encodeNodeCertificate(certificate), encoded); // C1
    return isOfOneForm && lifeSeconds > 0 && lifeSeconds <= LIFE_SECONDS_MAX // C3
      ? certificate
      : undefined;
  } catch {
    return undefined;
  }
}
