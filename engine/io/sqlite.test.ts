import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { type Test, test } from 'tap';
import { appendEntry, readEntries } from '../core/journal.ts';
import { Engine, workflow } from '../index.ts';
import { startOf, storeTestSuite } from '../store.testsuite.ts';
import type { Append } from '../store.ts';
import { asSchema1 } from './schema-1.testkit.ts';
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

test('a link in the place of a file beside it is refused, and what it points at is not touched', async (t) => {
  for (const beside of ['-wal', '-journal']) {
    const path = tempFile(t);
    await (await opened(t, path)).close();
    const victim = join(dirname(path), 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, path + beside);
    await t.rejects(new SqliteStore(path).open(), {
      code: 'ERR_ENGINE_STORE_PATH',
      message: new RegExp(`${beside} is not a plain file`),
    });
    t.equal(readFileSync(victim, 'utf8'), 'precious');
  }
});

test('a second process is refused, until the first is dead', async (t) => {
  const path = tempFile(t);
  const holder = spawn(
    process.execPath,
    [
      '--expose-gc',
      '--input-type=module',
      '-e',
      `import { SqliteStore } from ${JSON.stringify(new URL('sqlite.ts', import.meta.url).href)};
       await new SqliteStore(${JSON.stringify(path)}).open();
       // A store that nobody refers to any more holds its file all the same.
       for (let n = 0; n < 5; n++) { globalThis.gc(); await new Promise((done) => setTimeout(done, 1)); }
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

test('a second opening in the same process is refused, by whatever path', async (t) => {
  const path = tempFile(t);
  await opened(t, path);
  const folder = `${dirname(path)}-link`;
  symlinkSync(dirname(path), folder);
  t.teardown(() => rmSync(folder));
  const linked = join(dirname(path), 'linked.db');
  linkSync(path, linked);
  for (const way of [path, join(folder, 'engine.db'), linked]) {
    await t.rejects(new SqliteStore(way).open(), {
      code: 'ERR_ENGINE_STORE_LOCKED',
      message: /in this process/,
    });
  }
  const other = spawnSync(process.execPath, [
    '--input-type=module',
    '-e',
    `import { SqliteStore } from ${JSON.stringify(new URL('sqlite.ts', import.meta.url).href)};
     await new SqliteStore(${JSON.stringify(path)}).open();`,
  ]);
  t.match(other.stderr.toString(), /held by another process/, 'and the file is still locked');
});

test('a file of a later schema is refused', async (t) => {
  const path = tempFile(t);
  await (await opened(t, path)).close();
  const db = new Database(path);
  db.exec(`update meta set value = 99 where key = 'schema'`);
  db.close();
  await t.rejects(new SqliteStore(path).open(), { code: 'ERR_ENGINE_STORE_VERSION' });
});

test('a file that is no database is refused by its name', async (t) => {
  const path = tempFile(t);
  writeFileSync(path, JSON.stringify({ text: 'not a database'.repeat(100) }));
  await t.rejects(new SqliteStore(path).open(), {
    code: 'ERR_ENGINE_STORE_CORRUPT',
    message: `${path} is not a database, or its first page is damaged`,
  });
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

test('a file of schema 1 is brought forward: its runs go on, its closed ones can be forgotten', async (t) => {
  const path = tempFile(t);
  const old = `${path}.old`;
  const waits = workflow('waits', async (ctx) => [
    await ctx.step('a', () => 'A'),
    await ctx.receive('go'),
  ]);
  const open = (file: string): Promise<Engine> =>
    Engine.open({ store: new SqliteStore(file), workflows: [waits] });
  const first = await open(path);
  for (const id of ['closed', 'open']) {
    const handle = await first.start(waits, undefined, { id });
    while ((await handle.describe()).pending[0]?.kind !== 'receive') continue;
  }
  await first.get('closed').signal('go', 1);
  const ended = await first.get('closed').result();
  await first.close();
  asSchema1(path, old);
  const second = await open(old);
  t.same(await second.get('closed').result(), ended);
  await second.get('open').signal('go', 2);
  t.same(await second.get('open').result(), ['A', 2]);
  await second.close();
  const store = await opened(t, old);
  t.same(await store.verify(), []);
  t.ok((await store.acquire()) > '000000000007', 'ballots go on from those given out');
  t.equal(await store.prune({ closedBefore: Infinity, limit: 9 }), 2);
  t.same(await store.verify(), []);
});

test('a last entry that is lost is found, since its end is written twice', async (t) => {
  const path = tempFile(t);
  const store = await opened(t, path);
  const start = startOf('r1', await store.acquire());
  await store.append([start, signalOf(start)]);
  await store.close();
  const db = new Database(path);
  db.exec('delete from entry where idx = 2');
  db.close();
  const again = await opened(t, path);
  await t.rejects(again.read({ runId: 'r1' }), {
    code: 'ERR_ENGINE_STORE_CORRUPT',
    message: /ends with entry 1, 2 was the last written/,
  });
  t.match(await again.verify(), [/ends with entry 1, 2 was the last written/]);
});

function signalOf({ runId, ballot, entry }: ReturnType<typeof startOf>): Append {
  const event = { kind: 'signal-received', at: 2_000, name: 'go', payload: 1 } as const;
  return { runId, ballot, entry: appendEntry(entry, runId, ballot, [event], sha256) };
}

test('what closed runs took is given back to the disk', async (t) => {
  const path = tempFile(t);
  const store = await opened(t, path);
  const ballot = await store.acquire();
  const attributes = { note: 'x'.repeat(1_000) };
  const closed = { status: 'completed', wakeAt: null, closedAt: 5, attributes } as const;
  const ids = Array.from({ length: 2_000 }, (_, i) => `r${i}`);
  await store.append(ids.map((id) => startOf(id, ballot, closed)));
  await store.append([startOf('stays', ballot)]);
  await store.close();
  const before = statSync(path).size;
  await store.open();
  t.equal(await store.prune({ closedBefore: 6, limit: ids.length }), ids.length);
  t.same(await store.verify(), []);
  t.equal((await store.read({ runId: 'stays' })).length, 1);
  await store.close();
  t.ok(statSync(path).size < before / 10, `${statSync(path).size} bytes of ${before}`);
});

test('a closed run whose record is damaged is not forgotten', async (t) => {
  const path = tempFile(t);
  const store = await opened(t, path);
  const ballot = await store.acquire();
  const closed = { status: 'completed', wakeAt: null, closedAt: 50 } as const;
  await store.append([startOf('r1', ballot, closed), startOf('r2', ballot, closed)]);
  await store.close();
  const db = new Database(path);
  db.exec(`update run set closed_at = 5 where run_id = 'r1'`);
  db.close();
  await store.open();
  t.equal(await store.prune({ closedBefore: 20, limit: 9 }), 0);
  t.equal((await store.list({ limit: 9 })).length, 2);
});
