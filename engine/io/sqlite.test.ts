import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type Test, test } from 'tap';
import { readEntries } from '../core/journal.ts';
import { startOf, storeTestSuite } from '../store.testsuite.ts';
import { SqliteStore } from './sqlite.ts';
import { sha256 } from './system.ts';

function tempFile(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-engine-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'engine.db');
}

async function opened(t: Test, path: string): Promise<SqliteStore> {
  const store = new SqliteStore(path);
  await store.open();
  t.teardown(() => store.close());
  return store;
}

test('SqliteStore', (suite) => {
  const paths = new WeakMap<object, string>();
  storeTestSuite(suite, {
    create: async (t) => {
      const path = tempFile(t);
      const store = await opened(t, path);
      paths.set(store, path);
      t.teardown(() => store.close());
      return store;
    },
    reopen: async (store) => opened(suite, paths.get(store) as string),
  });
});

test('synchronous is FULL on every open, in WAL mode', async (t) => {
  const path = tempFile(t);
  for (const round of ['created', 'opened again']) {
    const store = new SqliteStore(path);
    await store.open();
    t.same(
      store.pragmas(),
      { journalMode: 'wal', synchronous: 2, lockingMode: 'exclusive' },
      round,
    );
    await store.acquire();
    await store.close();
  }
  const normal = new SqliteStore(path, { durability: 'normal' });
  await normal.open();
  t.equal(normal.pragmas().synchronous, 1);
  await normal.close();
});

test('the file is for its owner only', async (t) => {
  const path = tempFile(t);
  const store = await opened(t, path);
  await store.append([startOf('r1', await store.acquire())]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(`${path}-wal`).mode & 0o777, 0o600);
});

test('a link is refused', async (t) => {
  const path = tempFile(t);
  await (await opened(t, path)).close();
  symlinkSync(path, `${path}.link`);
  await t.rejects(new SqliteStore(`${path}.link`).open(), { code: 'ERR_ENGINE_STORE_PATH' });
});

test('a second process is refused, until the first is dead', async (t) => {
  const path = tempFile(t);
  const holder = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { SqliteStore } from ${JSON.stringify(new URL('sqlite.ts', import.meta.url).href)};
       const store = new SqliteStore(${JSON.stringify(path)});
       await store.open();
       console.log('open');
       setInterval(() => {}, 1e6);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  await t.rejects(new SqliteStore(path).open(), {
    name: 'StoreLockedError',
    code: 'ERR_ENGINE_STORE_LOCKED',
  });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const store = await opened(t, path);
  t.match(await store.acquire(), /^\d+$/);
});

test('a second opening in the same process is refused', async (t) => {
  const path = tempFile(t);
  await opened(t, path);
  await t.rejects(new SqliteStore(path).open(), { code: 'ERR_ENGINE_STORE_LOCKED' });
});

test('a file of a later schema is refused', async (t) => {
  const path = tempFile(t);
  await (await opened(t, path)).close();
  const db = new Database(path);
  db.exec(`update meta set value = 99 where key = 'schema'`);
  db.close();
  await t.rejects(new SqliteStore(path).open(), { code: 'ERR_ENGINE_STORE_VERSION' });
});

test('each single flipped bit of an entry is found when it is read', async (t) => {
  const path = tempFile(t);
  const store = await opened(t, path);
  const start = startOf('r1', await store.acquire());
  await store.append([start]);
  const [entry] = await store.read({ runId: 'r1' });
  const { body } = entry as { body: string };
  let found = 0;
  for (let bit = 0; bit < body.length * 8; bit++) {
    const bytes = Buffer.from(body);
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    const damaged = { ...start.entry, body: bytes.toString('latin1') };
    try {
      readEntries('r1', [damaged], sha256);
    } catch {
      found++;
    }
  }
  t.equal(found, body.length * 8);
});

test('a damaged record is listed as quarantined; others are not touched', async (t) => {
  const path = tempFile(t);
  const store = await opened(t, path);
  const ballot = await store.acquire();
  await store.append([startOf('r1', ballot), startOf('r2', ballot)]);
  await store.close();
  const db = new Database(path);
  db.exec(
    `update run set record = replace(record, '"version":"1"', '"version":"3"') where run_id = 'r1'`,
  );
  db.close();
  const again = await opened(t, path);
  t.same(
    (await again.list({ limit: 9 })).map(({ runId, status }) => [runId, status]),
    [
      ['r1', 'quarantined'],
      ['r2', 'running'],
    ],
  );
});
