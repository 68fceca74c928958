/** A node of a lattice: identity, peers, membership, epoch and storage, put together. */
import { uptime } from 'node:os';
import { AetherError, errorBody } from '../spec/error.ts';
import { assemble, type Assembly, removed, type RingOptions } from './assembly.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { joining, participants } from './core/epoch-change.ts';
import type { SignedEpoch } from './core/epoch-record.ts';
import { HashRing } from './core/hash-ring.ts';
import type { SwimMember } from './core/swim-member.ts';
import type { MemberState } from './core/swim-message.ts';
import type { OwnFacts } from './core/swim-self.ts';
import { isSayable, SWIM_VERSION } from './core/swim-wire.ts';
import { toJoinRequest } from './core/token.ts';
import type { RelayCandidate } from './core/relay-choice.ts';
import { isDialable, relayOf } from './core/ways.ts';
import { IdentityError } from './io/certificate.ts';
import { Membership } from './io/membership.ts';
import type { TransportCounts } from './io/peers.ts';
import { Reachability } from './io/reachability.ts';
import { KeyValueStore } from './kv.ts';
import { JOIN, JOIN_TIMEOUT_MS } from './join.ts';
import { type Rpc, RpcError } from './rpc.ts';
import { JoinRefusedError, type Voter } from './voter.ts';

/** A member as this node sees it. */
export interface MemberView {
  id: string;
  name: string;
  address: string;
  state: MemberState;
  /** 0: not heard of since this node started. */
  incarnation: number;
  zone?: string;
  region?: string;
  roles: string[];
  weight: number;
  /** Share of the ring, 0 to 1. */
  ownership: number;
  rttMs?: number;
  /** How busy it is: 0 idle, 1 full. */
  load?: number;
  /** How its traffic is carried. */
  tier?: string;
  /** Workflow types whose code it has. */
  types?: readonly string[];
  /** What led to its state. */
  why?: string;
  /** Names of the relays that lead to it; none: all can dial it. */
  relays?: readonly string[];
  /** Of these, the one by which this node speaks with it now; none: directly. */
  via?: string;
}

/** What a node tells the others of itself while it runs. */
export type Described = Pick<MemberView, 'load' | 'tier' | 'types'>;

export type RingChange =
  | { kind: 'member'; member: MemberView; before: MemberState | undefined }
  | { kind: 'epoch'; epoch: Epoch }
  /** The machine was asleep: what this node held for a time, it may hold no more. */
  | { kind: 'slept' };

const RELAY = 'join.relay';
const DONE = 'epoch.done';
const LEAVE = 'ring.leave';
const CALL_TIMEOUT_MS = 5_000;
const RETRY_MS = 500;
/** How long a node that comes back asks for news before it serves with what it knows. */
const REFRESH_TIMEOUT_MS = 2_000;
const REPLICAS = 3;
/** As spec/id.ts writes them. */
const NODE_ID = /\bn[a-z2-7]{52}\b/g;

export class Ring {
  readonly id: string;
  readonly name: string;
  /** Where it listens, `host:port`, or `none`. */
  readonly address: string;
  readonly lattice: string;
  readonly rpc: Rpc;
  readonly kv: KeyValueStore;
  readonly #node: Assembly;
  readonly #held: AsyncDisposableStack;
  readonly #membership: Membership;
  readonly #reachability: Reachability;
  #facts: OwnFacts;
  readonly #listeners = new Set<(change: RingChange) => void>();
  readonly #waiting = new Set<(error?: Error) => void>();
  readonly #stopping = new AbortController();
  /** The other nodes have heard of the newest epoch that this voter made. */
  #isSpread: Promise<void> = Promise.resolve();
  #placement: { epoch: Epoch; ring: HashRing } | undefined;
  #isLeaving = false;
  #closing: Promise<void> | undefined;

  private constructor(node: Assembly, held: AsyncDisposableStack) {
    const { peers, keeper, store, rows, clock, random, log, swim, address } = node;
    this.#node = node;
    this.#held = held;
    this.id = peers.self;
    this.address = address;
    this.lattice = keeper.epoch.lattice;
    this.name = this.#nameOf(this.id);
    this.rpc = peers;
    this.kv = new KeyValueStore({
      rpc: peers,
      epoch: () => keeper.epoch,
      learn: (number, from) => keeper.learn(peers, from, number),
      store: rows,
      clock,
      isAlive: (id) => this.isAlive(id),
    });
    this.#facts = {
      addresses: [address],
      protocol: [SWIM_VERSION, SWIM_VERSION],
      certificateEpoch: keeper.number,
    };
    const incarnation = store.incarnation() + 1;
    store.setIncarnation(incarnation);
    this.#membership = held.adopt(
      new Membership({
        self: { id: this.id, incarnation, facts: this.#facts },
        swim,
        peers,
        clock,
        uptimeMs: () => uptime() * 1_000,
        random,
        log,
        epochNumber: () => keeper.number,
        heardEpoch: (number, from) => keeper.compare(peers, from, number),
        changed: (member, before) => this.#memberChanged(member, before),
        slept: () => {
          this.#reachability.recheck();
          this.#emit({ kind: 'slept' });
        },
        keepIncarnation: (value) => store.setIncarnation(value),
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
        candidates: () => this.#relayCandidates(),
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
   * ERR_RING_JOIN_UNFINISHED, ERR_RING_REMOVED; KeyFileError; ListenError ERR_PORT_IN_USE;
   * TokenError ERR_RING_TOKEN_*; JoinRefusedError ERR_RING_JOIN_REFUSED, ERR_RING_VOTER_UNREACHABLE;
   * AetherError ERR_RING_OPTION.
   */
  static async open(options: RingOptions): Promise<Ring> {
    const held = new AsyncDisposableStack();
    let ring: Ring | undefined;
    try {
      const isGone = (id: string): boolean => ring?.isAlive(id) === false;
      ring = new Ring(await assemble(options, held, isGone), held);
      await ring.#start(options.join ?? []);
      return ring;
    } catch (error) {
      await (ring?.close() ?? held.disposeAsync());
      throw error;
    }
  }

  epoch(): Epoch {
    return this.#node.keeper.epoch;
  }

  /** Members of the epoch, this node first; also who is about to leave. */
  members(): MemberView[] {
    const epoch = this.epoch();
    const ownership = this.#ring(epoch).ownership();
    const own = (member: EpochMember): number => (member.id === this.id ? 0 : 1);
    return participants(epoch)
      .toSorted((a, b) => own(a) - own(b))
      .map((member) => this.#view(member, ownership.get(member.id) ?? 0));
  }

  /** Ids of the nodes that own the key, in the order of preference; who is alive does not matter. */
  owners(key: string, replicas: number = REPLICAS): string[] {
    return this.#ring(this.epoch()).owners(key, replicas);
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

  /** What the transport has received, refused and dropped, and what is open now. */
  transport(): TransportCounts {
    return this.#node.peers.counts();
  }

  /** @returns ends it. */
  onChange(listener: (change: RingChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Hands over what this node holds, leaves the lattice for good, and closes.
   *
   * @throws EpochChangeError ERR_RING_LAST_VOTER; ERR_RING_CHANGE_REFUSED while a node is gone that
   * would have to take over a part: nothing was changed.
   * @throws RpcError ERR_RING_UNREACHABLE when the voter cannot be reached: nothing was changed;
   * ERR_RING_TIMEOUT when it has not answered for a minute: the outcome is unknown.
   */
  async leave(): Promise<void> {
    const { peers, keeper } = this.#node;
    await this.#askToLeave();
    this.#isLeaving = true;
    this.#membership.leave();
    const out = this.#until((epoch) => !participants(epoch).some(({ id }) => id === this.id));
    // We are told once, and nobody speaks to us afterwards: should that be lost, we find out.
    while ((await Promise.race([out, this.#pause(RETRY_MS)])) === undefined)
      await keeper.learn(peers, this.#voterId(), keeper.number + 1);
    await this.close();
  }

  /** Asking again is asking once: what became of a request without an answer is found out so. */
  async #askToLeave(): Promise<void> {
    const { peers, clock } = this.#node;
    const deadlineMs = clock.monotonicMs() + JOIN_TIMEOUT_MS;
    let unknown: RpcError | undefined;
    while (this.#isMember(this.epoch())) {
      const timeoutMs = deadlineMs - clock.monotonicMs();
      if (unknown !== undefined && timeoutMs <= 0) throw unknown;
      try {
        await peers.call(this.#voterId(), LEAVE, null, { timeoutMs });
        return;
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        if (error.code === 'ERR_RING_TIMEOUT') unknown ??= error;
        if (unknown === undefined || this.#stopping.signal.aborted) throw error;
        await this.#pause(RETRY_MS);
      }
    }
  }

  /** Stops without leaving, as before a restart. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopping.abort();
    for (const wake of this.#waiting) wake(closed());
    await this.#held.disposeAsync();
  }

  async #start(addresses: string[]): Promise<void> {
    const { peers, keeper, voter, store } = this.#node;
    keeper.serve(peers);
    peers.serveGuests(JOIN, (body, from) => this.#admit(body, from));
    if (voter !== undefined) this.#serveVoter(voter);
    peers.onLinkDown((node) => {
      this.#membership.linkLost(node);
      this.#reachability.review();
    });
    keeper.onChange((epoch, before) => this.#epochChanged(epoch, before));
    this.#epochChanged(keeper.epoch, undefined);
    const hasServed = store.hasServed();
    if (hasServed) {
      const news = [this.#greet(addresses), keeper.refresh(peers, REFRESH_TIMEOUT_MS)];
      await Promise.race([Promise.all(news), this.#pause(REFRESH_TIMEOUT_MS)]);
    }
    // Who comes or goes waits for the end of that; who comes back has nothing to wait for, and the
    // voter may be down.
    const epoch = await this.#until(
      (each) => each.previous === undefined || (hasServed && this.#isMember(each)),
    );
    if (!this.#isMember(epoch)) throw removed();
    if (!hasServed) store.setServed();
    this.#reachability.start();
  }

  /** Looks for members where the user says they are. @throws AetherError ERR_LATTICE_MISMATCH. */
  async #greet(addresses: string[]): Promise<void> {
    const { peers, log } = this.#node;
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

  #serveVoter(voter: Voter): void {
    const { peers, keeper } = this.#node;
    peers.serve(RELAY, async (body) => {
      await voter.join(toJoinRequest(body));
      // The newcomer calls them as soon as it has our answer: they should know it by then.
      await this.#isSpread;
      return keeper.signed;
    });
    peers.serve(LEAVE, (_body, from) => voter.leave(from));
    peers.serve(DONE, (body, from) => voter.done(from, Number(body)));
  }

  /** Takes a request to join to the voter. */
  async #admit(body: unknown, from: string): Promise<SignedEpoch> {
    const request = toJoinRequest(body);
    if (request.node !== from) {
      throw new IdentityError('a node asks to join in the name of another', {
        hint: 'a node joins with its own key',
      });
    }
    try {
      const timeoutMs = JOIN_TIMEOUT_MS;
      return (await this.rpc.call(this.#voterId(), RELAY, request, { timeoutMs })) as SignedEpoch;
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
      throw new JoinRefusedError('the node that admits others cannot be reached', {
        code: 'ERR_RING_VOTER_UNREACHABLE',
        hint: `start node ${this.#voterId()}, or look at aether ring status`,
        cause,
      });
    }
  }

  /** Also of the next epoch, while one is pending. */
  #isMember(epoch: Epoch): boolean {
    return epoch.members.some(({ id }) => id === this.id);
  }

  #voterId(): string {
    return this.epoch().voters[0] as string;
  }

  #epochChanged(epoch: Epoch, before: Epoch | undefined): void {
    const { peers, keeper, voter, store, log } = this.#node;
    const known = store.addresses();
    const roster = participants(epoch).map(({ id, address }) => ({
      id,
      address: this.#membership.member(id)?.address ?? known.get(id) ?? address,
    }));
    for (const { id, address } of roster)
      peers.setAddress(id, ...(this.#membership.member(id)?.facts?.addresses ?? [address]));
    store.setAddresses(roster);
    peers.reviewMembers();
    this.#membership.setRoster(roster);
    if (voter !== undefined) {
      const gone = before === undefined ? [] : participants(before).map(({ id }) => id);
      this.#isSpread = keeper.spread(peers, [...joining(epoch).map(({ id }) => id), ...gone]);
    }
    if (!keeper.isParticipant(this.id))
      log[this.#isLeaving ? 'info' : 'warn']({ epoch: epoch.number }, removed().message);
    if (epoch.previous !== undefined) void this.#takePart(epoch);
    this.#emit({ kind: 'epoch', epoch });
    for (const wake of this.#waiting) wake();
  }

  /** Fetches what this node gains by the pending change, and says so until it is settled. */
  async #takePart(epoch: Epoch): Promise<void> {
    const { keeper, log, peers } = this.#node;
    const isHolder = epoch.members.some(({ id, tokens }) => id === this.id && tokens.length > 0);
    if (!isHolder) return;
    let isWhole = false;
    let failures = 0;
    while (keeper.number === epoch.number && !this.#stopping.signal.aborted) {
      try {
        if (!isWhole) await this.kv.stream(epoch);
        isWhole = true;
        await peers.call(this.#voterId(), DONE, epoch.number, { timeoutMs: CALL_TIMEOUT_MS });
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
    const { keeper, peers, store, voter, log } = this.#node;
    if (incarnation > 0) {
      peers.setAddress(id, ...(member.facts?.addresses ?? [address]));
      store.setAddresses([{ id, address }]);
    }
    if (state !== before) {
      log.info({ node: id, state, before, why: member.trail.at(-1)?.text }, `a member is ${state}`);
      if (state === 'dead') peers.drop(id, 'taken for dead');
      voter?.review();
      this.#reachability.review();
    }
    const entry = participants(keeper.epoch).find((each) => each.id === id);
    if (entry === undefined) return;
    const share = this.#ring(keeper.epoch).ownership().get(id) ?? 0;
    this.#emit({ kind: 'member', member: this.#view(entry, share), before });
  }

  #view(entry: EpochMember, ownership: number): MemberView {
    const { tokens: _, ...facts } = entry;
    const member = this.#membership.member(entry.id);
    const relays = member?.facts?.addresses.flatMap((address) => relayOf(address) ?? []) ?? [];
    const via = this.#node.peers.via(entry.id);
    const why = member?.trail.at(-1)?.text.replaceAll(NODE_ID, (id) => this.#nameOf(id));
    return {
      ...facts,
      address: member?.address ?? entry.address,
      state: member?.state ?? 'suspect',
      incarnation: member?.incarnation ?? 0,
      ownership,
      ...(member?.rttMs === undefined ? {} : { rttMs: Math.round(member.rttMs * 100) / 100 }),
      ...describedBy(member?.facts),
      ...(why === undefined ? {} : { why }),
      ...(relays.length === 0 ? {} : { relays: relays.map((id) => this.#nameOf(id)) }),
      ...(via === undefined ? {} : { via: this.#nameOf(via) }),
    };
  }

  #relayCandidates(): RelayCandidate[] {
    return participants(this.epoch()).flatMap(({ id, roles, zone, region }) => {
      const { state, facts, rttMs } = this.#membership.member(id) ?? {};
      const isUsable = id !== this.id && state === 'alive' && facts?.addresses.every(isDialable);
      if (isUsable !== true) return [];
      return [
        {
          id,
          roles,
          ...(zone === undefined ? {} : { zone }),
          ...(region === undefined ? {} : { region }),
          ...(rttMs === undefined ? {} : { rttMs }),
        },
      ];
    });
  }

  #nameOf(id: string): string {
    return participants(this.epoch()).find((member) => member.id === id)?.name ?? id;
  }

  #ring(epoch: Epoch): HashRing {
    if (this.#placement?.epoch !== epoch)
      this.#placement = { epoch, ring: new HashRing(epoch.members) };
    return this.#placement.ring;
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

function describedBy({ load, tier, types }: Described = {}): Described {
  return {
    ...(load === undefined ? {} : { load }),
    ...(tier === undefined ? {} : { tier }),
    ...(types === undefined ? {} : { types }),
  };
}

function closed(): AetherError {
  return new AetherError('the node stops', { code: 'ERR_RING_CLOSED' });
}
