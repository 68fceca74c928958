/**
 * The databases of a data folder: whole or not there, and each commit on disk.
 *
 * SQLite makes a database in some ten steps that each wait for the disk. Here one is made aside, where nothing has to last
 * yet, and synced once.
 */
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { makeFile, syncFolder } from './new-file.ts';

/** What SQLite keeps beside a database. */
const COMPANIONS = ['-wal', '-shm', '-journal'];

/** Files of databases as they are made, by what makes them: a process that opens many nodes makes each once. */
const images = new Map<string, Uint8Array>();

/**
 * Makes the database, with mode 0600, unless it is there. It is durable once its folder is synced (new-file.ts).
 *
 * @param sql makes its tables, and rows that are the same in each.
 * @param fill adds rows of its own, in the same transaction; when it throws, nothing is there.
 * @returns whether it was made.
 */
export function makeDatabase(
  path: string,
  sql: string,
  fill?: (database: Database.Database) => void,
): boolean {
  if (fs.existsSync(path)) return false;
  removeCompanions(path);
  makeFile(path, (aside) => {
    removeCompanions(aside);
    const image = fill === undefined ? images.get(sql) : undefined;
    fs.writeFileSync(aside, image ?? '', { flag: 'wx', mode: 0o600 });
    if (image !== undefined) return;
    const database = new Database(aside);
    try {
      database.exec('PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;');
      database.transaction(() => {
        database.exec(sql);
        fill?.(database);
      })();
      database.exec('PRAGMA journal_mode = WAL');
    } finally {
      database.close();
    }
    if (fill === undefined) images.set(sql, fs.readFileSync(aside));
  });
  return true;
}

/**
 * Opens a database that is there: a commit is on disk when it returns.
 *
 * @param schema of tables that may be missing: an earlier release had fewer.
 */
export function openDatabase(path: string, schema: string): Database.Database {
  const database = new Database(path, { fileMustExist: true });
  try {
    // FULL is not the default in WAL mode, and not kept in the file.
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; ${schema}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** SQLite would take the log of a database that is gone for this one's. */
function removeCompanions(path: string): void {
  const left = COMPANIONS.map((end) => path + end).filter((file) => fs.existsSync(file));
  if (left.length === 0) return;
  for (const file of left) fs.rmSync(file);
  syncFolder(dirname(path));
}
