import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type Test, test } from 'tap';
import type { AcceptorStore } from '../acceptor-store.ts';
import { acceptorStoreTestSuite } from '../acceptor-store.testsuite.ts';
import { type AcceptorState, newAcceptorState, written } from '../core/acceptor-state.ts';
import { NO_BALLOT } from '../core/ballot.ts';
import { AcceptorStoreError, SqliteAcceptorStore } from './acceptor-sqlite.ts';

function folderIn(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-acceptor-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

const paths = new WeakMap<AcceptorStore, string>();

function openAt(t: Test, path: string): SqliteAcceptorStore {
  const store = new SqliteAcceptorStore(path);
  paths.set(store, path);
  t.teardown(() => store.close());
  return store;
}

test('SQLite', (t) => {
  acceptorStoreTestSuite(t, {
    open: (each) => openAt(each, join(folderIn(each), 'acceptor.db')),
    // The files as they are: what is not in them yet would be lost in a crash.
    reopen: (each, store) => {
      const [from, to] = [paths.get(store) as string, join(folderIn(each), 'acceptor.db')];
      for (const end of ['', '-wal'])
        if (existsSync(from + end)) copyFileSync(from + end, to + end);
      return openAt(each, to);
    },
  });
  t.end();
});

/** As the simulator keeps disks. */
class MemoryStore implements AcceptorStore {
  readonly states: Map<string, AcceptorState<unknown>>;

  constructor(states = new Map<string, AcceptorState<unknown>>()) {
    this.states = states;
  }

  async create(group: string, state: AcceptorState<unknown>): Promise<void> {
    if (this.states.has(group))
      throw new AcceptorStoreError('there', { code: 'ERR_RING_GROUP_EXISTS' });
    this.states.set(group, state);
  }

  load(group: string): AcceptorState<unknown> | undefined {
    return this.states.get(group);
  }

  write(group: string, writes: Parameters<AcceptorStore['write']>[1]): Promise<void> {
    for (const write of writes)
      this.states.set(group, written(this.load(group) as AcceptorState<unknown>, write));
    return Promise.resolve();
  }

  close(): void {}
}

test('memory', (t) => {
  acceptorStoreTestSuite(t, {
    open: () => new MemoryStore(),
    reopen: (_, store) => new MemoryStore(new Map((store as MemoryStore).states)),
  });
  t.end();
});

const ENTRY = { ballot: NO_BALLOT, value: 'v' };

test('A3: rows that are not what was written are not used', async (t) => {
  const path = join(folderIn(t), 'acceptor.db');
  const store = openAt(t, path);
  await store.create('g', newAcceptorState(1));
  await store.write('g', [{ log: { entries: [ENTRY, ENTRY, ENTRY] } }]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const other = new Database(path);
  t.teardown(() => other.close());
  const harms: Record<string, string> = {
    'a bit': `UPDATE entry SET value = CAST(x'00' || substr(value, 2) AS BLOB) WHERE at = 2`,
    'an entry within': 'DELETE FROM entry WHERE at = 2',
    'the last entry': 'DELETE FROM entry WHERE at = 3',
    'a swap': 'UPDATE entry SET at = at + 10; UPDATE entry SET at = 14 - at',
    'a promise': `DELETE FROM fact WHERE name = 'promised'`,
    'an older promise': `UPDATE fact SET value = CAST(x'c0' AS BLOB) WHERE name = 'promised'`,
  };
  for (const [what, sql] of Object.entries(harms)) {
    other.exec(`SAVEPOINT harm; ${sql}`);
    other.exec('RELEASE harm');
    t.throws(() => store.load('g'), { code: 'ERR_RING_ACCEPTOR_DAMAGED' }, what);
    other.exec(`DELETE FROM entry; DELETE FROM fact`);
    await store.create('g', newAcceptorState(1));
    await store.write('g', [{ log: { entries: [ENTRY, ENTRY, ENTRY] } }]);
    t.equal(store.load('g')?.log.entries.length, 3);
  }
});

test('A4: after a write that failed nothing is written', async (t) => {
  const path = join(folderIn(t), 'acceptor.db');
  const store = openAt(t, path);
  await store.create('g', newAcceptorState(1));
  const unknown = { code: 'ERR_RING_ACCEPTOR_STORE' };
  const promised = { counter: 1, node: 'n', run: 1 };
  const whole = store.write('g', [{ promised }]);
  let value: unknown = 'deeper than values may be';
  for (let i = 0; i < 40; i++) value = [value];
  const broken = store.write('g', [{ log: { entries: [{ ...ENTRY, value }] } }]);
  await t.rejects(broken, unknown);
  await t.rejects(whole, unknown, 'it was in the same transaction');
  await t.rejects(store.write('g', [{ promised }]), unknown);
  t.throws(() => store.load('g'), unknown);
  t.strictSame(openAt(t, path).load('g'), newAcceptorState(1));
});

test('a log that is folded does not grow on disk', async (t) => {
  const path = join(folderIn(t), 'acceptor.db');
  const store = new SqliteAcceptorStore(path);
  t.teardown(() => store.close());
  const ballot = { counter: 1, node: 'a', run: 1 };
  await store.create('g', newAcceptorState(1));
  for (let index = 1; index <= 500; index++) {
    const entry = { ballot, value: new Uint8Array(10_000) };
    const snapshot = { index, ballot, state: entry.value };
    await store.write('g', [{ log: { entries: [entry] } }, { log: { snapshot } }]);
  }
  const state = store.load('g');
  t.equal(state?.log.entries.length, 0);
  t.ok(statSync(path).size < 500_000, `${statSync(path).size} bytes`);
});
