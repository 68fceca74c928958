import { test } from 'tap';
import { firstConfiguration, jointConfiguration } from './configuration.ts';
import { electedVoters } from './election.ts';
import type { Epoch, EpochMember } from './epoch.ts';
import { participants, withMembers } from './epoch-change.ts';
import {
  checkGrant,
  checkNode,
  revokedMember,
  withRevoked,
  withRevokedToken,
} from './revocation.ts';
import type { JoinGrant } from './token.ts';

function member(id: string, tokens: number[] = [1]): EpochMember {
  return { id, name: id, address: '', roles: ['storage'], weight: tokens.length, tokens };
}

const members = ['a', 'b', 'c', 'd'].map((id) => member(id));
const voters = ['a', 'b', 'c'];
const deciding = firstConfiguration(voters);
const epoch: Epoch = {
  number: 7,
  lattice: 'l',
  members,
  voters,
  issuers: voters.map((node) => ({ node, key: new Uint8Array(32) })),
  uses: [],
  revoked: [],
  revokedTokens: [],
  roots: [],
};
const token = new Uint8Array(16).fill(3);
const grant: JoinGrant = {
  id: token,
  issuedSeconds: 0,
  notBeforeSeconds: 0,
  expiresSeconds: 100,
  uses: 1,
  roles: [],
  root: new Uint8Array(8),
};

test('V1: who is revoked takes part in nothing, and keeps its place until data has moved', (t) => {
  const next = withRevoked(epoch, 'b', deciding);
  t.match(next, { number: 8, revoked: ['b'], previous: undefined });
  t.strictSame(next.members, members, 'the placement is as it was');
  t.strictSame(
    participants(next).map(({ id }) => id),
    ['a', 'c', 'd'],
  );
  t.strictSame(
    next.issuers.map(({ node }) => node),
    ['a', 'c'],
  );
  t.equal(revokedMember(next), 'b');
  t.equal(revokedMember(epoch), undefined);
  t.equal(withRevoked(next, 'b', deciding), next, 'asked again');
  t.throws(() => checkNode(next, 'b'), { code: 'ERR_RING_REVOKED' });
  checkNode(next, 'c');
  t.strictSame(
    electedVoters(next, voters, () => true),
    ['a', 'c', 'd'],
    'another one votes',
  );
  t.throws(() => withRevoked(epoch, 'x', deciding), { code: 'ERR_RING_NODE_NOT_FOUND' });
  t.end();
});

test('it waits for no pending change, and who was to come with one does not', (t) => {
  const use = { token, node: 'e', expiresSeconds: 100 };
  const pending = withMembers(epoch, [{ member: member('e'), use }], 1);
  const without = withRevoked(pending, 'e', deciding);
  t.match(without, { number: 9, previous: undefined, uses: [], revoked: ['e'] });
  t.strictSame(without.members, members);
  const besides = withRevoked(pending, 'b', deciding);
  t.match(besides, { number: 9, previous: members, revoked: ['b'] });
  t.equal(besides.members.length, 5);
  t.equal(participants(besides).length, 4);
  t.end();
});

test('V2: a majority of the voters stays, of those before as well while they decide too', (t) => {
  const last = { code: 'ERR_RING_LAST_VOTER' };
  t.throws(() => withRevoked(epoch, 'a', firstConfiguration(['a'])), last);
  t.throws(() => withRevoked(epoch, 'b', firstConfiguration(['a', 'b'])), last);
  const joint = jointConfiguration(firstConfiguration(['a', 'b']), voters);
  t.throws(() => withRevoked(epoch, 'b', joint), last);
  const one = withRevoked(epoch, 'b', deciding);
  t.throws(() => withRevoked(one, 'c', deciding), last);
  t.strictSame(withRevoked(one, 'd', deciding).revoked, ['b', 'd'], 'who does not vote may go');
  t.end();
});

test('V3: a revoked token is kept for as long as it could be shown', (t) => {
  checkGrant(epoch, grant);
  const revoked = { token, expiresSeconds: 100 };
  const next = withRevokedToken(epoch, revoked, 50);
  t.equal(next.number, 8);
  t.throws(() => checkGrant(next, grant), { code: 'ERR_RING_TOKEN_REVOKED' });
  t.equal(withRevokedToken(next, revoked, 50), next, 'asked again');
  const other = { token: new Uint8Array(16), expiresSeconds: 10_000 };
  t.equal(withRevokedToken(next, other, 3_699).revokedTokens.length, 2);
  t.strictSame(withRevokedToken(next, other, 3_700).revokedTokens, [other]);
  t.end();
});
