import * as fc from 'fast-check';
import { test } from 'tap';
import { HybridClock, isStamp, stampWallMs } from './hlc.ts';

const NOW = 1_700_000_000_000;

test('stamps grow whatever the wall clock does', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5_000, max: 5_000 })), (offsets) => {
      const clock = new HybridClock('n1', 1);
      const stamps = offsets.map((offset) => clock.tick(NOW + offset));
      t.strictSame(stamps, stamps.toSorted());
      t.equal(new Set(stamps).size, stamps.length);
      t.ok(stamps.every(isStamp));
    }),
  );
  t.end();
});

test('a stamp is above what its clock has observed', (t) => {
  const fast = new HybridClock('n2', 1);
  const slow = new HybridClock('n1', 1);
  const seen = fast.tick(NOW + 400);
  slow.observe(seen, NOW);
  t.ok(slow.tick(NOW) > seen);
  t.end();
});

test('a stamp from far ahead does not drag a clock along', (t) => {
  const wild = new HybridClock('n2', 1).tick(NOW + 3_600_000);
  const clock = new HybridClock('n1', 1);
  clock.observe(wild, NOW);
  t.equal(stampWallMs(clock.tick(NOW)), NOW);
  const above = [clock.tickAfter(wild, NOW), clock.tickAfter(wild, NOW)];
  t.ok(above.every((stamp) => stamp > wild));
  t.equal(stampWallMs(above[0] as string), NOW + 3_600_000, 'no further ahead than that one');
  t.not(above[0], above[1], 'and never the same twice');
  t.equal(stampWallMs(clock.tick(NOW)), NOW);
  t.end();
});

test('a restart makes other stamps at the same time', (t) => {
  const stamps = [1, 2, 3].map((boot) => new HybridClock('n1', boot).tick(NOW));
  t.strictSame(stamps, stamps.toSorted());
  t.equal(new Set(stamps).size, 3);
  t.end();
});

test('other text is no stamp', (t) => {
  const stamp = new HybridClock('n1', 1).tick(NOW);
  for (const text of ['', 'x', stamp.slice(20), `${stamp}0`, stamp.toUpperCase(), 7, null])
    t.equal(isStamp(text), false, String(text));
  t.end();
});
