/**
 * Calls and casts between nodes, over links that are dialled when they are needed: directly, or through a relay to who
 * cannot be dialled. A direct link is used before a relayed one, and a newer one before an older.
 *
 * A peer that is no member of the epoch is a guest (guests.ts): it may ask for what `serveGuests` names and nothing else.
 * Membership is asked for at every message, so a change of the epoch takes effect on links that are open already, and so
 * does the end of a certificate. The same holds the other way: a guest is asked for nothing else.
 */
import type { WebSocket } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { FamiliarOrigins } from '../core/familiar-origins.ts';
import { encodeMessage, isLong, type Message, MESSAGE_BYTES_MAX } from '../core/frame.ts';
import { classOf, type Lane, Traffic, type TrafficClass } from '../core/traffic.ts';
import { type TransportLimits, transportLimits } from '../core/transport-limits.ts';
import { type CallOptions, type Rpc, RpcError, type RpcHandler } from '../rpc.ts';
import { type HostPort, originOfAddress } from './address.ts';
import { Connector, unreachable } from './connector.ts';
import { within } from './deadline.ts';
import { Dialler } from './dialler.ts';
import { Guests } from './guests.ts';
import type { Hello } from './hello.ts';
import { IDLE, IdleLinks } from './idle-links.ts';
import { Link, type LinkEvents, type Whose } from './link.ts';
import { LinkTable } from './link-table.ts';
import { type Caller, Listener } from './listener.ts';
import { Relay } from './relay.ts';
import { lateAnswer, type Request, RpcClient } from './rpc-client.ts';
import { encodeTooMany, RpcServer, tooManyCalls } from './rpc-server.ts';
import { type TransportCounts, transportCounts } from './transport-counts.ts';

/** Longer messages go by the bulk lane. */
const CONTROL_BYTES_MAX = 16 << 10;
/** Of unfinished messages: an epoch of a large lattice. */
const GUEST_BYTES_MAX = 1 << 20;
/** Of unfinished messages: an honest sender finishes one before it begins the next. */
const MEMBER_BYTES_MAX = MESSAGE_BYTES_MAX * 2;
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
  /** The peer says that this node is out of the lattice, and takes no link of it. */
  putOut?(by: string): void;
  /** A link to the peer has opened; `hello` is what it said of itself. */
  linkUp(node: string, hello: Hello): void;
  /** The last link to the peer is gone. */
  parted?(node: string): void;
  limits?: Partial<TransportLimits>;
}

export class Peers implements Rpc {
  readonly self: string;
  readonly #options: PeersOptions;
  readonly #server: RpcServer;
  readonly #client: RpcClient;
  readonly #links: LinkTable;
  readonly #limits: TransportLimits;
  readonly #traffic: Traffic;
  readonly #dialler: Dialler;
  readonly #connector: Connector;
  readonly #relay: Relay;
  #invites = 0;
  readonly #guests: Guests;
  /** Of links that others opened. */
  readonly #origins = new WeakMap<Link, string>();
  readonly #linkEvents: LinkEvents;
  readonly #familiar = new FamiliarOrigins();
  readonly #idleLinks: IdleLinks;
  #linkDown: (node: string, why: string) => void = () => {};
  #isStopping = false;
  #listener: Listener | undefined;

  constructor(options: PeersOptions) {
    this.self = options.self;
    this.#options = options;
    this.#limits = transportLimits(options.limits);
    this.#server = new RpcServer({ ...options, refusal: (node) => this.#refusal(node) });
    this.#client = new RpcClient(options.clock);
    this.#links = new LinkTable(this.#limits.linksPerPeerMax);
    this.#guests = new Guests({
      ...options,
      limits: this.#limits,
      originOf: (link) => this.#origins.get(link),
    });
    this.#traffic = new Traffic(this.#limits, options.clock.monotonicMs());
    this.#dialler = new Dialler({ ...options, limits: this.#limits });
    const { handshakeTimeoutMs: timeoutMs } = this.#limits;
    this.#connector = new Connector({
      ...options,
      dialler: this.#dialler,
      openLink: (node, lane) => this.#links.best(node, lane),
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
      open: () => this.#links.open(),
      inUse: () => this.#linksInUse(),
    });
    this.serve(KEEP, (_body, from) => this.#keep(from));
    this.serve(INVITE, (ticket, relay) => this.#comeWith(String(ticket), relay));
    this.serve(CALL_BACK, (_body, from) => this.#connector.callBack(from));
    this.#linkEvents = {
      message: (from, message) => this.#receive(from, message),
      weighed: (from, { message, weight }) => {
        const isAwaited = this.#client.isAwaited(from, message);
        const nowMs = options.clock.monotonicMs();
        this.#traffic.weigh(this.#payerOf(from), weight, isAwaited, nowMs);
      },
      frame: (from, bytes) => {
        const nowMs = options.clock.monotonicMs();
        const payer = this.#payerOf(from);
        if (bytes > 0) this.#traffic.frame(payer, from.lane, bytes, nowMs);
        else this.#traffic.admit(payer, this.#classOf(from, 'cast'), nowMs);
      },
      linksOf: ({ peer }) => this.#links.countOf(peer),
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

  /** Whether connections have come whose caller is not known yet. */
  get isCalled(): boolean {
    return (this.#listener?.pending ?? 0) > 0;
  }

  counts(): TransportCounts {
    const { size: guests, gaveWay } = this.#guests;
    return transportCounts({
      traffic: this.#traffic,
      listener: this.#listener,
      links: this.#links.all(),
      guests,
      gaveWay: { guests: gaveWay, links: this.#links.gaveWay },
      relay: this.#relay.counts,
    });
  }

  serve(method: string, handler: RpcHandler): void {
    this.#server.serve(method, handler);
  }

  /** As `serve`, and guests may call it too. */
  serveGuests(method: string, handler: RpcHandler): void {
    this.#server.serveGuests(method, handler);
  }

  /** Takes casts of members. */
  onCast(method: string, handler: (body: unknown, from: string) => void): void {
    this.#server.onCast(method, handler);
  }

  /** Who hears that the last control link to a peer is gone. */
  onLinkDown(linkDown: (node: string, why: string) => void): void {
    this.#linkDown = linkDown;
  }

  /** Whether a cast needs no connection first. */
  isLinked(node: string): boolean {
    return this.#links.best(node, 'control') !== undefined;
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
    return this.#links.best(node, 'control')?.via;
  }

  async call(node: string, method: string, body: unknown, options: CallOptions): Promise<unknown> {
    if (node === this.self) return this.#answerSelf(method, body, options);
    const { clock } = this.#options;
    const request = this.#client.request(method, body);
    const startedMs = clock.monotonicMs();
    const lane = request.message.length > CONTROL_BYTES_MAX ? 'bulk' : 'control';
    const late = (): Error => unreachable(node, 'no connection in time');
    const link = await within(options.timeoutMs, this.#connector.link(node, lane), late, clock);
    if (!this.#server.isFor(node, method)) {
      const { message: why, code } = this.#refusal(node);
      throw new RpcError(why, { code, hint: 'nothing was sent; it may be in a moment' });
    }
    return this.#request(link, request, startedMs + options.timeoutMs - clock.monotonicMs());
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
    const request = this.#client.request(method, body);
    const answer = await this.#request(link, request, options.timeoutMs);
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
    const open = this.#links.best(node, 'control');
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
    return this.#links.peers().filter((node) => this.#links.best(node, 'control') !== undefined);
  }

  /** Ends the links to a node; they are dialled again when they are needed. */
  drop(node: string, why: string): void {
    for (const link of this.#links.of(node)) link.close(1000, why);
  }

  /** The machine may be elsewhere: ends the links that lead nowhere now. */
  doubtLinks(): void {
    for (const link of this.#links.all()) link.doubt();
  }

  /** Who is a member no more is a guest from now on. */
  reviewMembers(): void {
    const isMember = (node: string): boolean => this.#options.isMember(node);
    this.#traffic.review(isMember);
    this.#familiar.review(isMember);
    for (const link of this.#links.all()) if (!isMember(link.peer)) this.#guests.hold(link);
  }

  async close(): Promise<void> {
    this.#isStopping = true;
    this.#dialler.close();
    this.#relay.close();
    this.#idleLinks.close();
    const closing = this.#links.all();
    await this.#connector.close();
    for (const link of closing) link.close(1001, 'the node stops');
    await Promise.all(closing.map((link) => link.closed));
    await this.#listener?.close();
  }

  #refusal(node: string): AetherError {
    return this.#options.refusal?.(node) ?? notMember(node);
  }

  #answerSelf(method: string, body: unknown, { timeoutMs }: CallOptions): Promise<unknown> {
    const late = (): Error => lateAnswer(this.self, method);
    const answered = this.#server.handle(method, body, this.self);
    return within(timeoutMs, answered, late, this.#options.clock);
  }

  #request(link: Link, request: Request, timeoutMs: number): Promise<unknown> {
    if (request.method === KEEP) this.#idleLinks.keep(link, KEPT_MS);
    return this.#client.send(link, request, timeoutMs, () => {
      this.#traffic.unsent[this.#classOf(link, 'request')]++;
      return unreachable(link.peer, 'its queue is full');
    });
  }

  /** They wait for an answer, or are to carry one. */
  #linksInUse(): Set<Link> {
    const used = new Set(this.#client.links());
    for (const peer of this.#server.callers())
      for (const link of this.#links.of(peer)) used.add(link);
    return used;
  }

  #isNear(node: string): boolean {
    const link = this.#links.best(node, 'control');
    return link !== undefined && link.via === undefined;
  }

  #keep(from: string): void {
    const link = this.#links.best(from, 'control');
    if (this.#limits.tunnelsMax > 0 && link !== undefined && link.via === undefined) {
      this.#idleLinks.keep(link, KEPT_MS);
      return;
    }
    throw new RpcError('this node is no relay, or not called directly');
  }

  async #comeWith(ticket: string, relay: string): Promise<void> {
    if (this.#invites >= INVITES_MAX) throw tooManyCalls();
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
    else this.#guests.hold(link);
    if (lane === 'control') this.#options.linkUp(peer, hello);
  }

  #adopt(socket: WebSocket, whose: Whose): Link {
    const link = new Link(socket, whose, this.#linkEvents, this.#options.clock);
    if (whose.lane === 'control') for (const other of this.#links.of(whose.peer)) other.doubt();
    this.#links.add(link);
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
    if (this.#links.delete(link)) this.#options.parted?.(link.peer);
    this.#client.down(link, why);
    if (this.#isStopping || link.lane !== 'control' || why.endsWith(IDLE)) return;
    if (this.#links.best(link.peer, 'control') === undefined) this.#linkDown(link.peer, why);
  }

  #receive(link: Link, message: Message): void {
    const isMember = this.#options.isMember(link.peer);
    const isInRate = this.#traffic.admit(
      this.#payerOf(link),
      this.#classOf(link, message.kind),
      this.#options.clock.monotonicMs(),
    );
    if (!isMember && this.#guests.isWearing(link, message)) return;
    switch (message.kind) {
      case 'request':
        if (isInRate) void this.#answer(link, message.id, message.method, message.body);
        else this.#send(link, encodeTooMany(message.id));
        return;
      case 'answer':
      case 'refusal':
        this.#client.answered(link, message);
        return;
      case 'cast':
        if (isMember && isInRate) this.#server.hear(message.method, message.body, link.peer);
        return;
      case 'part': // The link puts parts together.
        return;
    }
  }

  async #answer(link: Link, id: number, method: string, body: unknown): Promise<void> {
    await this.#reply(link, await this.#server.answer(id, method, body, link.peer));
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

export function notMember(node: string): AetherError {
  return new AetherError(`node ${node} is no member of this lattice`, {
    code: 'ERR_RING_NOT_MEMBER',
    hint: 'join with a token: aether up --join ADDRESS --token FILE',
  });
}
