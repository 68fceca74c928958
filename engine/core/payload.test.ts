/** What round-trips, value by value, and what is refused by name before anything is stored. */
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { test } from 'tap';
import { sha256 } from '../io/system.ts';
import { argsHash, type Json, PayloadCodec } from './payload.ts';

const payloads = new PayloadCodec({ bytesMax: 1_000 });

/** Through the text that a store holds. */
function roundTrip(value: unknown, codec: PayloadCodec = payloads): unknown {
  return codec.decode(JSON.parse(JSON.stringify(codec.encode(value, 'value'))) as Json);
}

const ROUND_TRIPS: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['undefined', undefined],
  ['undefined in an object', { a: undefined, b: 1 }],
  ['undefined in an array', [undefined, 1]],
  ['booleans', [true, false]],
  ['text, also with half a surrogate pair', ['', 'ü𝄞', '\ud834', '\u0000']],
  ['numbers', [0, -1, 1e300, 5e-324, Number.MAX_SAFE_INTEGER]],
  ['NaN', NaN],
  ['infinities', [Infinity, -Infinity]],
  ['-0', -0],
  ['BigInt', [0n, -(2n ** 200n)]],
  ['Date', new Date(0)],
  ['Uint8Array', new Uint8Array([0, 255, 128])],
  ['a long Uint8Array', new Uint8Array(200).fill(7)],
  ['Map', new Map<unknown, unknown>([[{ a: 1 }, new Map([[NaN, 1n]])]])],
  ['Set', new Set([1, 'a', undefined])],
  ['an object with a key $', { $: 'bigint', v: '1' }],
  ['an object with keys of methods', { toString: 1, constructor: 2, hasOwnProperty: 3 }],
  ['the same object twice', [[1], [1]]],
];

for (const [name, value] of ROUND_TRIPS) {
  test(`${name} round-trips`, async (t) => {
    const back = roundTrip(value);
    t.strictSame(back, value);
    if (typeof value === 'number') t.ok(Object.is(back, value));
  });
}

test('objects without a prototype and of another realm come back as plain objects', async (t) => {
  const bare = Object.assign(Object.create(null) as object, { a: 1 });
  t.strictSame(roundTrip(bare), { a: 1 });
  t.strictSame(roundTrip(runInNewContext('({ a: [1] })')), { a: [1] });
});

const itself: unknown[] = [];
itself.push(itself);

class Money {
  readonly cents = 1;
}

const REFUSED: readonly (readonly [string, unknown, RegExp])[] = [
  ['an own key __proto__', JSON.parse('{"__proto__":{"admin":true}}'), /own key __proto__/],
  ['one further down', { a: JSON.parse('[{"__proto__":1}]') as unknown }, /value\.a\[0\]/],
  ['a cycle', itself, /a cycle/],
  ['a cycle through a Map', new Map([['a', itself]]), /a cycle/],
  ['a function', { f: () => 1 }, /value\.f is a function/],
  ['a symbol', Symbol('s'), /a symbol/],
  ['an instance of a class', { price: new Money() }, /value\.price is an instance of Money/],
  ['an Error', new Error('e'), /an instance of Error/],
  ['a promise', Promise.resolve(1), /an instance of Promise/],
  ['a RegExp', /a/, /an instance of RegExp/],
  ['a WeakMap', new WeakMap(), /an instance of WeakMap/],
  ['a Float64Array', new Float64Array(1), /an instance of Float64Array/],
  ['an ArrayBuffer', new ArrayBuffer(1), /an instance of ArrayBuffer/],
  ['a boxed number', Object(1), /an instance of Number/],
];

for (const [name, value, message] of REFUSED) {
  test(`${name} is refused by name`, async (t) => {
    t.throws(() => payloads.encode(value, 'value'), { code: 'ERR_ENGINE_PAYLOAD_TYPE', message });
  });
}

test('a subclass would come back as its base, so it is refused; a Buffer is bytes', async (t) => {
  for (const value of [
    new (class Age extends Map {})(),
    new (class Day extends Date {})(),
    new (class Tags extends Set {})(),
    new (class List extends Array {})(),
    Buffer.from('a'),
  ]) {
    const back = (): unknown => roundTrip(value);
    if (value instanceof Buffer) t.strictSame(back(), new Uint8Array(value));
    else t.throws(back, { code: 'ERR_ENGINE_PAYLOAD_TYPE' }, value.constructor.name);
  }
});

test('an invalid Date round-trips', async (t) => {
  const back = roundTrip(new Date(NaN)) as Date;
  t.ok(back instanceof Date && Number.isNaN(back.getTime()));
});

test('a stored text with a key __proto__ is refused: nothing reaches a prototype', async (t) => {
  const stored = JSON.parse('[{"__proto__":{"admin":true},"a":1}]') as Json;
  t.throws(() => payloads.decode(stored), { code: 'ERR_ENGINE_PAYLOAD_TYPE' });
});

test('any JSON value, also with the tags of this format in it, round-trips', async (t) => {
  const roomy = new PayloadCodec({ bytesMax: Infinity });
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      fc.string(),
      fc.double(),
      fc.bigInt(),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.uint8Array(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(
        fc.oneof(
          fc.constantFrom('$', 'v'),
          fc.string().filter((key) => key !== '__proto__'),
        ),
        tie('value'),
        { maxKeys: 4, noNullPrototype: true },
      ),
    ),
  })).value;
  fc.assert(
    fc.property(tree, (value) => t.strictSame(roundTrip(value, roomy), value)),
    {
      numRuns: 200,
    },
  );
});

test('a payload that is too large is refused, with its size; the limit counts bytes of UTF-8', async (t) => {
  const fits = 'x'.repeat(998);
  t.equal(roundTrip(fits), fits);
  t.throws(() => payloads.encode(`${fits}x`, 'input'), {
    code: 'ERR_ENGINE_PAYLOAD_TOO_LARGE',
    message: /input takes 1001 bytes, the limit is 1000/,
  });
  t.throws(() => payloads.encode('ü'.repeat(500), 'input'), { message: /takes 1002 bytes/ });
});

test('a codec sees bytes only, and what it wrote needs it', async (t) => {
  const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0xff);
  const sealed = new PayloadCodec({ codec: { encode: flip, decode: flip }, bytesMax: 1_000 });
  const value = { card: '4242', at: new Date(5) };
  t.strictSame(roundTrip(value, sealed), value);
  const stored = sealed.encode(value, 'value');
  t.notMatch(JSON.stringify(stored), /4242/);
  t.throws(() => payloads.decode(stored), { code: 'ERR_ENGINE_PAYLOAD_TYPE', message: /codec/ });
  const plain = { $: 'sealed', v: 'not sealed at all' };
  t.strictSame(roundTrip(plain), plain, 'a value that looks sealed is not taken for it');
});

test('a form of a later release is refused by name', async (t) => {
  t.throws(() => payloads.decode({ $: 'temporal', v: 1 }), { message: /form "temporal"/ });
});

test('what a step depends on does not depend on the order of keys', async (t) => {
  const of = (value: unknown): string => argsHash(value, 'input', sha256);
  t.equal(of({ a: 1, b: [2] }), of({ b: [2], a: 1 }));
  t.not(of({ a: 1 }), of({ a: '1' }));
  t.not(of([1, 2]), of([2, 1]));
  t.equal(of(undefined), '');
});

test('what is nested too deep to be read everywhere is refused by name', (t) => {
  const nested = (depth: number): unknown => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = { a: [value] };
    return value;
  };
  const codec = new PayloadCodec({ bytesMax: 10_000_000 });
  t.same(codec.decode(codec.encode(nested(250), 'it')), nested(250));
  t.throws(() => codec.encode(nested(100_000), 'it'), {
    code: 'ERR_ENGINE_PAYLOAD_TYPE',
    message: /nested more than 500 deep/,
  });
  t.end();
});
