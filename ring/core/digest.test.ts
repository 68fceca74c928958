import { createHash } from 'node:crypto';
import { sha256 as plain } from '@noble/hashes/sha2.js';
import { test } from 'tap';
import { createCertificate } from '../io/certificate.ts';
import { digestWith, sha256 } from './digest.ts';

test('a node computes digests by OpenSSL, to the same bytes', (t) => {
  for (const length of [0, 1, 55, 56, 64, 1_000]) {
    const message = new Uint8Array(length).fill(length);
    const expected = new Uint8Array(createHash('sha256').update(message).digest());
    t.strictSame(sha256(message), expected, `${length} bytes`);
    t.strictSame(plain(message), expected, 'as where no node is');
  }
  t.type(createCertificate, 'function', 'it is loaded, which hands OpenSSL in');
  digestWith(() => new Uint8Array([7]));
  t.strictSame(sha256(new Uint8Array()), new Uint8Array([7]), 'what is handed in is what computes');
  t.end();
});
