/**
 * What a node with an issuer key may do for the lattice besides letting nodes in: revoke, and replace keys.
 *
 * Each is a compare-and-set of the epoch (core/revocation.ts, core/root-key.ts), so asking twice is asking once.
 *
 * A1  Only issuers do any of it, by the epoch that they change: who is revoked meanwhile does no more of it. A node that has
 *     no issuer key says who has. A new root brings the signature of the newest root besides.
 * A2  A new issuer key is on disk before the epoch lists it, and takes the old one's place on disk after that.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { CertificateIssuer } from './certificate-issuer.ts';
import { equal } from './core/canonical.ts';
import type { Epoch, RootKey } from './core/epoch.ts';
import { withRevoked, withRevokedToken } from './core/revocation.ts';
import { rootKeys, type RootSuccession, withRoot } from './core/root-key.ts';
import type { EpochKeeper } from './io/epoch-keeper.ts';
import { ISSUER_FILE, NEXT_ISSUER_FILE } from './io/issuer-key.ts';
import { openKeyFile } from './io/keys.ts';
import { syncFolder } from './io/new-file.ts';
import { notIssuer } from './mint.ts';
import type { Proposer } from './proposer.ts';
import type { RegisterNode } from './register.ts';

/** A token that is revoked by its id may have this long to live. */
const TOKEN_LIFE_SECONDS_MAX = 86_400;
/** Others may give the vote back meanwhile. */
const UNSEAT_TRIES = 3;
const UNSEAT_TIMEOUT_MS = 5_000;

export interface AuthorityOptions {
  self: string;
  /** The data folder. */
  data: string;
  keeper: EpochKeeper;
  certificates: CertificateIssuer;
  proposer: Proposer;
  register: RegisterNode<Uint8Array>;
  clock: Clock;
}

export class Authority {
  readonly #options: AuthorityOptions;

  constructor(options: AuthorityOptions) {
    this.#options = options;
    this.#settleIssuerKey();
  }

  /**
   * Puts a member out for good, asked or not: nobody who has heard of it speaks with it again, and its parts go to the others.
   * Fulfilled once that is decided.
   *
   * @throws AetherError ERR_RING_NOT_ISSUER; EpochChangeError ERR_RING_NODE_NOT_FOUND, ERR_RING_LAST_VOTER,
   * ERR_RING_REVOKE_SELF: nothing was changed. QuorumError ERR_RING_NO_QUORUM: the outcome is unknown.
   */
  async revoke(node: string): Promise<void> {
    this.#checkIssuer();
    if (node === this.#options.self) {
      throw new AetherError('a node does not revoke itself', {
        code: 'ERR_RING_REVOKE_SELF',
        hint: 'let it leave: aether node leave; or revoke it at another voter',
      });
    }
    const { register } = this.#options;
    const make = (epoch: Epoch): Epoch => withRevoked(epoch, node, register.configuration);
    for (let tries = UNSEAT_TRIES; ; tries--) {
      try {
        await this.#change(make);
        return;
      } catch (error) {
        const isVoter = AetherError.is(error) && error.code === 'ERR_RING_LAST_VOTER';
        if (!isVoter || tries === 0 || !(await this.#unseat(node))) throw error;
      }
    }
  }

  /**
   * Lets nobody in with the token from now on; who came in with it stays.
   *
   * @param token its id, 16 bytes.
   * @param expiresSeconds when it expires; by default as late as a token may that is minted now.
   * @throws AetherError ERR_RING_NOT_ISSUER; QuorumError ERR_RING_NO_QUORUM: the outcome is unknown.
   */
  async revokeToken(token: Uint8Array, expiresSeconds?: number): Promise<void> {
    this.#checkIssuer();
    const nowSeconds = Math.floor(this.#options.clock.nowMs() / 1_000);
    const revoked = {
      token,
      expiresSeconds: expiresSeconds ?? nowSeconds + TOKEN_LIFE_SECONDS_MAX,
    };
    await this.#change((epoch) => withRevokedToken(epoch, revoked, nowSeconds));
  }

  /**
   * Replaces this node's issuer key. Tokens that the old one signed let nobody in any more; members with a certificate of it get
   * another at once, and are heard meanwhile.
   *
   * @returns the new public key.
   * @throws AetherError ERR_RING_NOT_ISSUER; KeyFileError; QuorumError ERR_RING_NO_QUORUM: the outcome is unknown, and asking
   * again goes on with the same key.
   */
  async rotateIssuer(): Promise<Uint8Array> {
    const { self, data } = this.#options;
    this.#checkIssuer();
    const { publicKey } = openKeyFile(join(data, NEXT_ISSUER_FILE)); // A2
    await this.#change((epoch) => {
      if (epoch.issuers.some(({ key }) => equal(key, publicKey))) return epoch;
      const issuers = epoch.issuers.map((issuer) =>
        issuer.node === self ? { node: self, key: publicKey } : issuer,
      );
      return { ...epoch, number: epoch.number + 1, issuers };
    });
    this.#settleIssuerKey();
    return publicKey;
  }

  roots(): RootSuccession {
    const { epoch } = this.#options.keeper;
    return { lattice: epoch.lattice, founder: this.#founder().node, roots: rootKeys(epoch) };
  }

  /**
   * Makes a key the root of the lattice.
   *
   * @param root as `successor` of core/root-key.ts makes it.
   * @throws AetherError ERR_RING_NOT_ISSUER; RootKeyError ERR_RING_ROOT_FORGED, ERR_RING_ROOT_WEAK: nothing was changed.
   * QuorumError ERR_RING_NO_QUORUM: the outcome is unknown.
   */
  async rotateRoot(root: RootKey): Promise<void> {
    this.#checkIssuer();
    await this.#change((epoch) => withRoot(epoch, this.#founder(), root));
  }

  #founder(): { node: string; signature: Uint8Array } {
    const { signed } = this.#options.keeper;
    if (signed === undefined)
      throw new AetherError('this node is in no lattice yet', { code: 'ERR_RING_NO_EPOCH' });
    return signed.founder;
  }

  /** Of two voters neither can be missed: one has to give up its vote first. @returns whether it is worth trying again. */
  async #unseat(node: string): Promise<boolean> {
    const { register, keeper } = this.#options;
    const { number: expected, voters, previous } = register.configuration;
    const left = voters.filter((voter) => voter !== node);
    if (left.length === 0 || left.length === voters.length || previous !== undefined) return false;
    const asked = { kind: 'voters', expected, under: keeper.number, voters: left } as const;
    const { kind } = await register.ask(asked, { timeoutMs: UNSEAT_TIMEOUT_MS });
    return kind !== 'unknown';
  }

  /** A1 */
  #checkIssuer(): void {
    const { keeper, certificates } = this.#options;
    if (certificates.key() === undefined)
      throw notIssuer('this node is no voter of the lattice', keeper.epoch, '--api');
  }

  async #change(make: (epoch: Epoch) => Epoch): Promise<void> {
    await this.#options.proposer.propose((epoch) => {
      if (!epoch.issuers.some(({ node }) => node === this.#options.self))
        throw notIssuer('this node is no issuer of the lattice any more', epoch, '--api'); // A1
      const next = make(epoch);
      return next === epoch ? 'none' : next;
    });
  }

  /** A2: also after a start, when the node stopped in between. */
  #settleIssuerKey(): void {
    const { data, keeper } = this.#options;
    const [file, next] = [ISSUER_FILE, NEXT_ISSUER_FILE].map((name) => join(data, name)) as [
      string,
      string,
    ];
    if (!fs.existsSync(next)) return;
    const { publicKey } = openKeyFile(next);
    if (!keeper.epoch.issuers.some(({ key }) => equal(key, publicKey))) return;
    fs.renameSync(next, file);
    syncFolder(data);
  }
}
