/**
 * Values as bytes: msgpack without the parts that can hurt.
 *
 * The bytes are walked once before they are decoded, so a decoder never meets what it could trip
 * over. msgpackr's shared structures are not used: they make a message depend on the one before.
 *
 * I1  What is decoded holds only null, undefined, booleans, numbers, bigints, text, bytes, lists
 *     and records with text keys; `__proto__` is not among the keys.
 * I2  Nesting, sizes and counts are within the limits before anything is allocated for them.
 * I3  The bytes are exactly one value: nothing missing, nothing after it.
 */
import { type Options, Packr, Unpackr } from 'msgpackr';
import { AetherError } from '../../spec/error.ts';

/** Lists and records inside each other. */
const DEPTH_MAX = 32;
/** Entries of one record: a microsecond and more each, as an engine makes a dictionary of a large record. */
const RECORD_ENTRIES_MAX = 16_384;
/** Lists, records and byte strings in one value: each is an object, tens of times larger than its byte on the wire. */
const OBJECTS_MAX = 65_536;
/** Values of any kind inside one, as one value is decoded in one go. */
const VALUES_MAX = 262_144;

/** What is decoded is weighed, in units of 20 ns or so, as measured: 1 for each value, and for */
const WEIGHT = {
  object: 16,
  textByte: 0.5,
  byte: 1 / 64,
  /** of a small record, which has a shape that others have too */
  entry: 4,
  /** of a large one, a dictionary */
  entryOfMany: 64,
};
/** Entries from which a record is taken for a dictionary. */
const MANY_ENTRIES = 32;

/** A value out of many, and what it cost. */
export interface Weighed {
  value: unknown;
  /** Offset of what follows. */
  end: number;
  weight: number;
}

/** Bytes that are not a value within the limits; nothing was decoded. */
export class CodecError extends AetherError {
  static override readonly code: string = 'ERR_RING_FRAME_MALFORMED';
}

/** `skipValues` is documented by msgpackr and missing in its types. */
const PACKING: Options & { skipValues: unknown[] } = {
  useRecords: false,
  variableMapSize: true,
  skipValues: [undefined],
};
const packr = new Packr(PACKING);
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

/**
 * A value as bytes. Entries of a record that are undefined are left out.
 *
 * @throws CodecError when the value holds something that the other side would refuse.
 */
export function encode(value: unknown): Uint8Array {
  const bytes = packr.pack(value);
  checkValue(bytes);
  return bytes;
}

/** @throws CodecError when the bytes break I1, I2 or I3. */
export function decode(bytes: Uint8Array): unknown {
  checkValue(bytes);
  return unpackr.unpack(bytes);
}

/** The value that begins at the offset, whatever follows it. @throws CodecError when the bytes break I1 or I2. */
export function decodeAt(bytes: Uint8Array, at: number): Weighed {
  const walk = new Walk(bytes);
  const end = walk.value(at, 0);
  return { value: unpackr.unpack(bytes.subarray(at, end)), end, weight: walk.weight };
}

/** Walks one value. @throws CodecError when the bytes break I1, I2 or I3. */
function checkValue(bytes: Uint8Array): void {
  const end = new Walk(bytes).value(0, 0);
  if (end !== bytes.length) throw new CodecError(`${bytes.length - end} bytes after the value`);
}

const PROTO = new TextEncoder().encode('__proto__');

class Walk {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #objects = 0;
  #values = 0;
  /** Besides 1 for each value. */
  #extra = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Of what was walked. */
  get weight(): number {
    return this.#values + this.#extra;
  }

  /** @returns the offset after the value that begins at `at`. */
  value(at: number, depth: number): number {
    const head = this.#byte(at);
    if (++this.#values > VALUES_MAX) throw new CodecError(`more than ${VALUES_MAX} values`);
    if (head <= 0x7f || head >= 0xe0) return at + 1;
    if (head <= 0x8f) return this.#record(at + 1, head & 0x0f, depth);
    if (head <= 0x9f) return this.#list(at + 1, head & 0x0f, depth);
    if (head <= 0xbf) return this.#text(at + 1, head & 0x1f);
    switch (head) {
      case 0xc0: // null
      case 0xc2: // false
      case 0xc3: // true
        return at + 1;
      case 0xc4: // bytes
        return this.#blob(at + 2, this.#length(at + 1, 1));
      case 0xc5:
        return this.#blob(at + 3, this.#length(at + 1, 2));
      case 0xc6:
        return this.#blob(at + 5, this.#length(at + 1, 4));
      case 0xd9: // text
        return this.#text(at + 2, this.#length(at + 1, 1));
      case 0xda:
        return this.#text(at + 3, this.#length(at + 1, 2));
      case 0xdb:
        return this.#text(at + 5, this.#length(at + 1, 4));
      case 0xcc: // numbers by width
      case 0xd0:
        return this.#skip(at + 1, 1);
      case 0xcd:
      case 0xd1:
        return this.#skip(at + 1, 2);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#skip(at + 1, 4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#skip(at + 1, 8);
      case 0xd4: // the one extension there is: undefined
        if (this.#byte(at + 1) === 0 && this.#byte(at + 2) === 0) return at + 3;
        throw new CodecError(`an extension type, ${this.#byte(at + 1)}`);
      case 0xdc:
        return this.#list(at + 3, this.#length(at + 1, 2), depth);
      case 0xdd:
        return this.#list(at + 5, this.#length(at + 1, 4), depth);
      case 0xde:
        return this.#record(at + 3, this.#length(at + 1, 2), depth);
      case 0xdf:
        return this.#record(at + 5, this.#length(at + 1, 4), depth);
      default: // 0xc1 and the other extensions
        throw new CodecError(`a type that is not allowed, 0x${head.toString(16)}`);
    }
  }

  #text(at: number, length: number): number {
    this.#extra += length * WEIGHT.textByte;
    return this.#skip(at, length);
  }

  #blob(at: number, length: number): number {
    this.#count();
    this.#extra += length * WEIGHT.byte;
    return this.#skip(at, length);
  }

  #list(at: number, count: number, depth: number): number {
    this.#nest(at, count, depth);
    let next = at;
    for (let i = 0; i < count; i++) next = this.value(next, depth + 1);
    return next;
  }

  #record(at: number, count: number, depth: number): number {
    this.#nest(at, count * 2, depth);
    if (count > RECORD_ENTRIES_MAX) throw new CodecError(`a record of ${count} entries`);
    this.#extra += count * (count < MANY_ENTRIES ? WEIGHT.entry : WEIGHT.entryOfMany);
    let next = at;
    for (let i = 0; i < count; i++) {
      const afterKey = this.#key(next);
      next = this.value(afterKey, depth + 1);
    }
    return next;
  }

  #key(at: number): number {
    const head = this.#byte(at);
    const isText = (head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb);
    if (!isText) throw new CodecError('a key that is not text');
    const length = this.#textLength(at);
    const end = this.value(at, 0);
    if (length === PROTO.length && PROTO.every((byte, i) => this.#bytes[end - length + i] === byte))
      throw new CodecError('a key named __proto__');
    return end;
  }

  #textLength(at: number): number {
    const head = this.#byte(at);
    if (head <= 0xbf) return head & 0x1f;
    return this.#length(at + 1, head === 0xd9 ? 1 : head === 0xda ? 2 : 4);
  }

  /** Each item takes a byte at least: a count beyond the rest of the bytes is a lie. */
  #nest(at: number, itemsMin: number, depth: number): void {
    this.#count();
    if (depth >= DEPTH_MAX) throw new CodecError(`nesting deeper than ${DEPTH_MAX}`);
    if (itemsMin > this.#bytes.length - at) throw new CodecError('a count beyond the end');
  }

  #count(): void {
    this.#extra += WEIGHT.object;
    if (++this.#objects > OBJECTS_MAX) throw new CodecError(`more than ${OBJECTS_MAX} objects`);
  }

  #skip(at: number, length: number): number {
    const end = at + length;
    if (end > this.#bytes.length) throw new CodecError('the value is cut off');
    return end;
  }

  #byte(at: number): number {
    const byte = this.#bytes[at];
    if (byte === undefined) throw new CodecError('the value is cut off');
    return byte;
  }

  #length(at: number, width: 1 | 2 | 4): number {
    this.#skip(at, width);
    if (width === 1) return this.#view.getUint8(at);
    return width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }
}
