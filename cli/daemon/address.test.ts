import { existsSync, linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
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

test('only a socket that nobody listens on is removed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-address-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  await removeSocket(join(folder, 'absent'));
  const file = join(folder, 'file');
  writeFileSync(file, '');
  await t.rejects(removeSocket(file), { code: 'ERR_ADDRESS' });

  const path = join(folder, 'live');
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  await t.rejects(removeSocket(path), { code: 'ERR_PORT_IN_USE' });
  // As a killed process leaves it: the name is there and nobody listens.
  const left = join(folder, 'left');
  linkSync(path, left);
  await new Promise((resolve) => {
    server.close(resolve);
  });
  t.ok(existsSync(left));
  await removeSocket(left);
  t.notOk(existsSync(left));
});
