import { test } from 'tap';
import { memberCalled } from './member-name.ts';

const MEMBERS = [
  { id: 'naaaabbbb', name: 'east' },
  { id: 'naaaacccc', name: 'west' },
  { id: 'nddddeeee', name: 'west' },
  { id: 'nffffgggg', name: 'nddd' },
];

test('a node is meant by its name, its id or the first letters of that', (t) => {
  t.equal(memberCalled(MEMBERS, 'east').id, 'naaaabbbb');
  t.equal(memberCalled(MEMBERS, 'naaaacccc').id, 'naaaacccc');
  t.equal(memberCalled(MEMBERS, 'naaaac').id, 'naaaacccc');
  t.equal(memberCalled(MEMBERS, 'nddd').id, 'nffffgggg', 'a name comes before an id');
  t.end();
});

test('what names none, or several, is refused with what would do', (t) => {
  t.throws(() => memberCalled(MEMBERS, 'north'), {
    code: 'ERR_RING_NODE_NOT_FOUND',
    hint: /east, west, west, nddd$/,
  });
  t.throws(() => memberCalled(MEMBERS, ''), { code: 'ERR_RING_NODE_NOT_FOUND' });
  t.throws(() => memberCalled(MEMBERS, 'n'), { code: 'ERR_RING_NODE_NOT_FOUND' });
  t.throws(() => memberCalled(MEMBERS, 'west'), { code: 'ERR_RING_NODE_AMBIGUOUS' });
  t.throws(() => memberCalled(MEMBERS, 'naaaa'), {
    code: 'ERR_RING_NODE_AMBIGUOUS',
    hint: 'give more of the id: naaaabbbb, naaaacccc',
  });
  t.end();
});
