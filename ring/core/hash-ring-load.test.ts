import * as fc from 'fast-check';
import { test } from 'tap';
import { type Load, preferenceUnderLoad } from './hash-ring-load.ts';

function loadsOf(loads: Readonly<Record<string, number>>, weight = 1): Map<string, Load> {
  return new Map(Object.entries(loads).map(([id, load]) => [id, { load, weight }]));
}

test('who has room keeps the order; who is full comes after, the least full first', (t) => {
  const order = ['a', 'b', 'c', 'd'];
  t.strictSame(preferenceUnderLoad(order, loadsOf({ a: 0, b: 0, c: 0, d: 0 })), order);
  // Five with the new piece, so two each.
  t.strictSame(preferenceUnderLoad(order, loadsOf({ a: 3, b: 1, c: 0, d: 0 })), [
    'b',
    'c',
    'd',
    'a',
  ]);
  t.strictSame(preferenceUnderLoad(['a', 'b'], loadsOf({ a: 9, b: 4, c: 0, d: 0 })), ['b', 'a']);
  t.strictSame(preferenceUnderLoad(['a', 'b', 'x'], loadsOf({ a: 2, b: 0 })), ['b', 'a', 'x']);
  t.strictSame(preferenceUnderLoad([], loadsOf({ a: 1 })), []);
  t.end();
});

test('room follows the weight', (t) => {
  const loads = new Map([
    ['big', { load: 7, weight: 4 }],
    ['small', { load: 3, weight: 1 }],
    ['none', { load: 0, weight: 0 }],
  ]);
  t.strictSame(preferenceUnderLoad(['small', 'none', 'big'], loads), ['big', 'small', 'none']);
  t.end();
});

test('placed one by one, nobody gets more than the bound, whatever the keys', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(3), { minLength: 1, maxLength: 200 }),
      fc.constantFrom(1.1, 1.25, 2),
      (keys, bound) => {
        const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
        const loads = new Map(ids.map((id) => [id, { load: 0, weight: 1 }]));
        for (const key of keys) {
          const order = [...ids.slice(key), ...ids.slice(0, key)];
          const [chosen = ''] = preferenceUnderLoad(order, loads, bound);
          loads.set(chosen, { load: (loads.get(chosen)?.load ?? 0) + 1, weight: 1 });
        }
        const most = Math.max(...[...loads.values()].map(({ load }) => load));
        t.ok(most <= Math.ceil((bound * keys.length) / ids.length));
      },
    ),
    { numRuns: 100 },
  );
  t.end();
});
