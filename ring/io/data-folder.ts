/** The folder of one node: private, and held by one process at a time. */
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';

/** A data folder that cannot be used. Nothing in it was changed. */
export class DataFolderError extends AetherError {
  static override readonly code: string = 'ERR_DATA_EXPOSED';
}

/**
 * Makes the folder, 0700, when it is missing, and holds it until `release` or the end of the process.
 *
 * @throws DataFolderError ERR_DATA_LOCKED when another process holds it, ERR_DATA_EXPOSED when others
 * may enter it.
 */
export function holdDataFolder(path: string): { release(): void } {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if ((statSync(path).mode & 0o077) !== 0) {
    if (readdirSync(path).length > 0) {
      throw new DataFolderError(`others than this user can enter the data folder ${path}`, {
        hint: `make it private: chmod 700 ${path}`,
      });
    }
    chmodSync(path, 0o700);
  }
  return lock(join(path, 'lock'), path);
}

/** Locks that are held: a database that nobody refers to would be collected, and its lock with it. */
const HELD = new Set<Database.Database>();

/** SQLite's file lock: the kernel drops it with the process, however that ends. */
function lock(file: string, folder: string): { release(): void } {
  const database = new Database(file, { timeout: 0 });
  try {
    database.pragma('journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    if ((cause as { code?: string }).code?.startsWith('SQLITE_BUSY') !== true) throw cause;
    throw new DataFolderError(`another process runs on the data folder ${folder}`, {
      code: 'ERR_DATA_LOCKED',
      hint: 'stop that process, or give this node a folder of its own: --data',
    });
  }
  HELD.add(database);
  return {
    release() {
      HELD.delete(database);
      database.close();
    },
  };
}
