/**
 * This node's own certificate: asked for, renewed in the last third of its life, shown.
 *
 * N1  A node shows a new certificate on every link that is open, and once more when those are open that were opening; who
 *     has not heard it is told again. They have the last third of its life for it, so links go on.
 * N2  It asks again at once when the issuer of its certificate is none of the epoch any more.
 * N3  An issuer signs its own: a lattice whose certificates have all run out comes back by itself.
 * N4  By which clock it did so, another issuer hears: what is signed by a wrong one is good for nobody else, and says so.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError, type ErrorBody, errorBody } from '../spec/error.ts';
import type { Log } from '../spec/log.ts';
import { type Random, shuffled } from '../spec/random.ts';
import type { CertificateIssuer } from './certificate-issuer.ts';
import { equal } from './core/canonical.ts';
import {
  CertificateError,
  decodeNodeCertificate,
  isOverdue,
  isToBeRenewed,
  type NodeCertificate,
} from './core/node-certificate.ts';
import type { Standing } from './core/standing.ts';
import type { EpochKeeper } from './io/epoch-keeper.ts';
import type { Peers } from './io/peers.ts';
import type { RingStore } from './io/ring-store.ts';

const RENEW = 'certificate.renew';
const SHOW = 'certificate.show';
const CALL_TIMEOUT_MS = 5_000;
const RETRY_MS = 500;
const RETRY_MS_MAX = 60_000;
/** Clocks jump and machines sleep: what is due is looked for this often at least. */
const CHECK_MS = 30_000;
/** A link that was opening when this node had a new certificate has seen the old one: all are shown it once more. */
const AGAIN_MS = 10_000;
/** For each member: an issuer gives a certificate in less. */
const SPREAD_MS = 5;

/** This node's own certificate, as it stands. */
export interface OwnCertificate {
  /** Number of the epoch under which it was given. */
  epoch: number;
  /** Id of the node that gave it; none: an issuer that is not known here any more. */
  issuer?: string;
  /** Unix seconds, by the issuer's clock: when it was given, and until when it is good. */
  issuedSeconds: number;
  expiresSeconds: number;
  /** All to whom this node is linked have heard of it. */
  heard: boolean;
  /** It should have been renewed long since. */
  isOverdue: boolean;
  /** What was last in the way of another one, while one is asked for; ERR_RING_CLOCK also of one that this node signed itself. */
  failure?: ErrorBody;
}

export interface RenewalOptions {
  peers: Peers;
  keeper: EpochKeeper;
  store: RingStore;
  standing: Standing;
  certificates: CertificateIssuer;
  clock: Clock;
  random: Random;
  log: Log;
}

export class Renewal {
  readonly #options: RenewalOptions;
  #encoded: Uint8Array | undefined;
  #renewed: (certificate: NodeCertificate) => void = () => {};
  /** Peers that have not heard of the newest certificate. */
  #unshown = new Set<string>();
  #failure: AetherError | undefined;
  /** What another issuer said of the clock by which this node signs for itself. */
  #doubt: AetherError | undefined;
  #failures = 0;
  /** When the new certificate is shown once more, as monotonicMs. */
  #againMs = Number.POSITIVE_INFINITY;
  #isAtWork = false;
  #cancel: () => void = () => {};
  #cancelReview: () => void = () => {};
  #isOver = false;
  readonly #waiting = new Set<() => void>();

  /** @param options the store's certificate is shown to `standing`, and may have run out. */
  constructor(options: RenewalOptions) {
    this.#options = options;
    const { store, peers, standing, clock } = options;
    this.#judge();
    const kept = store.nodeCertificate();
    if (kept === undefined) return;
    try {
      standing.show(peers.self, kept, clock.nowMs());
      this.#encoded = kept;
    } catch (error) {
      options.log.warn(
        { error: errorBody(error) },
        'the certificate on disk is none; another is asked for',
      );
    }
  }

  /** What this node shows; it may have run out. */
  get encoded(): Uint8Array | undefined {
    return this.#encoded;
  }

  get certificate(): NodeCertificate | undefined {
    return this.#options.standing.certificate(this.#options.peers.self);
  }

  /** None: this node is yet to be given one. */
  get own(): OwnCertificate | undefined {
    const { certificate } = this;
    if (certificate === undefined) return undefined;
    const { standing, peers, clock } = this.#options;
    const { epoch, issuedSeconds, expiresSeconds } = certificate;
    const issuer = standing.issuerOf(peers.self);
    const failure = this.#isDue() ? (this.#failure ?? this.#doubt) : this.#doubt;
    return {
      epoch,
      ...(issuer === undefined ? {} : { issuer }),
      issuedSeconds,
      expiresSeconds,
      heard: this.#unshown.size === 0,
      isOverdue: isOverdue(certificate, clock.nowMs()),
      ...(failure === undefined ? {} : { failure: errorBody(failure) }),
    };
  }

  onRenewed(renewed: (certificate: NodeCertificate) => void): void {
    this.#renewed = renewed;
  }

  /** The first one, as it was given to this node when it joined; one that does not hold is asked for again. */
  accept(encoded: Uint8Array): void {
    this.#judge();
    try {
      this.#take(encoded);
    } catch (error) {
      this.#options.log.info(
        { error: errorBody(error) },
        'the first certificate does not hold here',
      );
    }
  }

  /**
   * Gives certificates, hears of others', and sees to this node's own from now on. Over once that holds, or the time is over;
   * it is gone on with all the same.
   *
   * @throws AetherError what was last in the way, when none holds by then.
   */
  async begin(patienceMs: number): Promise<void> {
    const { peers, keeper, standing, certificates, clock } = this.#options;
    this.#judge();
    peers.serveGuests(RENEW, (body, from) => certificates.issue(from, body));
    peers.serveGuests(SHOW, (body, from) => standing.show(from, body, clock.nowMs()));
    const late = new AbortController();
    const cancel = clock.after(patienceMs, () => {
      late.abort();
      for (const wake of this.#waiting) wake();
    });
    this.review();
    // Waiting sets no clock.
    const isOver = (): boolean =>
      this.#isOver ||
      late.signal.aborted ||
      this.#failure?.code === 'ERR_RING_CLOCK' ||
      !keeper.isParticipant(peers.self);
    while (!this.#holds() && !isOver()) await new Promise<void>((wake) => this.#waiting.add(wake));
    this.#waiting.clear();
    cancel();
    if (!this.#holds() && this.#failure !== undefined) throw this.#failure;
  }

  /** The epoch is another. All members may have to ask for a certificate now: one after the other. */
  epochChanged(): void {
    const { clock, keeper, random } = this.#options;
    this.#judge();
    this.#cancelReview();
    const delayMs = this.#holds() ? random.next() * keeper.epoch.members.length * SPREAD_MS : 0;
    if (this.#isDue()) this.#cancelReview = clock.after(delayMs, () => this.review());
  }

  /** Looks at once whether anything is due: the time may be another. */
  review(): void {
    if (!this.#isAtWork && !this.#isOver) void this.#work();
  }

  stop(): void {
    this.#isOver = true;
    this.#cancel();
    this.#cancelReview();
    for (const wake of this.#waiting) wake();
  }

  async #work(): Promise<void> {
    this.#isAtWork = true;
    this.#cancel();
    if (this.#isDue()) await this.#renew();
    else if (this.#doubt !== undefined) await this.#compareClocks();
    const { certificate } = this;
    if (this.#options.clock.monotonicMs() >= this.#againMs && certificate !== undefined) {
      this.#againMs = Number.POSITIVE_INFINITY;
      this.#tell(certificate);
    }
    if (this.#unshown.size > 0) await this.#show();
    if (this.#isWaitedFor()) this.#failures++;
    else this.#failures = 0;
    this.#isAtWork = false;
    for (const wake of this.#waiting) wake();
    if (!this.#isOver) this.#wait();
  }

  #wait(): void {
    const { clock } = this.#options;
    const backoffMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.#failures);
    const againMs = Math.max(0, this.#againMs - clock.monotonicMs());
    const delayMs = Math.min(this.#isWaitedFor() ? backoffMs : CHECK_MS, againMs);
    const { issuedSeconds = 0, expiresSeconds = 0 } = this.certificate ?? {};
    const dueMs = (issuedSeconds + ((expiresSeconds - issuedSeconds) * 2) / 3) * 1_000;
    const cancels = [clock.after(delayMs, () => this.review())];
    // It may come sooner than that, and a clock may jump there.
    if (!this.#isDue()) {
      const wake = (): void => this.review();
      cancels.push(
        clock.until?.(dueMs, wake) ?? clock.after(Math.max(0, dueMs - clock.nowMs()), wake),
      );
    }
    this.#cancel = () => {
      for (const cancel of cancels) cancel();
    };
  }

  #judge(): void {
    const { keeper, standing, clock } = this.#options;
    if (keeper.number === 0) return;
    const { lattice, issuers } = keeper.epoch;
    standing.setIssuers(lattice, issuers, (node) => keeper.isRevoked(node), clock.nowMs());
  }

  #holds(): boolean {
    const { standing, peers, clock } = this.#options;
    return standing.holds(peers.self, clock.nowMs());
  }

  #isDue(): boolean {
    const { standing, clock } = this.#options;
    const { certificate } = this;
    if (certificate === undefined || !this.#holds()) return true;
    const isOfIssuer = standing.isListed(certificate.issuer); // N2
    return !isOfIssuer || isToBeRenewed(certificate, clock.nowMs());
  }

  #isWaitedFor(): boolean {
    return this.#isDue() || this.#unshown.size > 0 || this.#doubt !== undefined;
  }

  async #renew(): Promise<void> {
    const { peers, keeper, log } = this.#options;
    for (const node of this.#issuers()) {
      try {
        this.#take(await this.#ask(node));
        if (node === peers.self) await this.#compareClocks();
        return;
      } catch (error) {
        if (this.#isOver) return;
        const { code, message } = errorBody(error);
        if (message !== this.#failure?.message)
          log[this.#holds() ? 'info' : 'warn'](
            { issuer: node, code },
            `no certificate of it: ${message}`,
          );
        this.#failure = AetherError.is(error) ? error : undefined;
        // It may know why: that this node is out.
        if (code === 'ERR_RING_NOT_MEMBER') await keeper.learn(peers, node, keeper.number + 1);
        if (node === peers.self) log.error({ error }, 'this issuer cannot sign for itself');
      }
    }
  }

  /** N4. While no other issuer answers, what was said last stays. */
  async #compareClocks(): Promise<void> {
    const { peers, log } = this.#options;
    for (const node of this.#issuers()) {
      if (node === peers.self) continue;
      try {
        await this.#ask(node);
        this.#doubt = undefined;
        return;
      } catch (error) {
        if (this.#isOver) return;
        if (errorBody(error).code !== 'ERR_RING_CLOCK' || !AetherError.is(error)) continue;
        if (this.#doubt === undefined) log.warn({ issuer: node }, error.message);
        this.#doubt = error;
        return;
      }
    }
  }

  /** Ids of the issuers: this node if it is one, then the others in any order. */
  #issuers(): string[] {
    const { peers, keeper, random } = this.#options;
    const nodes = new Set(keeper.epoch.issuers.map(({ node }) => node));
    const isIssuer = nodes.delete(peers.self);
    return [...(isIssuer ? [peers.self] : []), ...shuffled(random, [...nodes])]; // N3
  }

  async #ask(node: string): Promise<unknown> {
    const { peers, certificates, clock } = this.#options;
    const body = { nowMs: clock.nowMs() };
    if (node === peers.self) return certificates.issue(node, body);
    return peers.call(node, RENEW, body, { timeoutMs: CALL_TIMEOUT_MS });
  }

  #take(encoded: unknown): void {
    const { peers, store, standing, clock, log } = this.#options;
    const offered = decodeNodeCertificate(encoded);
    const nowMs = clock.nowMs();
    standing.show(peers.self, encoded, nowMs);
    const refusal = standing.refusal(peers.self, nowMs);
    if (refusal !== undefined) throw refusal;
    // The one before still holds, and this one does not.
    if (!equal(offered.signature, this.certificate?.signature ?? new Uint8Array())) {
      throw new CertificateError('the certificate does not hold by the clock of this node', {
        code: 'ERR_RING_CLOCK',
        hint: 'set the clocks of both machines by NTP',
      });
    }
    this.#encoded = encoded as Uint8Array;
    store.setNodeCertificate(this.#encoded);
    this.#failure = undefined;
    this.#againMs = clock.monotonicMs() + AGAIN_MS;
    log.debug({ epoch: offered.epoch }, 'this node has a new certificate');
    this.#tell(offered);
  }

  #tell(certificate: NodeCertificate): void {
    this.#unshown = new Set(this.#options.peers.linked());
    this.#renewed(certificate);
  }

  /** N1 */
  async #show(): Promise<void> {
    const { peers, log } = this.#options;
    const linked = new Set(peers.linked());
    const shown = [...this.#unshown].map(async (node) => {
      try {
        // Whoever is linked anew has seen it in our hello.
        if (linked.has(node))
          await peers.call(node, SHOW, this.#encoded, { timeoutMs: CALL_TIMEOUT_MS });
        this.#unshown.delete(node);
      } catch (error) {
        log.debug({ node, error: errorBody(error) }, 'the new certificate was not heard');
      }
    });
    await Promise.all(shown);
  }
}
