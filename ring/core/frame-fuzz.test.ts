/**
 * Frames that a hostile peer may send: mutants of real ones, a million of them.
 *
 * AETHER_FUZZ_SEED=N runs another million.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { t as tap, test } from 'tap';
import { AetherError } from '../../spec/error.ts';
import { type Random, randomInt, seededRandom } from '../../spec/random.ts';
import { encode } from './codec.ts';
import {
  decodeFrame,
  decodeMessage,
  encodeMessage,
  encodeParts,
  FrameBatch,
  type Message,
} from './frame.ts';
import type { Facts, SwimRequest } from './swim-message.ts';
import { toWire } from './swim-wire.ts';
import { encodeChain } from './token.ts';

const MUTANTS = 1_000_000;
const SEED = Number(process.env['AETHER_FUZZ_SEED'] ?? 7);
/** What a decoder may throw. */
const REFUSALS = new Set([
  'ERR_RING_FRAME_MALFORMED',
  'ERR_RING_FRAME_VERSION',
  'ERR_RING_FRAME_TOO_LARGE',
]);

const id = (letter: string): string => `n${letter.repeat(52)}`;
const bytes = (length: number): Uint8Array => new Uint8Array(length).map((_, i) => i * 7);
const facts: Facts = {
  incarnation: 3,
  version: 2,
  addresses: ['127.0.0.1:7400', '[::1]:7400'],
  protocol: [1, 1],
  certificateEpoch: 4,
  load: 0.5,
  coordinate: { x: 1, y: -2, z: 3.5, height: 0.25, error: 0.5 },
  tier: 'userspace',
  types: ['deploy', 'order'],
  ext: { 7: bytes(3) },
};
const swimRequests: SwimRequest[] = [
  { kind: 'ping', seq: 1 },
  { kind: 'ping-req', seq: 70_000, target: id('b') },
  { kind: 'ack', seq: 2, target: id('c'), coordinate: { x: 0, y: 0, z: 0, height: 1, error: 1 } },
  { kind: 'nack', seq: 3 },
  { kind: 'gossip' },
  { kind: 'sync', step: 'compare', alive: 3, digest: [2 ** 31, 5] },
  { kind: 'sync', step: 'hashes', alive: 3, hashes: bytes(8) },
  { kind: 'sync', step: 'ask', alive: 3, parts: 2, differing: bytes(1) },
  { kind: 'sync', step: 'tell', alive: 3 },
];
const chain = encodeChain({
  lattice: bytes(16),
  signer: bytes(8),
  holder: bytes(32),
  signature: bytes(64),
  grant: {
    id: bytes(16),
    issuedSeconds: 1,
    notBeforeSeconds: 1,
    expiresSeconds: 2 ** 31,
    uses: 2,
    roles: ['storage'],
    root: bytes(8),
  },
});
const join = {
  chain,
  node: id('a'),
  name: 'a',
  address: '127.0.0.1:7400',
  proof: bytes(64),
  consent: bytes(64),
};
const row = { bucket: 'b', key: 'größe', stamp: 2n ** 60n, value: bytes(40), isDeleted: false };
const messages: Message[] = [
  { kind: 'request', id: 1, method: 'join', body: join },
  { kind: 'request', id: 300, method: 'kv.write', body: { rows: [row, { ...row, value: null }] } },
  { kind: 'answer', id: 1, body: { record: bytes(60), signatures: [{ node: id('a') }], n: -1.5 } },
  { kind: 'answer', id: 2 ** 40, body: undefined },
  { kind: 'refusal', id: 2, error: { code: 'ERR_X', message: 'no', hint: 'h', details: [1] } },
  ...swimRequests.map((request): Message => {
    const updates = [
      { id: id('b'), state: 'alive', incarnation: 3, facts } as const,
      { id: id('c'), state: 'suspect', incarnation: 9, accusers: [id('b')] } as const,
    ];
    return {
      kind: 'cast',
      method: 'swim',
      body: toWire(4, { ...request, incarnation: 2, updates }),
    };
  }),
];
const encoded: Uint8Array[] = messages.map(encodeMessage);
for (const part of encodeParts(3, bytes(300))) encoded.push(part);

/** Each message in a frame of its own, and all in one. */
const frames: Uint8Array[] = [];
const batch = new FrameBatch();
for (const message of encoded) {
  batch.add(message);
  frames.push(batch.take() as Uint8Array);
}
for (const message of encoded) batch.add(message);
frames.push(batch.take() as Uint8Array);

/** Pieces that hurt decoders: names of prototypes, extensions, heads that lie about what follows, nesting. */
const hostile: Uint8Array[] = [
  encode({ __proto: 1, constructor: { prototype: 1 }, toString: null }),
  Buffer.from('81a95f5f70726f746f5f5f81a8706f6c6c7574656401', 'hex'),
  Buffer.from('d90b636f6e7374727563746f72', 'hex'),
  Buffer.from('d47240', 'hex'), // a record definition of msgpackr
  Buffer.from('d5786100', 'hex'), // its regular expression
  Buffer.from('c70170', 'hex'),
  Buffer.from('d6ff00000000', 'hex'), // a date
  Buffer.from('d40000', 'hex'), // undefined
  ...['dd', 'df', 'db', 'c6', 'c9'].map((head) => Buffer.from(`${head}ffffffff`, 'hex')),
  ...['dc', 'de', 'da', 'c5'].map((head) => Buffer.from(`${head}ffff`, 'hex')),
  new Uint8Array(40).fill(0x91),
  new Uint8Array(40).fill(0x81),
  Buffer.from('cbffffffffffffffff', 'hex'), // NaN
  Buffer.from('a4eda080ff', 'hex'), // no UTF-8
];

function mutant(random: Random): Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[randomInt(random, list.length)] as T;
  let result = Uint8Array.from(pick(frames));
  for (let changes = 1 + randomInt(random, 3); changes > 0 && result.length > 0; changes--) {
    const at = randomInt(random, result.length);
    switch (randomInt(random, 8)) {
      case 0:
        result[at] = (result[at] ?? 0) ^ (1 << randomInt(random, 8));
        break;
      case 1:
        result[at] = randomInt(random, 256);
        break;
      case 2:
        result = result.slice(0, at);
        break;
      case 3: // trailing bytes
        result = join2(result, pick([pick(encoded), pick(hostile), bytes(1)]));
        break;
      case 4: // in place of what is there
        result.set(pick(hostile).subarray(0, result.length - at), at);
        break;
      case 5: // between
        result = join2(join2(result.subarray(0, at), pick(hostile)), result.subarray(at));
        break;
      case 6: // the end of another
        result = join2(result.subarray(0, at), pick(frames).subarray(at));
        break;
      default: // some of it left out
        result = join2(result.subarray(0, at), result.subarray(at + randomInt(random, 9)));
    }
  }
  return result;
}

function join2(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

/** What a value takes in list entries, record entries, letters and bytes. @throws Error for one that is not plain. */
function sizeOf(value: unknown): number {
  if (value === null || value === undefined) return 1;
  if (typeof value === 'string') return 1 + value.length;
  if (typeof value !== 'object')
    return ['number', 'bigint', 'boolean'].includes(typeof value) ? 1 : NaN;
  if (value instanceof Uint8Array) return 1 + value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + sizeOf(each), 1);
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new Error('a record of a class');
  let size = 1;
  for (const [key, each] of Object.entries(value)) size += 1 + key.length + sizeOf(each);
  return size;
}

const partsOf = (message: Message): unknown =>
  message.kind === 'request' || message.kind === 'answer' || message.kind === 'cast'
    ? message.body
    : message.kind === 'part'
      ? message.bytes
      : message.error;

/** @returns 'refused' or 'decoded'. @throws Error when a property does not hold. */
function check(frame: Uint8Array): 'refused' | 'decoded' {
  let decoded: Message[];
  try {
    decoded = decodeFrame(frame);
  } catch (error) {
    if (AetherError.is(error) && REFUSALS.has(error.code)) return 'refused';
    throw error;
  }
  for (const message of decoded) {
    if (!(sizeOf(partsOf(message)) <= frame.length)) throw new Error('larger than its bytes');
    const again = encodeMessage(message);
    const third = encodeMessage(decodeMessage(again));
    if (Buffer.compare(again, third) !== 0) throw new Error('another value after a round trip');
  }
  return 'decoded';
}

tap.setTimeout(300_000);

test('a million mutants are decoded whole or refused', async (t) => {
  t.comment(`AETHER_FUZZ_SEED=${SEED}`);
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // A stack takes longer than a frame.
  t.teardown(() => (Error.stackTraceLimit = stackTraceLimit));
  const prototypes = [Object.prototype, Array.prototype, Uint8Array.prototype];
  const before = prototypes.map((each) => Reflect.ownKeys(each).length);

  for (const frame of frames) t.equal(check(frame), 'decoded', 'as it was sent');
  const back = frames.flatMap(decodeFrame).map((message) => Buffer.from(encodeMessage(message)));
  t.strictSame(
    back,
    [...encoded, ...encoded].map((message) => Buffer.from(message)),
  );
  const random = seededRandom(SEED);
  const outcomes = { refused: 0, decoded: 0 };
  for (let i = 0; i < MUTANTS; i++) {
    const frame = mutant(random);
    if (i % 50_000 === 0) await turn();
    try {
      outcomes[check(frame)]++;
    } catch (error) {
      t.fail(`mutant ${i}: ${String(error)}`, { frame: Buffer.from(frame).toString('hex') });
      break;
    }
  }
  t.equal(outcomes.refused + outcomes.decoded, MUTANTS);
  t.ok(outcomes.refused > MUTANTS / 2, `${outcomes.refused} refused`);
  t.ok(outcomes.decoded > MUTANTS / 20, `${outcomes.decoded} decoded`);
  t.strictSame(
    prototypes.map((each) => Reflect.ownKeys(each).length),
    before,
    'no prototype has changed',
  );
  t.equal(({} as { polluted?: unknown }).polluted, undefined);
});
