import * as fc from 'fast-check';
import { test } from 'tap';
import { FULL_MESH, surplusLinks } from './link-cache.ts';

interface Link {
  name: number;
  usedMs: number;
}

const links = (count: number, usedMs: (i: number) => number): Link[] =>
  Array.from({ length: count }, (_, name) => ({ name, usedMs: usedMs(name) }));
const names = (given: Link[]): number[] => given.map(({ name }) => name);
const limits = { linksMax: 600, linkIdleMs: 1_000 };

test('up to a full mesh nothing is closed, however idle', (t) => {
  t.same(
    surplusLinks(
      links(FULL_MESH, () => 0),
      limits,
      () => false,
      1e9,
    ),
    [],
  );
  t.end();
});

test('above it, what is idle goes until it is one again', (t) => {
  // 100 of 350 are idle, of which 50 are too many.
  const some = links(FULL_MESH + 50, (i) => (i < 100 ? i : 5_000));
  const closed = surplusLinks(some, limits, ({ name }) => name === 3, 5_000);
  t.equal(closed.length, 50);
  t.strictSame(names(closed), [0, 1, 2, ...Array.from({ length: 47 }, (_, i) => i + 4)]);
  t.same(
    surplusLinks(some, limits, () => false, 999),
    [],
    'none is idle for so long yet',
  );
  t.strictSame(names(surplusLinks(some, limits, () => false, 1_000)), [0], 'and then one is');
  t.end();
});

test('above the limit the least recently used goes, though it was used a moment ago', (t) => {
  const some = links(602, (i) => 10_000 + ((i * 5) % 602));
  const closed = surplusLinks(some, limits, () => false, 10_602);
  t.strictSame(
    closed.map(({ usedMs }) => usedMs),
    [10_000, 10_001],
  );
  const few = surplusLinks(
    links(5, (i) => i),
    { ...limits, linksMax: 3 },
    () => false,
    5,
  );
  t.strictSame(names(few), [0, 1], 'a limit below the mesh is one too');
  t.end();
});

test('what is held stays, and no more goes than has to', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ usedMs: fc.nat(2_000), isHeld: fc.boolean() }), { maxLength: 700 }),
      fc.integer({ min: 1, max: 650 }),
      (given, linksMax) => {
        const closed = surplusLinks(given, { linksMax, linkIdleMs: 1_000 }, (l) => l.isHeld, 2_000);
        if (closed.some(({ isHeld }) => isHeld)) t.fail('a held one is closed');
        const left = given.length - closed.length;
        if (left < Math.min(given.length, linksMax, FULL_MESH)) t.fail('too many are closed');
        const isOver = left > linksMax;
        if (isOver && given.some((link) => !link.isHeld && !closed.includes(link)))
          t.fail('too few are closed');
      },
    ),
    { numRuns: 200 },
  );
  t.end();
});
