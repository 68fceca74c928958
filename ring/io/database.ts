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

/**
 * Makes the database, with mode 0600, unless it is there. It is durable once its folder is synced (new-file.ts).
 *
 * @param fill makes its tables and first rows, in one transaction; when it throws, nothing is there.
 * @returns whether it was made.
 */
export function makeDatabase(path: string, fill: (database: Database.Database) => void): boolean {
  if (fs.existsSync(path)) return false;
  removeCompanions(path);
  makeFile(path, (aside) => {
    removeCompanions(aside);
    fs.closeSync(fs.openSync(aside, 'wx', 0o600));
    const database = new Database(aside);
    try {
      database.exec('PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;');
      database.transaction(fill)(database);
      database.exec('PRAGMA journal_mode = WAL');
    } finally {
      database.close();
    }
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
