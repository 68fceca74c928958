import { test } from 'tap';
import type { MemberView } from '../../ring/index.ts';
import type { Placement } from '../../spec/aetherfile/app.ts';
import { candidatesOf, candidatesUnderLoad } from './placement.ts';

function members(...given: Partial<MemberView>[]): Map<string, MemberView> {
  return new Map(
    given.map((member) => [member.id ?? '', { state: 'alive', ...member } as MemberView]),
  );
}

const ANYWHERE: Placement = { regions: [], zones: [], require: {}, avoid: [], spread: 'zone' };

test('the order of the ring is kept; the dead and the strangers are named', (t) => {
  const known = members({ id: 'a' }, { id: 'b', state: 'dead' }, { id: 'c', state: 'suspect' });
  t.same(candidatesOf(['c', 'x', 'b', 'a'], known, ANYWHERE), {
    nodes: ['c', 'a'],
    rejected: [
      { node: 'x', why: 'it is not a member' },
      { node: 'b', why: 'it is dead' },
    ],
  });
  t.end();
});

test('regions and zones narrow, each with its reason', (t) => {
  const known = members(
    { id: 'a', region: 'eu', zone: 'z1' },
    { id: 'b', region: 'us', zone: 'z1' },
    { id: 'c' },
  );
  const order = ['a', 'b', 'c'];
  t.same(candidatesOf(order, known, { ...ANYWHERE, regions: ['eu'] }), {
    nodes: ['a'],
    rejected: [
      { node: 'b', why: 'its region is us' },
      { node: 'c', why: 'its region is not set' },
    ],
  });
  t.same(candidatesOf(order, known, { ...ANYWHERE, zones: ['z1'] }).nodes, ['a', 'b']);
  t.same(candidatesOf(order, known, { ...ANYWHERE, zones: ['z2'] }).nodes, []);
  t.end();
});

test('who is much busier than the others is asked after them', (t) => {
  const under = (...loads: (number | undefined)[]): string => {
    const given = loads.map((load, i) =>
      Object.assign({ id: 'abc'[i] ?? '', weight: 1 }, load === undefined ? undefined : { load }),
    );
    return candidatesUnderLoad(['a', 'b', 'c'], members(...given)).join('');
  };
  t.equal(under(0.1, 0, 0), 'abc', 'a warm instance is worth more than an idle node');
  t.equal(under(0.6, 0.1, undefined), 'abc');
  t.equal(under(0.9, 0.1, 0.2), 'bca');
  t.equal(under(1, 1, 1), 'abc', 'where all are busy nobody is');
  const given = members({ id: 'a', weight: 4, load: 0.6 }, { id: 'b', weight: 1, load: 0.9 });
  t.same(candidatesUnderLoad(['b', 'a'], given), ['a', 'b'], 'each by its own size');
  t.end();
});
