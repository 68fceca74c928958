/**
 * The store of an engine in one process: one SQLite file in WAL mode.
 *
 * S1. After a failed commit the connection is not used again: what a failed fsync left in the page cache is unknown.
 *     The file is opened anew, as after a crash (F3 of sqlite-file.ts).
 * S2. A connection knows the ballot that the file has: what was fenced stays so when it is opened anew.
 *
 * Commits are made on the caller's thread. A thread of their own was measured on two cores, with the same work: 0.65
 * times the steps at 64 callers and 0.64 times at one. Handing a batch over costs more than the fsync that it hides.
 */
import type Database from 'better-sqlite3';
import type {
  Append,
  AppendResult,
  Entry,
  OpenRun,
  RecordFilter,
  RunRecord,
  Store,
} from '../store.ts';
import { ballotText } from './memory.ts';
import { closeFile, compactFile, type Durability, openFile } from './sqlite-file.ts';
import { SqliteRows } from './sqlite-rows.ts';
import { countOwner, ownersCounted } from './sqlite-schema.ts';

export interface SqliteStoreOptions {
  /** 'full': a commit is on the disk before anybody hears of it. 'normal': the last commits may go at power loss. */
  durability?: 'full' | 'normal';
}

interface Connection {
  readonly db: Database.Database;
  readonly rows: SqliteRows;
  /** Highest ballot acquired: lower ones are fenced. */
  ballot: string;
}

export class SqliteStore implements Store {
  readonly #path: string;
  readonly #durability: Durability;
  #connection: Connection | undefined;
  #closed = true;

  /** @param path a file, created 0600; ':memory:' for tests. */
  constructor(path: string, options: SqliteStoreOptions = {}) {
    this.#path = path;
    this.#durability = options.durability ?? 'full';
  }

  /** @throws StoreLockedError, StoreCorruptError, or AetherError ERR_ENGINE_STORE_PATH, ERR_ENGINE_STORE_VERSION */
  async open(): Promise<void> {
    this.#closed = false;
    this.#open();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#connection !== undefined) closeFile(this.#connection.db);
    this.#connection = undefined;
  }

  async acquire(): Promise<string> {
    return this.#write((connection) => {
      connection.ballot = ballotText(countOwner(connection.db));
      return connection.ballot;
    });
  }

  async append(batch: readonly Append[]): Promise<AppendResult[]> {
    return this.#write(({ rows, ballot }) => rows.append(batch, ballot));
  }

  async read({ runId, from = 1 }: { runId: string; from?: number }): Promise<Entry[]> {
    return this.#open().rows.entries(runId, from);
  }

  async record(runId: string): Promise<RunRecord | undefined> {
    return this.#open().rows.record(runId);
  }

  async newest(workflowId: string): Promise<RunRecord | undefined> {
    return this.#open().rows.newest(workflowId);
  }

  async list(filter: RecordFilter): Promise<RunRecord[]> {
    return this.#open().rows.list(filter);
  }

  async openRuns({ after = '', limit }: { after?: string; limit: number }): Promise<OpenRun[]> {
    return this.#open().rows.openRuns(after, limit);
  }

  async prune({ closedBefore, limit }: { closedBefore: number; limit: number }): Promise<number> {
    return this.#write(({ db, rows }) => {
      const forgotten = rows.prune(closedBefore, limit);
      compactFile(db);
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
    return this.#open().rows.verify();
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
    this.#connection ??= this.#connect();
    return this.#connection;
  }

  #connect(): Connection {
    const db = openFile(this.#path, this.#durability);
    try {
      return { db, rows: new SqliteRows(db), ballot: ballotText(ownersCounted(db)) }; // S2
    } catch (error) {
      closeFile(db);
      throw error;
    }
  }

  #write<T>(act: (connection: Connection) => T): T {
    const connection = this.#open();
    try {
      return act(connection);
    } catch (error) {
      this.#drop(); // S1
      throw error;
    }
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    try {
      if (connection !== undefined) closeFile(connection.db);
    } catch {
      // It failed already; the file is opened anew.
    }
  }
}
