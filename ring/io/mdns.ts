/**
 * Multicast DNS (RFC 6762) for members and newcomers of a local network: a member answers, on the network that its own address
 * is of; a newcomer asks once on each of its networks (a one-shot query, §5.1) and is answered directly.
 *
 * No names are probed for: they are made of the node's key, which nobody else has.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../spec/clock.ts';
import { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { type Random, randomInt } from '../../spec/random.ts';
import {
  type Announcement,
  announcedAddresses,
  announcementRecords,
  asksForMembers,
  SERVICE,
} from '../core/announcement.ts';
import { decodeDnsMessage, type DnsMessage, encodeDnsMessage } from '../core/dns-message.ts';
import { TokenBucket } from '../core/token-bucket.ts';

const GROUP = '224.0.0.251';
const PORT = 5_353;
/** Packets of mDNS never leave the network; this shows it (§11). */
const HOPS = 255;
const ANSWERS_PER_SECOND = 20;
/** Many members answer one question: not all at once (§6). */
const ANSWER_SPREAD_MS = 100;
/** Announcements at the start (§8.3). */
const ANNOUNCE_AGAIN_MS = 1_000;
const ASK_AGAIN_MS = 300;
const BROWSE_MS = 1_000;
export const ADDRESSES_MAX = 64;

export interface MdnsOptions {
  clock: Clock;
  random: Random;
  log: Log;
  /** Default 5353. */
  port?: number;
}

export interface Network {
  address: string;
  netmask: string;
}

/** A member that can be found on its local network until it is closed. */
export class Announcer {
  readonly #socket: Socket;
  readonly #options: MdnsOptions;
  readonly #announcement: Announcement;
  readonly #neighbours = new BlockList();
  readonly #answers: TokenBucket;
  readonly #waits = new Set<() => void>();

  private constructor(socket: Socket, announcement: Announcement, options: MdnsOptions) {
    this.#socket = socket;
    this.#announcement = announcement;
    this.#options = options;
    const nowMs = options.clock.monotonicMs();
    this.#answers = new TokenBucket(ANSWERS_PER_SECOND, ANSWERS_PER_SECOND, nowMs);
  }

  /**
   * @throws AetherError as `networkOf`; ERR_RING_MDNS when the network takes no multicast. Nothing is left open.
   */
  static async open(announcement: Announcement, options: MdnsOptions): Promise<Announcer> {
    const network = networkOf(announcement.host);
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    const announcer = new Announcer(socket, announcement, options);
    announcer.#neighbours.addSubnet(network.address, prefixOf(network.netmask));
    socket.on('message', (bytes, from) => announcer.#receive(bytes, from));
    try {
      await bind(socket, options.port ?? PORT, '0.0.0.0', network.address);
      socket.addMembership(GROUP, network.address);
    } catch (cause) {
      socket.close();
      throw new AetherError(`this node cannot be announced on ${network.address}`, {
        code: 'ERR_RING_MDNS',
        hint: 'the network has to carry multicast, and UDP port 5353 must not be taken for one program alone',
        cause,
      });
    }
    socket.on('error', (error) => options.log.warn({ error }, 'mDNS failed'));
    announcer.#tellAll();
    announcer.#after(ANNOUNCE_AGAIN_MS, () => announcer.#tellAll());
    return announcer;
  }

  /** Takes the announcement back. */
  async close(): Promise<void> {
    for (const cancel of this.#waits) cancel();
    const records = announcementRecords(this.#announcement, 0);
    await this.#send({ id: 0, isResponse: true, questions: [], records });
    await new Promise<void>((done) => this.#socket.close(done));
  }

  #receive(bytes: Uint8Array, from: RemoteInfo): void {
    // §11: what comes from elsewhere would make this node answer to whoever it names.
    if (!this.#neighbours.check(from.address)) return;
    const query = decodeDnsMessage(bytes);
    const asked = query === undefined ? undefined : asksForMembers(query);
    if (query === undefined || asked === undefined) return;
    if (!this.#answers.tryTake(1, this.#options.clock.monotonicMs())) return;
    const isOneShot = from.port !== (this.#options.port ?? PORT);
    const records = announcementRecords(this.#announcement);
    // §6.7: who asks from another port is a plain resolver and wants its question back.
    const answer: DnsMessage = isOneShot
      ? { id: query.id, isResponse: true, questions: query.questions, records }
      : { id: 0, isResponse: true, questions: [], records };
    this.#after(1 + randomInt(this.#options.random, ANSWER_SPREAD_MS), () => {
      void this.#send(answer, isOneShot || asked === 'asker' ? from : undefined);
    });
  }

  #tellAll(): void {
    const records = announcementRecords(this.#announcement);
    void this.#send({ id: 0, isResponse: true, questions: [], records });
  }

  #send(message: DnsMessage, to?: RemoteInfo): Promise<void> {
    const [port, host] = [to?.port ?? this.#options.port ?? PORT, to?.address ?? GROUP];
    return send(this.#socket, message, port, host);
  }

  #after(delayMs: number, act: () => void): void {
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#waits.delete(cancel);
      act();
    });
    this.#waits.add(cancel);
  }
}

/**
 * Asks who is there, for a second at most.
 *
 * @returns addresses of members of the lattice, in the order in which they answered; over at the first answers
 */
export async function browse(lattice: Uint8Array, options: MdnsOptions): Promise<string[]> {
  const { clock, random, port = PORT } = options;
  const found = new Set<string>();
  const query: DnsMessage = {
    id: randomInt(random, 0x10000),
    isResponse: false,
    questions: [{ name: SERVICE, type: 'PTR', isUnicast: true }],
    records: [],
  };
  const sockets = await Promise.all(
    networks().map(async ({ address }) => {
      const socket = createSocket('udp4');
      socket.on('message', (bytes) => {
        const answer = decodeDnsMessage(bytes);
        if (answer?.id !== query.id) return;
        for (const each of announcedAddresses(answer, lattice))
          if (found.size < ADDRESSES_MAX) found.add(each);
      });
      // A network without multicast has nobody to be found on.
      await bind(socket, 0, address, address).catch(() => {});
      return socket;
    }),
  );
  const wait = (forMs: number): Promise<void> =>
    new Promise((done) => void clock.after(forMs, done));
  try {
    const endMs = clock.monotonicMs() + BROWSE_MS;
    while (found.size === 0 && clock.monotonicMs() < endMs) {
      await Promise.all(sockets.map((socket) => send(socket, query, port, GROUP)));
      await wait(ASK_AGAIN_MS);
    }
  } finally {
    for (const socket of sockets) socket.close();
  }
  return [...found];
}

/** The network on which a node with this host can be announced. @throws AetherError ERR_RING_OPTION when there is none */
export function networkOf(host: string): Network {
  const network = networks().find(({ address }) => address === host);
  if (network !== undefined) return network;
  throw new AetherError(`${host} is no IPv4 address of this machine, to be announced there`, {
    code: 'ERR_RING_OPTION',
    hint: 'with --mdns, listen on an address of the network to be found on, or on 0.0.0.0',
  });
}

function networks(): Network[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family }) => family === 'IPv4');
}

async function bind(socket: Socket, port: number, host: string, network: string): Promise<void> {
  socket.bind({ port, address: host });
  await once(socket, 'listening');
  socket.setMulticastInterface(network);
  socket.setMulticastTTL(HOPS);
}

/** What cannot be sent is not: the other side asks again, or another one answers. */
function send(socket: Socket, message: DnsMessage, port: number, host: string): Promise<void> {
  return new Promise((done) => {
    socket.send(encodeDnsMessage(message), port, host, () => done());
  });
}

function prefixOf(netmask: string): number {
  return netmask
    .split('.')
    .reduce((bits, part) => bits + Number(part).toString(2).replaceAll('0', '').length, 0);
}
