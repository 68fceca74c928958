import { createHash } from 'node:crypto';
import type { Point } from '@noble/ed25519';
import { test } from 'tap';
import { latticeId, nodeId } from '../../spec/id.ts';
import { keyFromSeed } from '../io/keys.ts';
import { decode, encode } from './codec.ts';
import { mixedKey, signMixed, TORSION } from './signature.testkit.ts';
import {
  checkJoinRequest,
  checkToken,
  decodeChain,
  encodeChain,
  joinMessage,
  type JoinGrant,
  type JoinRequest,
  type JoinToken,
  keyTag,
  latticeTag,
  parseTokenText,
  tokenMessage,
  tokenText,
  toJoinRequest,
} from './token.ts';

const key = (name: string): ReturnType<typeof keyFromSeed> =>
  keyFromSeed(createHash('sha256').update(name).digest());

const root = key('root');
const issuer = key('issuer');
const holder = key('holder');
const node = key('node');
const lattice = latticeId(root.publicKey);
const NOW_SECONDS = 1_800_000_000;

const grant: JoinGrant = {
  id: new Uint8Array(16).fill(9),
  issuedSeconds: NOW_SECONDS,
  notBeforeSeconds: NOW_SECONDS,
  expiresSeconds: NOW_SECONDS + 3_600,
  uses: 1,
  roles: ['storage', 'compute'],
  zone: 'eu',
  root: keyTag(root.publicKey),
};

function mint(change: Partial<JoinToken> = {}, signer: typeof issuer = issuer): JoinToken {
  const unsigned = {
    lattice: latticeTag(lattice),
    signer: keyTag(signer.publicKey),
    grant,
    holder: holder.publicKey,
    ...change,
  };
  return { ...unsigned, signature: change.signature ?? signer.sign(tokenMessage(unsigned)) };
}

function verdict(token: JoinToken, nowSeconds: number = NOW_SECONDS): string {
  try {
    checkToken(token, lattice, [issuer.publicKey], nowSeconds * 1000);
    return 'good';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** Ed25519's identity point, and a key of order 8: anybody can sign for them. */
const SMALL_ORDER = [
  `01${'00'.repeat(31)}`,
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));

test('a token is what its text says', (t) => {
  const seed = createHash('sha256').update('holder').digest();
  const token = mint();
  const text = tokenText(encodeChain(token), seed);
  t.match(text, /^aec1\.[a-z2-7]+\.[a-z2-7]+$/);
  const parsed = parseTokenText(`  ${text}\n`);
  t.strictSame(parsed.token.grant.roles, grant.roles);
  t.equal(verdict(parsed.token), 'good');
  for (const bad of [
    '',
    'aec1',
    'aec2.a.b',
    `${text}.x`,
    text.slice(0, -2),
    text.replace('.', '..'),
  ])
    t.throws(() => parseTokenText(bad), { code: 'ERR_RING_TOKEN_MALFORMED' });
  t.end();
});

test('a token out of its time, or of another lattice or signer, is refused by name', (t) => {
  t.equal(verdict(mint(), NOW_SECONDS + 3_599), 'good');
  t.equal(verdict(mint(), NOW_SECONDS + 3_600), 'ERR_RING_TOKEN_EXPIRED');
  t.equal(verdict(mint(), NOW_SECONDS - 29), 'good', 'clocks may differ a little');
  t.equal(verdict(mint(), NOW_SECONDS - 31), 'ERR_RING_TOKEN_NOT_YET');
  const other = latticeTag(latticeId(key('other root').publicKey));
  t.equal(verdict(mint({ lattice: other })), 'ERR_RING_TOKEN_WRONG_LATTICE');
  const forged = mint({}, key('not an issuer'));
  t.equal(verdict(forged), 'ERR_RING_TOKEN_ISSUER_UNKNOWN');
  t.equal(verdict({ ...forged, signer: keyTag(issuer.publicKey) }), 'ERR_RING_TOKEN_FORGED');
  t.equal(verdict(forged, NOW_SECONDS + 3_600), 'ERR_RING_TOKEN_EXPIRED', 'the clock costs less');
  t.end();
});

test('a token that was changed is refused, whichever part', (t) => {
  const token = mint();
  const later = { ...grant, expiresSeconds: grant.expiresSeconds + 1 };
  const changed: JoinToken[] = [
    { ...token, grant: later },
    { ...token, grant: { ...grant, uses: 2 } },
    { ...token, grant: { ...grant, root: keyTag(key('other root').publicKey) } },
    { ...token, grant: { ...grant, roles: ['storage', 'compute', 'voter'] } },
    { ...token, grant: { ...grant, id: new Uint8Array(16) } },
    { ...token, holder: key('thief').publicKey },
  ];
  for (const each of changed)
    t.equal(verdict(decodeChain(encodeChain(each))), 'ERR_RING_TOKEN_FORGED');
  const { zone: _, ...anyZone } = grant;
  t.equal(verdict({ ...token, grant: anyZone }), 'ERR_RING_TOKEN_FORGED');
  const weak = mint({ holder: SMALL_ORDER[0] as Uint8Array });
  t.equal(verdict(weak), 'ERR_RING_TOKEN_FORGED', 'a holder anybody can sign for');
  const mixed = mint({ holder: mixedKey(5n, TORSION[3] as Point).publicKey });
  t.equal(verdict(mixed), 'ERR_RING_TOKEN_FORGED', 'a holder that verifiers disagree about');

  const chain = encodeChain(token);
  for (let at = 0; at < chain.length; at++) {
    const flipped = Uint8Array.from(chain);
    flipped[at] = (flipped[at] as number) ^ 1;
    let outcome: string;
    try {
      outcome = verdict(decodeChain(flipped));
    } catch (error) {
      outcome = (error as { code: string }).code;
    }
    if (outcome === 'good') t.fail(`the bit at ${at} means nothing`);
  }
  t.end();
});

test('I1, I3: one token has one form, and one block', (t) => {
  const token = mint();
  const [, tag, signer, blocks] = decode(encodeChain(token)) as [
    number,
    Uint8Array,
    Uint8Array,
    unknown[],
  ];
  const [block] = blocks as [[Uint8Array, Uint8Array, Uint8Array]];
  const body = decode(block[0]) as unknown[];
  const rebuilt = (newBody: unknown[]): Uint8Array =>
    encode([1, tag, signer, [[encode(newBody), block[1], block[2]]]]);
  t.strictSame(rebuilt(body), encodeChain(token), 'the same parts give the same bytes');
  const refused: Record<string, Uint8Array> = {
    'a second block': encode([1, tag, signer, [block, block]]),
    'no block': encode([1, tag, signer, []]),
    'another version': encode([2, tag, signer, [block]]),
    'a longer block': encode([1, tag, signer, [[...block, 1]]]),
    'a longer header': encode([1, tag, signer, [block], 1]),
    'a depth': rebuilt(body.with(4, 1)),
    'an audience': rebuilt(body.with(5, ['all'])),
    'another action': rebuilt(body.with(6, [['deploy', 'lattice', [1, [], null]]])),
    'two actions': rebuilt(body.with(6, [...(body[6] as unknown[]), ['deploy', '*', []]])),
    'a fraction of a second': rebuilt(body.with(3, 1.5)),
    'bytes after the end': Buffer.concat([encodeChain(token), Buffer.from([0])]),
    'a long form of a number': Buffer.concat([
      Buffer.from('94cc01', 'hex'),
      encodeChain(token).subarray(2),
    ]),
    nothing: new Uint8Array(),
    'a huge token': new Uint8Array(10_000),
  };
  for (const [what, chain] of Object.entries(refused))
    t.throws(() => decodeChain(chain), { code: 'ERR_RING_TOKEN_MALFORMED' }, what);
  t.end();
});

function ask(
  change: Partial<JoinRequest> = {},
  by: { holder?: typeof node; node?: typeof node } = {},
): JoinRequest {
  const unsigned = {
    chain: encodeChain(mint()),
    node: nodeId(node.publicKey),
    name: 'n1',
    address: '127.0.0.1:7400',
    ...change,
  };
  const message = joinMessage(unsigned);
  return {
    proof: (by.holder ?? holder).sign(message),
    consent: (by.node ?? node).sign(message),
    ...unsigned,
  };
}

test('a request must be proven by the holder of the token and by the node', (t) => {
  const verdictOf = (request: JoinRequest): string => {
    try {
      checkJoinRequest(request, decodeChain(request.chain));
      return 'good';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  t.equal(verdictOf(ask()), 'good');
  t.equal(verdictOf(ask({}, { holder: key('thief') })), 'ERR_RING_TOKEN_PROOF');
  t.equal(verdictOf(ask({}, { node: key('thief') })), 'ERR_RING_TOKEN_PROOF');
  for (const change of [
    { name: 'n2' },
    { address: '10.0.0.1:1' },
    { weight: 64 },
    { roles: ['compute'] },
    { zone: 'us' },
    { node: nodeId(key('thief').publicKey) },
  ])
    t.equal(
      verdictOf({ ...ask(), ...change }),
      'ERR_RING_TOKEN_PROOF',
      'a proof is for one request',
    );
  for (const weak of SMALL_ORDER)
    t.equal(verdictOf(ask({ node: nodeId(weak) })), 'ERR_RING_TOKEN_PROOF');
  t.equal(verdictOf(ask({ node: 'nobody' })), 'ERR_RING_TOKEN_PROOF');
  const mixed = mixedKey(5n, TORSION[3] as Point);
  const consent = (message: Uint8Array): Uint8Array => signMixed(mixed, message);
  const asked = ask({ node: nodeId(mixed.publicKey) }, { node: { ...node, sign: consent } });
  t.equal(verdictOf(asked), 'ERR_RING_KEY_WEAK', 'it can sign, and others would disagree');
  t.end();
});

test('a request from the wire is checked', (t) => {
  t.ok(toJoinRequest(ask()));
  t.throws(() => toJoinRequest(undefined), { code: 'ERR_RING_TOKEN_MISSING' });
  t.throws(() => toJoinRequest({ ...ask(), chain: undefined }), { code: 'ERR_RING_TOKEN_MISSING' });
  for (const change of [
    { name: 7 },
    { proof: 'text' },
    { roles: [1] },
    { weight: '1' },
    { name: 'x'.repeat(300) },
  ])
    t.throws(() => toJoinRequest({ ...ask(), ...change }), { code: 'ERR_RING_TOKEN_MALFORMED' });
  t.end();
});
