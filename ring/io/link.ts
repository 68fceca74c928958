/**
 * One socket to one proven peer: messages in and out, batched into one write per turn of the loop.
 *
 * Whatever breaks the format closes this socket, with the reason, and nothing else.
 */
import type { WebSocket } from 'ws';
import { AetherError } from '../../spec/error.ts';
import {
  decodeFrame,
  encodeParts,
  FrameBatch,
  FrameTooLargeError,
  isLong,
  type Message,
  Reassembly,
} from '../core/frame.ts';

/** Control carries membership and short calls; bulk what would keep them waiting. */
export type Lane = 'control' | 'bulk';

/** Bytes that wait to be written; more are refused. */
const QUEUE_BYTES_MAX: Record<Lane, number> = { control: 8 << 20, bulk: 64 << 20 };
/** How long a peer may take to answer our closing. */
const CLOSE_GRACE_MS = 1_000;

export interface LinkEvents {
  message(link: Link, message: Message): void;
  /** What unfinished messages of the peer may have in all. */
  unfinishedBytesMax(link: Link): number;
  /** Once. @param why the close code and reason, or the error. */
  down(link: Link, why: string): void;
}

export class Link {
  readonly peer: string;
  readonly lane: Lane;
  /** Fulfilled once the socket is gone. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #batch = new FrameBatch();
  readonly #reassembly = new Reassembly();
  #flush: NodeJS.Immediate | undefined;
  #queuedBytes = 0;
  #streams = 0;
  #isOpen = true;
  #fault: string | undefined;

  constructor(socket: WebSocket, peer: string, lane: Lane, events: LinkEvents) {
    this.peer = peer;
    this.lane = lane;
    this.#socket = socket;
    socket.on('message', (data, isBinary) => {
      if (this.#isOpen) this.#receive(data as Buffer, isBinary, events);
    });
    socket.on('error', (error) => {
      this.#fault ??= error.message;
    });
    this.closed = new Promise((done) => {
      socket.once('close', (code, reason) => {
        this.#isOpen = false;
        if (this.#flush !== undefined) clearImmediate(this.#flush);
        events.down(this, this.#fault ?? `closed with ${code} ${reason.toString()}`.trimEnd());
        done();
      });
    });
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
    const waiting = this.#queuedBytes + this.#socket.bufferedAmount;
    if (!this.#isOpen || waiting + message.length > QUEUE_BYTES_MAX[this.lane]) return false;
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
    this.#socket.close(code, reason);
    const grace = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    this.#socket.once('close', () => clearTimeout(grace));
  }

  #queue(message: Uint8Array): void {
    this.#queuedBytes += message.length;
    this.#write(this.#batch.add(message));
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      this.#queuedBytes = 0;
      this.#write(this.#batch.take());
    });
  }

  #write(frame: Uint8Array | undefined): void {
    if (frame !== undefined && this.#isOpen) this.#socket.send(frame);
  }

  #receive(data: Buffer, isBinary: boolean, events: LinkEvents): void {
    try {
      if (!isBinary) throw new AetherError('a text frame', { code: 'ERR_RING_FRAME_MALFORMED' });
      for (const message of decodeFrame(data)) {
        const whole =
          message.kind === 'part'
            ? this.#reassembly.add(message, events.unfinishedBytesMax(this))
            : message;
        if (whole !== undefined && this.#isOpen) events.message(this, whole);
      }
    } catch (error) {
      if (!AetherError.is(error)) throw error;
      // RFC 6455 §7.4.1: 1009 message too big, 1007 inconsistent data.
      const tooLarge = error instanceof FrameTooLargeError;
      this.close(tooLarge ? 1009 : 1007, `${error.code}: ${error.message}`.slice(0, 120));
    }
  }
}
