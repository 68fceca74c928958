/**
 * Calls and casts between nodes, over links that are dialled when they are needed: directly, or through a relay to who
 * cannot be dialled. A direct link is used before a relayed one, and a newer one before an older.
 *
 * A peer that is no member of the epoch is a guest: it may ask for what `serveGuests` names and
 * nothing else, and must be a member before GUEST_TIMEOUT_MS is over. Membership is asked for at
 * every message, so a change of the epoch takes effect on links that are open already, and so does
 * the end of a certificate. The same holds the other way: a guest is asked for nothing else.
 */
import type { WebSocket } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { AetherError, type ErrorBody, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { Crowd } from '../core/crowd.ts';
import { FamiliarOrigins } from '../core/familiar-origins.ts';
import { encodeMessage, isLong, type Message, MESSAGE_BYTES_MAX } from '../core/frame.ts';
import { rebuildError } from '../core/remote-error.ts';
import { classOf, type Lane, Traffic, type TrafficClass } from '../core/traffic.ts';
import { type TransportLimits, transportLimits } from '../core/transport-limits.ts';
import { type CallOptions, type Rpc, RpcError, type RpcHandler } from '../rpc.ts';
import { type HostPort, originOfAddress } from './address.ts';
import type { CallerCounts } from './callers.ts';
import { Connector, unreachable } from './connector.ts';
import { Dialler } from './dialler.ts';
import type { Hello } from './hello.ts';
import { IDLE, IdleLinks } from './idle-links.ts';
import { Link, type LinkEvents, type Whose } from './link.ts';
import { type Caller, Listener } from './listener.ts';
import { Relay, type RelayCounts } from './relay.ts';

/** Longer messages go by the bulk lane. */
const CONTROL_BYTES_MAX = 16 << 10;
/** Requests of one peer that are being answered. */
const SERVING_MAX = 4_096;
/** Verifying what a guest says costs milliseconds: it may not ask for more of them. */
const GUEST_CALLS_MAX = 16;
/** Of any kind: who was let in a moment ago gossips before all have heard of it. */
const GUEST_MESSAGES_MAX = 256;
/** Of unfinished messages: an epoch of a large lattice. */
const GUEST_BYTES_MAX = 1 << 20;
/** Of unfinished messages: an honest sender finishes one before it begins the next. */
const MEMBER_BYTES_MAX = MESSAGE_BYTES_MAX * 2;
const GUEST_TIMEOUT_MS = 60_000;
/** Keeps a link with a relay. */
export const KEEP = 'relay.keep';
/** Longer than who is to be reached so waits before it says that again. */
const KEPT_MS = 60_000;
/** A relay calls: a member waits for this node, which is to come with a ticket. */
const INVITE = 'relay.invite';
/** Others that come with a ticket at once. */
const INVITES_MAX = 64;
/** Who cannot be dialled is to open a bulk link. */
const CALL_BACK = 'link.back';

export interface PeersOptions {
  self: string;
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  clock: Clock;
  log: Log;
  hello(): Hello;
  /** Also by what it has shown of itself: who is none for the moment is a guest. */
  isMember(node: string): boolean;
  /** Why a node is no member. */
  refusal?(node: string): AetherError;
  /** A peer says of itself what `hello` holds. @throws AetherError to refuse it. */
  meet?(node: string, hello: Hello): void;
  /** A link to the peer has opened; `hello` is what it said of itself. */
  linkUp(node: string, hello: Hello): void;
  /** The last link to the peer is gone. */
  parted?(node: string): void;
  limits?: Partial<TransportLimits>;
}

/** What the transport counts; counters only grow. */
export interface TransportCounts extends Pick<
  Traffic,
  'received' | 'overRate' | 'unsent' | 'rests'
> {
  /** Connections that were not taken, and why. */
  refused: CallerCounts & { guests: number; links: number };
  /** Now: handshakes under way, links of members and of others, bytes that wait to be written. */
  open: { handshakes: number; members: number; guests: number };
  queuedBytes: number;
  /** What this node carries for others. */
  relay: RelayCounts;
}

interface Guest {
  link: Link;
  origin: string;
  calls: number;
  messages: number;
}

interface PendingCall {
  link: Link;
  done(body: unknown): void;
  fail(error: Error): void;
}

export class Peers implements Rpc {
  readonly self: string;
  readonly #options: PeersOptions;
  readonly #handlers = new Map<string, RpcHandler>();
  readonly #guestMethods = new Set<string>();
  readonly #castHandlers = new Map<string, (body: unknown, from: string) => void>();
  readonly #links = new Map<string, Set<Link>>();
  readonly #calls = new Map<number, PendingCall>();
  readonly #serving = new Map<string, number>();
  readonly #limits: TransportLimits;
  readonly #traffic: Traffic;
  readonly #dialler: Dialler;
  readonly #connector: Connector;
  readonly #relay: Relay;
  #invites = 0;
  readonly #guests = new Map<Link, Guest>();
  readonly #guestCrowd: Crowd<Guest>;
  /** Of links that others opened. */
  readonly #origins = new WeakMap<Link, string>();
  readonly #linkEvents: LinkEvents;
  readonly #familiar = new FamiliarOrigins();
  readonly #idleLinks: IdleLinks;
  /** Links that gave way to newer ones. */
  readonly #gaveWay = { guests: 0, links: 0 };
  #linkDown: (node: string, why: string) => void = () => {};
  #lastCall = 0;
  #isStopping = false;
  #listener: Listener | undefined;

  constructor(options: PeersOptions) {
    this.self = options.self;
    this.#options = options;
    this.#limits = transportLimits(options.limits);
    const { guestsMax, guestsPerIpMax } = this.#limits;
    this.#traffic = new Traffic(this.#limits, options.clock.monotonicMs());
    this.#guestCrowd = new Crowd(guestsMax, guestsPerIpMax);
    this.#dialler = new Dialler({ ...options, limits: this.#limits });
    const { handshakeTimeoutMs: timeoutMs } = this.#limits;
    this.#connector = new Connector({
      ...options,
      dialler: this.#dialler,
      openLink: (node, lane) => this.#openLink(node, lane),
      adopt: ({ socket, hello }, whose) => {
        const link = this.#adopt(socket, whose);
        if (whose.lane === 'control') options.linkUp(whose.peer, hello);
        return link;
      },
      askBack: (node) => this.call(node, CALL_BACK, null, { timeoutMs }),
    });
    this.#relay = new Relay({
      ...options,
      limits: this.#limits,
      isNear: (node) => this.#isNear(node),
      invite: (node, ticket) => this.call(node, INVITE, ticket, { timeoutMs }),
    });
    this.#idleLinks = new IdleLinks({
      limits: this.#limits,
      clock: options.clock,
      open: () => this.#openLinks(),
      inUse: () => this.#linksInUse(),
    });
    this.serve(KEEP, (_body, from) => this.#keep(from));
    this.serve(INVITE, (ticket, relay) => this.#comeWith(String(ticket), relay));
    this.serve(CALL_BACK, (_body, from) => this.#connector.callBack(from));
    this.#linkEvents = {
      message: (from, message) => this.#receive(from, message),
      weighed: (from, { message, weight }) => {
        const isAwaited =
          message.kind === 'answer' && this.#pending(from, message.id) !== undefined;
        const nowMs = options.clock.monotonicMs();
        this.#traffic.weigh(this.#payerOf(from), weight, isAwaited, nowMs);
      },
      frame: (from, bytes) => {
        const nowMs = options.clock.monotonicMs();
        const payer = this.#payerOf(from);
        if (bytes > 0) this.#traffic.frame(payer, from.lane, bytes, nowMs);
        else this.#traffic.admit(payer, this.#classOf(from, 'cast'), nowMs);
      },
      restMs: (from) =>
        this.#traffic.restMs(this.#payerOf(from), from.lane, options.clock.monotonicMs()),
      unfinishedBytesMax: (from) =>
        options.isMember(from.peer) ? MEMBER_BYTES_MAX : GUEST_BYTES_MAX,
      down: (gone, why) => this.#down(gone, why),
    };
  }

  /**
   * Takes callers from now on; without an address only those that relays bring.
   *
   * @throws ListenError. @returns where: port 0 becomes a free one.
   */
  async listen(where: HostPort): Promise<HostPort>;
  async listen(where: HostPort | undefined): Promise<HostPort | undefined>;
  async listen(where: HostPort | undefined): Promise<HostPort | undefined> {
    this.#listener = await Listener.open({
      ...this.#options,
      where,
      limits: this.#limits,
      isFamiliar: (origin) => this.#familiar.has(origin),
      lanes: ['control', 'bulk'],
      accept: (peer, lane, hello) => this.#accept(peer, lane, hello),
      tunnel: (peer, asked) => this.#relay.take(peer, asked),
      opened: (socket, caller) => this.#opened(socket, caller),
    });
    return this.#listener.address;
  }

  counts(): TransportCounts {
    const { received, overRate, unsent, rests } = this.#traffic;
    const links = [...this.#links.values()].flatMap((each) => Array.from(each));
    const callers = this.#listener?.refused ?? { overRate: 0, gaveWay: 0, late: 0 };
    return {
      received: { ...received },
      overRate: { ...overRate },
      unsent: { ...unsent },
      rests,
      refused: { ...callers, ...this.#gaveWay },
      open: {
        handshakes: this.#listener?.pending ?? 0,
        members: links.length - this.#guests.size,
        guests: this.#guests.size,
      },
      queuedBytes: links.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0),
      relay: { ...this.#relay.counts },
    };
  }

  serve(method: string, handler: RpcHandler): void {
    this.#handlers.set(method, handler);
  }

  /** As `serve`, and guests may call it too. */
  serveGuests(method: string, handler: RpcHandler): void {
    this.serve(method, handler);
    this.#guestMethods.add(method);
  }

  /** Takes casts of members. */
  onCast(method: string, handler: (body: unknown, from: string) => void): void {
    this.#castHandlers.set(method, handler);
  }

  /** Who hears that the last control link to a peer is gone. */
  onLinkDown(linkDown: (node: string, why: string) => void): void {
    this.#linkDown = linkDown;
  }

  /** Whether a cast needs no connection first. */
  isLinked(node: string): boolean {
    return this.#openLink(node, 'control') !== undefined;
  }

  /** How the node, a member, is reached from now on, best first; see core/ways.ts. */
  setAddress(node: string, ...addresses: string[]): void {
    this.#dialler.ways.set(node, addresses);
    const [origin] = addresses.flatMap((each) => originOfAddress(each) ?? []);
    if (origin !== undefined) this.#familiar.note(node, 'address', origin);
  }

  /** Looks whether the node answers at the address. */
  reaches(node: string, address: string): Promise<boolean> {
    return this.#dialler.reaches(node, address);
  }

  /** The relay that carries what is said to the node. @returns undefined when it goes directly, or not at all. */
  via(node: string): string | undefined {
    return this.#openLink(node, 'control')?.via;
  }

  async call(node: string, method: string, body: unknown, options: CallOptions): Promise<unknown> {
    if (node === this.self) return this.#answerSelf(method, body, options);
    const id = ++this.#lastCall;
    const message = encodeMessage({ kind: 'request', id, method, body });
    const startedMs = this.#options.clock.monotonicMs();
    const lane = message.length > CONTROL_BYTES_MAX ? 'bulk' : 'control';
    const link = await this.#within(options.timeoutMs, this.#connector.link(node, lane), () =>
      unreachable(node, 'no connection in time'),
    );
    if (!this.#mayHear(node, method)) {
      const { message: why, code } = this.#refusal(node);
      throw new RpcError(why, { code, hint: 'nothing was sent; it may be in a moment' });
    }
    const leftMs = startedMs + options.timeoutMs - this.#options.clock.monotonicMs();
    return this.#request(link, id, method, message, leftMs);
  }

  /** Calls whoever answers at the address: how a node asks to join before it knows anybody. */
  async callAddress(
    address: string,
    method: string,
    body: unknown,
    options: CallOptions,
  ): Promise<{ peer: string; hello: Hello; body: unknown }> {
    const dialled = await this.#dialler.dial(address, 'control');
    const link = this.#adopt(dialled.socket, { peer: dialled.peer, lane: 'control' });
    const id = ++this.#lastCall;
    const message = encodeMessage({ kind: 'request', id, method, body });
    const answer = await this.#request(link, id, method, message, options.timeoutMs);
    return { peer: dialled.peer, hello: dialled.hello, body: answer };
  }

  /** Opens a link to whoever listens at the address. @returns the peer's id. */
  async greet(address: string): Promise<string> {
    const dialled = await this.#dialler.dial(address, 'control');
    this.#adopt(dialled.socket, { peer: dialled.peer, lane: 'control' });
    this.#options.linkUp(dialled.peer, dialled.hello);
    return dialled.peer;
  }

  /** Sends and forgets; what cannot be sent soon is dropped and counted. */
  cast(node: string, method: string, body: unknown): void {
    const message = encodeMessage({ kind: 'cast', method, body });
    const open = this.#openLink(node, 'control');
    if (open === undefined) {
      void this.#castLater(node, message);
      return;
    }
    this.#connector.tryDirect(open);
    this.#cast(open, message);
  }

  #cast(link: Link, message: Uint8Array): void {
    if (!this.#options.isMember(link.peer) || !link.send(message)) this.#traffic.unsent.cast++;
  }

  async #castLater(node: string, message: Uint8Array): Promise<void> {
    try {
      this.#cast(await this.#connector.link(node, 'control'), message);
    } catch {
      this.#traffic.unsent.cast++;
    }
  }

  /** Nodes with an open control link. */
  linked(): string[] {
    return [...this.#links.keys()].filter((node) => this.#openLink(node, 'control') !== undefined);
  }

  /** Ends the links to a node; they are dialled again when they are needed. */
  drop(node: string, why: string): void {
    for (const link of this.#links.get(node) ?? []) link.close(1000, why);
  }

  /** The machine may be elsewhere: ends the links that lead nowhere now. */
  doubtLinks(): void {
    for (const links of this.#links.values()) for (const link of links) link.doubt();
  }

  /** Who is a member no more is a guest from now on. */
  reviewMembers(): void {
    const isMember = (node: string): boolean => this.#options.isMember(node);
    this.#traffic.review(isMember);
    this.#familiar.review(isMember);
    for (const [node, links] of this.#links) {
      if (this.#options.isMember(node)) continue;
      for (const link of links) if (!this.#guests.has(link)) this.#holdGuest(link);
    }
  }

  async close(): Promise<void> {
    this.#isStopping = true;
    this.#dialler.close();
    this.#relay.close();
    this.#idleLinks.close();
    const closing = [...this.#links.values()].flatMap((links) => Array.from(links));
    await this.#connector.close();
    for (const link of closing) link.close(1001, 'the node stops');
    await Promise.all(closing.map((link) => link.closed));
    await this.#listener?.close();
  }

  #mayHear(node: string, method: string): boolean {
    return this.#guestMethods.has(method) || this.#options.isMember(node);
  }

  #refusal(node: string): AetherError {
    return this.#options.refusal?.(node) ?? notMember(node);
  }

  async #answerSelf(method: string, body: unknown, options: CallOptions): Promise<unknown> {
    return this.#within(options.timeoutMs, this.#handle(method, body, this.self), () =>
      this.#timeout(this.self, method),
    );
  }

  async #handle(method: string, body: unknown, from: string): Promise<unknown> {
    const handler = this.#handlers.get(method);
    if (handler === undefined) {
      throw new RpcError(`this node does not know the call ${method}`, {
        code: 'ERR_RING_UNKNOWN_METHOD',
        hint: 'bring all nodes to the same release',
      });
    }
    return handler(body, from);
  }

  #request(
    link: Link,
    id: number,
    method: string,
    message: Uint8Array,
    timeoutMs: number,
  ): Promise<unknown> {
    const answered = new Promise<unknown>((done, fail) => {
      this.#calls.set(id, { link, done, fail });
      if (method === KEEP) this.#idleLinks.keep(link, KEPT_MS);
      if (link.send(message)) return;
      this.#traffic.unsent[this.#classOf(link, 'request')]++;
      fail(unreachable(link.peer, 'its queue is full'));
    });
    return this.#within(timeoutMs, answered, () => this.#timeout(link.peer, method)).finally(() =>
      this.#calls.delete(id),
    );
  }

  /** The promise, or the error once the time is over. */
  async #within<T>(timeoutMs: number, promise: Promise<T>, late: () => Error): Promise<T> {
    let cancel = (): void => {};
    const over = new Promise<never>((_done, fail) => {
      cancel = this.#options.clock.after(Math.max(0, timeoutMs), () => fail(late()));
    });
    try {
      return await Promise.race([promise, over]);
    } finally {
      cancel();
    }
  }

  #timeout(node: string, method: string): RpcError {
    return new RpcError(`no answer to ${method} from ${node} in time`, {
      code: 'ERR_RING_TIMEOUT',
      hint: 'it may or may not have been done',
    });
  }

  /** The best one: who has opened a new link may have lost the old one without our knowing. */
  #openLink(node: string, lane: Lane): Link | undefined {
    let best: Link | undefined;
    for (const link of this.#links.get(node) ?? []) {
      if (link.lane !== lane || !link.isOpen) continue;
      if (best === undefined || best.via !== undefined || link.via === undefined) best = link;
    }
    return best;
  }

  #openLinks(): Link[] {
    return [...this.#links.values()].flatMap((each) => [...each].filter(({ isOpen }) => isOpen));
  }

  /** They wait for an answer, or are to carry one. */
  #linksInUse(): Set<Link> {
    const used = new Set(Array.from(this.#calls.values(), ({ link }) => link));
    for (const peer of this.#serving.keys())
      for (const link of this.#links.get(peer) ?? []) used.add(link);
    return used;
  }

  #isNear(node: string): boolean {
    const link = this.#openLink(node, 'control');
    return link !== undefined && link.via === undefined;
  }

  #keep(from: string): void {
    const link = this.#openLink(from, 'control');
    if (this.#limits.tunnelsMax > 0 && link !== undefined && link.via === undefined) {
      this.#idleLinks.keep(link, KEPT_MS);
      return;
    }
    throw new RpcError('this node is no relay, or not called directly');
  }

  async #comeWith(ticket: string, relay: string): Promise<void> {
    if (this.#invites >= INVITES_MAX) throw tooMany();
    this.#invites++;
    try {
      const stream = await this.#dialler.tunnel(relay, { kind: 'ticket', ticket });
      this.#listener?.take(stream, relay);
    } finally {
      this.#invites--;
    }
  }

  #accept(peer: string, lane: Lane | 'tunnel', hello: Hello): void {
    const own = this.#options.hello();
    if (peer === this.self)
      throw new AetherError('this node called itself', { code: 'ERR_RING_IDENTITY' });
    if (hello.lattice !== undefined && own.lattice !== undefined && hello.lattice !== own.lattice) {
      throw new AetherError(`this is lattice ${own.lattice}, not ${hello.lattice}`, {
        code: 'ERR_LATTICE_MISMATCH',
        hint: 'give the address of a node of your own lattice, or start on an empty data folder',
      });
    }
    this.#options.meet?.(peer, hello);
    if (lane !== 'control' && !this.#options.isMember(peer)) throw this.#refusal(peer);
  }

  #opened(socket: WebSocket, { hello, origin, ...whose }: Caller): void {
    const { peer, lane } = whose;
    const link = this.#adopt(socket, whose);
    this.#origins.set(link, origin);
    if (this.#options.isMember(peer)) this.#familiar.note(peer, 'call', origin);
    else this.#holdGuest(link);
    if (lane === 'control') this.#options.linkUp(peer, hello);
  }

  #holdGuest(link: Link): Guest {
    const guest: Guest = { link, origin: this.#origins.get(link) ?? '', calls: 0, messages: 0 };
    const oldest = this.#guestCrowd.add(guest, guest.origin);
    if (oldest !== undefined) {
      this.#gaveWay.guests++;
      oldest.link.close(1013, 'ERR_RING_BUSY: too many guests');
    }
    this.#guests.set(link, guest);
    const cancel = this.#options.clock.after(GUEST_TIMEOUT_MS, () => {
      this.#guestCrowd.delete(guest, guest.origin);
      this.#guests.delete(link);
      if (!this.#options.isMember(link.peer)) link.close(1008, 'ERR_RING_NOT_MEMBER');
    });
    void link.closed.finally(() => {
      cancel();
      this.#guestCrowd.delete(guest, guest.origin);
      this.#guests.delete(link);
    });
    return guest;
  }

  #adopt(socket: WebSocket, whose: Whose): Link {
    const { peer, lane } = whose;
    const link = new Link(socket, whose, this.#linkEvents, this.#options.clock);
    const links = this.#links.get(peer) ?? new Set();
    if (lane === 'control') for (const other of links) other.doubt();
    this.#links.set(peer, links.add(link));
    const [oldest, ...newer] = [...links].filter((each) => each.lane === lane && each.isOpen);
    if (newer.length >= this.#limits.linksPerPeerMax) {
      this.#gaveWay.links++;
      oldest?.close(1013, 'ERR_RING_BUSY: too many links of one node');
    }
    if (this.#isStopping) link.close(1001, 'the node stops');
    else this.#idleLinks.review();
    return link;
  }

  /** Whose buckets count: the peer's own if it is a member or this node called it, else those of all guests (none). */
  #payerOf(link: Link): string | undefined {
    return this.#options.isMember(link.peer) || !this.#origins.has(link) ? link.peer : undefined;
  }

  #classOf(link: Link, kind: Message['kind']): TrafficClass {
    return classOf(kind, link.lane, this.#payerOf(link) === undefined);
  }

  #down(link: Link, why: string): void {
    const links = this.#links.get(link.peer);
    links?.delete(link);
    if (links?.size === 0) {
      this.#links.delete(link.peer);
      this.#options.parted?.(link.peer);
    }
    for (const call of this.#calls.values()) {
      if (call.link !== link) continue;
      call.fail(
        new RpcError(`the connection to ${link.peer} ended before its answer: ${why}`, {
          code: 'ERR_RING_TIMEOUT',
          hint: 'it may or may not have been done',
        }),
      );
    }
    if (this.#isStopping || link.lane !== 'control' || why.endsWith(IDLE)) return;
    if (this.#openLink(link.peer, 'control') === undefined) this.#linkDown(link.peer, why);
  }

  #receive(link: Link, message: Message): void {
    const isMember = this.#options.isMember(link.peer);
    const isInRate = this.#traffic.admit(
      this.#payerOf(link),
      this.#classOf(link, message.kind),
      this.#options.clock.monotonicMs(),
    );
    if (!isMember && this.#isWearing(link, message)) return;
    switch (message.kind) {
      case 'request':
        if (isInRate) void this.#answer(link, message.id, message.method, message.body);
        else this.#send(link, encodeRefusal(message.id, errorBody(tooMany())));
        return;
      case 'answer':
        this.#pending(link, message.id)?.done(message.body);
        return;
      case 'refusal':
        this.#pending(link, message.id)?.fail(rebuildError(message.error));
        return;
      case 'cast':
        if (isMember && isInRate) this.#hear(message.method, message.body, link.peer);
        return;
      case 'part': // The link puts parts together.
        return;
    }
  }

  /** Whatever a peer sends, what its handler makes of it ends here. */
  #hear(method: string, body: unknown, from: string): void {
    try {
      this.#castHandlers.get(method)?.(body, from);
    } catch (error) {
      this.#options.log.error({ method, from, error }, 'a cast failed here');
    }
  }

  /** Ends the link to a guest that has said too much. */
  #isWearing(link: Link, { kind }: Message): boolean {
    const held = this.#guests.get(link);
    // Whom this node has called says what it was asked for.
    if (held === undefined && !this.#origins.has(link)) return false;
    const guest = held ?? this.#holdGuest(link);
    guest.messages++;
    if (kind === 'request') guest.calls++;
    if (guest.calls <= GUEST_CALLS_MAX && guest.messages <= GUEST_MESSAGES_MAX) return false;
    link.close(1008, 'ERR_RING_BUSY: a guest says too much');
    return true;
  }

  /** A call is answered by the node that was asked; another's answer is not heard. */
  #pending(link: Link, id: number): PendingCall | undefined {
    const call = this.#calls.get(id);
    return call?.link.peer === link.peer ? call : undefined;
  }

  async #answer(link: Link, id: number, method: string, body: unknown): Promise<void> {
    const from = link.peer;
    const serving = (this.#serving.get(from) ?? 0) + 1;
    this.#serving.set(from, serving);
    let reply: Uint8Array;
    try {
      if (!this.#mayHear(from, method)) throw this.#refusal(from);
      if (serving > SERVING_MAX) throw tooMany();
      const answer = await this.#handle(method, body, from);
      reply = encodeMessage({ kind: 'answer', id, body: answer });
    } catch (error) {
      if (!AetherError.is(error)) this.#options.log.error({ method, error }, 'a call failed here');
      reply = encodeRefusal(id, errorBody(error));
    } finally {
      const left = (this.#serving.get(from) ?? 1) - 1;
      if (left === 0) this.#serving.delete(from);
      else this.#serving.set(from, left);
    }
    await this.#reply(link, reply);
  }

  /** By the way the request came; a long one by the bulk lane when there is a way for it. */
  async #reply(link: Link, reply: Uint8Array): Promise<void> {
    if (link.lane === 'bulk' || !isLong(reply) || !this.#options.isMember(link.peer)) {
      this.#send(link, reply);
      return;
    }
    this.#send(await this.#connector.link(link.peer, 'bulk').catch(() => link), reply);
  }

  #send(link: Link, reply: Uint8Array): void {
    if (!link.send(reply)) this.#traffic.unsent[this.#classOf(link, 'answer')]++;
  }
}

function tooMany(): RpcError {
  return new RpcError('too many calls', {
    code: 'ERR_RING_BUSY',
    hint: 'nothing was done; ask again in a moment',
  });
}

export function notMember(node: string): AetherError {
  return new AetherError(`node ${node} is no member of this lattice`, {
    code: 'ERR_RING_NOT_MEMBER',
    hint: 'join with a token: aether up --join ADDRESS --token FILE',
  });
}

/** Details that are no plain value stay here; the rest of the error goes over. */
function encodeRefusal(id: number, error: ErrorBody): Uint8Array {
  try {
    return encodeMessage({ kind: 'refusal', id, error });
  } catch {
    const { details: _, ...rest } = error;
    return encodeMessage({ kind: 'refusal', id, error: rest });
  }
}
