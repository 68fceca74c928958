import { test } from 'tap';
import { latticeId } from '../../spec/id.ts';
import { encode } from './codec.ts';
import {
  type Configuration,
  firstConfiguration,
  jointConfiguration,
  settledConfiguration,
} from './configuration.ts';
import type { Epoch, EpochMember, TokenUse } from './epoch.ts';
import {
  joining,
  leaving,
  type Newcomer,
  participants,
  settled,
  withElectorate,
  withMembers,
  withoutLost,
  withoutMember,
} from './epoch-change.ts';
import { encodeEpoch, openEpoch, type SignedEpoch, toSignedEpoch } from './epoch-record.ts';
import { epochOf, handover, idOf, keyOf, LATTICE, signedEpoch } from '../epoch.testkit.ts';

function member(name: string, tokens: number[] = [1, 2]): EpochMember {
  const weight = tokens.length > 0 ? 1 : 0;
  return { id: idOf(name), name, address: `${name}:1`, roles: ['storage'], weight, tokens };
}

const useOf = (name: string, expiresSeconds = 100): TokenUse => ({
  token: new Uint8Array(16),
  node: idOf(name),
  expiresSeconds,
});
const newcomer = (name: string, tokens?: number[]): Newcomer => ({
  member: member(name, tokens),
  use: useOf(name),
});
const founding = epochOf([member('a')]);
const names = (members: EpochMember[]): string[] => members.map(({ name }) => name);

const FORGED = { code: 'ERR_RING_EPOCH_FORGED' };
const OTHER = latticeId(keyOf('other root').publicKey);

const opened = (signed: SignedEpoch): string =>
  Buffer.from(encodeEpoch(openEpoch(signed, LATTICE))).toString('hex');
const hex = (epoch: Epoch): string => Buffer.from(encodeEpoch(epoch)).toString('hex');

test('C1, C5: an epoch is what its voter signed and the root certified, and nothing else', (t) => {
  t.equal(opened(signedEpoch(founding)), hex(founding));
  const good = signedEpoch(founding);
  const { value } = good.certificate;
  const changed = (change: object): SignedEpoch => ({
    ...good,
    certificate: { ...good.certificate, value: { ...value, ...change } },
  });
  const forgeries: Record<string, SignedEpoch> = {
    'signed by another key': signedEpoch(founding, { signers: ['thief'] }),
    'a founder of another root': signedEpoch(founding, { root: 'other root' }),
    'another founder': signedEpoch(founding, { founder: 'thief', root: 'thief' }),
    'without signatures': signedEpoch(founding, { signers: [] }),
    'a changed record': changed({
      record: encodeEpoch({ ...founding, members: [member('thief')] }),
    }),
    'a changed number': changed({ number: 2 }),
    'of another lattice': signedEpoch({ ...founding, lattice: OTHER }),
    'signed for another lattice': signedEpoch(founding, { lattice: OTHER }),
    'no epoch': changed({ record: encode({ number: 1 }) }),
  };
  for (const [what, forgery] of Object.entries(forgeries))
    t.throws(() => openEpoch(forgery, LATTICE), FORGED, what);
  t.throws(() => openEpoch(good, OTHER), FORGED);
  t.end();
});

test('C2 to C4: each set of voters makes the next', (t) => {
  const ids = (text: string): string[] => text.split('').map(idOf);
  const first = firstConfiguration(ids('a'));
  const toThree = jointConfiguration(first, ids('abc'));
  const three = settledConfiguration(toThree);
  const toOthers = jointConfiguration(three, ids('bcd'));
  const others = settledConfiguration(toOthers);
  const by = (configuration: Configuration, signers: string): ReturnType<typeof handover> =>
    handover(configuration, { signers: signers.split('') });
  const [one, two] = [by(toThree, 'ab'), by(toOthers, 'bc')];
  const epoch = (
    configuration: Configuration,
    signers: string,
    handovers = [one, two],
  ): SignedEpoch => signedEpoch(founding, { configuration, signers: signers.split(''), handovers });

  const good: Record<string, SignedEpoch> = {
    'by the voters of today': epoch(others, 'cd'),
    'while they begin to be': epoch(toOthers, 'bc', [one]),
    'by the first three': epoch(three, 'ac', [one]),
    'while the founder makes them': epoch(toThree, 'abc', []),
  };
  for (const [what, signed] of Object.entries(good)) t.equal(opened(signed), hex(founding), what);

  const invented = jointConfiguration(first, ids('xyz'));
  const skipped = { number: 5, voters: ids('bcd') };
  const forgeries: Record<string, SignedEpoch> = {
    'a minority of the voters': epoch(others, 'c'),
    'one voter twice': epoch(others, 'cc'),
    'a retired voter and one of today': epoch(others, 'ab'),
    'voters of before, who are none any more': epoch(three, 'ab'),
    'a handover that is left out': epoch(others, 'cd', [two]),
    'a handover by a minority of those before': epoch(others, 'cd', [one, by(toOthers, 'bd')]),
    'a handover by a minority of those after': epoch(three, 'ac', [by(toThree, 'a')]),
    'voters that nobody made': epoch(settledConfiguration(invented), 'xy', [by(invented, 'xy')]),
    'a handover by those who come': epoch(others, 'cd', [one, by(toOthers, 'cd')]),
    'handovers in another order': epoch(others, 'cd', [two, one]),
    'one handover twice': epoch(three, 'ac', [one, one]),
    'a configuration that is no joint one': epoch(others, 'cd', [one, by(skipped, 'bcd')]),
    'while joint, by those who come only': epoch(toOthers, 'cd', [one]),
    'of another number': epoch({ ...others, number: 7 }, 'cd'),
    'a handover of another lattice': epoch(three, 'ac', [
      handover(toThree, { signers: ['a', 'b'], lattice: OTHER }),
    ]),
    'a handover with other voters put in': epoch(three, 'ac', [
      { ...one, configuration: { ...toThree, voters: ids('xyz') } },
    ]),
  };
  for (const [what, forgery] of Object.entries(forgeries))
    t.throws(() => openEpoch(forgery, LATTICE), FORGED, what);
  t.end();
});

test('a signed epoch from the wire is checked', (t) => {
  const good = signedEpoch(founding);
  const { certificate } = good;
  t.equal(toSignedEpoch(good), good);
  for (const bad of [
    undefined,
    null,
    {},
    { ...good, founder: undefined },
    { ...good, founder: { node: 'a' } },
    { ...good, certificate: {} },
    { ...good, certificate: { ...certificate, signatures: [null] } },
    { ...good, certificate: { ...certificate, value: { ...certificate.value, record: 'text' } } },
    { ...good, certificate: { ...certificate, value: { ...certificate.value, handovers: [1] } } },
  ])
    t.throws(() => toSignedEpoch(bad), FORGED);
  t.end();
});

test('I4: changes go one at a time, through a pending epoch when data moves', (t) => {
  const pending = withMembers(founding, [newcomer('b'), newcomer('c')], 0);
  t.match(pending, { number: 2, previous: founding.members, uses: [useOf('b'), useOf('c')] });
  t.strictSame(names(joining(pending)), ['b', 'c']);
  const refused = { code: 'ERR_RING_CHANGE_REFUSED' };
  t.throws(() => withMembers(pending, [newcomer('d')], 0), refused);
  t.throws(() => withoutMember(pending, idOf('b')), refused);
  t.throws(() => withElectorate(pending, pending), refused);

  const { voters, issuers } = founding;
  const three = settled(pending, { voters, issuers });
  t.match(three, { number: 3, previous: undefined, voters });
  t.strictSame(names(three.members), ['a', 'b', 'c']);
  const going = withoutMember(three, idOf('b'));
  t.strictSame(names(leaving(going)), ['b']);
  t.equal(participants(going).length, 3, 'who leaves takes part until it is settled');
  t.match(withoutMember(three, idOf('a')), { previous: three.members }, 'also the founder');
  t.throws(() => withoutMember(founding, idOf('a')), { code: 'ERR_RING_LAST_VOTER' });

  const compute = withMembers(three, [newcomer('d', [])], 0);
  t.match(compute, { number: 4, previous: undefined }, 'no tokens, nothing moves');
  t.match(withoutMember(compute, idOf('d')), { number: 5, previous: undefined });
  t.end();
});

test('who is lost while it comes is not admitted, and its token not used', (t) => {
  const pending = withMembers(founding, [newcomer('b'), newcomer('c')], 0);
  const rest = withoutLost(pending, [idOf('b')]);
  t.match(rest, { number: 3, previous: founding.members, uses: [useOf('c')] });
  t.strictSame(names(joining(rest)), ['c']);
  t.strictSame(withoutLost(rest, [idOf('c')]), { ...founding, number: 4 }, 'given up');
  t.end();
});

test('uses are kept for as long as some clock may take the token for good', (t) => {
  const used = withMembers(founding, [newcomer('b', [])], 0);
  const soon = withMembers(used, [newcomer('c', [])], 100 + 3_599);
  t.strictSame(soon.uses.length, 2);
  const late = withMembers(used, [newcomer('c', [])], 100 + 3_600);
  t.strictSame(
    late.uses.map(({ node }) => node),
    [idOf('c')],
  );
  t.end();
});
