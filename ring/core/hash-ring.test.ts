import * as fc from 'fast-check';
import { test } from 'tap';
import type { EpochMember } from './epoch.ts';
import { allocateTokens, HashRing, hashKey } from './hash-ring.ts';

interface Seat {
  weight: number;
  zone?: string;
}

function membersOf(seats: readonly Seat[]): EpochMember[] {
  const members: EpochMember[] = [];
  seats.forEach(({ weight, zone }, i) => {
    const tokens = allocateTokens(members, weight);
    const place = zone === undefined ? {} : { zone };
    members.push({ id: `n${i}`, name: '', address: '', roles: [], weight, tokens, ...place });
  });
  return members;
}

function equalMembers(count: number): EpochMember[] {
  return membersOf(Array.from({ length: count }, () => ({ weight: 1 })));
}

/** Each member's share of all replicas. */
function shares(ring: HashRing, replicas: number): number[] {
  const total = new Map<string, number>();
  for (const { range, owners } of ring.ranges(replicas)) {
    for (const id of owners)
      total.set(id, (total.get(id) ?? 0) + (range.last - range.first + 1) / 2 ** 32 / replicas);
  }
  return [...total.values()];
}

const lattices = fc.array(
  fc.record({
    weight: fc.constantFrom(0, 0.5, 1, 1, 2),
    zone: fc.option(fc.constantFrom('a', 'b', 'c', 'd'), { nil: undefined }),
  }) as fc.Arbitrary<Seat>,
  { minLength: 1, maxLength: 12 },
);
const positions = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const replicaCounts = fc.integer({ min: 1, max: 7 });

test('the hash is MurmurHash3', (t) => {
  // Published vectors, seed 0.
  t.equal(hashKey(''), 0);
  t.equal(hashKey('test'), 0xba6bd213);
  t.equal(hashKey('Hello, world!'), 0xc0363e43);
  t.equal(hashKey('The quick brown fox jumps over the lazy dog'), 0x2e4ff723);
  t.end();
});

test('allocated tokens balance', (t) => {
  for (const count of [2, 3, 5, 10, 30, 100]) {
    const ring = new HashRing(equalMembers(count));
    const single = Math.max(...ring.ownership().values()) * count;
    const triple = Math.max(...shares(ring, Math.min(3, count))) * count;
    t.comment(
      `${count} members: max/mean ${single.toFixed(3)}, three replicas ${triple.toFixed(3)}`,
    );
    t.ok(single <= 1.05, `${count} members, one replica`);
    t.ok(triple <= 1.15, `${count} members, three replicas`);
  }
  t.end();
});

test('shares follow the weights', (t) => {
  const weights = [1, 2, 1, 0.5, 3, 0];
  const ring = new HashRing(membersOf(weights.map((weight) => ({ weight }))));
  for (const [id, share] of ring.ownership()) {
    const due = (weights[Number(id.slice(1))] as number) / 7.5;
    t.ok(Math.abs(share / due - 1) < 0.1, `${id} has ${(share / due).toFixed(3)} of its due`);
  }
  t.equal(ring.ownership().has('n5'), false, 'no weight, no share');
  t.end();
});

test('owners are distinct, as many as there can be, and the same on every node', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (seats, position, replicas) => {
      const members = membersOf(seats);
      const owners = new HashRing(members).owners(position, replicas);
      const holders = members.filter(({ tokens }) => tokens.length > 0);
      t.equal(owners.length, Math.min(replicas, holders.length));
      t.equal(new Set(owners).size, owners.length);
      t.strictSame(new HashRing(members.toReversed()).owners(position, replicas), owners);
    }),
    { numRuns: 200 },
  );
  t.end();
});

test('no two owners share a zone while another zone is left', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (seats, position, replicas) => {
      const members = membersOf(seats);
      const place = new Map(members.map(({ id, zone }) => [id, zone ?? id]));
      const holders = members.filter(({ tokens }) => tokens.length > 0);
      const zones = new Set(holders.map(({ id }) => place.get(id)));
      const owners = new HashRing(members).owners(position, replicas);
      const used = new Set(owners.map((id) => place.get(id)));
      t.equal(used.size, Math.min(zones.size, owners.length));
    }),
    { numRuns: 200 },
  );
  t.end();
});

test('a member that comes or goes changes owners only by itself', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (seats, position, replicas) => {
      const members = membersOf(seats);
      const last = members.at(-1) as EpochMember;
      const without = new HashRing(members.slice(0, -1)).owners(position, replicas);
      const owners = new HashRing(members).owners(position, replicas);
      const gained = owners.filter((id) => !without.includes(id));
      const lost = without.filter((id) => !owners.includes(id));
      t.ok(gained.every((id) => id === last.id));
      t.ok(lost.length <= gained.length, 'nobody goes unless the new one comes');
    }),
    { numRuns: 300 },
  );
  t.end();
});

test('one member more takes its share and moves nothing else', (t) => {
  for (const count of [3, 10, 50]) {
    const members = equalMembers(count + 1);
    const [before, after] = [new HashRing(members.slice(0, -1)), new HashRing(members)];
    const KEYS = 20_000;
    let moved = 0;
    for (let i = 0; i < KEYS; i++) {
      const [old, now] = [before.owners(`key${i}`, 1)[0], after.owners(`key${i}`, 1)[0]];
      if (old === now) continue;
      moved++;
      if (now !== `n${count}`) t.fail(`key${i} moved from ${old} to ${now}`);
    }
    t.ok(moved / KEYS <= 1 / (count + 1) + 0.01, `${moved} of ${KEYS} keys moved`);
  }
  t.end();
});

test('ranges are the whole circle, without gap or overlap, and agree with owners', (t) => {
  fc.assert(
    fc.property(lattices, replicaCounts, (seats, replicas) => {
      const ring = new HashRing(membersOf(seats));
      const pieces = ring.ranges(replicas);
      if (ring.size === 0) return t.strictSame(pieces, []);
      let next = 0;
      for (const { range, owners } of pieces) {
        t.equal(range.first, next);
        next = range.last + 1;
        t.strictSame(ring.owners(range.first, replicas), owners);
        t.strictSame(ring.owners(range.last, replicas), owners);
      }
      return t.equal(next, 2 ** 32);
    }),
    { numRuns: 100 },
  );
  t.end();
});
