import { createHash } from 'node:crypto';
import { test } from 'tap';
import { latticeId } from '../../spec/id.ts';
import { keyFromSeed, type SigningKey } from '../io/keys.ts';
import type { Epoch, RootKey } from './epoch.ts';
import {
  type Founder,
  founderMessage,
  isFounded,
  rootKeys,
  successor,
  withRoot,
} from './root-key.ts';

const key = (name: string): SigningKey => keyFromSeed(createHash('sha256').update(name).digest());
const lattice = latticeId(key('first').publicKey);
const founder: Founder = {
  node: 'n1',
  signature: key('first').sign(founderMessage(lattice, 'n1')),
};
const epoch: Epoch = {
  number: 4,
  lattice,
  members: [],
  voters: ['n1'],
  issuers: [],
  uses: [],
  revoked: [],
  revokedTokens: [],
  roots: [],
};
const after = (before: Epoch, newest: string, next: string): RootKey =>
  successor(
    { lattice: before.lattice, founder: founder.node, roots: rootKeys(before) },
    key(newest),
    key(next),
  );

test('Q1, Q2: a root follows on the one before, under the name of the first', (t) => {
  t.ok(isFounded(epoch, founder));
  const second = withRoot(epoch, founder, after(epoch, 'first', 'second'));
  t.match(second, { number: 5, lattice });
  t.equal(withRoot(second, founder, after(epoch, 'first', 'second')), second, 'asked again');
  const third = withRoot(second, founder, after(second, 'second', 'third'));
  t.strictSame(
    rootKeys(third),
    ['first', 'second', 'third'].map((name) => key(name).publicKey),
  );
  t.ok(isFounded(third, founder));

  const refused: Record<string, [Epoch, RootKey]> = {
    'by a root that was replaced': [second, after(second, 'first', 'thief')],
    'by a stranger': [epoch, after(epoch, 'thief', 'second')],
    'for an earlier place': [second, after(epoch, 'second', 'other')],
    'of another lattice': [
      epoch,
      after({ ...epoch, lattice: latticeId(key('x').publicKey) }, 'first', 'second'),
    ],
    'without a word on the founder': [
      epoch,
      { ...after(epoch, 'first', 'second'), founder: new Uint8Array(64) },
    ],
    'a key that the new root has not': [
      epoch,
      { ...after(epoch, 'first', 'second'), key: key('other').publicKey },
    ],
  };
  for (const [what, [before, root]] of Object.entries(refused))
    t.throws(() => withRoot(before, founder, root), { code: 'ERR_RING_ROOT_FORGED' }, what);
  t.end();
});

test('Q3: proof of an earlier root, with the later ones cut off or changed, is another one', (t) => {
  const second = withRoot(epoch, founder, after(epoch, 'first', 'second'));
  // Whoever has the first root's key can found a lattice of this name, but not under the second root.
  const thief = { node: 'n2', signature: key('first').sign(founderMessage(lattice, 'n2')) };
  t.ok(isFounded(epoch, thief));
  t.notOk(isFounded(second, thief));
  const [root] = second.roots as [RootKey];
  const forged = { ...root, founder: key('first').sign(founderMessage(lattice, 'n2')) };
  t.notOk(isFounded({ ...second, roots: [forged] }, thief));
  t.notOk(isFounded({ ...second, roots: [root, root] }, founder));
  t.end();
});

test('Q4: a root that anybody could sign for, or that was replaced, is none', (t) => {
  const weak = new Uint8Array(32).fill(1, 0, 1);
  const signature = Buffer.concat([weak, new Uint8Array(32)]);
  const second = withRoot(epoch, founder, after(epoch, 'first', 'second'));
  for (const root of [
    { ...after(epoch, 'first', 'second'), key: weak, founder: signature },
    { ...after(second, 'second', 'first') },
  ])
    t.throws(() => withRoot(second, founder, root), { code: 'ERR_RING_ROOT_WEAK' });
  t.end();
});
