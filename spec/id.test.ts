import * as fc from 'fast-check';
import { test } from 'tap';
import { base32, fromBase32, keyOf, latticeId, nodeId } from './id.ts';

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
