/**
 * Gives members their certificates, on a node that the epoch lists as an issuer.
 *
 * G1  Only who is a member by the newest epoch known here gets one, for its own key: TLS has proven that it asks itself.
 * G2  A node whose clock is not this one's gets none: it would take good certificates for bad ones.
 */
import type { Clock } from '../spec/clock.ts';
import { SKEW_SECONDS } from './core/canonical.ts';
import type { Epoch } from './core/epoch.ts';
import {
  CertificateError,
  encodeNodeCertificate,
  nodeCertificateMessage,
} from './core/node-certificate.ts';
import { keyTag, latticeTag } from './core/token.ts';
import type { EpochKeeper } from './io/epoch-keeper.ts';
import { issuerKeyOf } from './io/issuer-key.ts';
import type { SigningKey } from './io/keys.ts';
import { notMember } from './io/peers.ts';

export interface CertificateIssuerOptions {
  self: string;
  /** The data folder, with the key. */
  data: string;
  keeper: EpochKeeper;
  clock: Clock;
  /** How long a certificate is good for. */
  lifeMs: number;
}

export class CertificateIssuer {
  readonly #options: CertificateIssuerOptions;
  /** A key file is read once for each epoch. */
  #read: { epoch: Epoch; key: SigningKey | undefined } | undefined;

  constructor(options: CertificateIssuerOptions) {
    this.#options = options;
  }

  /** The key with which this node may sign for the lattice now, if it may. @throws KeyFileError */
  key(): SigningKey | undefined {
    const { self, data, keeper } = this.#options;
    if (this.#read?.epoch === keeper.epoch) return this.#read.key;
    const isListed = keeper.epoch.issuers.some(({ node }) => node === self);
    const key = isListed ? issuerKeyOf(data, keeper.epoch) : undefined;
    this.#read = { epoch: keeper.epoch, key };
    return key;
  }

  /**
   * A certificate for a member.
   *
   * @param body what it asked with: `{ nowMs }`, by its clock.
   * @throws AetherError ERR_RING_NOT_MEMBER; ERR_RING_NOT_ISSUER when this node gives none.
   * @throws CertificateError ERR_RING_CLOCK, ERR_RING_CERTIFICATE_MALFORMED.
   */
  issue(node: string, body: unknown): Uint8Array {
    const { keeper, clock } = this.#options;
    if (!keeper.isParticipant(node)) throw notMember(node); // G1
    const key = this.key();
    if (key === undefined) {
      throw new CertificateError('this node gives no certificates', {
        code: 'ERR_RING_NOT_ISSUER',
        hint: 'ask a voter; aether ring status lists them',
      });
    }
    checkClock(node, (body as { nowMs?: unknown } | null)?.nowMs, clock.nowMs()); // G2
    return this.#signed(node, key);
  }

  /** That of a node that was let in just now; it looks at its clock itself. @returns undefined when this node gives none. */
  first(node: string): Uint8Array | undefined {
    const key = this.#options.keeper.isParticipant(node) ? this.key() : undefined; // G1
    return key === undefined ? undefined : this.#signed(node, key);
  }

  #signed(node: string, key: SigningKey): Uint8Array {
    const { keeper, clock, lifeMs } = this.#options;
    const nowMs = clock.nowMs();
    const issuedSeconds = Math.floor(nowMs / 1_000);
    const certificate = {
      lattice: latticeTag(keeper.epoch.lattice),
      issuer: keyTag(key.publicKey),
      node,
      epoch: keeper.number,
      issuedSeconds,
      expiresSeconds: issuedSeconds + Math.ceil(lifeMs / 1_000),
    };
    const signature = key.sign(nodeCertificateMessage(certificate));
    return encodeNodeCertificate({ ...certificate, signature });
  }
}

function checkClock(node: string, itsMs: unknown, ownMs: number): void {
  if (typeof itsMs !== 'number' || !Number.isFinite(itsMs))
    throw new CertificateError('a request for a certificate says what time it is');
  const aheadSeconds = Math.round((itsMs - ownMs) / 1_000);
  if (Math.abs(aheadSeconds) <= SKEW_SECONDS) return;
  const off = `${Math.abs(aheadSeconds)} s ${aheadSeconds > 0 ? 'ahead of' : 'behind'}`;
  throw new CertificateError(`the clock of node ${node} is ${off} that of its issuer`, {
    code: 'ERR_RING_CLOCK',
    hint: `set the clocks of both machines by NTP; up to ${SKEW_SECONDS} s are tolerated`,
  });
}
