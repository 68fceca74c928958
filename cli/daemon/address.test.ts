import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { parseAddress, removeSocket, textAddress } from './address.ts';

test('addresses are host:port or the path of a socket, and print as they read', (t) => {
  t.same(parseAddress('127.0.0.1:8080'), { host: '127.0.0.1', port: 8080 });
  t.same(parseAddress('[::1]:0'), { host: '::1', port: 0 });
  t.same(parseAddress('data/api.sock'), { path: 'data/api.sock' });
  for (const text of ['127.0.0.1:8080', '[::1]:0', 'data/api.sock']) {
    t.equal(textAddress(parseAddress(text)), text);
  }
  for (const text of ['', 'localhost', '127.0.0.1:99999', ':80', '::1:80']) {
    t.throws(() => parseAddress(text), { code: 'ERR_ADDRESS' }, text);
  }
  t.end();
});

test('only a socket is removed', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-address-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  removeSocket(join(folder, 'absent'));
  const file = join(folder, 'file');
  writeFileSync(file, '');
  t.throws(() => removeSocket(file), { code: 'ERR_ADDRESS' });
  t.end();
});
