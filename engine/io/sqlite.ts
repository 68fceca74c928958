/**
 * The store of an engine in one process: one SQLite file in WAL mode.
 *
 * S1. `synchronous=FULL` is set on every open: better-sqlite3 opens an existing WAL file at NORMAL, which loses the
 *     last commits at power loss.
 * S2. The file is locked for as long as it is open (`locking_mode=EXCLUSIVE`); the kernel drops the lock with the process.
 * S3. Rows of the record carry a checksum; entries carry their chain (core/journal.ts). SQLite checks neither.
 * S4. After a failed commit the connection is not used again: what a failed fsync left in the page cache is unknown.
 * S5. The end of each journal is written twice, with the entry and beside it, so that a lost last entry is found too.
 * S6. What the write-ahead log holds at open is copied into the file and synced before anything is added to it: frames
 *     that a failed fsync left in the page cache only would be read as committed, and be missing after a power loss.
 * S7. A write-ahead log that rots is refused, not read up to the damage (write-ahead-log.ts). Its last commit cannot be
 *     told from one that a power loss cut.
 *
 * Commits are made on the caller's thread. A thread of their own was measured on two cores, with the same work: 0.65
 * times the steps at 64 callers and 0.64 times at one. Handing a batch over costs more than the fsync that it hides.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';
import { StoreCorruptError, StoreLockedError } from '../core/errors.ts';
import type {
  Append,
  AppendResult,
  Entry,
  OpenRun,
  RecordFilter,
  RunRecord,
  Store,
} from '../store.ts';
import { readEntries } from '../core/journal.ts';
import { isOpen } from '../core/record.ts';
import { ballotText } from './memory.ts';
import { rottenFrame } from './write-ahead-log.ts';
import { sha256 } from './system.ts';

/** Written to `meta`; a file of a later schema is refused, one of an earlier is brought forward (MIGRATIONS). */
const SCHEMA_VERSION = 2;

/** Pages in the WAL before they are copied into the file: 32 MiB, so that a page that grows is copied once, not often. */
const WAL_PAGES = 8_192;

/** Runs whose end of journal is remembered; others are looked up. */
const TAILS_MAX = 10_000;

/**
 * Entries lie in the order in which they were committed, so that a commit of many runs fills a few new pages; ordered by
 * run it would write a page of each. What is ordered by run is short: the index, and `tail`, the end of each journal.
 */
const JOURNAL = `
  create table entry (
    position integer primary key,
    run integer not null,
    idx integer not null,
    ballot text not null,
    hash text not null,
    body text not null
  );
  create unique index entry_by_run on entry (run, idx);
  create table tail (run integer primary key, idx integer not null);
`;

const RUN_CLOSED = 'create index run_closed on run (closed_at) where closed_at is not null';

/** Runs have numbers in order of creation, so that what changes at the same time lies side by side. */
const SCHEMA = `
  create table meta (key text primary key, value integer not null) without rowid;
  create table run (
    number integer primary key,
    run_id text not null unique,
    workflow_id text not null,
    name text not null,
    status text not null,
    open integer not null,
    wake_at integer,
    started_at integer not null,
    record text not null,
    checksum text not null,
    closed_at integer
  );
  create index run_by_workflow on run (workflow_id, number);
  create index run_open on run (number) where open = 1;
  ${RUN_CLOSED};
  ${JOURNAL}
`;

/** From schema i + 1 to the next. They run in the transaction that opens the file: a crash leaves it as it was. */
const MIGRATIONS: readonly string[] = [
  `alter table run add column closed_at integer;
   update run set closed_at = json_extract(record, '$.closedAt') where open = 0 and json_valid(record);
   ${RUN_CLOSED};
   alter table entry rename to entry_by_key;
   ${JOURNAL}
   insert into entry (run, idx, ballot, hash, body)
     select run, idx, ballot, hash, body from entry_by_key order by run, idx;
   insert into tail select run, max(idx) from entry_by_key group by run;
   drop table entry_by_key;`,
];

/** Free pages are given back to the disk once they are more than this share of the file; before, they are used again. */
const FREE_SHARE_MAX = 0.25;
/** Pages given back per call: a call takes milliseconds. */
const COMPACT_PAGES = 2_000;

export interface SqliteStoreOptions {
  /** 'full': a commit is on the disk before anybody hears of it. 'normal': the last commits may go at power loss. */
  durability?: 'full' | 'normal';
}

export class SqliteStore implements Store {
  readonly #path: string;
  readonly #durability: 'full' | 'normal';
  #connection: Connection | undefined;
  #closed = true;

  /** @param path a file, created 0600; ':memory:' for tests. */
  constructor(path: string, options: SqliteStoreOptions = {}) {
    this.#path = path;
    this.#durability = options.durability ?? 'full';
  }

  /** @throws StoreLockedError, StoreCorruptError, or AetherError ERR_ENGINE_STORE_PATH, ERR_ENGINE_STORE_VERSION */
  async open(): Promise<void> {
    if (this.#connection !== undefined) return;
    this.#closed = false;
    this.#connection = connect(this.#path, this.#durability);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#connection !== undefined) disconnect(this.#path, this.#connection);
    this.#connection = undefined;
  }

  async acquire(): Promise<string> {
    return this.#write((connection) => {
      connection.db
        .prepare(`insert into meta values ('boot', 1) on conflict do update set value = value + 1`)
        .run();
      connection.ballot = ballotText(meta(connection.db, 'boot'));
      return connection.ballot;
    });
  }

  async append(batch: readonly Append[]): Promise<AppendResult[]> {
    return this.#write((connection) => appendAll(connection, batch));
  }

  async read({ runId, from = 1 }: { runId: string; from?: number }): Promise<Entry[]> {
    const { statements } = this.#open();
    return guarded(runId, () => {
      const number = statements.number.get(runId) as number | undefined;
      if (number === undefined) return [];
      const entries = statements.entries.all(number, from) as Entry[];
      const last = statements.last.get(number) as number | undefined;
      const end = entries.at(-1)?.index ?? from - 1;
      if (last === undefined || (end !== last && from <= last)) throw endLost(runId, end, last); // S5
      return entries;
    });
  }

  async record(runId: string): Promise<RunRecord | undefined> {
    const { statements } = this.#open();
    const row = guarded(runId, () => statements.record.get(runId)) as Row | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  async newest(workflowId: string): Promise<RunRecord | undefined> {
    const row = this.#open().statements.newest.get(workflowId) as Row | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  async list(filter: RecordFilter): Promise<RunRecord[]> {
    const where = ['true'];
    const values: (string | number)[] = [];
    const add = (condition: string, ...bound: (string | number | undefined)[]): void => {
      if (bound.includes(undefined)) return;
      where.push(condition);
      values.push(...(bound as (string | number)[]));
    };
    add('name = ?', filter.name);
    add('started_at > ?', filter.startedAfter);
    add('started_at < ?', filter.startedBefore);
    add(filter.newestFirst === true ? 'run_id < ?' : 'run_id > ?', filter.after);
    if (filter.status !== undefined) {
      add(`status in (${filter.status.map(() => '?').join(',')})`, ...filter.status);
    }
    for (const [key, value] of Object.entries(filter.attributes ?? {})) {
      const bound = typeof value === 'boolean' ? Number(value) : value;
      add(`json_extract(record, '$.attributes.' || json_quote(?)) = ?`, key, bound);
    }
    const order = filter.newestFirst === true ? 'desc' : 'asc';
    const rows = this.#open()
      .db.prepare(`select * from run where ${where.join(' and ')} order by run_id ${order} limit ?`)
      .all(...values, filter.limit) as Row[];
    return rows.map(recordOf);
  }

  async openRuns(request: { after?: string; limit: number }): Promise<OpenRun[]> {
    const { statements } = this.#open();
    return statements.openRuns.all(request.after ?? '', request.limit) as OpenRun[];
  }

  async prune({ closedBefore, limit }: { closedBefore: number; limit: number }): Promise<number> {
    return this.#write((connection) => {
      const forgotten = pruneRuns(connection, closedBefore, limit);
      compact(connection.db);
      return forgotten;
    });
  }

  /**
   * Reads everything and checks it: pages and indexes (SQLite's own check), records, journals. Takes as long as reading
   * the file does; engines find what is damaged in a run when they read that run.
   *
   * @returns what is damaged, in words; empty: nothing.
   */
  async verify(): Promise<string[]> {
    const { db, statements } = this.#open();
    const found: string[] = [];
    const check = (what: string, act: () => void): void => {
      try {
        act();
      } catch (error) {
        found.push(`${what}: ${(error as Error).message}`);
      }
    };
    check('file', () => {
      const complaints = db.prepare('pragma integrity_check').pluck().all() as string[];
      found.push(...complaints.filter((one) => one !== 'ok'));
    });
    check('records', () => {
      for (const row of db.prepare('select * from run').iterate() as Iterable<Row>) {
        const { version, why } = recordOf(row);
        if (version === '' && why !== undefined) found.push(why.message);
      }
    });
    const runIds: string[] = [];
    check('runs', () => {
      runIds.push(...(db.prepare('select run_id from run').pluck().all() as string[]));
    });
    for (const runId of runIds) {
      check(`run ${runId}`, () => {
        const number = statements.number.get(runId) as number;
        const entries = statements.entries.all(number, 1) as Entry[];
        readEntries(runId, entries, sha256);
        const last = statements.last.get(number) as number | undefined;
        if (entries.length !== last) throw endLost(runId, entries.length, last);
      });
    }
    return found;
  }

  /** How the file is really open, as SQLite says it. */
  pragmas(): { journalMode: string; synchronous: number; lockingMode: string } {
    const { db } = this.#open();
    const read = (name: string): unknown => db.pragma(name, { simple: true });
    return {
      journalMode: read('journal_mode') as string,
      synchronous: read('synchronous') as number,
      lockingMode: read('locking_mode') as string,
    };
  }

  /** The connection, opened anew if it failed. @throws as `open` */
  #open(): Connection {
    if (this.#closed) throw new Error('the store is closed');
    if (this.#connection === undefined) {
      this.#connection = connect(this.#path, this.#durability);
      this.#connection.ballot = ballotText(meta(this.#connection.db, 'boot'));
    }
    return this.#connection;
  }

  #write<T>(act: (connection: Connection) => T): T {
    const connection = this.#open();
    try {
      return act(connection);
    } catch (error) {
      this.#drop(); // S4
      throw error;
    }
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    try {
      if (connection !== undefined) disconnect(this.#path, connection);
    } catch {
      // It failed already; the file is opened anew.
    }
  }
}

interface Connection {
  readonly db: Database.Database;
  readonly statements: Statements;
  /** Highest ballot acquired: lower ones are fenced. */
  ballot: string;
  /** Ends of the journals written last, by run id; what is not here is in the file. */
  readonly tails: Map<string, Tail>;
}

/** A run's number, and the index of its last entry. */
interface Tail {
  readonly number: number;
  index: number;
}

interface Row {
  number: number;
  run_id: string;
  workflow_id: string;
  name: string;
  status: string;
  open: number;
  wake_at: number | null;
  started_at: number;
  record: string;
  checksum: string;
  closed_at: number | null;
}

type Statements = ReturnType<typeof prepare>;

/**
 * Files that this process has open. A database that nobody refers to would be collected, and its lock with it; and a
 * second opening must not touch the file, since POSIX drops all locks of a process on a file with any descriptor of it.
 */
const OPEN_HERE = new Map<string, Database.Database>();

function disconnect(path: string, { db }: Connection): void {
  OPEN_HERE.delete(resolve(path));
  db.close();
}

function connect(path: string, durability: 'full' | 'normal'): Connection {
  if (path !== ':memory:') {
    if (OPEN_HERE.has(resolve(path))) {
      throw new StoreLockedError(`${path} is open in this process already`, {
        hint: 'use the store that has it, or close that one first',
      });
    }
    claimFile(path);
    checkLog(path); // S7
  }
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE'); // S2
    db.pragma('auto_vacuum = INCREMENTAL'); // Heard only before the file has tables.
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${durability === 'full' ? 'FULL' : 'NORMAL'}`); // S1
    db.pragma('cache_size = -32768');
    db.pragma(`wal_autocheckpoint = ${WAL_PAGES}`);
    db.pragma('wal_checkpoint(TRUNCATE)'); // S6
    markDurability(db, durability);
    db.exec('begin immediate');
    migrate(db, path);
    db.exec('commit');
    const connection = { db, statements: prepare(db), ballot: '', tails: new Map() };
    if (path !== ':memory:') OPEN_HERE.set(resolve(path), db);
    return connection;
  } catch (error) {
    db.close();
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY') === true) {
      throw new StoreLockedError(`${path} is held by another process`, {
        hint: 'stop the other process, or give this one a file of its own',
        cause: error,
      });
    }
    throw error;
  }
}

/** Creates the file 0600, or checks that what is there is a plain file: a link could point SQLite anywhere. */
function claimFile(path: string): void {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
  for (const file of [path, `${path}-wal`, `${path}-journal`]) {
    if (lstatSync(file, { throwIfNoEntry: false })?.isFile() === false) {
      throw new AetherError(`${file} is not a plain file`, {
        code: 'ERR_ENGINE_STORE_PATH',
        hint: 'name the file itself, not a link or folder',
      });
    }
  }
  try {
    closeSync(openSync(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  const folder = openSync(dirname(path), constants.O_RDONLY);
  fsyncSync(folder);
  closeSync(folder);
}

/** Where `user_version` stands in a file: read without opening it, since a close would remove the log. */
const USER_VERSION_AT = 60;
const COMMITS_SYNCED = 0;
const COMMITS_NOT_SYNCED = 1;

/** @throws StoreCorruptError */
function checkLog(path: string): void {
  const log = `${path}-wal`;
  if (!existsSync(log)) return;
  if (userVersion(path) !== COMMITS_SYNCED) return;
  const frame = rottenFrame(readFileSync(log));
  // Twice: another process may be writing to it, which is refused later, by name.
  if (frame === undefined || rottenFrame(readFileSync(log)) !== frame) return;
  throw new StoreCorruptError(`${log} is damaged at frame ${frame + 1}: later commits are lost`, {
    hint: 'restore the file and its log from a backup; without the log, the file is what it was before',
    details: { frame: frame + 1 },
  });
}

function userVersion(path: string): number | undefined {
  const bytes = Buffer.alloc(4);
  const file = openSync(path, 'r');
  try {
    const read = readSync(file, bytes, 0, bytes.length, USER_VERSION_AT);
    // The file may be empty still: all of it stands in the log.
    return read < bytes.length ? COMMITS_SYNCED : bytes.readUInt32BE(0);
  } finally {
    closeSync(file);
  }
}

/** Says in the file itself whether each commit of the log that follows is synced. */
function markDurability(db: Database.Database, durability: 'full' | 'normal'): void {
  const mark = durability === 'full' ? COMMITS_SYNCED : COMMITS_NOT_SYNCED;
  if (db.pragma('user_version', { simple: true }) === mark) return;
  db.pragma(`user_version = ${mark}`);
  db.pragma('wal_checkpoint(TRUNCATE)');
}

function migrate(db: Database.Database, path: string): void {
  if (db.prepare(`select 1 from sqlite_schema where name = 'meta'`).get() === undefined) {
    db.exec(SCHEMA);
    db.prepare(`insert into meta values ('schema', ?), ('boot', 0)`).run(SCHEMA_VERSION);
  }
  const version = meta(db, 'schema');
  if (version > SCHEMA_VERSION) {
    throw new AetherError(`${path} has schema ${version}, this release knows ${SCHEMA_VERSION}`, {
      code: 'ERR_ENGINE_STORE_VERSION',
      hint: 'open it with the release that wrote it, or a later one',
    });
  }
  if (version === SCHEMA_VERSION) return;
  for (const migration of MIGRATIONS.slice(version - 1)) db.exec(migration);
  db.prepare(`update meta set value = ? where key = 'schema'`).run(SCHEMA_VERSION);
}

function meta(db: Database.Database, key: string): number {
  return db.prepare('select value from meta where key = ?').pluck().get(key) as number;
}

function prepare(db: Database.Database) {
  return {
    begin: db.prepare('begin immediate'),
    commit: db.prepare('commit'),
    number: db.prepare('select number from run where run_id = ?').pluck(),
    last: db.prepare('select idx from tail where run = ?').pluck(),
    insertTail: db.prepare('insert into tail values (?, ?)'),
    updateTail: db.prepare('update tail set idx = ? where run = ?'),
    insertRun: db.prepare(
      `insert into run (run_id, workflow_id, name, status, open, wake_at, started_at, record, checksum, closed_at)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    updateRun: db.prepare(
      `update run set status = ?, open = ?, wake_at = ?, record = ?, checksum = ?, closed_at = ?
       where number = ?`,
    ),
    insertEntry: db.prepare(
      'insert into entry (run, idx, ballot, hash, body) values (?, ?, ?, ?, ?)',
    ),
    entries: db.prepare(
      `select idx as "index", ballot, hash, body from entry
       where run = ? and idx >= ? order by idx`,
    ),
    closed: db.prepare(
      `select * from run where closed_at < ? and not exists (
         select 1 from run as parent where parent.open = 1 and parent.run_id =
           case when json_valid(run.record) then json_extract(run.record, '$.parent') end)
       order by closed_at limit ?`,
    ),
    keep: db.prepare('update run set closed_at = null where number = ?'),
    deleteEntries: db.prepare('delete from entry where run = ?'),
    deleteTail: db.prepare('delete from tail where run = ?'),
    deleteRun: db.prepare('delete from run where number = ?'),
    record: db.prepare('select * from run where run_id = ?'),
    newest: db.prepare('select * from run where workflow_id = ? order by number desc limit 1'),
    openRuns: db.prepare(
      `select run_id as runId, wake_at as wakeAt from run
       where open = 1 and number > coalesce((select number from run where run_id = ?), 0)
       order by number limit ?`,
    ),
  };
}

function appendAll(connection: Connection, batch: readonly Append[]): AppendResult[] {
  const { statements } = connection;
  statements.begin.run();
  const results = batch.map((append) => appendOne(connection, append));
  statements.commit.run();
  return results;
}

function appendOne(connection: Connection, append: Append): AppendResult {
  const { statements, ballot } = connection;
  const { runId, entry, record, next } = append;
  if (append.ballot < ballot) return 'fenced';
  const known = tailOf(connection, runId);
  if (known === undefined && (entry === undefined || record === undefined)) return 'conflict';
  if (entry !== undefined && entry.index !== (known?.index ?? 0) + 1) return 'conflict';
  if (next !== undefined && tailOf(connection, next.record.runId) !== undefined) return 'conflict';
  const tail = known ?? insertRun(connection, record as RunRecord);
  if (known !== undefined && record !== undefined) updateRun(statements, tail.number, record);
  if (entry !== undefined) insertEntry(statements, tail, entry);
  if (next !== undefined) insertEntry(statements, insertRun(connection, next.record), next.entry);
  if (record !== undefined && !isOpen(record.status)) connection.tails.delete(runId);
  return 'done';
}

function tailOf(connection: Connection, runId: string): Tail | undefined {
  const remembered = connection.tails.get(runId);
  if (remembered !== undefined) return remembered;
  const { statements } = connection;
  const number = statements.number.get(runId) as number | undefined;
  if (number === undefined) return undefined;
  return remember(connection, runId, {
    number,
    index: (statements.last.get(number) as number | undefined) ?? 0,
  });
}

function remember({ tails }: Connection, runId: string, tail: Tail): Tail {
  if (tails.size >= TAILS_MAX) tails.clear();
  tails.set(runId, tail);
  return tail;
}

function insertRun(connection: Connection, record: RunRecord): Tail {
  const { runId, workflowId, name, status, wakeAt, startedAt, closedAt = null } = record;
  const text = JSON.stringify(record);
  const open = Number(isOpen(status));
  const { lastInsertRowid } = connection.statements.insertRun.run(
    runId,
    workflowId,
    name,
    status,
    open,
    wakeAt,
    startedAt,
    text,
    checksum(text),
    closedAt,
  );
  return remember(connection, runId, { number: Number(lastInsertRowid), index: 0 });
}

function updateRun(statements: Statements, number: number, record: RunRecord): void {
  const { status, wakeAt, closedAt = null } = record;
  const text = JSON.stringify(record);
  const open = Number(isOpen(status));
  statements.updateRun.run(status, open, wakeAt, text, checksum(text), closedAt, number);
}

function insertEntry(statements: Statements, tail: Tail, entry: Entry): void {
  const { number } = tail;
  statements.insertEntry.run(number, entry.index, entry.ballot, entry.hash, entry.body);
  if (tail.index === 0) statements.insertTail.run(number, entry.index);
  else statements.updateTail.run(entry.index, number); // S5
  tail.index = entry.index;
}

/** @returns how many runs were forgotten; one whose record is damaged is kept, and not looked at again. */
function pruneRuns({ db, statements, tails }: Connection, before: number, limit: number): number {
  let forgotten = 0;
  const prune = db.transaction(() => {
    for (const row of statements.closed.all(before, limit) as Row[]) {
      const { status, closedAt = Infinity } = recordOf(row);
      if (isOpen(status) || closedAt >= before) {
        statements.keep.run(row.number);
        continue;
      }
      statements.deleteEntries.run(row.number);
      statements.deleteTail.run(row.number);
      statements.deleteRun.run(row.number);
      tails.delete(row.run_id);
      forgotten++;
    }
  });
  prune.immediate();
  return forgotten;
}

/** Gives free pages back to the disk. A file that schema 1 began keeps its own, and uses them again. */
function compact(db: Database.Database): void {
  const free = db.pragma('freelist_count', { simple: true }) as number;
  const all = db.pragma('page_count', { simple: true }) as number;
  if (free > all * FREE_SHARE_MAX) db.pragma(`incremental_vacuum(${COMPACT_PAGES})`);
}

function endLost(runId: string, end: number, last: number | undefined): StoreCorruptError {
  return new StoreCorruptError(
    `run ${runId}: its journal ends with entry ${end}, ${last ?? 'none'} was the last written`,
    { hint: 'restore the store from a backup; other runs are not affected' },
  );
}

function checksum(text: string): string {
  return sha256(text).slice(0, 16);
}

/** The record of a row; one that is damaged comes back `quarantined`, with what the row still says (S3). */
function recordOf(row: Row): RunRecord {
  if (checksum(row.record) === row.checksum) {
    const record = JSON.parse(row.record) as RunRecord;
    const agrees =
      record.runId === row.run_id &&
      record.workflowId === row.workflow_id &&
      record.name === row.name &&
      record.status === row.status &&
      record.wakeAt === row.wake_at &&
      record.startedAt === row.started_at &&
      Number(isOpen(record.status)) === row.open;
    if (agrees) return record;
  }
  return {
    runId: row.run_id,
    workflowId: row.workflow_id,
    name: row.name,
    version: '',
    status: 'quarantined',
    startedAt: row.started_at,
    wakeAt: null,
    entries: 0,
    events: 0,
    attributes: {},
    why: { code: StoreCorruptError.code, message: `the record of run ${row.run_id} is damaged` },
  };
}

/** SQLite's own complaint about a page, as the engine's. */
function guarded<T>(runId: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('SQLITE_CORRUPT') !== true) throw error;
    throw new StoreCorruptError(`run ${runId}: its rows cannot be read`, {
      hint: 'restore the store from a backup; other runs may not be affected',
      cause: error,
    });
  }
}
