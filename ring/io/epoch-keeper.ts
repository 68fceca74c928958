/**
 * The epoch as this node knows it: learnt, proven, kept on disk, then used.
 *
 * Cites the invariants of core/epoch.ts.
 */
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import type { Epoch } from '../core/epoch.ts';
import { participants } from '../core/epoch-change.ts';
import { openEpoch, type SignedEpoch, toSignedEpoch } from '../core/epoch-record.ts';
import { notMember, type Peers } from './peers.ts';
import type { RingStore } from './ring-store.ts';

const OFFER = 'epoch.offer';
const GET = 'epoch.get';
const CALL_TIMEOUT_MS = 5_000;
/** Who takes longer hears of it by gossip. */
const OFFER_TIMEOUT_MS = 1_000;
/** Nodes that who made an epoch tells itself; the others learn it from them. */
const OFFERS_MAX = 32;

export class EpochKeeper {
  readonly #store: RingStore;
  readonly #log: Log;
  #signed: SignedEpoch | undefined;
  #epoch: Epoch | undefined;
  #participants: ReadonlySet<string> = new Set();
  #revoked: ReadonlySet<string> = new Set();
  /** By node: the number it has heard by then. */
  readonly #offersUnderWay = new Map<string, Promise<number>>();
  readonly #offersWaiting = new Map<string, Promise<void>>();
  #pulling: Promise<void> = Promise.resolve();
  #isPulling = false;
  #changed: (epoch: Epoch) => void = () => {};

  /** @throws EpochError ERR_RING_EPOCH_FORGED when what the disk holds is damaged. */
  constructor(store: RingStore, log: Log) {
    this.#store = store;
    this.#log = log;
    const signed = store.epoch();
    const lattice = store.lattice();
    if (signed !== undefined && lattice !== undefined)
      this.#use(signed, openEpoch(signed, lattice));
  }

  /** Who hears of a new epoch, once it is durable and in use. */
  onChange(changed: (epoch: Epoch) => void): void {
    this.#changed = changed;
  }

  /** @throws AetherError ERR_RING_NO_EPOCH before the first is known. */
  get epoch(): Epoch {
    if (this.#epoch === undefined)
      throw new AetherError('this node is in no lattice yet', { code: 'ERR_RING_NO_EPOCH' });
    return this.#epoch;
  }

  get number(): number {
    return this.#epoch?.number ?? 0;
  }

  get signed(): SignedEpoch | undefined {
    return this.#signed;
  }

  /** Whether the node was put out for good. */
  isRevoked(node: string): boolean {
    return this.#revoked.has(node);
  }

  /** Members, and who is about to leave. */
  isParticipant(node: string): boolean {
    return this.#participants.has(node);
  }

  /**
   * Uses the epoch when it is newer than what is known.
   *
   * @throws EpochError ERR_RING_EPOCH_FORGED: it was not used.
   */
  adopt(signed: SignedEpoch, lattice: string): void {
    const epoch = openEpoch(signed, lattice); // I3
    if (epoch.number <= this.number) return; // I2
    this.#store.setEpoch(signed, lattice); // I3
    this.#use(signed, epoch);
    this.#changed(epoch);
  }

  /** Answers for the epoch, and hears of newer ones. */
  serve(peers: Peers): void {
    peers.serveGuests(GET, (_body, from) => {
      if (!this.#isKnown(from)) throw notMember(from);
      return this.#signed;
    });
    // The record proves itself, so that also a node that is not known here yet may bring it.
    peers.serveGuests(OFFER, (body) => this.adopt(toSignedEpoch(body), this.epoch.lattice));
  }

  /**
   * A peer uses this number: fetches what is newer, offers what is newer here.
   *
   * Strangers are neither asked, as they could keep us waiting, nor told who is in the lattice. A
   * newcomer that we have not heard of brings the epoch it is in itself.
   */
  compare(peers: Peers, node: string, number: number): void {
    if (number > this.number) {
      if (this.isParticipant(node) && !this.#isPulling) void this.learn(peers, node, number);
    } else if (number < this.number && number > 0 && this.#isKnown(node)) {
      void this.#offer(peers, node);
    }
  }

  /** Fetches an epoch of this number or a later one; over once it is here or cannot be had now. */
  learn(peers: Peers, node: string, number: number): Promise<void> {
    const before = this.#pulling;
    this.#pulling = (async () => {
      await before;
      if (number > this.number) await this.#pull(peers, node);
    })();
    return this.#pulling;
  }

  /**
   * Tells some of the nodes, and `first` in any case, of the newest epoch; over once each has heard
   * it or cannot be told now.
   */
  async spread(peers: Peers, first: readonly string[]): Promise<void> {
    const nodes = new Set([...first, ...[...this.#participants].slice(0, OFFERS_MAX)]);
    nodes.delete(peers.self);
    await Promise.all([...nodes].map((node) => this.#offer(peers, node)));
  }

  /** Asks the other members for a newer epoch; over once one has answered or none can. */
  async refresh(peers: Peers, timeoutMs: number): Promise<void> {
    const others = [...this.#participants].filter((node) => node !== peers.self);
    const asked = others.map(async (node) => {
      const body = await peers.call(node, GET, null, { timeoutMs });
      this.adopt(toSignedEpoch(body), this.epoch.lattice);
    });
    await Promise.any(asked).catch(() => {});
  }

  /** Who was a member once may hear that it is not any more. */
  #isKnown(node: string): boolean {
    return this.isParticipant(node) || this.#store.addresses().has(node);
  }

  /**
   * Over once the node has heard the epoch that is newest by then, or cannot be told now. One offer to a node is under way
   * at a time and one waits, however many ask for it: while a hundred join, a hundred epochs follow on each other.
   */
  #offer(peers: Peers, node: string): Promise<void> {
    const waiting = this.#offersWaiting.get(node) ?? this.#offerNext(peers, node);
    this.#offersWaiting.set(node, waiting);
    return waiting;
  }

  async #offerNext(peers: Peers, node: string): Promise<void> {
    const heard = await this.#offersUnderWay.get(node);
    this.#offersWaiting.delete(node);
    if (heard === this.number) return;
    const offer = this.#tell(peers, node);
    this.#offersUnderWay.set(node, offer);
    await offer;
    if (this.#offersUnderWay.get(node) === offer) this.#offersUnderWay.delete(node);
  }

  /** @returns the number of the epoch that the node has heard; 0: it did not take it. */
  async #tell(peers: Peers, node: string): Promise<number> {
    const { number } = this;
    try {
      await peers.call(node, OFFER, this.#signed, { timeoutMs: OFFER_TIMEOUT_MS });
      return number;
    } catch (error) {
      this.#log.debug({ node, error: errorBody(error) }, 'an epoch was not taken');
      return 0;
    }
  }

  async #pull(peers: Peers, node: string): Promise<void> {
    this.#isPulling = true;
    try {
      const body = await peers.call(node, GET, null, { timeoutMs: CALL_TIMEOUT_MS });
      this.adopt(toSignedEpoch(body), this.epoch.lattice);
    } catch (error) {
      this.#log.warn({ node, error: errorBody(error) }, 'an epoch was not fetched');
    } finally {
      this.#isPulling = false;
    }
  }

  #use(signed: SignedEpoch, epoch: Epoch): void {
    this.#signed = signed;
    this.#epoch = epoch;
    this.#participants = new Set(participants(epoch).map(({ id }) => id));
    this.#revoked = new Set(epoch.revoked);
  }
}
