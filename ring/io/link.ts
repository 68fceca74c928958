/**
 * One socket to one proven peer: messages in and out, batched into one write per turn of the loop.
 *
 * Whatever breaks the format closes this socket, with the reason, and nothing else. Messages are decoded a few at a time,
 * and nothing is read while some wait here or the peer is over its rates, so that what it sends too much waits at its own end.
 */
import type { ServerOptions, WebSocket } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { AetherError } from '../../spec/error.ts';
import {
  encodeParts,
  FRAME_BYTES_MAX,
  FrameBatch,
  FrameReader,
  FrameTooLargeError,
  isLong,
  type Message,
  Reassembly,
  type WeighedMessage,
} from '../core/frame.ts';
import { type Lane, TURN_WEIGHT } from '../core/traffic.ts';

/** Bytes that wait to be written; more are refused. */
const QUEUE_BYTES_MAX: Record<Lane, number> = {
  control: 8 << 20,
  bulk: 64 << 20,
  swim: 8 << 20,
};
/** How long a peer may take to answer our closing. */
const CLOSE_GRACE_MS = 1_000;
/** How long a link that is doubted may be silent. */
const DOUBT_MS = 3_000;
/** Between answers to pings. */
const PONG_INTERVAL_MS = 100;
/** Messages of one peer that are handled before others have their turn. */
const TURN_MESSAGES_MAX = 32;

/** How the socket of a link is to be opened. */
export const SOCKET_OPTIONS: Pick<
  ServerOptions,
  'perMessageDeflate' | 'maxPayload' | 'maxFragments' | 'autoPong' | 'allowSynchronousEvents'
> = {
  perMessageDeflate: false,
  // Twice the limit: what is a little over it is answered with the reason.
  maxPayload: FRAME_BYTES_MAX * 2,
  // No node sends a frame in pieces. Ten thousand empty ones fit into a read, and ws takes them all in one go, unseen by the rates.
  maxFragments: 1,
  autoPong: false,
  // One read brings thousands of short frames or pings: one in each turn of the loop, so that others have theirs.
  allowSynchronousEvents: false,
};

/** Whose link it is, and which of its links. */
export interface Whose {
  peer: string;
  lane: Lane;
  /** The relay that carries it; none: it is direct. */
  via?: string;
}

export interface LinkEvents {
  message(link: Link, message: Message): void;
  /** Before each message: what it took to decode it. */
  weighed(link: Link, weighed: WeighedMessage): void;
  /** So many bytes have come in a frame; 0: a ping or its answer. */
  frame(link: Link, bytes: number): void;
  /** How many links the peer has, 1 or more: they share its turn. */
  linksOf(link: Link): number;
  /** How long the peer is not to be read from; 0 = it may go on. */
  restMs(link: Link): number;
  /** What unfinished messages of the peer may have in all. */
  unfinishedBytesMax(link: Link): number;
  /** Once. @param why the close code and reason, or the error. */
  down(link: Link, why: string): void;
}

export class Link {
  readonly peer: string;
  readonly lane: Lane;
  /** The relay that carries it; none: it is direct. */
  readonly via: string | undefined;
  /** Fulfilled once the socket is gone. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #events: LinkEvents;
  readonly #clock: Clock;
  /** What came and waits to be decoded, in order: frames that one read brought, and that have messages left. */
  #inbox: FrameReader[] = [];
  #nextTurn: NodeJS.Immediate | undefined;
  #cancelRest: (() => void) | undefined;
  readonly #batch = new FrameBatch();
  readonly #reassembly = new Reassembly();
  #flush: NodeJS.Immediate | undefined;
  /** What the last ping brought: one answer to several is enough (RFC 6455 §5.5.3). */
  #unanswered: Buffer | undefined;
  #cancelPong: (() => void) | undefined;
  #queuedBytes = 0;
  #streams = 0;
  /** When something was last sent or heard here. */
  usedMs: number;
  #isOpen = true;
  /** Frames of any kind that have come. */
  #heard = 0;
  #cancelDoubt: (() => void) | undefined;
  #fault: string | undefined;

  constructor(socket: WebSocket, whose: Whose, events: LinkEvents, clock: Clock) {
    this.peer = whose.peer;
    this.lane = whose.lane;
    this.via = whose.via;
    this.#socket = socket;
    this.#events = events;
    this.#clock = clock;
    this.usedMs = clock.monotonicMs();
    socket.on('message', (data, isBinary) => {
      this.#heard++;
      if (this.#isOpen) this.#receive(data as Buffer, isBinary);
    });
    socket.on('pong', () => this.#beat());
    socket.on('ping', (data) => {
      this.#unanswered = data;
      this.#pong();
      this.#beat();
    });
    socket.on('error', (error) => {
      this.#fault ??= error.message;
    });
    this.closed = new Promise((done) => {
      socket.once('close', (code, reason) => {
        this.#isOpen = false;
        this.#stopReading();
        this.#cancelDoubt?.();
        this.#cancelPong?.();
        if (this.#flush !== undefined) clearImmediate(this.#flush);
        events.down(this, this.#fault ?? `closed with ${code} ${reason.toString()}`.trimEnd());
        done();
      });
    });
  }

  /** Bytes that wait to be written. */
  get queuedBytes(): number {
    return this.#queuedBytes + this.#socket.bufferedAmount;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Queues an encoded message.
   *
   * @returns false when the link is down or its queue is full: nothing will be sent.
   */
  send(message: Uint8Array): boolean {
    const wanted = this.queuedBytes + message.length;
    if (!this.#isOpen || wanted > QUEUE_BYTES_MAX[this.lane]) return false;
    this.usedMs = this.#clock.monotonicMs();
    if (isLong(message))
      for (const part of encodeParts(this.#streams++, message)) this.#queue(part);
    else this.#queue(message);
    return true;
  }

  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#write(this.#batch.take());
    this.#isOpen = false;
    this.#fault ??= reason;
    this.#stopReading();
    this.#socket.close(code, reason);
    this.#socket.resume(); // Its answer to that is still read.
    const grace = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    this.#socket.once('close', () => clearTimeout(grace));
  }

  /**
   * Ends the link unless something goes over it soon. It may be lost without our knowing, as when the peer opens another or
   * this machine has slept: what is sent on it meets nobody, and TCP tries for a quarter of an hour.
   */
  doubt(): void {
    if (!this.#isOpen || this.#cancelDoubt !== undefined) return;
    const [heard, queuedBytes] = [this.#heard, this.queuedBytes];
    this.#socket.ping();
    this.#cancelDoubt = this.#clock.after(DOUBT_MS, () => {
      this.#cancelDoubt = undefined;
      if (this.#heard > heard) return;
      if (this.#socket.isPaused || this.queuedBytes < queuedBytes) this.doubt();
      else this.#socket.terminate();
    });
  }

  #queue(message: Uint8Array): void {
    this.#queuedBytes += message.length;
    this.#write(this.#batch.add(message));
    this.#flushSoon();
  }

  #flushSoon(): void {
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      this.#queuedBytes = 0;
      this.#write(this.#batch.take());
    });
  }

  /** Answers the last ping, unless it has just answered one: then in a while. */
  #pong(): void {
    const ping = this.#unanswered;
    if (ping === undefined || this.#cancelPong !== undefined || !this.#isOpen) return;
    this.#unanswered = undefined;
    // What waits to be written is a sign of life as well.
    if (this.#socket.bufferedAmount === 0) this.#socket.pong(ping);
    this.#cancelPong = this.#clock.after(PONG_INTERVAL_MS, () => {
      this.#cancelPong = undefined;
      this.#pong();
    });
  }

  /** A ping or its answer has come. */
  #beat(): void {
    this.#heard++;
    if (!this.#isOpen) return;
    this.#events.frame(this, 0);
    this.#rest();
  }

  #write(frame: Uint8Array | undefined): void {
    if (frame !== undefined && this.#isOpen) this.#socket.send(frame);
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#orClose(() => {
      if (!isBinary) throw new AetherError('a text frame', { code: 'ERR_RING_FRAME_MALFORMED' });
      this.usedMs = this.#clock.monotonicMs();
      this.#events.frame(this, data.length);
      const reader = new FrameReader(data);
      if (reader.left > 0) this.#inbox.push(reader);
      if (this.#nextTurn === undefined && this.#cancelRest === undefined) this.#handle();
    });
  }

  #handle(): void {
    const share = 1 / this.#events.linksOf(this);
    let weight = 0;
    for (let i = 0; i < TURN_MESSAGES_MAX * share && weight < TURN_WEIGHT * share; i++) {
      const next = this.#next();
      if (next === undefined) break;
      weight += next.weight;
      this.#take(next);
      if (!this.#isOpen) return;
    }
    this.#rest();
  }

  /** The next message that came. */
  #next(): WeighedMessage | undefined {
    const [reader] = this.#inbox;
    const next = reader?.next();
    if (reader?.left === 0) this.#inbox.shift();
    return next;
  }

  #take(next: WeighedMessage): void {
    const { message } = next;
    this.#events.weighed(this, next);
    if (message.kind !== 'part') {
      this.#events.message(this, message);
      return;
    }
    const whole = this.#reassembly.add(message, this.#events.unfinishedBytesMax(this));
    if (whole === undefined) return;
    this.#events.weighed(this, whole);
    this.#events.message(this, whole.message);
  }

  /** Goes on with what came, or reads on; in the next turn or after a rest. */
  #rest(): void {
    if (this.#nextTurn !== undefined || this.#cancelRest !== undefined) return;
    const restMs = this.#events.restMs(this);
    if (restMs > 0) {
      this.#socket.pause();
      this.#cancelRest = this.#clock.after(Math.ceil(restMs), () => {
        this.#cancelRest = undefined;
        this.#rest();
      });
    } else if (this.#inbox.length > 0) {
      this.#socket.pause();
      this.#nextTurn = setImmediate(() => {
        this.#nextTurn = undefined;
        this.#orClose(() => this.#handle());
      });
    } else if (this.#socket.isPaused) {
      this.#socket.resume();
    }
  }

  #stopReading(): void {
    this.#inbox = [];
    if (this.#nextTurn !== undefined) clearImmediate(this.#nextTurn);
    this.#cancelRest?.();
  }

  #orClose(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!AetherError.is(error)) throw error;
      // RFC 6455 §7.4.1: 1009 message too big, 1007 inconsistent data.
      const tooLarge = error instanceof FrameTooLargeError;
      this.close(tooLarge ? 1009 : 1007, `${error.code}: ${error.message}`.slice(0, 120));
    }
  }
}
