import * as fc from 'fast-check';
import { test } from 'tap';
import { base32, fromBase32, keyOf, latticeId, nodeId, uuidv7 } from './id.ts';
import { seededRandom } from './random.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('base32 of RFC 4648 §10', (t) => {
  const vectors = [
    ['', ''],
    ['f', 'my'],
    ['fo', 'mzxq'],
    ['foo', 'mzxw6'],
    ['foob', 'mzxw6yq'],
    ['fooba', 'mzxw6ytb'],
    ['foobar', 'mzxw6ytboi'],
  ] as const;
  for (const [plain, encoded] of vectors) {
    t.equal(base32(bytes(plain)), encoded);
    t.same(fromBase32(encoded), bytes(plain));
  }
  t.end();
});

test('base32 there and back', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (value) => {
      t.same(fromBase32(base32(value)), value);
    }),
  );
  t.end();
});

test('only the canonical text is read', (t) => {
  for (const text of ['a', 'aaa', 'mz', 'MY', 'my======', 'm1', 'mzxw6yt ', 'mé']) {
    t.equal(fromBase32(text), undefined, text);
  }
  t.end();
});

test('a key is found again behind its id', (t) => {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i * 7);
  t.equal(nodeId(key).length, 53);
  t.match(nodeId(key), /^n[a-z2-7]{52}$/);
  t.match(latticeId(key), /^l[a-z2-7]{52}$/);
  t.same(keyOf(nodeId(key)), key);
  t.same(keyOf(latticeId(key)), key);
  const cases = ['', 'n', `x${base32(key)}`, `n${base32(key.slice(1))}`, nodeId(key).toUpperCase()];
  for (const id of cases) t.equal(keyOf(id), undefined, id);
  t.end();
});

test('UUID version 7 (RFC 9562 §5.7)', (t) => {
  const random = seededRandom(3);
  const id = uuidv7(0x017f22e279b0, random);
  t.match(id, /^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  t.equal(
    uuidv7(1.9, random).slice(0, 13),
    '00000000-0001',
    'a fraction of a millisecond is dropped',
  );
  const draws = [0x123 / 2 ** 12, 0x0456 / 2 ** 14, 0x789abcdef012 / 2 ** 48];
  const next = (): number => draws.shift() ?? NaN;
  t.equal(
    uuidv7(0, { next }),
    '00000000-0000-7123-8456-789abcdef012',
    'bits in order of the draws',
  );
  t.end();
});

test('later ids sort after earlier ones', (t) => {
  const time = fc.nat({ max: 2 ** 31 });
  fc.assert(
    fc.property(time, fc.integer({ min: 1, max: 2 ** 31 }), fc.nat(), (nowMs, laterMs, seed) => {
      const random = seededRandom(seed);
      return uuidv7(nowMs, random) < uuidv7(nowMs + laterMs, random);
    }),
  );
  t.end();
});
