/** OpenSSL computes what the core does, on what signers make and on what they do not. */
import { randomBytes } from 'node:crypto';
import { hashes, type Point, verify } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import * as fc from 'fast-check';
import { test } from 'tap';
import { computeWith, isSigned, plainEquation } from '../core/signature.ts';
import {
  type MixedKey,
  mixedKey,
  ORDER,
  signMixed,
  signWith,
  TORSION,
} from '../core/signature.testkit.ts';
import { opensslEquation } from './ed25519.ts';
import { keyFromSeed } from './keys.ts';

hashes.sha512 = sha512;
computeWith(opensslEquation);

type Claim = readonly [publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array];

const plain = (...claim: Claim): boolean => {
  try {
    return plainEquation(...claim);
  } catch {
    return false;
  }
};
const strict = ([publicKey, message, signature]: Claim): boolean => {
  try {
    return verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
};

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const honest = fc
  .tuple(bytes(32), fc.uint8Array({ maxLength: 200 }))
  .map(([seed, message]): Claim => {
    const signer = keyFromSeed(seed);
    return [signer.publicKey, message, signer.sign(message)];
  });
/** Signed with torsion in the key and in R, in any combination. */
const mixed = fc
  .tuple(fc.bigInt(1n, ORDER - 1n), fc.bigInt(1n, ORDER - 1n), fc.nat(7), fc.nat(7), bytes(8))
  .map(([secret, nonce, ofKey, ofR, message]): Claim => {
    const key: MixedKey = mixedKey(secret, TORSION[ofKey] as Point);
    return [key.publicKey, message, signWith(key, message, nonce, TORSION[ofR])];
  });
const mutated = fc
  .tuple(fc.oneof(honest, mixed), fc.nat(95), fc.integer({ min: 1, max: 255 }))
  .map(([[publicKey, message, signature], at, mask]): Claim => {
    const changed = Uint8Array.from([...publicKey, ...signature]);
    changed[at] = (changed[at] as number) ^ mask;
    return [changed.subarray(0, 32), message, changed.subarray(32)];
  });

test('the equation is the same, and the rule accepts nothing that noble’s strict one refuses', (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(fc.oneof(honest, mixed, mutated), (claim) => {
      const verdict = isSigned(...claim);
      if (verdict) accepted++;
      t.equal(verdict && plain(...claim), verdict);
      // OpenSSL takes no S from L up either.
      if (opensslEquation(...claim) !== plain(...claim)) t.notOk(verdict);
      if (verdict) t.ok(strict(claim));
    }),
    { numRuns: 150 },
  );
  t.ok(accepted > 0);
  t.end();
});

test('what a signer makes is accepted by all', (t) => {
  fc.assert(
    fc.property(honest, (claim) => {
      t.ok(isSigned(...claim) && opensslEquation(...claim) && plain(...claim) && strict(claim));
    }),
    { numRuns: 30 },
  );
  t.end();
});

test('one in eight signatures of a key with torsion fits, and to both the same ones', (t) => {
  const key = mixedKey(5n, TORSION[1] as Point);
  const verdicts = Array.from({ length: 48 }, (_, i) => {
    const message = Uint8Array.of(i);
    const signature = signWith(key, message, 9n);
    const claim = [key.publicKey, message, signature] as const;
    t.equal(opensslEquation(...claim), plain(...claim));
    return { ours: isSigned(...claim), cofactored: strict(claim) };
  });
  const ours = verdicts.filter((verdict) => verdict.ours).length;
  t.ok(ours > 0 && ours < verdicts.length / 2, `${ours} of ${verdicts.length}`);
  t.ok(
    verdicts.every(({ cofactored }) => cofactored),
    'with the cofactor all fit',
  );
  const message = randomBytes(8);
  t.ok(opensslEquation(key.publicKey, message, signMixed(key, message)));
  t.end();
});

/** Why V1 is asked before: releases of OpenSSL differ about small orders. */
test('the equation alone accepts signatures that anybody can make', (t) => {
  let forged = 0;
  for (const key of TORSION)
    for (const point of TORSION) {
      const signature = Uint8Array.from([...point.toBytes(), ...new Uint8Array(32)]);
      for (const message of [0, 1, 2].map((i) => Uint8Array.of(i))) {
        if (plain(key.toBytes(), message, signature)) forged++;
        if (isSigned(key.toBytes(), message, signature)) t.fail('the rule accepts it');
      }
    }
  t.ok(forged >= 3, 'the identity signs everything');
  t.end();
});
