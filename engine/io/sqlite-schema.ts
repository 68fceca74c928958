/**
 * The tables of a store's file, and how a file of an earlier release is brought forward.
 *
 * Migrations run in the transaction that opens the file: a crash leaves it as it was, whole and of the earlier schema.
 */
import type Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';

/** Written to `meta`; a file of a later schema is refused, one of an earlier is brought forward (MIGRATIONS). */
const SCHEMA_VERSION = 2;

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

/** From schema i + 1 to the next. */
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

/** Makes the tables, or brings those of an earlier release forward; in a transaction. @throws AetherError ERR_ENGINE_STORE_VERSION */
export function migrate(db: Database.Database, path: string): void {
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

/** How many owners the file has had. */
export function ownersCounted(db: Database.Database): number {
  return meta(db, 'boot');
}

/** Counts one more owner. @returns its number */
export function countOwner(db: Database.Database): number {
  db.prepare(
    `insert into meta values ('boot', 1) on conflict do update set value = value + 1`,
  ).run();
  return ownersCounted(db);
}

function meta(db: Database.Database, key: 'schema' | 'boot'): number {
  return db.prepare('select value from meta where key = ?').pluck().get(key) as number;
}
