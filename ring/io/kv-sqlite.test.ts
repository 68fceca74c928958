import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type Test, test } from 'tap';
import { hashKey } from '../core/hash-ring.ts';
import { HybridClock } from '../core/hlc.ts';
import { placementKey, type Row } from '../core/kv-row.ts';
import type { ScanCursor } from '../kv-store.ts';
import { SqliteReplicaStore } from './kv-sqlite.ts';

const NOW = 1_700_000_000_000;
const TERMS = { wallMsMax: NOW + 500, repair: false };
const clock = new HybridClock('n1', 1);

function rowOf(key: string, value: string | null): Row {
  const bytes = value === null ? null : new TextEncoder().encode(value);
  return { bucket: 'b', key, stamp: clock.tick(NOW), value: bytes, expiresMs: null };
}

function pathIn(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-kv-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return join(folder, 'kv.db');
}

test('rows outlive the process, with a new boot number and a private file', async (t) => {
  const path = pathIn(t);
  const first = new SqliteReplicaStore(path);
  const row = rowOf('k', 'v');
  t.strictSame(await first.write([row], TERMS), ['stored']);
  first.close();
  const second = new SqliteReplicaStore(path, { mustExist: true });
  t.match(second.read('b', 'k'), { stamp: row.stamp });
  t.ok(second.boot > first.boot);
  t.equal(statSync(path).mode & 0o777, 0o600);
  second.close();
});

test('a node that lost its rows is told so', (t) => {
  const path = pathIn(t);
  t.throws(() => new SqliteReplicaStore(path, { mustExist: true }), {
    code: 'ERR_KV_STORE_MISSING',
  });
  t.equal(existsSync(path), false);
  t.end();
});

test('writes of one turn share a transaction and are not seen before it', async (t) => {
  const path = pathIn(t);
  const store = new SqliteReplicaStore(path);
  const other = new Database(path, { readonly: true });
  const changes = (): unknown => other.pragma('data_version', { simple: true });
  const count = (): unknown => other.prepare('SELECT count(*) FROM row').pluck().get();
  const before = changes();
  const writes = Array.from({ length: 50 }, (_, i) => store.write([rowOf(`k${i}`, 'v')], TERMS));
  t.equal(store.read('b', 'k0'), 'absent');
  t.equal(count(), 0);
  await writes[0];
  t.equal(count(), 50, 'all are there when the first is acknowledged');
  await Promise.all(writes);
  t.not(changes(), before);
  other.close();
  store.close();
});

test('the highest stamp stays, and says so', async (t) => {
  const store = new SqliteReplicaStore(pathIn(t));
  const [old, young] = [rowOf('k', 'old'), rowOf('k', null)];
  const stamp = new HybridClock('n2', 1).tick(NOW + 501);
  const ahead = { ...rowOf('k', 'ahead'), stamp };
  t.strictSame(await store.write([young, old, young, ahead], TERMS), [
    'stored',
    { higher: young.stamp },
    'stored',
    'ahead',
  ]);
  t.match(store.read('b', 'k'), { stamp: young.stamp, value: null }, 'a deletion is kept');
  store.close();
});

test('a turned bit anywhere in a row is noticed, and only a repair replaces it', async (t) => {
  const path = pathIn(t);
  for (const [column, turn] of Object.entries({
    value: `CAST('w' AS BLOB)`,
    stamp: `replace(stamp, 'n1', 'n2')`,
    expires: '7',
    token: 'token + 1',
    checksum: `x'00'`,
  })) {
    const store = new SqliteReplicaStore(path);
    const row = rowOf(column, 'v');
    await store.write([row], TERMS);
    const other = new Database(path);
    other.prepare(`UPDATE row SET ${column} = ${turn} WHERE key = ?`).run(column);
    other.close();
    t.equal(store.read('b', column), 'damaged', column);
    t.strictSame(await store.write([rowOf(column, 'x')], TERMS), ['damaged']);
    t.strictSame(await store.write([row], { ...TERMS, repair: true }), ['stored']);
    t.match(store.read('b', column), { stamp: row.stamp });
    store.close();
  }
});

test('a scan gives the rows of its ranges once, in pages, also those just written', async (t) => {
  const store = new SqliteReplicaStore(pathIn(t));
  const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
  const write = store.write(
    keys.map((key) => rowOf(key, 'v')),
    TERMS,
  );
  const half = 2 ** 31;
  const ranges = [
    { first: 0, last: half },
    { first: half + half / 2, last: 2 ** 32 - 1 },
  ];
  const found: string[] = [];
  let after: ScanCursor | undefined;
  do {
    const page = store.scan({ ranges, after, bytesMax: 1_000 });
    t.ok(page.rows.length <= 6);
    found.push(...page.rows.map(({ key }) => key));
    after = page.next;
  } while (after !== undefined);
  const tokenOf = (key: string): number => hashKey(placementKey('b', key));
  const wanted = keys
    .filter((key) =>
      ranges.some(({ first, last }) => tokenOf(key) >= first && tokenOf(key) <= last),
    )
    .toSorted((a, b) => tokenOf(a) - tokenOf(b));
  t.strictSame(found, wanted);
  await write;
  store.close();
});

test('after a failed write the store goes on with what is on disk', async (t) => {
  const path = pathIn(t);
  const store = new SqliteReplicaStore(path);
  await store.write([rowOf('k', 'v')], TERMS);
  const lock = new Database(path);
  lock.exec("CREATE TRIGGER fail BEFORE INSERT ON row BEGIN SELECT raise(ABORT, 'disk'); END");
  await t.rejects(store.write([rowOf('other', 'v')], TERMS), { code: 'ERR_KV_STORE_FAILED' });
  lock.exec('DROP TRIGGER fail');
  lock.close();
  t.equal(store.read('b', 'other'), 'absent');
  t.strictSame(await store.write([rowOf('other', 'v')], TERMS), ['stored']);
  const other = new Database(path);
  t.equal(other.pragma('journal_mode', { simple: true }), 'wal');
  other.close();
  store.close();
});
