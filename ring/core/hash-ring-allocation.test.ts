import * as fc from 'fast-check';
import { test } from 'tap';
import type { EpochMember } from './epoch.ts';
import { HashRing } from './hash-ring.ts';
import { LAYOUTS, maxOverMean, memberAfter, membersOf, type Seat } from './hash-ring.testkit.ts';
import { allocateTokens } from './hash-ring-allocation.ts';
import { fairShares } from './hash-ring-share.ts';

const seat = fc.record({
  weight: fc.constantFrom(0, 1, 1, 2, 4),
  zone: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
  region: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
}) as fc.Arbitrary<Seat>;
const lattices = fc.array(seat, { maxLength: 6 });

for (const [name, layout] of Object.entries(LAYOUTS)) {
  test(`balance while 100 members join: ${name}`, (t) => {
    const members: EpochMember[] = [];
    for (let i = 0; i < 100; i++) {
      const member = memberAfter(members, layout(i));
      members.push(member);
      if (![10, 20, 50, 100].includes(members.length)) continue;
      const [single, triple] = [maxOverMean(members, 1), maxOverMean(members, 3)];
      const what = `${members.length} members: ${single.toFixed(3)}, ${triple.toFixed(3)}`;
      t.ok(single <= 1.05, `max/mean of one replica, ${what}`);
      t.ok(triple <= 1.12, `max/mean of three replicas, ${what}`);
      const gained = new HashRing(members).ownership().get(member.id) ?? 0;
      const due = fairShares(members, 1).at(-1) as number;
      t.ok(gained <= due + 0.01, `it takes ${gained.toFixed(4)}, its share is ${due.toFixed(4)}`);
    }
    t.end();
  });
}

test('a small ring balances too', (t) => {
  const members = membersOf(Array.from({ length: 2 }, () => ({ weight: 1 })));
  for (let count = 3; count < 10; count++) {
    members.push(memberAfter(members, { weight: 1 }));
    t.ok(maxOverMean(members, 1) <= 1.05, `${count} members, one replica`);
    t.ok(maxOverMean(members, 3) <= 1.12, `${count} members, three replicas`);
  }
  t.end();
});

test('a zone that opens late is balanced when it is full', (t) => {
  const members = membersOf(
    Array.from({ length: 45 }, (_, i) => ({ weight: 1, zone: 'abc'.charAt(i / 15) })),
  );
  t.ok(maxOverMean(members, 1) <= 1.05);
  t.ok(maxOverMean(members, 3) <= 1.2);
  t.end();
});

test('what leavers unbalance, those who come balance again', (t) => {
  const full = membersOf(Array.from({ length: 40 }, () => ({ weight: 1 })));
  const members = full.filter((_, i) => (i * 7) % 10 >= 3);
  t.equal(members.length, 28);
  t.ok(maxOverMean(members, 1) > 1.1, 'it is unbalanced at first');
  for (let i = 0; i < 12; i++)
    members.push({ ...memberAfter(members, { weight: 1 }), id: `m${i}` });
  t.ok(maxOverMean(members, 1) <= 1.08);
  t.ok(maxOverMean(members, 3) <= 1.12);
  t.end();
});

test('tokens are as many as the weight says, apart from all others, and the same each time', (t) => {
  fc.assert(
    fc.property(lattices, seat, (seats, newcomer) => {
      const members = membersOf(seats);
      const tokens = allocateTokens(members, newcomer);
      t.equal(tokens.length, 16 * newcomer.weight);
      t.strictSame(
        tokens,
        tokens.toSorted((a, b) => a - b),
      );
      t.ok(tokens.every((token) => Number.isInteger(token) && token >= 0 && token < 2 ** 32));
      const all = [...members.flatMap((member) => member.tokens), ...tokens];
      t.equal(new Set(all).size, all.length);
      t.strictSame(allocateTokens(structuredClone(members), newcomer), tokens);
    }),
    { numRuns: 50 },
  );
  t.end();
});

test('heavy members come to light ones, and light ones to heavy ones', (t) => {
  const members = membersOf([64, 1, 64, 1, 1].map((weight) => ({ weight })));
  t.ok(maxOverMean(members, 1) <= 1.1);
  t.end();
});

test('what is fair: by weight, and at most one replica for each zone that is left', (t) => {
  const near = (members: Seat[], replicas: number, expected: number[]): void => {
    const shares = fairShares(members, replicas);
    t.ok(
      shares.every((share, i) => Math.abs(share - (expected[i] as number)) < 1e-9),
      `${JSON.stringify(shares)} is ${JSON.stringify(expected)}`,
    );
  };
  const zones = (...names: string[]): Seat[] => names.map((zone) => ({ weight: 1, zone }));
  near([{ weight: 1 }, { weight: 3 }], 1, [0.25, 0.75]);
  near([{ weight: 1 }, { weight: 3 }], 3, [1, 1]);
  near([{ weight: 1 }, { weight: 1 }, { weight: 8 }], 2, [0.5, 0.5, 1]);
  near(zones('a', 'a', 'a', 'b', 'b', 'c'), 3, [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1]);
  near(zones('a', 'a', 'a', 'b'), 1, [1 / 4, 1 / 4, 1 / 4, 1 / 4]);
  near(zones('a', 'a', 'b'), 3, [1, 1, 1]);
  // Two zones, three replicas: each zone has one, the third is where the weight is.
  near(zones('a', 'a', 'a', 'a', 'b', 'b'), 3, [1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2]);
  // Two regions: each has one at least.
  const x = ['a', 'b', 'c'].map((zone) => ({ weight: 3, zone, region: 'x' }));
  near([...x, { weight: 1, zone: 'a', region: 'y' }], 3, [2 / 3, 2 / 3, 2 / 3, 1]);
  near([], 3, []);
  t.end();
});
