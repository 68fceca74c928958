import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { nodeId } from '../../spec/id.ts';
import { isSigned } from '../core/signature.ts';
import { certifiedNode, createCertificate } from './certificate.ts';
import { keyFromSeed, openKeyFile, readKeyFile } from './keys.ts';

const message = new TextEncoder().encode('message');

test('a key file is made once, private, and read again', (t) => {
  const path = join(t.testdir(), 'node.key');
  const key = openKeyFile(path);
  t.equal(fs.statSync(path).mode & 0o777, 0o600);
  t.ok(isSigned(key.publicKey, message, key.sign(message)));
  t.strictSame(openKeyFile(path).publicKey, key.publicKey);
  t.strictSame(fs.readdirSync(t.testdirName), ['node.key'], 'nothing is left beside it');
  t.end();
});

test('a key file that others can read, a link, and what is no key are refused', (t) => {
  const folder = t.testdir({
    'text.key': 'not a key',
    'link.key': t.fixture('symlink', 'node.key'),
  });
  const path = join(folder, 'node.key');
  openKeyFile(path);
  fs.chmodSync(path, 0o640);
  t.throws(() => openKeyFile(path), { code: 'ERR_KEY_EXPOSED', hint: /chmod 600/ });
  fs.chmodSync(path, 0o600);
  t.throws(() => readKeyFile(join(folder, 'link.key')), { code: 'ERR_KEY_FILE' });
  t.throws(() => readKeyFile(join(folder, 'none.key')), { code: 'ERR_KEY_FILE' });
  fs.chmodSync(join(folder, 'text.key'), 0o600);
  t.throws(() => readKeyFile(join(folder, 'text.key')), { code: 'ERR_KEY_FILE' });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = join(folder, 'ec.key');
  fs.writeFileSync(other, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  t.throws(() => readKeyFile(other), { code: 'ERR_KEY_FILE' });
  t.end();
});

test('a certificate proves the node whose key signed it, and no other', (t) => {
  const [own, other] = [
    keyFromSeed(new Uint8Array(32).fill(1)),
    keyFromSeed(new Uint8Array(32).fill(2)),
  ];
  t.equal(certifiedNode(new X509Certificate(createCertificate(own))), nodeId(own.publicKey));
  const borrowed = new X509Certificate(createCertificate(own, other));
  t.throws(() => certifiedNode(borrowed), { code: 'ERR_RING_IDENTITY', message: /own key/ });
  t.throws(() => certifiedNode(undefined), { code: 'ERR_RING_IDENTITY' });
  t.end();
});
