import { createHash } from 'node:crypto';
import { Point } from '@noble/ed25519';
import { test } from 'tap';
import { latticeId, nodeId } from '../../spec/id.ts';
import { keyFromSeed, type SigningKey } from '../io/keys.ts';
import { decode, encode } from './codec.ts';
import type { Issuer } from './epoch.ts';
import {
  decodeNodeCertificate,
  encodeNodeCertificate,
  isOverdue,
  isToBeRenewed,
  type NodeCertificate,
  nodeCertificateMessage,
} from './node-certificate.ts';
import { Standing } from './standing.ts';
import { keyTag, latticeTag } from './token.ts';

const key = (name: string): SigningKey => keyFromSeed(createHash('sha256').update(name).digest());
const idOf = (name: string): string => nodeId(key(name).publicKey);
const issuer = (name: string): Issuer => ({
  node: idOf(name),
  key: key(`${name} issuer`).publicKey,
});
const lattice = latticeId(key('root').publicKey);
const NOW_SECONDS = 1_800_000_000;
const NOW_MS = NOW_SECONDS * 1_000;
const LIFE_SECONDS = 86_400;

function certificate(
  node: string,
  change: Partial<NodeCertificate> = {},
  by: string = 'voter',
): Uint8Array {
  const signer = key(`${by} issuer`);
  const unsigned = {
    lattice: latticeTag(lattice),
    issuer: keyTag(signer.publicKey),
    node: idOf(node),
    epoch: 7,
    issuedSeconds: NOW_SECONDS,
    expiresSeconds: NOW_SECONDS + LIFE_SECONDS,
    ...change,
  };
  const signature = change.signature ?? signer.sign(nodeCertificateMessage(unsigned));
  return encodeNodeCertificate({ ...unsigned, signature });
}

const nobody = (): boolean => false;

function standing(issuers: Issuer[] = [issuer('voter')]): Standing {
  const fresh = new Standing();
  fresh.setIssuers(lattice, issuers, nobody, NOW_MS);
  return fresh;
}

/** What a peer hears that shows this. */
function verdict(shown: Uint8Array, nowMs: number = NOW_MS, at: Standing = standing()): string {
  try {
    at.show(idOf('node'), shown, nowMs);
    return at.refusal(idOf('node'), nowMs)?.code ?? 'good';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('a certificate is good in its time, with what clocks may differ by', (t) => {
  const at = (seconds: number): string => verdict(certificate('node'), NOW_MS + seconds * 1_000);
  t.equal(at(0), 'good');
  t.equal(at(-30), 'good');
  t.equal(at(-31), 'ERR_RING_CERTIFICATE_NOT_YET');
  t.equal(at(LIFE_SECONDS + 29), 'good');
  t.equal(at(LIFE_SECONDS + 30), 'ERR_RING_CERTIFICATE_EXPIRED');
  const shown = decodeNodeCertificate(certificate('node'));
  t.notOk(isToBeRenewed(shown, NOW_MS + LIFE_SECONDS * 600));
  t.ok(isToBeRenewed(shown, NOW_MS + LIFE_SECONDS * 667));
  t.notOk(isOverdue(shown, NOW_MS + LIFE_SECONDS * 833));
  t.ok(isOverdue(shown, NOW_MS + LIFE_SECONDS * 834));
  const peer = standing();
  t.notOk(peer.holds(idOf('node'), NOW_MS));
  t.equal(peer.refusal(idOf('node'), NOW_MS)?.code, 'ERR_RING_CERTIFICATE_NONE');
  peer.show(idOf('node'), certificate('node'), NOW_MS);
  t.ok(peer.holds(idOf('node'), NOW_MS));
  const endMs = NOW_MS + (LIFE_SECONDS + 30) * 1_000;
  t.ok(peer.holds(idOf('node'), endMs - 1));
  t.notOk(peer.holds(idOf('node'), endMs), 'without a word of anybody');
  peer.forget(idOf('node'));
  t.notOk(peer.holds(idOf('node'), NOW_MS));
  t.end();
});

test('S1, S2: what another was given, or nobody gave, is worth nothing', (t) => {
  t.equal(verdict(certificate('other')), 'ERR_RING_CERTIFICATE_OTHER_NODE', 'replayed');
  const other = latticeTag(latticeId(key('other root').publicKey));
  t.equal(verdict(certificate('node', { lattice: other })), 'ERR_RING_CERTIFICATE_WRONG_LATTICE');
  t.equal(verdict(certificate('node', {}, 'thief')), 'ERR_RING_CERTIFICATE_ISSUER');
  const named = certificate('node', { issuer: keyTag(issuer('voter').key) }, 'thief');
  t.equal(verdict(named), 'ERR_RING_CERTIFICATE_FORGED', 'in the name of an issuer');
  const whole = decodeNodeCertificate(certificate('node'));
  for (const change of [
    { epoch: 8 },
    { issuedSeconds: whole.issuedSeconds - 1 },
    { expiresSeconds: whole.expiresSeconds + 1 },
  ])
    t.equal(verdict(encodeNodeCertificate({ ...whole, ...change })), 'ERR_RING_CERTIFICATE_FORGED');

  const peer = standing();
  peer.show(idOf('node'), certificate('node'), NOW_MS);
  t.throws(() => peer.show(idOf('node'), named, NOW_MS));
  t.ok(peer.holds(idOf('node'), NOW_MS), 'and what it showed before still holds');
  peer.show(idOf('node'), certificate('node', { expiresSeconds: NOW_SECONDS + 1 }), NOW_MS);
  peer.show(idOf('node'), certificate('node', { issuedSeconds: 1, expiresSeconds: 2 }), NOW_MS);
  t.equal(peer.certificate(idOf('node'))?.expiresSeconds, NOW_SECONDS + 1, 'not for a worse one');
  t.end();
});

test('C1, C3: one form, and a bounded life', (t) => {
  const whole = certificate('node');
  const parts = decode(whole) as unknown[];
  t.strictSame(encode(parts), whole);
  t.ok(whole.length < 160, 'it goes into a header');
  const refused: Record<string, Uint8Array> = {
    nothing: new Uint8Array(),
    'bytes after the end': Buffer.concat([whole, Buffer.from([0])]),
    'a part too many': encode([...parts, 1]),
    'a part too few': encode(parts.slice(0, -1)),
    'another version': encode(parts.with(0, 2)),
    'a short lattice': encode(parts.with(1, new Uint8Array(15))),
    'a long key': encode(parts.with(3, new Uint8Array(33))),
    'a fraction of a second': encode(parts.with(5, 1.5)),
    'text for a number': encode(parts.with(4, '7')),
    'a long form of a number': Buffer.concat([Buffer.from('98cc01', 'hex'), whole.subarray(2)]),
    'no life': certificate('node', { expiresSeconds: NOW_SECONDS }),
    'a life of 8 days': certificate('node', { expiresSeconds: NOW_SECONDS + 8 * 86_400 }),
    huge: new Uint8Array(10_000),
  };
  for (const [what, encoded] of Object.entries(refused))
    t.equal(verdict(encoded), 'ERR_RING_CERTIFICATE_MALFORMED', what);
  t.throws(() => decodeNodeCertificate('text'), { code: 'ERR_RING_CERTIFICATE_MALFORMED' });
  for (let at = 0; at < whole.length; at++) {
    const flipped = Uint8Array.from(whole);
    flipped[at]! ^= 1;
    if (verdict(flipped) === 'good') t.fail(`the bit at ${at} means nothing`);
  }
  t.end();
});

test('S3: an issuer that is replaced counts a while, that of a revoked node does not', (t) => {
  const peer = standing();
  const shown = certificate('node');
  peer.show(idOf('node'), shown, NOW_MS);
  const next = [issuer('next')];
  peer.setIssuers(lattice, next, nobody, NOW_MS);
  t.notOk(peer.isListed(keyTag(issuer('voter').key)));
  t.ok(peer.isListed(keyTag(issuer('next').key)));
  t.ok(peer.holds(idOf('node'), NOW_MS + 299_999));
  peer.setIssuers(lattice, next, nobody, NOW_MS + 200_000);
  t.notOk(peer.holds(idOf('node'), NOW_MS + 300_000), 'later epochs lengthen it no more');
  t.equal(verdict(shown, NOW_MS + 300_000, peer), 'ERR_RING_CERTIFICATE_ISSUER', 'retired');
  peer.show(idOf('node'), certificate('node', { epoch: 8 }, 'next'), NOW_MS);
  t.ok(peer.holds(idOf('node'), NOW_MS + 300_000));
  peer.show(idOf('node'), certificate('node', { epoch: 8 }, 'next'), NOW_MS);

  peer.setIssuers(lattice, [issuer('voter')], (node) => node === idOf('next'), NOW_MS);
  t.notOk(peer.holds(idOf('node'), NOW_MS), 'whoever has an issuer’s key could sign on');
  t.ok(peer.isListed(keyTag(issuer('voter').key)), 'and one may come back');
  t.end();
});

test('a certificate is judged again when its issuer becomes known', (t) => {
  const peer = new Standing();
  const [ahead, forged] = ['ahead', 'forged'].map(idOf) as [string, string];
  peer.show(ahead, certificate('ahead', {}, 'next'), NOW_MS);
  peer.show(forged, certificate('forged', { issuer: keyTag(issuer('next').key) }), NOW_MS);
  t.notOk(peer.holds(ahead, NOW_MS));
  peer.setIssuers(lattice, [issuer('next')], nobody, NOW_MS);
  t.ok(peer.holds(ahead, NOW_MS), 'it knew of an epoch before we did');
  t.equal(peer.refusal(forged, NOW_MS)?.code, 'ERR_RING_CERTIFICATE_NONE');
  t.end();
});

test('S4: an issuer’s key that anybody, or nobody, can sign for is none', (t) => {
  const identity = new Uint8Array(32).fill(1, 0, 1);
  const order8 = Buffer.from(
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'hex',
  );
  const torsion = Point.fromBytes(key('x').publicKey).add(Point.fromBytes(order8)).toBytes();
  for (const weak of [identity, order8, torsion, new Uint8Array(32).fill(0xff)]) {
    const peer = standing([{ node: idOf('voter'), key: weak }]);
    t.notOk(peer.isListed(keyTag(weak)));
    // R = A, S = 0 satisfies the equation for the identity key and every message.
    const signature = Buffer.concat([weak, new Uint8Array(32)]);
    const shown = certificate('node', { issuer: keyTag(weak), signature });
    t.equal(verdict(shown, NOW_MS, peer), 'ERR_RING_CERTIFICATE_ISSUER');
  }
  t.end();
});
