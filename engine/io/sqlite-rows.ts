/**
 * Runs and their journals as rows of an open file: appended, read back, forgotten, checked.
 *
 * W1. Rows of the record carry a checksum; entries carry their chain (core/journal.ts). SQLite checks neither.
 * W2. The end of each journal is written twice, with the entry and beside it, so that a lost last entry is found too.
 */
import type Database from 'better-sqlite3';
import { StoreCorruptError } from '../core/errors.ts';
import { readEntries } from '../core/journal.ts';
import { isOpen } from '../core/record.ts';
import type { Append, AppendResult, Entry, OpenRun, RecordFilter, RunRecord } from '../store.ts';
import { sha256 } from './system.ts';

/** Runs whose end of journal is remembered; others are looked up. */
const TAILS_MAX = 10_000;

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

export class SqliteRows {
  readonly #db: Database.Database;
  readonly #statements: Statements;
  /** Ends of the journals written last, by run id; what is not here is in the file. */
  readonly #tails = new Map<string, Tail>();

  constructor(db: Database.Database) {
    this.#db = db;
    this.#statements = prepare(db);
  }

  /**
   * One transaction for the whole batch.
   *
   * @param ballot the highest acquired: what carries a lower one is fenced.
   * @throws when the medium fails; then neither this object nor its connection is of use any more.
   */
  append(batch: readonly Append[], ballot: string): AppendResult[] {
    this.#statements.begin.run();
    const results = batch.map((append) => this.#append(append, ballot));
    this.#statements.commit.run();
    return results;
  }

  /** Entries of a run from an index on. @throws StoreCorruptError */
  entries(runId: string, from: number): Entry[] {
    return guarded(runId, () => {
      const number = this.#statements.number.get(runId) as number | undefined;
      if (number === undefined) return [];
      const entries = this.#statements.entries.all(number, from) as Entry[];
      const last = this.#statements.last.get(number) as number | undefined;
      const end = entries.at(-1)?.index ?? from - 1;
      if (last === undefined || (end !== last && from <= last)) throw endLost(runId, end, last); // W2
      return entries;
    });
  }

  /** @throws StoreCorruptError */
  record(runId: string): RunRecord | undefined {
    const row = guarded(runId, () => this.#statements.record.get(runId)) as Row | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  newest(workflowId: string): RunRecord | undefined {
    const row = this.#statements.newest.get(workflowId) as Row | undefined;
    return row === undefined ? undefined : recordOf(row);
  }

  list(filter: RecordFilter): RunRecord[] {
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
    add('closed_at > ?', filter.closedAfter);
    add(filter.newestFirst === true ? 'run_id < ?' : 'run_id > ?', filter.after);
    if (filter.status !== undefined) {
      add(`status in (${filter.status.map(() => '?').join(',')})`, ...filter.status);
    }
    for (const [key, value] of Object.entries(filter.attributes ?? {})) {
      // JSON true is the number 1 to json_extract; a record that is damaged matches nothing.
      const found = `'$.attributes.' || json_quote(?)`;
      const typed = `case when json_valid(record) then json_type(record, ${found}) end`;
      if (typeof value === 'boolean') add(`${typed} = ?`, key, String(value));
      else {
        const isNumber = typeof value === 'number';
        add(`${typed} in ${isNumber ? "('integer', 'real')" : "('text')"}`, key);
        add(`json_extract(record, ${found}) = ?`, key, value);
      }
    }
    const order = filter.newestFirst === true ? 'desc' : 'asc';
    const rows = this.#db
      .prepare(`select * from run where ${where.join(' and ')} order by run_id ${order} limit ?`)
      .all(...values, filter.limit) as Row[];
    return rows.map(recordOf);
  }

  openRuns(after: string, limit: number): OpenRun[] {
    return this.#statements.openRuns.all(after, limit) as OpenRun[];
  }

  /** @returns how many runs were forgotten; one whose record is damaged is kept, and not looked at again. */
  prune(closedBefore: number, limit: number): number {
    const statements = this.#statements;
    let forgotten = 0;
    const prune = this.#db.transaction(() => {
      for (const row of statements.closed.all(closedBefore, limit) as Row[]) {
        const { status, closedAt = Infinity } = recordOf(row);
        if (isOpen(status) || closedAt >= closedBefore) {
          statements.keep.run(row.number);
          continue;
        }
        statements.deleteEntries.run(row.number);
        statements.deleteTail.run(row.number);
        statements.deleteRun.run(row.number);
        this.#tails.delete(row.run_id);
        forgotten++;
      }
    });
    prune.immediate();
    return forgotten;
  }

  /** @returns what is damaged, in words; empty: nothing. */
  verify(): string[] {
    const db = this.#db;
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
        const number = this.#statements.number.get(runId) as number;
        const entries = this.#statements.entries.all(number, 1) as Entry[];
        readEntries(runId, entries, sha256);
        const last = this.#statements.last.get(number) as number | undefined;
        if (entries.length !== last) throw endLost(runId, entries.length, last);
      });
    }
    return found;
  }

  // ---- one append ------------------------------------------------------------------------------

  #append(append: Append, ballot: string): AppendResult {
    const { runId, entry, record, next } = append;
    if (append.ballot < ballot) return 'fenced';
    const known = this.#tailOf(runId);
    if (known === undefined && (entry === undefined || record === undefined)) return 'conflict';
    if (entry !== undefined && entry.index !== (known?.index ?? 0) + 1) return 'conflict';
    if (next !== undefined && this.#tailOf(next.record.runId) !== undefined) return 'conflict';
    const tail = known ?? this.#insertRun(record as RunRecord);
    if (known !== undefined && record !== undefined) this.#updateRun(tail.number, record);
    if (entry !== undefined) this.#insertEntry(tail, entry);
    if (next !== undefined) this.#insertEntry(this.#insertRun(next.record), next.entry);
    if (record !== undefined && !isOpen(record.status)) this.#tails.delete(runId);
    return 'done';
  }

  #tailOf(runId: string): Tail | undefined {
    const remembered = this.#tails.get(runId);
    if (remembered !== undefined) return remembered;
    const number = this.#statements.number.get(runId) as number | undefined;
    if (number === undefined) return undefined;
    const index = (this.#statements.last.get(number) as number | undefined) ?? 0;
    return this.#remember(runId, { number, index });
  }

  #remember(runId: string, tail: Tail): Tail {
    if (this.#tails.size >= TAILS_MAX) this.#tails.clear();
    this.#tails.set(runId, tail);
    return tail;
  }

  #insertRun(record: RunRecord): Tail {
    const { runId, workflowId, name, status, wakeAt, startedAt, closedAt = null } = record;
    const text = JSON.stringify(record);
    const open = Number(isOpen(status));
    const { lastInsertRowid } = this.#statements.insertRun.run(
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
    return this.#remember(runId, { number: Number(lastInsertRowid), index: 0 });
  }

  #updateRun(number: number, record: RunRecord): void {
    const { status, wakeAt, closedAt = null } = record;
    const text = JSON.stringify(record);
    const open = Number(isOpen(status));
    this.#statements.updateRun.run(status, open, wakeAt, text, checksum(text), closedAt, number); // W1
  }

  #insertEntry(tail: Tail, entry: Entry): void {
    const { number } = tail;
    const statements = this.#statements;
    statements.insertEntry.run(number, entry.index, entry.ballot, entry.hash, entry.body);
    if (tail.index === 0) statements.insertTail.run(number, entry.index);
    else statements.updateTail.run(entry.index, number); // W2
    tail.index = entry.index;
  }
}

type Statements = ReturnType<typeof prepare>;

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

function endLost(runId: string, end: number, last: number | undefined): StoreCorruptError {
  return new StoreCorruptError(
    `run ${runId}: its journal ends with entry ${end}, ${last ?? 'none'} was the last written`,
    { hint: 'restore the store from a backup; other runs are not affected' },
  );
}

function checksum(text: string): string {
  return sha256(text).slice(0, 16);
}

/** The record of a row; one that is damaged comes back `quarantined`, with what the row still says (W1). */
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
