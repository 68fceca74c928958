import { test } from 'tap';
import { Permutation } from './swim-permutation.ts';

test('each place has one of the numbers, each number one of the places', (t) => {
  for (const size of [1, 2, 3, 5, 16, 17, 100, 1_000, 4_097]) {
    for (const key of [0, 1, 0xdeadbeef]) {
      const order = new Permutation(size, key);
      const seen = new Set(Array.from({ length: size }, (_, place) => order.at(place)));
      t.equal(seen.size, size, `${size} by ${key}`);
      t.ok([...seen].every((number) => number >= 0 && number < size));
    }
  }
  t.end();
});

test('orders differ by key, and no number prefers a place', (t) => {
  const [size, keys] = [10, 20_000];
  const counts = Array.from({ length: size }, () => 0);
  for (let key = 0; key < keys; key++) {
    const first = new Permutation(size, Math.imul(key, 0x9e3779b1)).at(0);
    counts[first] = (counts[first] ?? 0) + 1;
  }
  // χ² with 9 degrees of freedom: above 27.9 once in a thousand.
  const expected = keys / size;
  const chi2 = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  t.ok(chi2 < 27.9, `${chi2}`);
  t.end();
});
