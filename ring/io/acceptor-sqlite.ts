/**
 * Promises and logs of this node's acceptors in SQLite: DATA/acceptor.db.
 *
 * Cites A1 to A4 of ring/acceptor-store.ts.
 */
import { hash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';
import type { AcceptorStore } from '../acceptor-store.ts';
import type { AcceptorState, AcceptorWrite } from '../core/acceptor-state.ts';
import { decode, encode } from '../core/codec.ts';
import type { Entry, Snapshot } from '../core/fenced-log.ts';
import { makeDatabase, openDatabase } from './database.ts';
import { drawOpening, type Note, type Witness } from './witness.ts';

/** The store could not do it; `code` says what is left. */
export class AcceptorStoreError extends AetherError {
  static override readonly code: string = 'ERR_RING_ACCEPTOR_STORE';
}

interface Waiting {
  readonly write: () => void;
  resolve(): void;
  reject(error: unknown): void;
}

/** What is kept beside the entries, one row each. */
type Facts = Omit<AcceptorState<unknown>, 'log'> & {
  readonly snapshot: Snapshot<unknown>;
  /** Index of the last entry: rows that are gone leave no trace of their own. */
  readonly last: number;
};

interface StoredFact {
  name: string;
  value: Uint8Array;
  checksum: Uint8Array;
}

interface StoredEntry {
  at: number;
  value: Uint8Array;
  checksum: Uint8Array;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS fact (
    "group" TEXT, name TEXT, value BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY ("group", name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS entry (
    "group" TEXT, at INTEGER, value BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY ("group", at)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS note (
    id INTEGER PRIMARY KEY, opening TEXT NOT NULL, writes INTEGER NOT NULL
  ) STRICT;`;
const SET_NOTE = 'INSERT OR REPLACE INTO note VALUES (1, ?, ?)';

export class SqliteAcceptorStore implements AcceptorStore {
  readonly #database: Database.Database;
  readonly #setFact: Database.Statement<[string, string, Uint8Array, Uint8Array]>;
  readonly #setEntry: Database.Statement<[string, number, Uint8Array, Uint8Array]>;
  readonly #dropThrough: Database.Statement<[string, number]>;
  readonly #dropAfter: Database.Statement<[string, number]>;
  readonly #setNote: Database.Statement<[string, number]>;
  readonly #facts: Database.Statement<[string], StoredFact>;
  readonly #entries: Database.Statement<[string], StoredEntry>;
  /** Where the log of each group ends. */
  readonly #ends = new Map<string, number>();
  #waiting: Waiting[] = [];
  #failure: AcceptorStoreError | undefined;

  /** What the store holds is what was written last, as the witness says. */
  readonly isVouched: boolean;
  readonly #witness: Witness | undefined;
  readonly #opening: string = drawOpening();
  /** Transactions so far. */
  #writes: number;

  /**
   * @param path made when it is missing, and durable once its folder is synced (new-file.ts): before that, nothing is to be
   *   written.
   * @param witness notes each write before anybody hears of it.
   */
  constructor(path: string, witness?: Witness) {
    const isNew = makeDatabase(path, SCHEMA, (made) => {
      made.prepare(SET_NOTE).run(this.#opening, 1);
    });
    const database = openDatabase(path, SCHEMA);
    this.#database = database;
    this.#setFact = database.prepare(
      `INSERT INTO fact VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum`,
    );
    this.#setEntry = database.prepare('INSERT INTO entry VALUES (?, ?, ?, ?)');
    this.#dropThrough = database.prepare('DELETE FROM entry WHERE "group" = ? AND at <= ?');
    this.#dropAfter = database.prepare('DELETE FROM entry WHERE "group" = ? AND at > ?');
    this.#facts = database.prepare('SELECT name, value, checksum FROM fact WHERE "group" = ?');
    this.#entries = database.prepare(
      'SELECT at, value, checksum FROM entry WHERE "group" = ? ORDER BY at',
    );
    this.#setNote = database.prepare(SET_NOTE);
    const kept = database.prepare<[], Note>('SELECT opening, writes FROM note').get();
    const seen = witness?.read();
    // A write that was not noted any more was heard of by nobody either.
    this.isVouched =
      kept !== undefined && kept.opening === seen?.opening && kept.writes >= seen.writes;
    this.#witness = witness;
    this.#writes = kept?.writes ?? 0;
    if (isNew) this.#noteWrites();
    else this.#transact(() => {});
  }

  async create(group: string, { log, ...facts }: AcceptorState<unknown>): Promise<void> {
    this.#commit();
    this.#check();
    if (this.#facts.get(group) !== undefined) {
      throw new AcceptorStoreError(`the group ${group} is there already`, {
        code: 'ERR_RING_GROUP_EXISTS',
      });
    }
    await this.#queue(() => {
      for (const [name, value] of Object.entries({ ...facts, snapshot: log.snapshot }))
        this.#keepFact(group, name, value);
      this.#append(group, log.snapshot.index, log.entries);
    });
  }

  load(group: string): AcceptorState<unknown> | undefined {
    this.#commit();
    this.#check();
    const rows = this.#facts.all(group);
    if (rows.length === 0) return undefined;
    const facts = Object.fromEntries(
      rows.map(({ name, value, checksum }) => [name, opened(group, name, value, checksum)]),
    ) as unknown as Facts;
    const { snapshot, last, generation, promised, boot, isRegistered, isRefused, boots } = facts;
    const entries = this.#entries.all(group).map(({ at, value, checksum }, i) => {
      if (at !== snapshot.index + 1 + i) throw damaged(group);
      return opened(group, at, value, checksum) as Entry<unknown>;
    });
    const isWhole = rows.length === 8 && snapshot.index + entries.length === last;
    if (!isWhole) throw damaged(group); // A3
    this.#ends.set(group, last);
    const log = { snapshot, entries };
    return { generation, promised, log, boot, isRegistered, isRefused, boots };
  }

  write(group: string, writes: readonly AcceptorWrite<unknown>[]): Promise<void> {
    return this.#queue(() => {
      for (const write of writes) this.#perform(group, write);
    });
  }

  close(): void {
    this.#commit();
    this.#database.close();
  }

  #queue(write: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#commit());
      this.#waiting.push({ write, resolve, reject });
    });
  }

  /** A1: one transaction and one fsync for all that waits. */
  #commit(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    try {
      this.#check();
      this.#transact(() => {
        for (const { write } of batch) write();
      });
    } catch (cause) {
      // A4
      this.#failure ??= new AcceptorStoreError('the promises of this node could not be written', {
        hint: 'look at the disk of the data folder: space, permissions, errors in dmesg; then start the node again',
        cause,
      });
      for (const waiting of batch) waiting.reject(this.#failure);
      return;
    }
    for (const waiting of batch) waiting.resolve();
  }

  /** Durable, and noted, when it returns. */
  #transact(write: () => void): void {
    const writes = this.#writes + 1;
    this.#database.transaction(() => {
      write();
      this.#setNote.run(this.#opening, writes);
    })();
    this.#writes = writes;
    this.#noteWrites();
  }

  #noteWrites(): void {
    this.#witness?.write({ opening: this.#opening, writes: this.#writes });
  }

  #perform(group: string, { log, ...facts }: AcceptorWrite<unknown>): void {
    for (const [name, value] of Object.entries(facts)) this.#keepFact(group, name, value);
    if (log === undefined) return;
    const { snapshot, keepThrough, entries = [] } = log;
    let end = this.#end(group);
    if (snapshot !== undefined) {
      this.#keepFact(group, 'snapshot', snapshot);
      this.#dropThrough.run(group, snapshot.index);
      end = Math.max(end, snapshot.index);
    }
    if (keepThrough !== undefined) {
      this.#dropAfter.run(group, keepThrough);
      end = Math.min(end, keepThrough);
    }
    this.#append(group, end, entries);
  }

  #append(group: string, end: number, entries: readonly Entry<unknown>[]): void {
    for (const [i, entry] of entries.entries()) {
      const at = end + 1 + i;
      const value = encode(entry);
      this.#setEntry.run(group, at, value, checksumOf(group, at, value));
    }
    this.#keepFact(group, 'last', end + entries.length);
    this.#ends.set(group, end + entries.length);
  }

  #end(group: string): number {
    const end = this.#ends.get(group);
    if (end === undefined) throw new AcceptorStoreError(`the group ${group} was not loaded`);
    return end;
  }

  #keepFact(group: string, name: string, fact: unknown): void {
    const value = encode(fact);
    this.#setFact.run(group, name, value, checksumOf(group, name, value));
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function opened(
  group: string,
  name: string | number,
  value: Uint8Array,
  checksum: Uint8Array,
): unknown {
  if (!checksumOf(group, name, value).equals(checksum)) throw damaged(group); // A3
  return decode(value);
}

function damaged(group: string): AcceptorStoreError {
  return new AcceptorStoreError(`what this node keeps of ${group} is damaged`, {
    code: 'ERR_RING_ACCEPTOR_DAMAGED',
    hint: 'remove the whole data folder and join as a new node',
  });
}

/** 128 bits over the row and its place. */
function checksumOf(group: string, name: string | number, value: Uint8Array): Buffer {
  const bytes = Buffer.concat([Buffer.from(`${group}\0${name}\0`), value]);
  return hash('sha256', bytes, 'buffer').subarray(0, 16);
}
