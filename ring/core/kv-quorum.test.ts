import * as fc from 'fast-check';
import { test } from 'tap';
import type { Epoch, EpochMember } from './epoch.ts';
import { epochOf } from '../epoch.testkit.ts';
import { Placement } from './kv-placement.ts';
import { type Level, needed, Tally, union } from './kv-quorum.ts';

const sets = fc.array(
  fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1, maxLength: 6 }),
  { minLength: 1, maxLength: 2 },
);
const levels = fc.constantFrom<Level>('one', 'quorum', 'all');

test('a tally is met by enough in every set, and missed when that cannot be', (t) => {
  fc.assert(
    fc.property(sets, levels, fc.infiniteStream(fc.boolean()), (owners, level, answers) => {
      const tally = new Tally(owners, level);
      const [yes, no] = [new Set<string>(), new Set<string>()];
      const expected = (): string => {
        const has = (set: string[], nodes: Set<string>): number =>
          set.filter((node) => nodes.has(node)).length;
        const isMissed = owners.some(
          (set) => set.length - has(set, no) < needed(level, set.length),
        );
        const isMet = owners.every((set) => has(set, yes) >= needed(level, set.length));
        return isMissed ? 'missed' : isMet ? 'met' : 'open';
      };
      for (const node of union(owners)) {
        t.equal(tally.state, expected());
        if (answers.next().value === true) {
          tally.accept(node);
          yes.add(node);
        } else {
          tally.fail(node);
          no.add(node);
        }
      }
      t.equal(tally.state, expected());
      t.not(tally.state, 'open', 'decided once all have answered');
    }),
  );
  t.end();
});

test('without owners nothing is met', (t) => {
  for (const level of ['one', 'quorum', 'all'] as const)
    t.equal(new Tally([[]], level).state, 'missed');
  t.end();
});

test('two quorums share a member', (t) => {
  for (let owners = 1; owners <= 7; owners++) t.ok(needed('quorum', owners) * 2 > owners);
  t.end();
});

test('a local quorum is of the own region, where it has owners', (t) => {
  const member = (id: string, region: string, token: number): EpochMember => {
    return { id, name: id, address: '', region, roles: [], weight: 1, tokens: [token] };
  };
  const members = [member('a', 'x', 1), member('b', 'x', 2), member('c', 'y', 3)];
  const epoch: Epoch = epochOf(members);
  const placement = new Placement(epoch);
  const owners = placement.owners('b', 'k', 3);
  const local = (self: string): string[] | undefined =>
    placement.counted(owners, 'local-quorum', self)[0]?.toSorted();
  t.strictSame(local('a'), ['a', 'b']);
  t.strictSame(local('c'), ['c']);
  t.strictSame(local('elsewhere'), ['a', 'b', 'c']);
  t.strictSame(placement.counted(owners, 'quorum', 'a'), owners);
  t.end();
});
