/**
 * Whom this node may take for a member by the certificates that peers have shown it.
 *
 * S1  A peer stands while the newest certificate that it showed holds: it names the peer, is signed by an issuer of the epoch,
 *     and its time is not over. TLS has proven who the peer is.
 * S2  What can never hold (another node's, another lattice's, not signed by the issuer it names) is refused as it is shown.
 * S3  An issuer that the epoch lists no more counts for OVERLAP_MS after that, so that its certificates are renewed without
 *     a gap; one whose node is revoked counts no more at once.
 * S4  An issuer's key that is not sound is none: anybody could sign for it.
 */
import { base32 } from '../../spec/id.ts';
import { equal } from './canonical.ts';
import type { Issuer } from './epoch.ts';
import {
  CertificateError,
  decodeNodeCertificate,
  lifeOf,
  type NodeCertificate,
  nodeCertificateMessage,
} from './node-certificate.ts';
import { isSigned, isSoundKey } from './signature.ts';
import { keyTag, latticeTag } from './token.ts';

const OVERLAP_MS = 300_000;

interface Signer extends Issuer {
  /** Unix milliseconds; infinite while the epoch lists it. */
  untilMs: number;
}

interface Shown {
  certificate: NodeCertificate;
  /** None: not known here (yet). */
  issuer: Signer | undefined;
}

export class Standing {
  #lattice: Uint8Array | undefined;
  /** By the text of their tags. */
  readonly #issuers = new Map<string, Signer>();
  readonly #shown = new Map<string, Shown>();

  /** The issuers of the newest epoch. */
  setIssuers(
    lattice: string,
    issuers: readonly Issuer[],
    isRevoked: (node: string) => boolean,
    nowMs: number,
  ): void {
    this.#lattice = latticeTag(lattice);
    const listed = new Set(issuers.map(({ key }) => base32(keyTag(key))));
    for (const [tag, issuer] of this.#issuers) {
      if (listed.has(tag)) continue;
      issuer.untilMs = Math.min(issuer.untilMs, isRevoked(issuer.node) ? 0 : nowMs + OVERLAP_MS); // S3
      if (issuer.untilMs <= nowMs) this.#issuers.delete(tag);
    }
    for (const { node, key } of issuers) {
      const tag = base32(keyTag(key));
      const known = this.#issuers.get(tag);
      if (known !== undefined) known.untilMs = Number.POSITIVE_INFINITY;
      else if (isSoundKey(key))
        this.#issuers.set(tag, { node, key, untilMs: Number.POSITIVE_INFINITY }); // S4
    }
    for (const [node, { certificate }] of this.#shown) {
      try {
        this.#shown.set(node, this.#judged(node, certificate));
      } catch {
        this.#shown.delete(node); // S2: its issuer is known only now.
      }
    }
  }

  /**
   * A peer shows a certificate: kept, unless the one before is better.
   *
   * @throws CertificateError ERR_RING_CERTIFICATE_MALFORMED, _WRONG_LATTICE, _OTHER_NODE or _FORGED: the peer stands as before.
   */
  show(node: string, encoded: unknown, nowMs: number): void {
    const shown = this.#judged(node, decodeNodeCertificate(encoded));
    if (this.holds(node, nowMs) && !isGood(shown, nowMs)) return;
    this.#shown.set(node, shown);
  }

  /** The peer is gone; it will show what it has when it comes again. */
  forget(node: string): void {
    this.#shown.delete(node);
  }

  /** S1 */
  holds(node: string, nowMs: number): boolean {
    const shown = this.#shown.get(node);
    return shown !== undefined && isGood(shown, nowMs);
  }

  /** Why the peer does not stand. */
  refusal(node: string, nowMs: number): CertificateError | undefined {
    const shown = this.#shown.get(node);
    if (shown === undefined)
      return refused(node, 'NONE', 'has shown no certificate', 'it is given one when it joins');
    const { fromMs, untilMs } = lifeOf(shown.certificate);
    if (nowMs < fromMs) {
      return refused(
        node,
        'NOT_YET',
        `has a certificate that begins ${new Date(fromMs).toISOString()}, and here it is ${new Date(nowMs).toISOString()}`,
        'set the clock of the machine that is wrong',
      );
    }
    if (nowMs >= untilMs) {
      return refused(
        node,
        'EXPIRED',
        `has a certificate that was good until ${new Date(untilMs).toISOString()}, and here it is ${new Date(nowMs).toISOString()}`,
        'a member renews it by itself once it reaches an issuer; if it does not, compare the clocks',
      );
    }
    if (isGood(shown, nowMs)) return undefined;
    return refused(
      node,
      'ISSUER',
      'has a certificate of an issuer that is none of this lattice now',
      'a member renews it by itself once it reaches an issuer',
    );
  }

  /** The certificate that the peer showed last. */
  certificate(node: string): NodeCertificate | undefined {
    return this.#shown.get(node)?.certificate;
  }

  /** Id of the node whose key signed that; undefined: it is not known here. */
  issuerOf(node: string): string | undefined {
    return this.#shown.get(node)?.issuer?.node;
  }

  /** Whether the issuer with this tag is one of the newest epoch. */
  isListed(issuer: Uint8Array): boolean {
    return this.#issuers.get(base32(issuer))?.untilMs === Number.POSITIVE_INFINITY;
  }

  /** S2 */
  #judged(node: string, certificate: NodeCertificate): Shown {
    if (this.#lattice !== undefined && !equal(certificate.lattice, this.#lattice)) {
      const hint = 'start the node on the data folder of its own lattice';
      throw refused(node, 'WRONG_LATTICE', 'shows a certificate of another lattice', hint);
    }
    if (certificate.node !== node) {
      const hint = 'each node shows its own';
      throw refused(node, 'OTHER_NODE', `shows the certificate of ${certificate.node}`, hint);
    }
    const issuer = this.#issuers.get(base32(certificate.issuer));
    const { signature } = certificate;
    const isForged =
      issuer !== undefined && !isSigned(issuer.key, nodeCertificateMessage(certificate), signature);
    if (isForged) {
      const hint = 'something other than an honest node answers or calls there';
      throw refused(node, 'FORGED', 'shows a certificate that its issuer did not sign', hint);
    }
    return { certificate, issuer };
  }
}

function endOf({ certificate, issuer }: Shown): number {
  return Math.min(lifeOf(certificate).untilMs, issuer?.untilMs ?? 0);
}

function isGood(shown: Shown, nowMs: number): boolean {
  return nowMs >= lifeOf(shown.certificate).fromMs && nowMs < endOf(shown);
}

function refused(node: string, reason: string, what: string, hint: string): CertificateError {
  return new CertificateError(`node ${node} ${what}`, {
    code: `ERR_RING_CERTIFICATE_${reason}`,
    hint,
  });
}
