/**
 * A replica's rows in SQLite: DATA/kv.db.
 *
 * Writes that arrive in one turn of the event loop share a transaction and so an fsync. SQLite does
 * not notice bit rot, hence a checksum per row.
 */
import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';
import { hashKey } from '../core/hash-ring.ts';
import {
  compareKeys,
  type Found,
  judge,
  placementKey,
  type Row,
  type Verdict,
} from '../core/kv-row.ts';
import type { WriteTerms } from '../core/kv-row.ts';
import type { ListPage, ListRequest, ReplicaStore, ScanPage, ScanRequest } from '../kv-store.ts';
import { makeDatabase, openDatabase } from './database.ts';

/** The store could not write or read. Whether the write is there is unknown until it was read. */
export class StoreFailedError extends AetherError {
  static override readonly code: string = 'ERR_KV_STORE_FAILED';
}

interface Stored {
  token: number;
  bucket: string;
  key: string;
  stamp: string;
  value: Uint8Array | null;
  expires: number | null;
  checksum: Uint8Array;
}

interface Waiting {
  rows: readonly Row[];
  terms: WriteTerms;
  resolve(verdicts: Verdict[]): void;
  reject(error: unknown): void;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS row (
    token INTEGER NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL, stamp TEXT NOT NULL,
    value BLOB, expires INTEGER, checksum BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX IF NOT EXISTS row_by_key ON row (bucket, key);
  CREATE INDEX IF NOT EXISTS row_by_token ON row (token, bucket, key);
  CREATE TABLE IF NOT EXISTS note (
    name TEXT PRIMARY KEY, value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;`;
const SET_NOTE = 'INSERT INTO note VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value';

export class SqliteReplicaStore implements ReplicaStore {
  readonly boot: number;
  readonly #path: string;
  #connection: Connection | undefined;
  #waiting: Waiting[] = [];

  /**
   * @param path made when it is missing, and durable once its folder is synced (new-file.ts): before that, nothing is to be
   *   written.
   * @throws StoreFailedError ERR_KV_STORE_MISSING when `mustExist` and there is none: a node that
   *   lost its rows must not vote as if it had them.
   */
  constructor(path: string, options: { mustExist?: boolean } = {}) {
    if (options.mustExist === true && !existsSync(path)) {
      throw new StoreFailedError(`the rows of this node are gone: ${path} is missing`, {
        code: 'ERR_KV_STORE_MISSING',
        hint: 'remove the whole data folder and join as a new node; the rows are on other replicas',
      });
    }
    this.#path = path;
    const isNew = makeDatabase(path, `${SCHEMA} INSERT INTO note VALUES ('boot', '1');`);
    this.boot = isNew ? 1 : Number(this.note('boot') ?? 0) + 1;
    if (!isNew) this.setNote('boot', String(this.boot)); // S5
  }

  write(rows: readonly Row[], terms: WriteTerms): Promise<Verdict[]> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#commit());
      this.#waiting.push({ rows, terms, resolve, reject });
    });
  }

  read(bucket: string, key: string): Found {
    return found(this.#open().read.get(bucket, key));
  }

  list({ bucket, prefix, after, limit }: ListRequest): ListPage {
    this.#commit(); // S3
    const from = after === undefined || compareKeys(after, prefix) < 0 ? prefix : after;
    const entries: ListPage['entries'] = [];
    for (const each of this.#open().list.iterate({ bucket, from, after: after ?? '' })) {
      if (!each.key.startsWith(prefix)) break;
      if (entries.length === limit) return { entries, more: true };
      const row = found(each);
      if (typeof row === 'string') entries.push({ key: each.key });
      else {
        const { stamp, expiresMs, value } = row;
        entries.push({ key: row.key, row: { stamp, expiresMs, isDeleted: value === null } });
      }
    }
    return { entries, more: false };
  }

  scan({ ranges, after, bytesMax }: ScanRequest): ScanPage {
    this.#commit(); // S3
    const page: ScanPage = { rows: [], damaged: [] };
    let bytes = 0;
    for (const { first, last } of ranges) {
      if (after !== undefined && after.token > last) continue;
      const from =
        after !== undefined && after.token >= first ? after : { token: first, bucket: '', key: '' };
      for (const each of this.#open().scan.iterate({ ...from, last })) {
        const { token, bucket, key } = each;
        const row = found(each);
        if (typeof row === 'string') page.damaged.push({ bucket, key });
        else page.rows.push(row);
        bytes += (each.value?.length ?? 0) + key.length + 200;
        if (bytes >= bytesMax) return { ...page, next: { token, bucket, key } };
      }
    }
    return page;
  }

  note(name: string): string | undefined {
    return this.#open().note.get(name);
  }

  setNote(name: string, value: string | undefined): void {
    if (value === undefined) this.#open().dropNote.run(name);
    else this.#open().setNote.run(name, value);
  }

  /** Commits what waits. */
  close(): void {
    this.#commit();
    this.#connection?.database.close();
    this.#connection = undefined;
  }

  #open(): Connection {
    return (this.#connection ??= connect(this.#path));
  }

  #commit(): void {
    if (this.#waiting.length === 0) return;
    const batch = this.#waiting;
    this.#waiting = [];
    let verdicts: Verdict[][];
    try {
      verdicts = this.#open().commit(batch);
    } catch (cause) {
      // After a failed fsync the kernel may hold pages that never reach the disk: only a new
      // connection reads what is really there (S6).
      this.#connection?.database.close();
      this.#connection = undefined;
      const failure = new StoreFailedError('the replica could not write', {
        hint: 'look at the disk of the data folder: space, permissions, errors in dmesg',
        cause,
      });
      for (const waiting of batch) waiting.reject(failure);
      return;
    }
    // S1: the transaction is durable when it returns.
    batch.forEach((waiting, at) => waiting.resolve(verdicts[at] as Verdict[]));
  }
}

interface Connection {
  database: Database.Database;
  commit(batch: readonly Waiting[]): Verdict[][];
  read: Database.Statement<[string, string], Stored>;
  list: Database.Statement<[{ bucket: string; from: string; after: string }], Stored>;
  scan: Database.Statement<[{ token: number; bucket: string; key: string; last: number }], Stored>;
  note: Database.Statement<[string], string>;
  setNote: Database.Statement<[string, string]>;
  dropNote: Database.Statement<[string]>;
}

function connect(path: string): Connection {
  const database = openDatabase(path, SCHEMA);
  const read = database.prepare<[string, string], Stored>(
    'SELECT * FROM row WHERE bucket = ? AND key = ?',
  );
  const put = database.prepare<Stored>(
    `INSERT INTO row VALUES (@token, @bucket, @key, @stamp, @value, @expires, @checksum)
     ON CONFLICT (bucket, key) DO UPDATE SET stamp = excluded.stamp, value = excluded.value,
       expires = excluded.expires, checksum = excluded.checksum`,
  );
  const drop = database.prepare<[string, string]>('DELETE FROM row WHERE bucket = ? AND key = ?');
  const write = (row: Row, terms: WriteTerms): Verdict => {
    const held = found(read.get(row.bucket, row.key));
    const verdict = judge(held, row, terms);
    if (verdict !== 'stored') return verdict;
    // Any part may be what is damaged, also the token, which an update leaves as it is.
    if (held === 'damaged') drop.run(row.bucket, row.key);
    if (typeof held === 'string' || held.stamp !== row.stamp) put.run(toStored(row));
    return verdict;
  };
  return {
    database,
    commit: database.transaction((batch: readonly Waiting[]) =>
      batch.map(({ rows, terms }) => rows.map((row) => write(row, terms))),
    ),
    read,
    list: database.prepare(
      `SELECT * FROM row WHERE bucket = @bucket AND key >= @from AND key > @after ORDER BY key`,
    ),
    scan: database.prepare(
      `SELECT * FROM row WHERE (token, bucket, key) > (@token, @bucket, @key) AND token <= @last
       ORDER BY token, bucket, key`,
    ),
    note: database.prepare<[string], string>('SELECT value FROM note WHERE name = ?').pluck(),
    setNote: database.prepare(SET_NOTE),
    dropNote: database.prepare('DELETE FROM note WHERE name = ?'),
  };
}

function toStored(row: Row): Stored {
  const { bucket, key, stamp, value, expiresMs } = row;
  const token = hashKey(placementKey(bucket, key));
  return { token, bucket, key, stamp, value, expires: expiresMs, checksum: checksum(row) };
}

function found(stored: Stored | undefined): Found {
  if (stored === undefined) return 'absent';
  const { token, bucket, key, stamp, value, expires } = stored;
  const row: Row = { bucket, key, stamp, value, expiresMs: expires };
  const isWhole =
    token === hashKey(placementKey(bucket, key)) && checksum(row).equals(stored.checksum);
  return isWhole ? row : 'damaged'; // S4
}

/** 128 bits over everything that a row says. */
function checksum({ bucket, key, stamp, value, expiresMs }: Row): Buffer {
  const head = [bucket, key, stamp, expiresMs ?? '', value === null ? 'deleted' : 'value', ''];
  const bytes = Buffer.concat([Buffer.from(head.join('\0')), value ?? new Uint8Array()]);
  return hash('sha256', bytes, 'buffer').subarray(0, 16);
}
