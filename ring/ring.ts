/** A node of a lattice: identity, peers, membership, epoch and storage, put together. */
import { AetherError, errorBody } from '../spec/error.ts';
import { base32 } from '../spec/id.ts';
import { type DiskError, EpochChanges, type VoterStanding } from './changes.ts';
import type { Authority } from './authority.ts';
import {
  assemble,
  type Assembly,
  excluded,
  type LatticeError,
  removed,
  type RingOptions,
} from './assembly.ts';
import { spares } from './core/configuration.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import {
  EpochChangeError,
  joining,
  leaving,
  participants,
  withoutMember,
} from './core/epoch-change.ts';
import { memberToWeigh, reweighted } from './core/epoch-weight.ts';
import { PROTOCOL } from './core/protocol-range.ts';
import type { SwimMember } from './core/swim-member.ts';
import { isGone, type MemberState } from './core/swim-message.ts';
import type { OwnFacts } from './core/swim-self.ts';
import { isSayable } from './core/swim-wire.ts';
import { latticeTag } from './core/token.ts';
import { isDialable } from './core/ways.ts';
import { type Membership, openMembership } from './io/membership.ts';
import { Reachability } from './io/reachability.ts';
import { addCounts, type TransportCounts } from './io/transport-counts.ts';
import { KeyValueStore } from './kv.ts';
import { type Described, type MemberTrail, type MemberView, MemberViews } from './member-view.ts';
import type { OwnCertificate } from './renewal.ts';
import type { Rpc } from './rpc.ts';

/** What the epoch waits for: ids of who comes, who goes, and who is to hold another part of the ring. */
export interface PendingChange {
  joining: string[];
  leaving: string[];
  reweighted: string[];
  /** Of those that are to hold a part afterwards, who has not taken it over yet; only voters hear that. */
  awaited?: string[];
}

export type RingChange =
  | { kind: 'member'; member: MemberView; before: MemberState | undefined }
  | { kind: 'epoch'; epoch: Epoch }
  /** The machine was asleep, or this node stood still for as long: what this node held for a time, it may hold no more. */
  | { kind: 'slept' }
  /** The lattice has found this node's disk to be an old one, or has put the node out; the ring closes. */
  | { kind: 'refused'; error: DiskError | LatticeError };

const RETRY_MS = 500;
/** How long a node that comes back asks for news before it serves with what it knows. */
const REFRESH_TIMEOUT_MS = 2_000;
/** How long a newcomer asks for its first certificate. */
const CERTIFICATE_TIMEOUT_MS = 15_000;
const REPLICAS = 3; /** How often a node asks to be let in that is given up each time. */
const JOIN_TRIES = 3;

export class Ring {
  readonly id: string;
  readonly name: string;
  /** Where it listens, `host:port`, or `none`. */
  readonly address: string;
  readonly lattice: string;
  readonly rpc: Rpc;
  readonly kv: KeyValueStore;
  /** Revokes, and replaces keys. */
  readonly authority: Authority;
  readonly #node: Assembly;
  readonly #held: AsyncDisposableStack;
  readonly #membership: Membership;
  readonly #views: MemberViews;
  readonly #changes: EpochChanges;
  readonly #reachability: Reachability;
  #facts: OwnFacts;
  readonly #listeners = new Set<(change: RingChange) => void>();
  readonly #waiting = new Set<(error?: Error) => void>();
  readonly #stopping = new AbortController();
  #isLeaving = false;
  /** It was never in a settled epoch. */
  readonly #isNew: boolean;
  #refusal: Error | undefined;
  #closing: Promise<void> | undefined;

  private constructor(node: Assembly, held: AsyncDisposableStack) {
    const { peers, keeper, store, rows, clock, random, log, address } = node;
    const { swim, swimSockets } = node;
    this.#node = node;
    this.#held = held;
    this.#isNew = !store.hasServed();
    this.id = peers.self;
    this.address = address;
    this.lattice = keeper.epoch.lattice;
    this.#views = new MemberViews({
      self: this.id,
      clock,
      epoch: () => keeper.epoch,
      member: (id) => this.#membership.member(id),
      own: () => this.#facts,
      via: (id) => peers.via(id),
    });
    this.name = this.#views.nameOf(this.id);
    this.rpc = peers;
    this.kv = new KeyValueStore({
      rpc: peers,
      epoch: () => keeper.epoch,
      learn: (number, from) => keeper.learn(peers, from, number),
      store: rows,
      clock,
      isAlive: (id) => this.isAlive(id),
      rttMs: (id) => this.#membership.member(id)?.rttMs,
    });
    this.#changes = held.adopt(
      new EpochChanges({
        node,
        isAlive: (id) => this.isAlive(id),
        refused: (error) => this.#refused(error),
      }),
      (changes) => changes.close(),
    );
    this.authority = this.#changes.authority;
    this.#facts = {
      addresses: [address],
      protocol: PROTOCOL,
      certificateEpoch: node.renewal.certificate?.epoch ?? 0,
    };
    this.#membership = held.adopt(
      openMembership({
        self: { id: this.id, facts: this.#facts },
        swim,
        sockets: swimSockets,
        peers,
        store,
        clock,
        random,
        log,
        epoch: () => keeper.epoch,
        certificate: () => node.renewal.encoded,
        heardEpoch: (number, from) => keeper.compare(peers, from, number),
        changed: (member, before) => this.#memberChanged(member, before),
        slept: () => {
          peers.doubtLinks();
          this.#reachability.recheck();
          this.#emit({ kind: 'slept' });
        },
      }),
      (running) => running.stop(),
    );
    this.#reachability = held.adopt(
      new Reachability({
        peers,
        clock,
        random,
        log,
        address: isDialable(address) ? address : undefined,
        isFound:
          this.#isNew &&
          participants(keeper.epoch).some(
            ({ id, address: at }) => id === this.id && at === address,
          ),
        candidates: () => this.#views.relayCandidates(),
        announce: (addresses) => {
          this.#facts = { ...this.#facts, addresses };
          this.#membership.setFacts(this.#facts);
        },
      }),
      (running) => running.stop(),
    );
  }

  /**
   * Founds a lattice, joins one, or comes back to the one that the folder belongs to. Fulfilled once
   * the node serves: it has its place in a settled epoch. When it fails, nothing is left open.
   *
   * @throws DataFolderError ERR_DATA_LOCKED, ERR_DATA_EXPOSED; LatticeError ERR_LATTICE_MISMATCH,
   * ERR_RING_JOIN_UNFINISHED, ERR_RING_REMOVED; DiskError ERR_RING_DISK_OLD; KeyFileError;
   * ListenError ERR_PORT_IN_USE; TokenError ERR_RING_TOKEN_*; JoinRefusedError ERR_RING_JOIN_REFUSED;
   * QuorumError ERR_RING_NO_QUORUM; AetherError ERR_RING_OPTION.
   */
  static async open(options: RingOptions): Promise<Ring> {
    for (let tries = 1; ; tries++) {
      const held = new AsyncDisposableStack();
      let ring: Ring | undefined;
      try {
        ring = new Ring(await assemble(options, held), held);
        await ring.#start();
        return ring;
      } catch (error) {
        await (ring?.close() ?? held.disposeAsync());
        // Taken for dead while it joined, and its token was not used: it asks again.
        const isNew = ring !== undefined && ring.#isNew;
        const isGivenUp = isNew && errorBody(error).code === 'ERR_RING_REMOVED';
        if (!isGivenUp || tries === JOIN_TRIES) throw error;
      }
    }
  }

  epoch(): Epoch {
    return this.#node.keeper.epoch;
  }

  /** What tokens call the lattice. */
  get latticeTag(): string {
    return base32(latticeTag(this.lattice));
  }

  /** Members of the epoch, this node first; also who is about to leave. */
  members(): MemberView[] {
    return this.#views.all();
  }

  /** @returns what led to the state in which this node sees the member; undefined: it is none. */
  why(node: string): MemberTrail | undefined {
    return this.#views.trail(node);
  }

  /** @returns what the epoch waits for; undefined: it is settled. */
  pending(): PendingChange | undefined {
    const epoch = this.epoch();
    if (epoch.previous === undefined) return undefined;
    const ids = (members: EpochMember[]): string[] => members.map(({ id }) => id);
    const { awaited } = this.#changes;
    return {
      joining: ids(joining(epoch)),
      leaving: ids(leaving(epoch)),
      reweighted: ids(reweighted(epoch)),
      ...(awaited === undefined ? {} : { awaited }),
    };
  }

  /** Ids of the nodes that own the key, in the order of preference; who is alive does not matter. */
  owners(key: string, replicas: number = REPLICAS): string[] {
    return this.#views.ring().owners(key, replicas);
  }

  /** False when membership takes the node for dead or gone: a hint. A suspect counts as alive. */
  isAlive(node: string): boolean {
    const state = this.#membership.member(node)?.state;
    return state === 'alive' || state === 'suspect';
  }

  /**
   * Tells the others: the workflow types and the tier at once, the load in time. What is not named stays.
   *
   * @throws AetherError ERR_RING_OPTION for what they would not read; nothing was changed.
   */
  describe(described: Described): void {
    const facts = { ...this.#facts, ...described };
    if (!isSayable(facts)) {
      throw new AetherError('the other nodes would not read what this one says of itself', {
        code: 'ERR_RING_OPTION',
        hint: 'use a load from 0 to 1, at most 256 workflow types, and names of 1 to 256 characters',
      });
    }
    this.#facts = facts;
    this.#membership.setFacts(this.#facts);
  }

  /** What this node shows of itself. None: it is yet to be given one. */
  certificate(): OwnCertificate | undefined {
    return this.#node.renewal.own;
  }

  /** What the transport has received, refused and dropped, and what is open now. */
  transport(): TransportCounts {
    const { peers } = this.#node;
    const own = this.#membership.counts();
    return own === undefined ? peers.counts() : addCounts(peers.counts(), own);
  }

  /** @returns ends it. */
  onChange(listener: (change: RingChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @throws AetherError as `setWeight`, for what it would refuse whatever the state of the nodes; nothing is changed. */
  checkWeight(node: string, weight: number): void {
    memberToWeigh(this.epoch(), node, weight);
  }

  /**
   * Gives a member another share of the ring; 0: it holds nothing and stays a member. Fulfilled once the lattice has settled
   * it. Asking again is asking once.
   *
   * @throws AetherError ERR_RING_NODE_NOT_FOUND, ERR_RING_OPTION; EpochChangeError ERR_RING_CHANGE_REFUSED while a node is
   * gone that would have to take over a part, or nobody else holds one: nothing was changed.
   * @throws QuorumError ERR_RING_NO_QUORUM as `leave`.
   */
  async setWeight(node: string, weight: number): Promise<void> {
    await this.#changes.weigh(node, weight);
    const isSo = (member: EpochMember): boolean => member.id !== node || member.weight === weight;
    await this.#until((epoch) => epoch.previous === undefined && epoch.members.every(isSo));
  }

  /** @throws EpochChangeError ERR_RING_LAST_VOTER as `leave`, which may be refused for other reasons later. */
  checkLeave(): void {
    const { previous: _, ...epoch } = this.epoch();
    withoutMember(epoch, this.id);
  }

  /**
   * Hands over what this node holds, leaves the lattice for good, and closes.
   *
   * @throws EpochChangeError ERR_RING_LAST_VOTER; ERR_RING_CHANGE_REFUSED while a node is gone that
   * would have to take over a part: nothing was changed.
   * @throws QuorumError ERR_RING_NO_QUORUM when a majority of the voters has not answered for a minute: the outcome
   * is unknown.
   */
  async leave(): Promise<void> {
    await this.resign();
    await this.close();
  }

  /** As `leave`, and stays open for whoever is to hear of it from this node; the others hear it no more. */
  async resign(): Promise<void> {
    await this.#changes.leave();
    this.#isLeaving = true;
    await this.#untilOut(this.id);
  }

  /**
   * Removes a node that is gone for good: the others take over what it held, and it never comes back. Fulfilled
   * once they have.
   *
   * @throws EpochChangeError ERR_RING_NODE_ALIVE; ERR_RING_NODE_NOT_FOUND; ERR_RING_LAST_VOTER; ERR_RING_CHANGE_REFUSED while
   * another node is gone that would have to take over a part: nothing was changed.
   * @throws QuorumError ERR_RING_NO_QUORUM as `leave`.
   */
  async remove(node: string): Promise<void> {
    if (!participants(this.epoch()).some(({ id }) => id === node)) {
      throw new EpochChangeError(`the lattice has no member ${node}`, {
        code: 'ERR_RING_NODE_NOT_FOUND',
        hint: 'aether ring status lists the members',
      });
    }
    await this.#changes.remove(node);
    await this.#untilOut(node);
  }

  /** Which nodes change the epoch by majority, and how many of them may be lost. */
  voters(): { nodes: string[]; tolerated: number } {
    const { voters } = this.epoch();
    return { nodes: [...voters], tolerated: spares(voters.length) };
  }

  /** Whether this node's vote counts now; undefined: it has none. */
  standing(): VoterStanding | undefined {
    return this.#changes.standing;
  }

  /** The node is in the epoch no more. Who leaves is told once, and spoken to no more: should that be lost, it finds out. */
  async #untilOut(node: string): Promise<void> {
    const { peers, keeper } = this.#node;
    const out = this.#until((epoch) => !participants(epoch).some(({ id }) => id === node));
    for (let turn = 0; ; turn++) {
      if ((await Promise.race([out, this.#pause(RETRY_MS)])) !== undefined) return;
      const others = participants(this.epoch()).filter(({ id }) => id !== this.id && id !== node);
      const asked = others[turn % Math.max(1, others.length)];
      // Whoever has dropped us looks dead, and still answers this.
      if (asked !== undefined && (node === this.id || this.isAlive(asked.id)))
        await keeper.learn(peers, asked.id, keeper.number + 1);
    }
  }

  /** Stops, as before a restart, and tells the others so that they need not find out; in the epoch it stays a member. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopping.abort();
    for (const wake of this.#waiting) wake(closed());
    this.#membership.leave();
    await this.#held.disposeAsync();
  }

  async #start(): Promise<void> {
    const { peers, keeper, store, renewal } = this.#node;
    keeper.serve(peers);
    this.#changes.serve();
    peers.onLinkDown((node) => {
      this.#membership.linkLost(node);
      this.#reachability.review(node, true);
    });
    keeper.onChange((epoch) => this.#epochChanged(epoch));
    renewal.onRenewed(({ epoch }) => {
      this.#facts = { ...this.#facts, certificateEpoch: epoch };
      this.#membership.setFacts(this.#facts);
      this.#membership.certified();
    });
    void this.#endWhenPutOut();
    const hasServed = store.hasServed();
    this.#setAddresses(keeper.epoch);
    await this.#certify(hasServed);
    this.#epochChanged(keeper.epoch);
    if (hasServed) {
      const news = [
        this.#greet(),
        keeper.refresh(peers, REFRESH_TIMEOUT_MS),
        this.#changes.registered(),
      ];
      await Promise.race([Promise.all(news), this.#pause(REFRESH_TIMEOUT_MS)]);
    }
    this.#changes.checkDisk();
    if (this.#refusal !== undefined) throw this.#refusal;
    // Who comes or goes waits for the end of that; who comes back has nothing to wait for, and
    // voters may be down.
    const epoch = await this.#until(
      (each) => each.previous === undefined || (hasServed && this.#isMember(each)),
    );
    if (!this.#isMember(epoch)) throw removed();
    if (!hasServed) store.setServed();
    this.#reachability.start();
  }

  async #endWhenPutOut(): Promise<void> {
    await this.#node.putOut;
    if (this.#isLeaving || this.#stopping.signal.aborted) return;
    const error = excluded();
    this.#node.log.error({ code: error.code }, error.message);
    this.#refused(error);
  }

  /** To the others a node without a certificate is a guest; one that comes back may be the first of them all. */
  async #certify(hasServed: boolean): Promise<void> {
    const { renewal, log } = this.#node;
    try {
      await renewal.begin(hasServed ? REFRESH_TIMEOUT_MS : CERTIFICATE_TIMEOUT_MS);
    } catch (error) {
      if (!this.#isMember(this.epoch())) throw removed();
      if (!hasServed) throw error;
      const { code, message } = errorBody(error);
      log.warn({ code }, `this node has no certificate that holds yet: ${message}`);
    }
  }

  /** Looks for members where the user says they are. @throws AetherError ERR_LATTICE_MISMATCH. */
  async #greet(): Promise<void> {
    const { peers, seeds, log } = this.#node;
    const addresses = await seeds().catch((error: unknown) => {
      const { code, message } = errorBody(error);
      log.info({ code }, `no seeds: ${message}`);
      return [];
    });
    const greeted = addresses.map(async (address) => {
      try {
        await peers.greet(address);
      } catch (error) {
        const { code, message } = errorBody(error);
        if (code === 'ERR_LATTICE_MISMATCH') throw error;
        // They may be started together; who is up first is called by the others.
        log.info({ address, code }, `not reached: ${message}`);
      }
    });
    await Promise.all(greeted);
  }

  #refused(error: DiskError | LatticeError): void {
    this.#refusal = error;
    for (const wake of this.#waiting) wake(error);
    this.#emit({ kind: 'refused', error });
    void this.close();
  }

  /** Also of the next epoch, while one is pending. */
  #isMember(epoch: Epoch): boolean {
    return epoch.members.some(({ id }) => id === this.id);
  }

  /** @returns who takes part, and where each was last. */
  #setAddresses(epoch: Epoch): { id: string; address: string }[] {
    const { peers, store } = this.#node;
    const known = store.addresses();
    const roster = participants(epoch).map(({ id, address }) => ({
      id,
      address: this.#membership.member(id)?.address ?? known.get(id) ?? address,
    }));
    for (const { id, address } of roster)
      peers.setAddress(id, ...(this.#membership.member(id)?.facts?.addresses ?? [address]));
    store.setAddresses(roster);
    return roster;
  }

  #epochChanged(epoch: Epoch): void {
    const { peers, keeper, renewal, log } = this.#node;
    const roster = this.#setAddresses(epoch);
    renewal.epochChanged();
    peers.reviewMembers();
    for (const node of epoch.revoked) {
      peers.setAddress(node);
      peers.drop(node, 'ERR_RING_REVOKED');
    }
    const isOut = !keeper.isParticipant(this.id);
    // Who is out is heard by nobody, and calls nobody.
    this.#membership.setRoster(isOut ? [] : roster);
    if (isOut) log[this.#isLeaving ? 'info' : 'warn']({ epoch: epoch.number }, removed().message);
    if (epoch.previous !== undefined) void this.#takePart(epoch);
    this.#emit({ kind: 'epoch', epoch });
    for (const wake of this.#waiting) wake();
    this.#changes.epochChanged();
  }

  /** Fetches what this node gains by the pending change, and says so to all voters until it is settled. */
  async #takePart(epoch: Epoch): Promise<void> {
    const { keeper, log } = this.#node;
    const isHolder = epoch.members.some(({ id, tokens }) => id === this.id && tokens.length > 0);
    if (!isHolder) return;
    let isWhole = false;
    let failures = 0;
    while (keeper.number === epoch.number && !this.#stopping.signal.aborted) {
      try {
        if (!isWhole) await this.kv.stream(epoch);
        isWhole = true;
        this.#changes.report(epoch.number);
      } catch (error) {
        // Once is nothing: somebody may hear of the epoch a moment after us.
        log[failures++ === 0 ? 'debug' : 'warn'](
          { epoch: epoch.number, error },
          'the pending change waits for this node',
        );
      }
      await this.#pause(RETRY_MS);
    }
  }

  /** Over at once when the node stops. */
  #pause(forMs: number): Promise<void> {
    return new Promise((done) => {
      const { signal } = this.#stopping;
      const cancel = this.#node.clock.after(forMs, () => {
        signal.removeEventListener('abort', stop);
        done();
      });
      const stop = (): void => {
        cancel();
        done();
      };
      signal.addEventListener('abort', stop, { once: true });
    });
  }

  #memberChanged(member: SwimMember, before: MemberState | undefined): void {
    const { id, state, incarnation, address } = member;
    const { peers, store, log } = this.#node;
    if (incarnation > 0) {
      peers.setAddress(id, ...(member.facts?.addresses ?? [address]));
      store.setAddresses([{ id, address }]);
    }
    if (state !== before) {
      log.info({ node: id, state, before, why: member.trail.at(-1)?.text }, `a member is ${state}`);
      if (isGone(state)) peers.drop(id, `taken for ${state}`);
      this.#changes.membersChanged();
    }
    this.#reachability.review(id, isGone(state));
    const view = this.#views.of(id);
    if (view !== undefined) this.#emit({ kind: 'member', member: view, before });
  }

  #emit(change: RingChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        // What a listener breaks must not keep the others, or the ring itself, from the change.
        this.#node.log.error({ error, change: change.kind }, 'a listener of the ring failed');
      }
    }
  }

  /** Waits for an epoch. @throws AetherError ERR_RING_CLOSED. */
  #until(isReached: (epoch: Epoch) => boolean): Promise<Epoch> {
    return new Promise((done, fail) => {
      const look = (error?: Error): void => {
        const epoch = this.epoch();
        if (error === undefined && !isReached(epoch)) return;
        this.#waiting.delete(look);
        if (error === undefined) done(epoch);
        else fail(error);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

function closed(): AetherError {
  return new AetherError('the node stops', { code: 'ERR_RING_CLOSED' });
}
