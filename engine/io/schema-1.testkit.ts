/** Files as release 0.1.0 made them. They stay as they are: such files are out there. */
import { copyFileSync } from 'node:fs';
import Database from 'better-sqlite3';

const SCHEMA_1 = `
  create table meta (key text primary key, value integer not null) without rowid;
  create table run (
    number integer primary key, run_id text not null unique, workflow_id text not null, name text not null,
    status text not null, open integer not null, wake_at integer, started_at integer not null,
    record text not null, checksum text not null
  );
  create index run_by_workflow on run (workflow_id, number);
  create index run_open on run (number) where open = 1;
  create table entry (
    run integer not null, idx integer not null, ballot text not null, hash text not null, body text not null,
    primary key (run, idx)
  ) without rowid;
  insert into meta values ('schema', 1), ('boot', 7);
`;

/**
 * Makes a file of schema 1 that holds what `path` holds.
 *
 * @param killed leaves it as after a kill: its tables are in the file, its rows in the write-ahead log only.
 */
export function asSchema1(path: string, old: string, killed = false): void {
  const made = killed ? `${old}.made` : old;
  const db = new Database(made);
  db.pragma('journal_mode = WAL');
  db.exec(SCHEMA_1);
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.prepare('attach ? as later').run(path);
  db.exec(`
    insert into run select number, run_id, workflow_id, name, status, open, wake_at, started_at, record, checksum
      from later.run;
    insert into entry select run, idx, ballot, hash, body from later.entry;
    update meta set value = max(value, (select value from later.meta where key = 'boot')) where key = 'boot';
  `);
  if (killed) for (const end of ['', '-wal']) copyFileSync(made + end, old + end);
  db.close();
}
