import { test } from 'tap';
import type { Epoch, EpochMember } from './epoch.ts';
import { settled } from './epoch-change.ts';
import { reweighted, withWeight } from './epoch-weight.ts';

function member(id: string, tokens: number[], roles = ['storage']): EpochMember {
  return { id, name: id, address: `${id}:1`, roles, weight: tokens.length > 0 ? 1 : 0, tokens };
}

const EPOCH: Epoch = {
  number: 4,
  lattice: 'l',
  members: [member('a', [1, 3]), member('b', [2, 4]), member('c', [], ['compute'])],
  voters: ['a'],
  issuers: [],
  uses: [],
  revoked: [],
  revokedTokens: [],
  roots: [],
};

const ELECTORATE = { voters: EPOCH.voters, issuers: EPOCH.issuers };

test('a member without a share stays one, and the others keep their tokens', (t) => {
  const drained = withWeight(EPOCH, 'b', 0) as Epoch;
  t.equal(drained.number, 5);
  t.same(drained.previous, EPOCH.members);
  t.same(drained.members[1], { ...EPOCH.members[1], weight: 0, tokens: [] });
  t.same(drained.members[0], EPOCH.members[0]);
  t.same(
    reweighted(drained).map(({ id }) => id),
    ['b'],
  );

  const back = withWeight(settled(drained, ELECTORATE), 'b', 2) as Epoch;
  t.equal(back.members[1]?.weight, 2);
  t.equal(back.members[1]?.tokens.length, 32);
  t.same(back.members[0], EPOCH.members[0]);
  t.same(reweighted(settled(back, ELECTORATE)), []);
  t.end();
});

test('what is so already is no change', (t) => {
  t.equal(withWeight(EPOCH, 'a', 1), undefined);
  t.equal(withWeight(EPOCH, 'c', 0), undefined);
  t.end();
});

test('a change that would lose data, or that cannot be meant, is refused', (t) => {
  const drained = withWeight(EPOCH, 'b', 0) as Epoch;
  t.throws(() => withWeight(drained, 'a', 0), { code: 'ERR_RING_CHANGE_REFUSED' }, 'pending');
  t.throws(() => withWeight(settled(drained, ELECTORATE), 'a', 0), {
    code: 'ERR_RING_CHANGE_REFUSED',
  });
  t.throws(() => withWeight(EPOCH, 'd', 1), { code: 'ERR_RING_NODE_NOT_FOUND' });
  t.throws(() => withWeight(EPOCH, 'a', 0.5), { code: 'ERR_RING_OPTION' });
  t.throws(() => withWeight(EPOCH, 'c', 1), { code: 'ERR_RING_OPTION' }, 'without the role');
  t.end();
});
