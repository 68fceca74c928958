/**
 * DNS messages (RFC 1035 §4) as far as finding seeds needs them: questions, and records of five types. Others are passed over.
 *
 *     header    id, flags, numbers of questions, answers, authorities, additional records (16 bits each)
 *     question  name, type (16), class (16; the top bit of mDNS asks for an answer to the asker alone)
 *     record    name, type (16), class (16; the top bit of mDNS is no part of it), time to live (32), length (16), data
 */

/** RFC 6762 §17. */
const MESSAGE_BYTES_MAX = 9_000;
const HEADER_BYTES = 12;
const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
const ENTRIES_MAX = 256;
const TEXTS_MAX = 32;
const POINTER = 0xc0;
const RESPONSE_FLAGS = 0x8400;
const IS_RESPONSE = 0x8000;
const CLASS_IN = 1;
const CLASS_TOP = 0x8000;
const TYPES = { A: 1, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 } as const;

export type DnsType = keyof typeof TYPES;

export interface DnsQuestion {
  name: string;
  type: DnsType;
  /** To be answered to the asker alone (RFC 6762 §5.4). */
  isUnicast?: boolean;
}

type DnsData =
  | { type: 'A' | 'AAAA'; address: string }
  | { type: 'PTR'; target: string }
  | { type: 'SRV'; priority: number; weight: number; port: number; target: string }
  | { type: 'TXT'; texts: string[] };

export type DnsRecord = { name: string; ttlSeconds: number } & DnsData;

export interface DnsMessage {
  id: number;
  isResponse: boolean;
  questions: DnsQuestion[];
  /** All records, in whichever section. */
  records: DnsRecord[];
}

const text = new TextDecoder();
const bytesOf = new TextEncoder();

/** @throws RangeError for a label that is empty or too long: names here are the program's own. */
export function encodeDnsMessage({ id, isResponse, questions, records }: DnsMessage): Uint8Array {
  const out: number[] = [];
  const flags = isResponse ? RESPONSE_FLAGS : 0;
  for (const field of [id, flags, questions.length, records.length, 0, 0]) put16(out, field);
  for (const { name, type, isUnicast = false } of questions) {
    putName(out, name);
    put16(out, TYPES[type]);
    put16(out, CLASS_IN | (isUnicast ? CLASS_TOP : 0));
  }
  for (const record of records) {
    putName(out, record.name);
    put16(out, TYPES[record.type]);
    put16(out, CLASS_IN);
    put16(out, record.ttlSeconds >>> 16);
    put16(out, record.ttlSeconds & 0xffff);
    const data = dataOf(record);
    put16(out, data.length);
    out.push(...data);
  }
  return Uint8Array.from(out);
}

/** @returns undefined for what is no message, or beyond the limits */
export function decodeDnsMessage(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length > MESSAGE_BYTES_MAX) return undefined;
  try {
    return new Reader(bytes).message();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function put16(out: number[], value: number): void {
  out.push((value >>> 8) & 0xff, value & 0xff);
}

function putName(out: number[], name: string): void {
  for (const label of name.split('.')) {
    const bytes = bytesOf.encode(label);
    if (bytes.length === 0 || bytes.length > LABEL_BYTES_MAX)
      throw new RangeError(`no label: ${label}`);
    out.push(bytes.length, ...bytes);
  }
  out.push(0);
}

function dataOf(record: DnsRecord): number[] {
  const out: number[] = [];
  switch (record.type) {
    case 'A':
      return record.address.split('.').map(Number);
    case 'AAAA':
      for (const group of groupsOf(record.address)) put16(out, group);
      break;
    case 'PTR':
      putName(out, record.target);
      break;
    case 'SRV':
      for (const field of [record.priority, record.weight, record.port]) put16(out, field);
      putName(out, record.target);
      break;
    case 'TXT':
      for (const each of record.texts) {
        const bytes = bytesOf.encode(each);
        out.push(bytes.length, ...bytes);
      }
  }
  return out;
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const numbers = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const [first, last] = [numbers(head), numbers(tail ?? '')];
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
}

/** Every read is inside the message, or a RangeError. */
class Reader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  message(): DnsMessage {
    const [id, flags] = [this.#read16(), this.#read16()];
    const [asked, ...counts] = [this.#read16(), this.#read16(), this.#read16(), this.#read16()];
    const recordCount = counts.reduce((sum, count) => sum + count, 0);
    if (asked + recordCount > ENTRIES_MAX) throw new RangeError('too many entries');
    const questions: DnsQuestion[] = [];
    for (let left = asked; left > 0; left--) {
      const name = this.#name();
      const [type, of] = [typeOf(this.#read16()), this.#read16()];
      if (type !== undefined) questions.push({ name, type, isUnicast: (of & CLASS_TOP) !== 0 });
    }
    const records: DnsRecord[] = [];
    for (let left = recordCount; left > 0; left--) {
      const record = this.#record();
      if (record !== undefined) records.push(record);
    }
    return { id, isResponse: (flags & IS_RESPONSE) !== 0, questions, records };
  }

  #record(): DnsRecord | undefined {
    const name = this.#name();
    const type = typeOf(this.#read16());
    const of = this.#read16() & ~CLASS_TOP;
    const ttlSeconds = this.#read16() * 0x10000 + this.#read16();
    const length = this.#read16();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('data beyond the end');
    const record = type === undefined || of !== CLASS_IN ? undefined : this.#data(type, end);
    if (record !== undefined && this.#at !== end) throw new RangeError('data of another length');
    this.#at = end;
    return record === undefined ? undefined : { name, ttlSeconds, ...record };
  }

  #data(type: DnsType, end: number): DnsData {
    if (type === 'A') return { type, address: this.#take(4).join('.') };
    if (type === 'AAAA') {
      const groups = Array.from({ length: 8 }, () => this.#read16().toString(16));
      return { type, address: groups.join(':') };
    }
    if (type === 'PTR') return { type, target: this.#name() };
    if (type === 'TXT') return { type, texts: this.#texts(end) };
    const [priority, weight, port] = [this.#read16(), this.#read16(), this.#read16()];
    return { type, priority, weight, port, target: this.#name() };
  }

  #texts(end: number): string[] {
    const texts: string[] = [];
    while (this.#at < end) {
      if (texts.length === TEXTS_MAX) throw new RangeError('too many texts');
      texts.push(text.decode(this.#take(this.#read8())));
    }
    return texts;
  }

  /** Lower case, as names are compared. A pointer leads to an earlier place only: it ends. */
  #name(): string {
    const labels: string[] = [];
    let after: number | undefined;
    let start = this.#at;
    let size = 0;
    for (;;) {
      const length = this.#read8();
      if (length === 0) break;
      if ((length & POINTER) === POINTER) {
        const to = ((length & ~POINTER) << 8) | this.#read8();
        after ??= this.#at;
        if (to < HEADER_BYTES || to >= start) throw new RangeError('a pointer that leads nowhere');
        start = to;
        this.#at = to;
        continue;
      }
      if (length > LABEL_BYTES_MAX) throw new RangeError('a label of a kind that there is not');
      size += length + 1;
      if (size >= NAME_BYTES_MAX) throw new RangeError('a name too long');
      labels.push(text.decode(this.#take(length)));
    }
    this.#at = after ?? this.#at;
    return labels.join('.').toLowerCase();
  }

  #take(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw new RangeError('beyond the end');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #read8(): number {
    this.#at += 1;
    return this.#view.getUint8(this.#at - 1);
  }

  #read16(): number {
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2);
  }
}

function typeOf(number: number): DnsType | undefined {
  return (Object.keys(TYPES) as DnsType[]).find((type) => TYPES[type] === number);
}
