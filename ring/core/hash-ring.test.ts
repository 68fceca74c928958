import * as fc from 'fast-check';
import { test } from 'tap';
import type { EpochMember } from './epoch.ts';
import { HashRing, hashKey } from './hash-ring.ts';

const positions = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const replicaCounts = fc.integer({ min: 1, max: 7 });
/** Members anywhere on the ring, also where no allocation would put them; some hold no tokens. */
const lattices: fc.Arbitrary<EpochMember[]> = fc
  .array(
    fc.record({
      zone: fc.option(fc.constantFrom('a', 'b', 'c', 'd'), { nil: undefined }),
      region: fc.option(fc.constantFrom('x', 'y', 'z'), { nil: undefined }),
      tokens: fc.array(positions, { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((seats) => {
    const taken = new Set<number>();
    return seats.map(({ zone, region, tokens }, i) => ({
      id: `n${i}`,
      name: '',
      address: '',
      roles: [],
      weight: 1,
      ...(zone === undefined ? {} : { zone }),
      ...(region === undefined ? {} : { region }),
      tokens: tokens.filter((token) => !taken.has(token) && taken.add(token)),
    }));
  });

function zoneOf({ id, zone, region }: EpochMember): string {
  return zone === undefined ? id : `${region} ${zone}`;
}

/** The rule of hash-ring-spread.ts, without its shortcuts. */
function rankedOwners(members: readonly EpochMember[], position: number): string[] {
  const distance = ({ tokens }: EpochMember): number =>
    Math.min(...tokens.map((token) => (token - position + 2 ** 32) % 2 ** 32));
  const met = members
    .filter(({ tokens }) => tokens.length > 0)
    .toSorted((a, b) => distance(a) - distance(b));
  const levels = met.map((member, i) => {
    const zone = met.slice(0, i).filter((other) => zoneOf(other) === zoneOf(member));
    return { member, level: zone.length };
  });
  const byLevel = levels.toSorted((a, b) => a.level - b.level);
  const ranked = byLevel.map(({ member, level }, i) => {
    const region = byLevel.slice(0, i).filter((other) => other.member.region === member.region);
    return { id: member.id, level, round: region.length };
  });
  return ranked.toSorted((a, b) => a.level - b.level || a.round - b.round).map(({ id }) => id);
}

test('the hash is MurmurHash3', (t) => {
  // Published vectors, seed 0.
  t.equal(hashKey(''), 0);
  t.equal(hashKey('test'), 0xba6bd213);
  t.equal(hashKey('Hello, world!'), 0xc0363e43);
  t.equal(hashKey('The quick brown fox jumps over the lazy dog'), 0x2e4ff723);
  t.end();
});

test('owners are distinct, as many as there can be, and the same on every node', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (members, position, replicas) => {
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
    fc.property(lattices, positions, replicaCounts, (members, position, replicas) => {
      const holders = members.filter(({ tokens }) => tokens.length > 0);
      const place = new Map(holders.map((member) => [member.id, zoneOf(member)]));
      const owners = new HashRing(members).owners(position, replicas);
      const used = new Set(owners.map((id) => place.get(id)));
      t.equal(used.size, Math.min(new Set(place.values()).size, owners.length));
    }),
    { numRuns: 200 },
  );
  t.end();
});

test('owners are spread evenly over regions as long as these have zones left', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (members, position, replicas) => {
      const holders = members.filter(({ tokens }) => tokens.length > 0);
      const byRegion = Map.groupBy(holders, ({ region }) => region);
      const owners = new Set(new HashRing(members).owners(position, replicas));
      const counts = [...byRegion.values()].map((region) => ({
        owners: region.filter(({ id }) => owners.has(id)).length,
        zones: new Set(region.map(zoneOf)).size,
      }));
      const most = Math.max(0, ...counts.map((region) => region.owners));
      const few = counts.filter((region) => region.owners < most - 1);
      // Zones come first: a region may have more owners only when others have no zone left.
      t.ok(few.every((region) => region.owners >= region.zones));
    }),
    { numRuns: 300 },
  );
  t.end();
});

test('the owners for fewer replicas are the first of those for more', (t) => {
  fc.assert(
    fc.property(lattices, positions, (members, position) => {
      const ring = new HashRing(members);
      const all = ring.owners(position, ring.size);
      for (let replicas = 0; replicas <= ring.size; replicas++)
        t.strictSame(ring.owners(position, replicas), all.slice(0, replicas));
    }),
    { numRuns: 100 },
  );
  t.end();
});

test('the owners are what ranking every member gives', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (members, position, replicas) => {
      const owners = new HashRing(members).owners(position, replicas);
      t.strictSame(owners, rankedOwners(members, position).slice(0, replicas));
    }),
    { numRuns: 300 },
  );
  t.end();
});

test('a member that comes or goes changes owners only by itself', (t) => {
  fc.assert(
    fc.property(lattices, positions, replicaCounts, (members, position, replicas) => {
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

test('a member that goes leaves to others what it had, and they keep what they have', (t) => {
  fc.assert(
    fc.property(
      lattices,
      positions,
      replicaCounts,
      fc.nat(),
      (members, position, replicas, who) => {
        const leaver = members[who % members.length] as EpochMember;
        const before = new HashRing(members).owners(position, replicas);
        const after = new HashRing(members.filter((member) => member !== leaver)).owners(
          position,
          replicas,
        );
        const stayed = before.filter((id) => id !== leaver.id);
        t.ok(stayed.every((id) => after.includes(id)));
        t.ok(after.length - stayed.length <= 1);
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

test('what a ring says of ownership is what its ranges say', (t) => {
  fc.assert(
    fc.property(lattices, replicaCounts, (members, replicas) => {
      const ring = new HashRing(members);
      const shares = new Map<string, number>();
      for (const { range, owners } of ring.ranges(replicas)) {
        const share = (range.last - range.first + 1) / 2 ** 32;
        for (const id of owners) shares.set(id, (shares.get(id) ?? 0) + share);
      }
      for (const [id, share] of ring.ownership(replicas))
        t.ok(Math.abs(share - (shares.get(id) ?? 0)) < 1e-9);
    }),
    { numRuns: 50 },
  );
  t.end();
});

test('ranges are the whole circle, without gap or overlap, and agree with owners', (t) => {
  fc.assert(
    fc.property(lattices, replicaCounts, (members, replicas) => {
      const ring = new HashRing(members);
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
