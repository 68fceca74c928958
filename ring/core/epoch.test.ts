import { createHash } from 'node:crypto';
import { test } from 'tap';
import { latticeId, nodeId } from '../../spec/id.ts';
import { keyFromSeed, type SigningKey } from '../io/keys.ts';
import { encode } from './codec.ts';
import type { Epoch, EpochMember } from './epoch.ts';
import {
  foundingEpoch,
  joining,
  leaving,
  participants,
  reverted,
  settled,
  withMember,
  withoutMember,
} from './epoch-change.ts';
import {
  certificateMessage,
  encodeEpoch,
  epochMessage,
  openEpoch,
  type SignedEpoch,
  toSignedEpoch,
} from './epoch-record.ts';

const key = (name: string): SigningKey => keyFromSeed(createHash('sha256').update(name).digest());
const idOf = (name: string): string => nodeId(key(name).publicKey);

function member(name: string, tokens: number[] = [1, 2]): EpochMember {
  const weight = tokens.length > 0 ? 1 : 0;
  return { id: idOf(name), name, address: `${name}:1`, roles: ['storage'], weight, tokens };
}

const lattice = latticeId(key('root').publicKey);
const issuer = { node: idOf('a'), key: key('issuer').publicKey };
const use = { token: new Uint8Array(16), node: idOf('b'), expiresSeconds: 1 };
const founding = foundingEpoch(lattice, member('a'), issuer);

/** As a voter signs it; the test says with which keys. */
function signed(
  epoch: Epoch,
  {
    voter = 'a',
    signer = voter,
    root = 'root',
  }: { voter?: string; signer?: string; root?: string } = {},
): SignedEpoch {
  const record = encodeEpoch(epoch);
  const signature = key(root).sign(certificateMessage(epoch.lattice, idOf(voter)));
  return {
    record,
    signatures: [{ node: idOf(voter), signature: key(signer).sign(epochMessage(record)) }],
    certificates: [{ node: idOf(voter), signature }],
  };
}

const FORGED = { code: 'ERR_RING_EPOCH_FORGED' };

test('an epoch is what its voters signed and the root certified, and nothing else', (t) => {
  t.strictSame(encodeEpoch(openEpoch(signed(founding), lattice)), encodeEpoch(founding));
  const forgeries: Record<string, SignedEpoch> = {
    'signed by another key': signed(founding, { signer: 'thief' }),
    'a voter of another root': signed(founding, { root: 'other root' }),
    'signed by a certified node that is no voter': signed(founding, { voter: 'b' }),
    'without signatures': { ...signed(founding), signatures: [] },
    'without certificates': { ...signed(founding), certificates: [] },
    'a changed record': {
      ...signed(founding),
      record: encodeEpoch({ ...founding, members: [member('thief')] }),
    },
    'of another lattice': signed({ ...founding, lattice: latticeId(key('other root').publicKey) }),
    'no epoch': { ...signed(founding), record: encode({ number: 1 }) },
  };
  for (const [what, forgery] of Object.entries(forgeries))
    t.throws(() => openEpoch(forgery, lattice), FORGED, what);
  t.throws(() => openEpoch(signed(founding), latticeId(key('other root').publicKey)), FORGED);
  t.end();
});

test('with several voters a majority must have signed, each counted once', (t) => {
  const epoch = { ...founding, voters: [idOf('a'), idOf('b'), idOf('c')] };
  const by = (...voters: string[]): SignedEpoch => {
    const parts = voters.map((voter) => signed(epoch, { voter }));
    return {
      record: encodeEpoch(epoch),
      signatures: parts.flatMap(({ signatures }) => signatures),
      certificates: parts.flatMap(({ certificates }) => certificates),
    };
  };
  t.throws(() => openEpoch(by('a'), lattice), FORGED);
  t.throws(() => openEpoch(by('a', 'a', 'a'), lattice), FORGED);
  t.throws(() => openEpoch(by('a', 'stranger'), lattice), FORGED);
  t.strictSame(encodeEpoch(openEpoch(by('a', 'c'), lattice)), encodeEpoch(epoch));
  const twice = { ...epoch, voters: [idOf('a'), idOf('a'), idOf('b')] };
  t.throws(() => openEpoch(signed(twice), lattice), FORGED, 'a voter named twice');
  t.end();
});

test('a signed epoch from the wire is checked', (t) => {
  const good = signed(founding);
  t.equal(toSignedEpoch(good), good);
  for (const bad of [
    undefined,
    null,
    {},
    { ...good, record: 'text' },
    { ...good, signatures: 'none' },
    { ...good, signatures: [null] },
    { ...good, certificates: [{ node: 'a' }] },
  ])
    t.throws(() => toSignedEpoch(bad), FORGED);
  t.end();
});

test('I4: changes go one at a time, through a pending epoch when data moves', (t) => {
  const pending = withMember(founding, member('b'), use);
  t.match(pending, { number: 2, previous: founding.members });
  t.strictSame(
    joining(pending).map(({ name }) => name),
    ['b'],
  );
  t.throws(() => withMember(pending, member('c'), use), { code: 'ERR_RING_CHANGE_REFUSED' });
  t.throws(() => withoutMember(pending, idOf('b')), { code: 'ERR_RING_CHANGE_REFUSED' });
  t.strictSame(reverted(pending), { ...founding, number: 3 });

  const two = settled(pending);
  t.strictSame(two, { ...founding, number: 3, members: [member('a'), member('b')], uses: [use] });
  const going = withoutMember(two, idOf('b'));
  t.strictSame(
    leaving(going).map(({ name }) => name),
    ['b'],
  );
  t.equal(participants(going).length, 2, 'who leaves takes part until it is settled');
  t.throws(() => withoutMember(two, idOf('a')), { code: 'ERR_RING_LAST_VOTER' });

  const compute = withMember(two, member('c', []), use);
  t.match(compute, { number: 4, previous: undefined }, 'no tokens, nothing moves');
  t.match(withoutMember(compute, idOf('c')), { number: 5, previous: undefined });
  t.end();
});
