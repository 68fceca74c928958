/**
 * Frames: what passes over a socket between two nodes.
 *
 *     frame   = version (1 byte) list of messages (msgpack)
 *     message = [0, id, method, body]      request
 *             | [1, id, body]              answer
 *             | [2, id, error]             refusal
 *             | [3, method, body]          cast: no answer
 *             | [4, stream, last, bytes]   part of a message too long for one frame
 *
 * I1  No frame is longer than FRAME_BYTES_MAX or has more than MESSAGES_MAX messages, whoever wrote it.
 * I2  Whatever a peer sends, the unfinished messages kept for it stay under MESSAGE_BYTES_MAX each,
 *     STREAMS_MAX in number and what it is granted in all; and what they keep from being freed, the
 *     frames that they came in, under a small multiple of that: every part but the last is full.
 */
import type { ErrorBody } from '../../spec/error.ts';
import { AetherError } from '../../spec/error.ts';
import { CodecError, decodeAt, encode } from './codec.ts';
import { isErrorBody } from './remote-error.ts';

const FRAME_VERSION = 1;
export const FRAME_BYTES_MAX: number = 1 << 20;
/** A longer message travels in parts of this size, so that others get their turn between them. */
const PART_BYTES_MAX = 256 << 10;
/** A body of 16 MiB and what stands around it. */
export const MESSAGE_BYTES_MAX: number = (16 << 20) + (64 << 10);
/** Room for one part and its head: frames are kept short so that a control message never waits long. */
const BATCH_BYTES_MAX = PART_BYTES_MAX + 1024;
const STREAMS_MAX = 16;
/** In one frame: what must be decoded at once. */
const MESSAGES_MAX = 1_024;

export type Message =
  | { kind: 'request'; id: number; method: string; body: unknown }
  | { kind: 'answer'; id: number; body: unknown }
  | { kind: 'refusal'; id: number; error: ErrorBody }
  | { kind: 'cast'; method: string; body: unknown }
  | Part;

interface Part {
  kind: 'part';
  stream: number;
  last: boolean;
  bytes: Uint8Array;
}

/** A message that came, and what it cost to decode, in the units of codec.ts. */
export interface WeighedMessage {
  message: Message;
  weight: number;
}

/** A frame or message beyond the limits; nothing of it was used. */
export class FrameTooLargeError extends AetherError {
  static override readonly code: string = 'ERR_RING_FRAME_TOO_LARGE';
}

/**
 * @throws FrameTooLargeError when it is longer than MESSAGE_BYTES_MAX.
 * @throws CodecError when its body is not a plain value.
 */
export function encodeMessage(message: Message): Uint8Array {
  const bytes = encode(toList(message));
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw new FrameTooLargeError(`a message of ${bytes.length} bytes`, {
      hint: `send at most 16 MiB in one call; split it`,
    });
  }
  return bytes;
}

/** @throws CodecError when it is not one message. */
export function decodeMessage(bytes: Uint8Array): Message {
  return weighMessage(bytes).message;
}

function weighMessage(bytes: Uint8Array): WeighedMessage {
  const { value, end, weight } = decodeAt(bytes, 0);
  if (end !== bytes.length) throw new CodecError(`${bytes.length - end} bytes after the message`);
  return { message: fromList(value), weight };
}

/** True when an encoded message must be cut into parts. */
export function isLong(message: Uint8Array): boolean {
  return message.length > PART_BYTES_MAX;
}

/** Cuts an encoded message into encoded parts, each of which fits a frame. */
export function* encodeParts(stream: number, message: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < message.length; at += PART_BYTES_MAX) {
    const bytes = message.subarray(at, at + PART_BYTES_MAX);
    const last = at + PART_BYTES_MAX >= message.length;
    yield encode(toList({ kind: 'part', stream, last, bytes }));
  }
}

const FRAME_HEAD_BYTES = 6;

/** Collects encoded messages, none of them long, into as few frames as the limit allows. */
export class FrameBatch {
  #messages: Uint8Array[] = [];
  #bytes = FRAME_HEAD_BYTES;

  /** @returns a full frame when this message does not fit beside the earlier ones. */
  add(message: Uint8Array): Uint8Array | undefined {
    const isFull =
      this.#bytes + message.length > BATCH_BYTES_MAX || this.#messages.length === MESSAGES_MAX;
    const full = isFull ? this.take() : undefined;
    this.#messages.push(message);
    this.#bytes += message.length;
    return full;
  }

  /** The frame of all that was added since the last one, if there is any. */
  take(): Uint8Array | undefined {
    if (this.#messages.length === 0) return undefined;
    const frame = new Uint8Array(this.#bytes);
    frame[0] = FRAME_VERSION;
    frame[1] = 0xdd; // msgpack: a list with a count of four bytes
    new DataView(frame.buffer).setUint32(2, this.#messages.length);
    let at = FRAME_HEAD_BYTES;
    for (const message of this.#messages) {
      frame.set(message, at);
      at += message.length;
    }
    this.#messages = [];
    this.#bytes = FRAME_HEAD_BYTES;
    return frame;
  }
}

/** Takes the messages out of a frame one at a time, so that decoding can be interrupted. */
export class FrameReader {
  readonly #bytes: Uint8Array;
  #at: number;
  #left: number;

  /**
   * @throws FrameTooLargeError when it is longer than FRAME_BYTES_MAX or claims too many messages.
   * @throws CodecError when it is of another version, or not a list.
   */
  constructor(bytes: Uint8Array) {
    if (bytes.length > FRAME_BYTES_MAX)
      throw new FrameTooLargeError(`a frame of ${bytes.length} bytes`);
    if (bytes[0] !== FRAME_VERSION) {
      throw new CodecError(`a frame of version ${bytes[0] ?? 'none'}`, {
        code: 'ERR_RING_FRAME_VERSION',
        hint: `this node speaks version ${FRAME_VERSION}`,
      });
    }
    const [count, at] = listHead(bytes, 1);
    if (count > MESSAGES_MAX) throw new FrameTooLargeError(`a frame of ${count} messages`);
    this.#bytes = bytes;
    this.#at = at;
    this.#left = count;
    this.#checkEnd();
  }

  /** How many are still to be taken. */
  get left(): number {
    return this.#left;
  }

  /** The next one; undefined after the last. @throws CodecError when it is not a message, or not the frame's end. */
  next(): WeighedMessage | undefined {
    if (this.#left === 0) return undefined;
    const { value, end, weight } = decodeAt(this.#bytes, this.#at);
    const message = fromList(value);
    this.#at = end;
    this.#left--;
    this.#checkEnd();
    return { message, weight };
  }

  #checkEnd(): void {
    const after = this.#bytes.length - this.#at;
    if (this.#left === 0 && after > 0) throw new CodecError(`${after} bytes after the messages`);
  }
}

/** @returns the count of the msgpack list at the offset, and where its first item begins. */
function listHead(bytes: Uint8Array, at: number): [count: number, next: number] {
  const head = bytes[at] ?? 0;
  const width = head === 0xdc ? 2 : head === 0xdd ? 4 : 0;
  const isShort = head >= 0x90 && head <= 0x9f;
  if ((!isShort && width === 0) || at + width >= bytes.length)
    throw new CodecError('a frame that is not a list of messages');
  let count = isShort ? head & 0x0f : 0;
  for (let i = 1; i <= width; i++) count = count * 256 + (bytes[at + i] as number);
  return [count, at + 1 + width];
}

/** All messages of a frame. @throws as FrameReader. */
export function decodeFrame(bytes: Uint8Array): Message[] {
  const reader = new FrameReader(bytes);
  const messages: Message[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next())
    messages.push(next.message);
  return messages;
}

/** Puts the parts of one peer's messages together; parts of one stream come in order. */
export class Reassembly {
  readonly #streams = new Map<number, { parts: Uint8Array[]; bytes: number }>();
  #bytes = 0;

  /**
   * @param bytesMax that all unfinished messages of the peer may have.
   * @returns the whole message with its last part.
   * @throws FrameTooLargeError at the limits, CodecError for a part that is too short (I2).
   */
  add(part: Part, bytesMax: number = Number.POSITIVE_INFINITY): WeighedMessage | undefined {
    if (part.bytes.length !== PART_BYTES_MAX && !part.last)
      throw new CodecError('a part that is neither full nor the last');
    const stream = this.#streams.get(part.stream) ?? { parts: [], bytes: 0 };
    stream.parts.push(part.bytes);
    stream.bytes += part.bytes.length;
    this.#bytes += part.bytes.length;
    this.#streams.set(part.stream, stream);
    if (this.#bytes > bytesMax)
      throw new FrameTooLargeError(`unfinished messages of more than ${bytesMax} bytes`);
    if (stream.bytes > MESSAGE_BYTES_MAX || part.bytes.length === 0)
      throw new FrameTooLargeError(
        `a message of more than ${MESSAGE_BYTES_MAX} bytes, or an empty part`,
      );
    if (this.#streams.size > STREAMS_MAX)
      throw new FrameTooLargeError(`more than ${STREAMS_MAX} unfinished messages`);
    if (!part.last) return undefined;
    this.#streams.delete(part.stream);
    this.#bytes -= stream.bytes;
    const whole = new Uint8Array(stream.bytes);
    let at = 0;
    for (const bytes of stream.parts) {
      whole.set(bytes, at);
      at += bytes.length;
    }
    return weighMessage(whole);
  }
}

function toList(message: Message): unknown[] {
  switch (message.kind) {
    case 'request':
      return [0, message.id, message.method, message.body];
    case 'answer':
      return [1, message.id, message.body];
    case 'refusal':
      return [2, message.id, message.error];
    case 'cast':
      return [3, message.method, message.body];
    case 'part':
      break;
  }
  return [4, message.stream, message.last, message.bytes];
}

function fromList(list: unknown): Message {
  if (!Array.isArray(list)) throw new CodecError('a message that is not a list');
  const [kind, a, b, c] = list as unknown[];
  if (kind === 0 && list.length === 4 && isId(a) && typeof b === 'string')
    return { kind: 'request', id: a, method: b, body: c };
  if (kind === 1 && list.length === 3 && isId(a)) return { kind: 'answer', id: a, body: b };
  if (kind === 2 && list.length === 3 && isId(a) && isErrorBody(b))
    return { kind: 'refusal', id: a, error: b };
  if (kind === 3 && list.length === 3 && typeof a === 'string')
    return { kind: 'cast', method: a, body: b };
  if (
    kind === 4 &&
    list.length === 4 &&
    isId(a) &&
    typeof b === 'boolean' &&
    c instanceof Uint8Array
  )
    return { kind: 'part', stream: a, last: b, bytes: c };
  throw new CodecError('a message of a kind or form that is not known');
}

function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
