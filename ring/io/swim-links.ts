/**
 * The sockets of membership: casts between members and nothing else.
 *
 * Where no such socket leads (no address is known, or nobody answers there) the message is handed back, to go by another
 * way; so is what goes to a member whose open link may be dead.
 */
import type { WebSocket } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { encodeMessage, type Message } from '../core/frame.ts';
import { FamiliarOrigins } from '../core/familiar-origins.ts';
import { Traffic } from '../core/traffic.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import { type HostPort, originOfAddress } from './address.ts';
import { dial, type Dialled } from './dial.ts';
import type { Hello } from './hello.ts';
import { IDLE, IdleLinks } from './idle-links.ts';
import { Link, type LinkEvents } from './link.ts';
import { Listener } from './listener.ts';
import { type ControlWay, SWIM } from './swim-protocol.ts';
import { type TransportCounts, transportCounts } from './transport-counts.ts';

/** The cast that shows a new certificate. */
const CERTIFICATE = 'certificate';
/** Of unfinished messages of one member: its view of a large lattice. */
const UNFINISHED_BYTES_MAX = 8 << 20;
/** Messages that wait for the first connection to a member. */
const WAITING_MAX = 64;
/** So long an address may take to become known: gossip brings those of newcomers. */
const ADDRESS_TIMEOUT_MS = 2_000;
/** What waits for a first connection that nobody takes goes another way after so long: a firewall that drops says nothing. */
const TAKEN_MS = 1_000;
/** And after so long when who has taken it does not come to the end of the handshake: it may stand still. */
const GREETED_MS = 3_000;
/** So long membership goes by the control link that is there: where many come at once, a link more to each would cost more than all news. */
const NEAR_MS = 1_000;
/** Then the one with the lower id dials, and the other one only after so long more: two links are one too many. */
const YIELD_MS = 500;
/** Rests before an address is dialled again at which nobody answered: doubled each time. */
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 30_000;

export interface SwimLinksOptions {
  self: string;
  key: string;
  certificate: string;
  limits: TransportLimits;
  clock: Clock;
  log: Log;
  hello(): Hello;
  isMember(node: string): boolean;
  /** A peer says of itself what `hello` holds. @throws AetherError to refuse it. */
  meet(node: string, hello: Hello): void;
  /** A member shows a new certificate. @throws AetherError to refuse it. */
  shown(node: string, certificate: unknown): void;
  /** News goes to the member: a link to it stays. */
  isNeighbor(node: string): boolean;
  /**
   * The member, or its machine, has taken a first connection, or is about to be dialled; or that is over: it is there, has
   * failed or takes too long. Also from within `send`.
   */
  dialling(node: string, isUnderWay: boolean): void;
  /** The last link to a member is gone, and not for being idle. */
  linkLost(node: string): void;
  heard(body: unknown, from: string): void;
  /** The message goes by the control lane or not at all. */
  handBack(node: string, cast: Uint8Array, by: ControlWay): void;
}

/** What is known of the way to a member. */
interface Way {
  address: string | undefined;
  /** It has said that it has none. */
  isClosed: boolean;
  /** Attempts since it was reached last. */
  failures: number;
  retryMs: number;
  isDialling: boolean;
  /** What is sent once a link is there. */
  waiting: Uint8Array[];
  /** While that waits for an address. */
  cancelHold: (() => void) | undefined;
  /** It was silent, and nothing has come by its links since. */
  isDoubted: boolean;
  /** There is a control link: it has spoken by that. */
  isNear: boolean;
  /** A link to it has opened, or it is not near after all. */
  reached: () => void;
}

export class SwimLinks {
  readonly #options: SwimLinksOptions;
  readonly #traffic: Traffic;
  readonly #familiar = new FamiliarOrigins();
  readonly #links = new Map<string, Set<Link>>();
  readonly #ways = new Map<string, Way>();
  readonly #dialling = new Set<Promise<void>>();
  readonly #linkEvents: LinkEvents;
  readonly #stopping = new AbortController();
  readonly #idleLinks: IdleLinks;
  #gaveWay = 0;
  #listener: Listener | undefined;

  constructor(options: SwimLinksOptions) {
    this.#options = options;
    const { clock } = options;
    const traffic = new Traffic(options.limits, clock.monotonicMs());
    this.#traffic = traffic;
    this.#linkEvents = {
      message: (link, message) => this.#receive(link, message),
      weighed: ({ peer }, { weight }) => traffic.weigh(peer, weight, false, clock.monotonicMs()),
      frame: ({ peer, lane }, bytes) => {
        if (bytes > 0) traffic.frame(peer, lane, bytes, clock.monotonicMs());
        else traffic.admit(peer, 'cast', clock.monotonicMs());
      },
      linksOf: ({ peer }) => this.#links.get(peer)?.size ?? 0,
      restMs: ({ peer, lane }) => traffic.restMs(peer, lane, clock.monotonicMs()),
      unfinishedBytesMax: () => UNFINISHED_BYTES_MAX,
      down: (link, why) => this.#down(link, why),
    };
    this.#idleLinks = new IdleLinks({
      limits: options.limits,
      clock,
      open: () => this.#openLinks(),
      inUse: () => new Set(this.#openLinks().filter(({ peer }) => options.isNeighbor(peer))),
    });
  }

  /** @throws ListenError. @returns where: port 0 becomes a free one. */
  async listen(where: HostPort): Promise<HostPort> {
    const options = this.#options;
    this.#listener = await Listener.open({
      ...options,
      where,
      lanes: ['swim'],
      accept: (peer, _lane, hello) => options.meet(peer, hello),
      isFamiliar: (origin) => this.#familiar.has(origin),
      tunnel: () => Promise.reject(noRelay()),
      opened: (socket, { peer, origin }) => {
        if (options.isMember(peer)) this.#familiar.note(peer, 'call', origin);
        this.#adopt(socket, peer);
      },
    });
    return this.#listener.address as HostPort;
  }

  /** Where the member is dialled from now on; undefined: it says that it is not. */
  setAddress(node: string, address: string | undefined): void {
    const way = this.#way(node);
    way.isClosed = address === undefined;
    if (way.address === address && !way.isClosed) return;
    way.address = address;
    way.retryMs = 0;
    const origin = address === undefined ? undefined : originOfAddress(address);
    if (origin !== undefined) this.#familiar.note(node, 'address', origin);
    if (!way.isDialling) for (const cast of takeWaiting(way)) this.send(node, cast);
  }

  /** Sends an encoded cast by a link, now or as soon as it is there, or hands it back. */
  send(node: string, cast: Uint8Array): void {
    const way = this.#way(node);
    const open = this.#openLink(node);
    if (open === undefined) {
      this.#sendLater(node, way, cast);
      return;
    }
    if (!open.send(cast)) this.#traffic.unsent.cast++;
    if (way.isDoubted) this.#options.handBack(node, cast, 'any');
  }

  /** As `send`, once the address is known; handed back for good when that takes too long. */
  hold(node: string, cast: Uint8Array): void {
    const way = this.#way(node);
    way.isNear = false;
    way.reached();
    if (way.address !== undefined || way.isClosed || this.isOpen(node)) {
      this.send(node, cast);
      return;
    }
    this.#wait(way, cast);
    way.cancelHold ??= this.#options.clock.after(ADDRESS_TIMEOUT_MS, () => {
      for (const each of takeWaiting(way)) this.#options.handBack(node, each, 'any');
    });
  }

  /** The member does not answer: until something comes by its links, another way is taken too. */
  doubt(node: string): void {
    this.#way(node).isDoubted = true;
  }

  /** The member has spoken by the control lane: though there is a link, it may have had no answer by that. */
  heardNear(node: string): void {
    this.doubt(node);
    this.#way(node).isNear = true;
  }

  /** The member is there again: that nobody answered at its address before is no reason to wait. */
  retry(node: string): void {
    const way = this.#way(node);
    way.failures = 0;
    way.retryMs = 0;
  }

  /** This node has slept: its links may be dead without showing it, and what came by them meanwhile is old. */
  slept(): void {
    for (const [node, way] of this.#ways) {
      this.retry(node);
      way.isNear = false;
    }
    for (const link of this.#openLinks()) link.close(1000, IDLE);
  }

  /** Shows the members to whom there is a link what this node is now; others see it in the hello. */
  show(certificate: Uint8Array): void {
    const cast = encodeMessage({ kind: 'cast', method: CERTIFICATE, body: certificate });
    for (const links of this.#links.values()) for (const link of links) link.send(cast);
  }

  isOpen(node: string): boolean {
    return this.#openLink(node) !== undefined;
  }

  /** Ends the links to a member; they are dialled again when they are needed. */
  drop(node: string, why: string): void {
    for (const link of this.#links.get(node) ?? []) link.close(1000, why);
  }

  /** Forgets whom the epoch does not name; who has a certificate to show yet is not forgotten. */
  review(members: ReadonlySet<string>): void {
    const isListed = (node: string): boolean => members.has(node);
    this.#traffic.review(isListed);
    this.#familiar.review(isListed);
    for (const node of this.#links.keys()) if (!isListed(node)) this.drop(node, 'no member');
    for (const [node, way] of this.#ways) {
      if (isListed(node)) continue;
      takeWaiting(way);
      this.#ways.delete(node);
    }
  }

  counts(): TransportCounts {
    return transportCounts({
      traffic: this.#traffic,
      listener: this.#listener,
      links: [...this.#links.values()].flatMap((each) => Array.from(each)),
      guests: 0,
      gaveWay: { guests: 0, links: this.#gaveWay },
      relay: { open: 0, opened: 0, refused: 0, bytes: 0 },
    });
  }

  /** What waits for a link is handed back. */
  async close(): Promise<void> {
    for (const [node, way] of this.#ways)
      for (const cast of takeWaiting(way)) this.#options.handBack(node, cast, 'any');
    this.#stopping.abort();
    this.#idleLinks.close();
    const closing = [...this.#links.values()].flatMap((links) => Array.from(links));
    await Promise.all(this.#dialling);
    for (const link of closing) link.close(1001, 'the node stops');
    await Promise.all(closing.map((link) => link.closed));
    await this.#listener?.close();
  }

  #way(node: string): Way {
    const known = this.#ways.get(node);
    if (known !== undefined) return known;
    const way: Way = {
      address: undefined,
      isClosed: false,
      failures: 0,
      retryMs: 0,
      isDialling: false,
      waiting: [],
      cancelHold: undefined,
      isDoubted: false,
      isNear: false,
      reached: () => {},
    };
    this.#ways.set(node, way);
    return way;
  }

  #openLink(node: string): Link | undefined {
    for (const link of this.#links.get(node) ?? []) if (link.isOpen) return link;
    return undefined;
  }

  #sendLater(node: string, way: Way, cast: Uint8Array): void {
    const options = this.#options;
    const { address } = way;
    if (address === undefined) {
      options.handBack(node, cast, way.isClosed ? 'any' : 'open');
      return;
    }
    if (!way.isDialling && options.clock.monotonicMs() >= way.retryMs) {
      const dialling = this.#connect(node, way, address);
      this.#dialling.add(dialling);
      void dialling.finally(() => this.#dialling.delete(dialling));
    }
    // Where nobody answered the last time, nothing waits for the outcome.
    if (!way.isDialling || way.failures > 0) options.handBack(node, cast, 'any');
    else if (way.isNear) options.handBack(node, cast, 'open');
    else {
      this.#wait(way, cast);
      // Where many come at once, a connection takes far longer than a message by one that is there.
      options.handBack(node, cast, 'copy');
    }
  }

  #wait(way: Way, cast: Uint8Array): void {
    if (way.waiting.length < WAITING_MAX) way.waiting.push(cast);
    else this.#traffic.unsent.cast++;
  }

  async #connect(node: string, way: Way, address: string): Promise<void> {
    const options = this.#options;
    const { self, key, certificate, limits, clock, log } = options;
    const { signal } = this.#stopping;
    const timeoutMs = limits.handshakeTimeoutMs;
    way.isDialling = true;
    const isFirst = way.failures === 0;
    const tell = (isUnderWay: boolean): void => {
      if (isFirst) options.dialling(node, isUnderWay);
    };
    if (way.isNear) {
      tell(true);
      await this.#rest(way, self < node ? NEAR_MS : NEAR_MS + YIELD_MS);
    }
    const giveUp = (): void => {
      tell(false);
      way.failures = Math.max(1, way.failures);
      for (const cast of takeWaiting(way)) options.handBack(node, cast, 'any');
    };
    let cancel = clock.after(TAKEN_MS, giveUp);
    try {
      if (!this.isOpen(node)) {
        const at = { address, node, key, certificate };
        const hello = options.hello();
        const taken = (): void => {
          cancel();
          tell(true);
          cancel = clock.after(GREETED_MS, giveUp);
        };
        const dialled = await dial({ ...at, hello, timeoutMs, signal, taken }, 'swim');
        this.#meet(dialled);
        this.#adopt(dialled.socket, node);
      }
      way.isDialling = false;
    } catch (error) {
      way.isDialling = false;
      const restMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** way.failures);
      if (way.address === address) way.retryMs = clock.monotonicMs() + restMs;
      way.failures++;
      log.debug({ node, address, error: errorBody(error) }, 'its membership was not reached');
      if (signal.aborted) return;
      for (const cast of takeWaiting(way)) options.handBack(node, cast, 'any');
    } finally {
      cancel();
      tell(false);
    }
  }

  /** Over when the member has dialled, or is not near after all. */
  async #rest(way: Way, restMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { signal } = this.#stopping;
    const cancel = this.#options.clock.after(restMs, resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    way.reached = resolve;
    await promise;
    cancel();
  }

  #meet({ socket, peer, hello }: Dialled): void {
    try {
      this.#options.meet(peer, hello);
    } catch (error) {
      socket.terminate();
      throw error;
    }
  }

  #adopt(socket: WebSocket, peer: string): void {
    const { clock } = this.#options;
    const link = new Link(socket, { peer, lane: 'swim' }, this.#linkEvents, clock);
    const links = this.#links.get(peer) ?? new Set();
    this.#links.set(peer, links.add(link));
    const way = this.#way(peer);
    way.failures = 0;
    way.isDoubted = false;
    way.reached();
    const [oldest, ...newer] = [...links].filter((each) => each.isOpen);
    if (newer.length >= this.#options.limits.linksPerPeerMax) {
      this.#gaveWay++;
      oldest?.close(1013, 'ERR_RING_BUSY: too many links of one node');
    }
    if (this.#stopping.signal.aborted) link.close(1001, 'the node stops');
    else {
      for (const cast of takeWaiting(way)) this.send(peer, cast);
      this.#idleLinks.review();
    }
  }

  #openLinks(): Link[] {
    return [...this.#links.values()].flatMap((links) => [...links].filter(({ isOpen }) => isOpen));
  }

  #receive(link: Link, message: Message): void {
    const options = this.#options;
    const { peer } = link;
    const isInRate = this.#traffic.admit(peer, 'cast', options.clock.monotonicMs());
    if (!isInRate) return;
    const method = message.kind === 'cast' ? message.method : '';
    if (message.kind === 'cast' && method === CERTIFICATE) this.#shown(link, message.body);
    else if (!options.isMember(peer)) link.close(1008, 'ERR_RING_NOT_MEMBER');
    else if (message.kind === 'cast' && method === SWIM) {
      this.#way(peer).isDoubted = false;
      options.heard(message.body, peer);
    } else link.close(1008, 'ERR_RING_PROTOCOL: membership and nothing else');
  }

  #shown(link: Link, certificate: unknown): void {
    try {
      this.#options.shown(link.peer, certificate);
    } catch (error) {
      link.close(1008, errorBody(error).code);
    }
  }

  #down(link: Link, why: string): void {
    const links = this.#links.get(link.peer);
    links?.delete(link);
    if (links?.size === 0) this.#links.delete(link.peer);
    if (this.#stopping.signal.aborted || this.isOpen(link.peer) || why.endsWith(IDLE)) return;
    this.#options.linkLost(link.peer);
  }
}

function takeWaiting(way: Way): Uint8Array[] {
  way.cancelHold?.();
  way.cancelHold = undefined;
  return way.waiting.splice(0);
}

function noRelay(): AetherError {
  return new AetherError('the thread of membership carries nothing for others', {
    code: 'ERR_RING_PROTOCOL',
    hint: 'ask the node at its own address',
  });
}
