import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { Point } from '@noble/ed25519';
import { test } from 'tap';
import { keyFromSeed } from '../io/keys.ts';
import { computeWith, isSigned, isSoundKey, plainEquation } from './signature.ts';
import {
  challenge,
  mixedKey,
  ORDER,
  signMixed,
  signWith,
  SMALL_ORDER_ENCODINGS,
  toBytes,
  toNumber,
  TORSION,
} from './signature.testkit.ts';

const signer = keyFromSeed(new Uint8Array(32).fill(1));
const ofSignature = (encodedR: Uint8Array, s: bigint): Uint8Array =>
  Uint8Array.from([...encodedR, ...toBytes(s)]);

test('a signature is good for its key and message, and nothing else', (t) => {
  const message = randomBytes(20);
  const proven = [signer.publicKey, message, signer.sign(message)] as const;
  t.ok(isSigned(...proven));
  t.ok(isSigned(...proven), 'again');
  // What was proven before says nothing of anything else.
  for (const part of proven) {
    part[0]! ^= 1;
    t.notOk(isSigned(...proven));
    part[0]! ^= 1;
  }
  t.ok(isSigned(...proven));
  t.notOk(isSigned(new Uint8Array(5), message, proven[2]));
  t.notOk(isSigned(signer.publicKey, message, new Uint8Array(5)));
  const long = randomBytes(100_000);
  t.ok(isSigned(signer.publicKey, long, signer.sign(long)), 'too long to be remembered');
  t.end();
});

test('V1: no point of small order counts, in any encoding, as a key or in a signature', (t) => {
  t.equal(SMALL_ORDER_ENCODINGS.length, 22, '16, and 6 with y not below the prime');
  const message = randomBytes(20);
  const [honestR] = [signer.sign(message).subarray(0, 32)];
  for (const key of SMALL_ORDER_ENCODINGS) {
    t.notOk(isSoundKey(key));
    t.notOk(isSigned(key, message, ofSignature(honestR, 0n)));
    // With S = 0 the equation holds for these, for some messages or all.
    for (const encodedR of SMALL_ORDER_ENCODINGS)
      for (let i = 0; i < 8; i++)
        if (isSigned(key, Uint8Array.of(i), ofSignature(encodedR, 0n))) t.fail('S = 0');
  }
  // For each of these the equation holds: a key without a secret, and R without a number.
  for (const torsion of TORSION) {
    const keyless = { secret: 0n, publicKey: torsion.toBytes() };
    t.notOk(isSigned(keyless.publicKey, message, signMixed(keyless, message)));
  }
  const key = mixedKey(77n, Point.ZERO);
  const encodedR = Point.ZERO.toBytes();
  const s = (challenge(encodedR, key.publicKey, message) * 77n) % ORDER;
  t.notOk(isSigned(key.publicKey, message, ofSignature(encodedR, s)));
  t.end();
});

test('V1: who writes a coordinate with the prime added is not read', (t) => {
  const message = randomBytes(20);
  for (let i = 0; i < 19; i++)
    for (const sign of [0n, 2n ** 255n]) {
      const encoded = toBytes(2n ** 255n - 19n + BigInt(i) + sign);
      t.notOk(isSoundKey(encoded));
      t.notOk(isSigned(encoded, message, signer.sign(message)));
      t.notOk(isSigned(signer.publicKey, message, ofSignature(encoded, 5n)));
    }
  t.end();
});

test('V2: S is below the order', (t) => {
  const message = randomBytes(20);
  const signature = signer.sign(message);
  const [encodedR, s] = [signature.subarray(0, 32), toNumber(signature.subarray(32))];
  t.ok(isSigned(signer.publicKey, message, ofSignature(encodedR, s)));
  // The equation holds with each of these too.
  for (let more = ORDER; s + more < 2n ** 256n; more += ORDER)
    if (isSigned(signer.publicKey, message, ofSignature(encodedR, s + more))) t.fail('S + L');
  t.end();
});

test('V3: the equation holds without the cofactor', (t) => {
  const message = randomBytes(20);
  for (const torsion of TORSION.slice(1)) {
    const key = mixedKey(99n, torsion);
    t.ok(isSigned(key.publicKey, message, signMixed(key, message)), 'torsion that cancels out');
    // Cofactored verifiers accept all of these.
    const plain = mixedKey(99n, Point.ZERO);
    const stray = signWith(plain, message, 1_234_567n, torsion);
    t.notOk(isSigned(plain.publicKey, message, stray), 'torsion in R');
  }
  t.end();
});

test('V4: a key with a torsion component is not sound', (t) => {
  fc.assert(
    fc.property(fc.bigInt(1n, ORDER - 1n), fc.nat(7), (secret, i) => {
      const { publicKey } = mixedKey(secret, TORSION[i] as Point);
      t.equal(isSoundKey(publicKey), i === 0);
      t.equal(isSoundKey(publicKey), i === 0, 'again');
    }),
    { numRuns: 24 },
  );
  t.notOk(isSoundKey(Uint8Array.from({ length: 32 }, () => 2)), 'no point');
  t.notOk(isSoundKey(new Uint8Array(31)));
  t.end();
});

test('V1, V2: whatever computes the equation', (t) => {
  computeWith(() => true);
  t.teardown(() => computeWith(plainEquation));
  const message = randomBytes(20);
  const signature = signer.sign(message);
  const encodedR = signature.subarray(0, 32);
  t.ok(isSigned(signer.publicKey, message, ofSignature(encodedR, ORDER - 1n)));
  t.notOk(isSigned(signer.publicKey, message, ofSignature(encodedR, ORDER)));
  for (const bad of [...SMALL_ORDER_ENCODINGS, toBytes(2n ** 255n - 17n)]) {
    t.notOk(isSigned(bad, message, signature));
    t.notOk(isSigned(signer.publicKey, message, ofSignature(bad, 5n)));
  }
  computeWith(() => {
    throw new Error('it has no verdict');
  });
  t.notOk(isSigned(signer.publicKey, randomBytes(20), signature));
  t.end();
});
