import { test } from 'tap';
import { electedVoters } from './election.ts';
import type { Epoch, EpochMember } from './epoch.ts';

/** Members as `id` or `id/zone`; after a dash those that have no part of the ring. */
function epochOf(text: string, previous?: string): Epoch {
  const [storage = '', compute = ''] = text.split('-');
  const membersOf = (list: string, tokens: number[]): EpochMember[] =>
    list
      .split(' ')
      .filter((each) => each !== '')
      .map((each): EpochMember => {
        const [id = '', zone = id] = each.split('/');
        return { id, name: id, address: '', zone, roles: ['storage'], weight: 1, tokens };
      });
  const lists = { voters: [], issuers: [], uses: [], revoked: [], roots: [] };
  const members = [...membersOf(storage, [1]), ...membersOf(compute, [])];
  const epoch = { number: 1, lattice: 'l', members, ...lists };
  return previous === undefined ? epoch : { ...epoch, previous: membersOf(previous, [1]) };
}

const elected = (epoch: Epoch, voters: string, silent = ''): string =>
  electedVoters(epoch, voters.split(' '), (node) => !silent.split(' ').includes(node)).join(' ');

test('as many voters as candidates, and three of many', (t) => {
  t.equal(elected(epochOf('a'), 'a'), 'a');
  t.equal(elected(epochOf('a b'), 'a'), 'a b', 'neither can be put back unnoticed');
  t.equal(elected(epochOf('a b c'), 'a'), 'a b c', 'in one step');
  t.equal(elected(epochOf('a b c d'), 'a b'), 'a b c');
  t.equal(elected(epochOf('a - b c'), 'a'), 'a', 'who holds nothing is no candidate');
  t.equal(elected(epochOf('a b c d', 'a b'), 'a'), 'a b', 'who only comes is none either');
  t.equal(elected(epochOf('a b c'), 'a', 'c'), 'a', 'an even number is not worth a change');
  const zones = 'a/1 b/2 c/3 d/4 e/5';
  t.equal(elected(epochOf(`${zones} f/1`), 'a b c'), 'a b c');
  t.equal(elected(epochOf(`${zones} f/1 g/2`), 'a b c'), 'a b c d e', 'a large lattice');
  t.equal(elected(epochOf('a/1 b/2 c/3 d/4'), 'a b c d e', 'b'), 'a c d', 'and small again');
  t.end();
});

test('who leaves is replaced, who is dead is not', (t) => {
  t.equal(elected(epochOf('a b c d'), 'a b c', 'a'), 'a b c');
  t.equal(elected(epochOf('b c d', 'a b c d'), 'a b c'), 'b c d');
  t.equal(elected(epochOf('b c d', 'a b c d'), 'a b c', 'd'), 'b c', 'nobody else can stand');
  t.equal(elected(epochOf('b', 'a b'), 'a b'), 'b');
  t.equal(elected(epochOf('- b', 'a'), 'a'), 'a', 'somebody must');
  t.end();
});

test('voters are in zones of their own while there are zones', (t) => {
  t.equal(elected(epochOf('a/1 b/1 c/1 d/2 e/3'), 'a'), 'a d e');
  t.equal(elected(epochOf('a/1 b/1 c/2 d/3'), 'a b c'), 'a d c', 'one gives way');
  t.equal(elected(epochOf('a/1 b/1 c/2 d/3'), 'a b c', 'b'), 'd b c', 'one that lives');
  t.equal(elected(epochOf('a/1 b/1 c/2 d/3'), 'a b c', 'd'), 'a b c');
  t.equal(elected(epochOf('a/1 b/2 c/2 d/2'), 'a b c'), 'a b c', 'no better way');
  t.end();
});
