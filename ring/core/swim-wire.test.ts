import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { test } from 'tap';
import { seededRandom } from '../../spec/random.ts';
import { decode, encode } from './codec.ts';
import { Swim } from './swim.ts';
import type { Coordinate } from './swim-coordinate.ts';
import {
  type Facts,
  type MemberState,
  messageOf,
  type SwimMessage,
  type SwimRequest,
  type Update,
} from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import { RANK, Roster } from './swim-view.ts';
import { fromWire, SWIM_VERSION, toWire } from './swim-wire.ts';

const facts = {
  incarnation: 3,
  version: 2,
  addresses: ['10.0.0.1:7400', '[::1]:7400'],
  protocol: [1, 2] as const,
  certificateEpoch: 9,
  load: 0.25,
  coordinate: { x: 1.5, y: -2.25, z: 0, height: 0.01, error: 0.3 },
  tier: 'userspace',
  types: ['order', 'refund'],
  ext: { 40: new Uint8Array([1, 2, 3]) },
};
const updates: Update[] = [
  { id: 'a', state: 'alive', incarnation: 3, facts },
  { id: 'b', state: 'suspect', incarnation: 1, accusers: ['a', 'c'] },
  { id: 'c', state: 'suspect', incarnation: 1, facts: { ...facts, types: [] }, accusers: [] },
  { id: 'd', state: 'dead', incarnation: 2 ** 40 },
  { id: 'e', state: 'left', incarnation: 0 },
];
const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
const head = { incarnation: 7, updates };
const messages: SwimMessage[] = [
  { kind: 'ping', seq: 1, ...head },
  { kind: 'ping', seq: 1, load: 0.07, ...head },
  { kind: 'ping-req', seq: 2, target: 'b', ...head },
  { kind: 'ack', seq: 3, ...head },
  { kind: 'ack', seq: 3, coordinate: facts.coordinate, ...head },
  { kind: 'ack', seq: 3, coordinate: facts.coordinate, load: 1, ...head },
  { kind: 'ack', seq: 4, target: 'b', ...head },
  { kind: 'nack', seq: 5, ...head },
  { kind: 'gossip', ...head },
  { kind: 'sync', step: 'compare', alive: 5, digest: [1, 2 ** 32 - 1], ...head },
  { kind: 'sync', step: 'hashes', alive: 5, hashes: bytes, ...head },
  { kind: 'sync', step: 'hashes', alive: 5, hashes: new Uint8Array(), ...head },
  { kind: 'sync', step: 'ask', alive: 3, parts: 64, differing: bytes, ...head },
  { kind: 'sync', step: 'tell', alive: 3, ...head },
  { kind: 'neighbor', priority: 'low', ...head },
  { kind: 'neighbor', priority: 'yes', ...head },
  { kind: 'disconnect', ...head },
];

/** As it arrives: through the codec. */
const arrives = (body: unknown): ReturnType<typeof fromWire> => fromWire(decode(encode(body)));
/** Bytes as lists, whatever class they have, and what is not there left out. */
const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const there = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(there.map(([key, each]) => [key, plain(each)]));
};

/** What each field may hold; nothing as well where it may be missing. A field without a line is an error of types. */
type Fields<T> = { [Name in keyof T]-?: fc.Arbitrary<T[Name] | undefined> };
type NameOf<R> = R extends { step: infer Step extends string }
  ? Step
  : R extends { kind: infer Kind extends string }
    ? Kind
    : never;

const count = fc.nat(2 ** 48 - 1);
const text = fc.string({ minLength: 1, maxLength: 256 });
const hundredths = fc.integer({ min: -1e8, max: 1e8 }).map((value) => value / 100);
const length = hundredths.map(Math.abs);
const bytesOf = (size: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: size, maxLength: size });
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });
const loads = optional(fc.nat(100).map((value) => value / 100));
const coordinates = optional(
  fc.record({
    x: hundredths,
    y: hundredths,
    z: hundredths,
    height: length,
    error: length,
  } satisfies Fields<Coordinate>),
);
const factsFields: Fields<Facts> = {
  incarnation: count,
  version: count,
  addresses: fc.array(text, { maxLength: 8 }),
  protocol: fc.tuple(count, count),
  certificateEpoch: count,
  load: loads,
  coordinate: coordinates,
  tier: optional(text),
  types: optional(fc.array(text, { maxLength: 256 })),
  ext: optional(
    fc.dictionary(fc.nat(999_999_999).map(String), fc.uint8Array({ maxLength: 32 }), {
      maxKeys: 32,
    }),
  ),
};
const updateFields: Fields<Update> = {
  id: text,
  state: fc.constantFrom(...(Object.keys(RANK) as MemberState[])),
  incarnation: count,
  facts: optional(fc.record(factsFields) as fc.Arbitrary<Facts>),
  accusers: optional(fc.array(text, { maxLength: 8 })),
};
const alive = count;
const requestFields: { [R in SwimRequest as NameOf<R>]: Fields<R> } = {
  ping: { kind: fc.constant('ping'), seq: count, load: loads },
  'ping-req': { kind: fc.constant('ping-req'), seq: count, target: text },
  ack: {
    kind: fc.constant('ack'),
    seq: count,
    target: optional(text),
    coordinate: coordinates,
    load: loads,
  },
  nack: { kind: fc.constant('nack'), seq: count },
  gossip: { kind: fc.constant('gossip') },
  compare: {
    kind: fc.constant('sync'),
    step: fc.constant('compare'),
    alive,
    digest: fc.tuple(count, count),
  },
  hashes: {
    kind: fc.constant('sync'),
    step: fc.constant('hashes'),
    alive,
    hashes: fc.constantFrom(0, 1, 64).chain((parts) => bytesOf(parts * 4)),
  },
  ask: {
    kind: fc.constant('sync'),
    step: fc.constant('ask'),
    alive,
    parts: fc.constant(64),
    differing: bytesOf(8),
  },
  tell: { kind: fc.constant('sync'), step: fc.constant('tell'), alive },
  neighbor: {
    kind: fc.constant('neighbor'),
    priority: fc.constantFrom('low', 'high', 'yes'),
  },
  disconnect: { kind: fc.constant('disconnect') },
};

test('every message arrives as it was meant, whatever of it is there', (t) => {
  const said = fc.array(fc.record(updateFields) as fc.Arbitrary<Update>, { maxLength: 4 });
  for (const [name, fields] of Object.entries(requestFields)) {
    const requests = fc.record<object>(fields) as fc.Arbitrary<SwimRequest>;
    t.doesNotThrow(
      () =>
        fc.assert(
          fc.property(count, requests, count, said, (epoch, request, incarnation, news) => {
            const arrived = arrives(toWire(epoch, messageOf(request, incarnation, news)));
            const meant = { epoch, message: { ...request, incarnation, updates: news } };
            assert.deepEqual(plain(arrived), plain(meant));
          }),
          { numRuns: 200, seed: 7 },
        ),
      name,
    );
  }
  t.end();
});

test('facts do not hold the message that they came in', (t) => {
  const body = toWire(1, messageOf({ kind: 'gossip' }, 1, updates));
  const [update] = arrives(body)?.message.updates ?? [];
  const fact = update?.facts?.ext?.[40];
  t.equal(fact?.buffer.byteLength, fact?.length);
  t.end();
});

test('an idle probe costs a few dozen bytes', (t) => {
  const ping = toWire(1_000, {
    kind: 'ping',
    seq: 70_000,
    load: 0.5,
    incarnation: 300,
    updates: [],
  });
  const { coordinate } = facts;
  const ack = toWire(1_000, {
    kind: 'ack',
    seq: 70_000,
    coordinate,
    load: 0.5,
    incarnation: 300,
    updates: [],
  });
  t.ok(encode(ping).length <= 20, `${encode(ping).length}`);
  t.ok(encode(ack).length <= 36, `${encode(ack).length}`);
  t.end();
});

test('what is no message is refused', (t) => {
  const ping = [SWIM_VERSION, 0, 1, 1, []];
  const update = ['a', 0, 1];
  const good = [SWIM_VERSION, 0, 1, 1, [update]];
  t.ok(fromWire([1, good]));
  const told = [1, 1, ['a:1'], 1, 1, 0];
  t.ok(fromWire([1, [SWIM_VERSION, 0, 1, 1, [['a', 0, 1, told]]]]));
  const withUpdate = (each: unknown): unknown => [1, [SWIM_VERSION, 0, 1, 1, [each]]];
  const withFacts = (each: unknown): unknown => withUpdate(['a', 0, 1, each]);
  for (const bad of [
    null,
    'ping',
    [1],
    [-1, ping],
    [1, ping, 1],
    [1, [0, 0, 1, 1, []]],
    [1, [SWIM_VERSION, 11, 1, 1, []]],
    [1, [SWIM_VERSION, 9, 1, 1, [], 3]],
    [1, [SWIM_VERSION, 9, 1, 1, []]],
    [1, [SWIM_VERSION, 0, 2 ** 53, 1, []]],
    [1, [SWIM_VERSION, 0, 1, -1, []]],
    [1, [SWIM_VERSION, 0, 1, 1]],
    [1, [SWIM_VERSION, 0, 1, 1, [], 'more']],
    [1, [SWIM_VERSION, 1, 1, 1, []]],
    [1, [SWIM_VERSION, 0, 1, 1, [], 101]],
    [1, [SWIM_VERSION, 0, 1, 1, [], 0.5]],
    [1, [SWIM_VERSION, 2, 1, 1, [], null, null, -1]],
    [1, [SWIM_VERSION, 2, 1, 1, [], null, [1, 2, 3]]],
    [1, [SWIM_VERSION, 2, 1, 1, [], null, [1, 2, 3, -4, 5]]],
    [1, [SWIM_VERSION, 6, 1, 0, [], 1, new Uint8Array(3)]],
    [1, [SWIM_VERSION, 6, 1, 0, [], 1, new Uint8Array(12)]],
    [1, [SWIM_VERSION, 7, 1, 0, [], 64, new Uint8Array(7)]],
    [1, [SWIM_VERSION, 7, 1, 0, [], 63, new Uint8Array(8)]],
    withUpdate(null),
    withUpdate(['', 0, 1]),
    withUpdate(['a', 4, 1]),
    withUpdate(['a', 0, 1.5]),
    withUpdate(['a', 0, 1, null, null, 1]),
    withUpdate(['a', 1, 1, null, [1]]),
    withUpdate(['a', 1, 1, null, Array.from({ length: 9 }, () => 'b')]),
    withFacts([1, 1, 'a:1', 1, 1, 0]),
    withFacts([1, 1, ['a'.repeat(257)], 1, 1, 0]),
    withFacts([...told, 1.5]),
    withFacts([...told, Number.NaN]),
    withFacts([...told, null, null, 7]),
    withFacts([...told, null, null, null, null, { x: new Uint8Array() }]),
    withFacts([...told, null, null, null, null, { 1: new Uint8Array(2_000) }]),
    withFacts([...told, null, null, null, null, {}, 1]),
  ])
    t.equal(fromWire(bad), undefined, JSON.stringify(bad)?.slice(0, 80));
  t.end();
});

test('a message of the next version is read as far as it is known, and its facts are passed on', (t) => {
  const next = SWIM_VERSION + 1;
  const { coordinate: _, ...known } = facts;
  const [, [, , , , [[, , , wireFacts]]]] = toWire(1, {
    kind: 'gossip',
    incarnation: 1,
    updates: [{ id: 'b', state: 'alive', incarnation: 4, facts: known }],
  }) as [number, [number, number, number, number, [[string, number, number, unknown[]]]]];
  const newFact = { ...known.ext, 90: new Uint8Array([9, 9]) };
  const body = [
    1,
    [
      next,
      31, // a kind that is not known
      4,
      0,
      [
        ['b', 0, 4, [...wireFacts.slice(0, 10), newFact, 'appended'], null, 'appended'],
        ['c', 17, 4], // a state that is not known
      ],
      { appended: true },
    ],
  ];
  const heard = arrives(body);
  t.match(heard?.message, { kind: 'gossip', incarnation: 4, updates: [{ id: 'b' }] });
  t.equal(heard?.message.updates.length, 1);
  const ping = arrives([1, [next, 0, 4, 3, [], 50, 'appended']]);
  t.match(ping?.message, { kind: 'ping', seq: 3, load: 0.5 });

  // A node of this version passes on, as its own message, what it could not read.
  const random = seededRandom(1);
  const own = { addresses: ['a:1'], protocol: [1, 1] as const, certificateEpoch: 1 };
  const swim = new Swim({ id: 'a', incarnation: 1, facts: own }, swimOptions(), 0, random);
  const roster = new Roster(['a', 'b', 'c'].map((id) => ({ id, address: `${id}:1` })));
  swim.step({ kind: 'roster', roster }, 0, random);
  const present: Update[] = [{ id: 'c', state: 'alive', incarnation: 1 }];
  const hearer: SwimMessage = { kind: 'gossip', incarnation: 1, updates: present };
  swim.step({ kind: 'message', from: 'c', message: hearer }, 1, random);
  const sent = swim
    .step({ kind: 'message', from: 'b', message: heard?.message as SwimMessage }, 1, random)
    .concat(swim.step({ kind: 'tick' }, 2, random))
    .filter((effect) => effect.kind === 'send')
    .map(({ message }) => arrives(toWire(1, message))?.message);
  const passed = sent.flatMap((message) => message?.updates ?? []).find(({ id }) => id === 'b');
  t.strictSame(plain(passed?.facts?.ext), plain(newFact));
  t.end();
});

test('whatever arrives is refused or harmless', (t) => {
  const wires = messages.map((message) => toWire(1, message));
  const junk = fc.anything({ maxDepth: 3, withTypedArray: true });
  /** One place somewhere inside is something else. */
  const mutate = (value: unknown, path: number[], junked: unknown): unknown => {
    const [step, ...rest] = path;
    if (!Array.isArray(value) || step === undefined || value.length === 0) return junked;
    const at = step % (value.length + 1);
    const copy = [...(value as unknown[])];
    copy[at] = mutate(copy[at], rest, junked);
    return copy;
  };
  const random = seededRandom(1);
  const own = { addresses: ['a:1'], protocol: [1, 1] as const, certificateEpoch: 1 };
  const swim = new Swim({ id: 'a', incarnation: 1, facts: own }, swimOptions(), 0, random);
  const roster = new Roster('abcdefgh'.split('').map((id) => ({ id, address: `${id}:1` })));
  swim.step({ kind: 'roster', roster }, 0, random);
  let nowMs = 0;
  let heard = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...wires),
      fc.array(fc.nat(12), { minLength: 1, maxLength: 5 }),
      fc.oneof(junk, fc.constantFrom<unknown>(...wires), fc.nat(), fc.string()),
      (wire, path, junked) => {
        const body = mutate(wire, path, junked);
        const read = fromWire(body);
        if (read === undefined) return;
        heard++;
        // It is taken, and what comes of it can be sent.
        const event = { kind: 'message' as const, from: 'b', message: read.message };
        for (const effect of swim.step(event, ++nowMs, random))
          if (effect.kind === 'send') fromWire(decode(encode(toWire(1, effect.message))));
      },
    ),
    { numRuns: 5_000, seed: 7 },
  );
  t.ok(heard > 100, `${heard} were read`);
  t.equal(swim.members().length, 8);
  t.end();
});

test('a coordinate of other numbers is no coordinate', (t) => {
  const ack = (part: unknown): unknown => [1, [1, 2, 1, 1, [], null, [part, 0, 0, 0, 0]]];
  t.ok(fromWire(ack(1)));
  for (const part of [1n, 0.5, Number.NaN, '1', null]) t.equal(fromWire(ack(part)), undefined);
  t.end();
});
