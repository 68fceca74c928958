/**
 * The file of a store: claimed, locked, opened so that a commit lasts, and closed.
 *
 * F1. `synchronous=FULL` is set on every open: better-sqlite3 opens an existing WAL file at NORMAL, which loses the
 *     last commits at power loss.
 * F2. The file is locked for as long as it is open (`locking_mode=EXCLUSIVE`); the kernel drops the lock with the process.
 * F3. What the write-ahead log holds at open is copied into the file and synced before anything is added to it: frames
 *     that a failed fsync left in the page cache only would be read as committed, and be missing after a power loss.
 * F4. A write-ahead log that rots is refused, not read up to the damage (write-ahead-log.ts). Its last commit cannot be
 *     told from one that a power loss cut.
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
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';
import { StoreCorruptError, StoreLockedError } from '../core/errors.ts';
import { migrate } from './sqlite-schema.ts';
import { rottenFrame } from './write-ahead-log.ts';

/** 'full': a commit is on the disk before anybody hears of it. 'normal': the last commits may go at power loss. */
export type Durability = 'full' | 'normal';

/** Free pages are given back to the disk once they are more than this share of the file; before, they are used again. */
const FREE_SHARE_MAX = 0.25;
/** Pages given back per call: a call takes milliseconds. */
const COMPACT_PAGES = 2_000;

/** Pages in the WAL before they are copied into the file: 32 MiB, so that a page that grows is copied once, not often. */
const WAL_PAGES = 8_192;

/**
 * Files that this process has open, whatever path they were opened by. A database that nobody refers to would be
 * collected, and its lock with it; and a second opening must not touch the file, since POSIX drops all locks of a process
 * on a file with any descriptor of it.
 */
const OPEN_HERE = new Map<string, Database.Database>();

/** The file behind a path, found without opening it; undefined: there is none. */
function fileOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

export function closeFile(db: Database.Database): void {
  for (const [file, open] of OPEN_HERE) if (open === db) OPEN_HERE.delete(file);
  db.close();
}

/** @throws StoreLockedError, StoreCorruptError, or AetherError ERR_ENGINE_STORE_PATH, ERR_ENGINE_STORE_VERSION */
export function openFile(path: string, durability: Durability): Database.Database {
  if (path !== ':memory:') {
    if (OPEN_HERE.has(fileOf(path) ?? '')) {
      throw new StoreLockedError(`${path} is open in this process already`, {
        hint: 'use the store that has it, or close that one first',
      });
    }
    claimFile(path);
    checkLog(path); // F4
  }
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE'); // F2
    db.pragma('auto_vacuum = INCREMENTAL'); // Heard only before the file has tables.
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${durability === 'full' ? 'FULL' : 'NORMAL'}`); // F1
    db.pragma('cache_size = -32768');
    db.pragma(`wal_autocheckpoint = ${WAL_PAGES}`);
    db.pragma('wal_checkpoint(TRUNCATE)'); // F3
    markDurability(db, durability);
    db.exec('begin immediate');
    migrate(db, path);
    db.exec('commit');
    if (path !== ':memory:') OPEN_HERE.set(fileOf(path) ?? '', db);
    return db;
  } catch (error) {
    db.close();
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY') === true) {
      throw new StoreLockedError(`${path} is held by another process`, {
        hint: 'stop the other process, or give this one a file of its own',
        cause: error,
      });
    }
    if ((error as { code?: string }).code === 'SQLITE_NOTADB') {
      throw new StoreCorruptError(`${path} is not a database, or its first page is damaged`, {
        hint: 'name another file, or restore this one from a backup',
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
function markDurability(db: Database.Database, durability: Durability): void {
  const mark = durability === 'full' ? COMMITS_SYNCED : COMMITS_NOT_SYNCED;
  if (db.pragma('user_version', { simple: true }) === mark) return;
  db.pragma(`user_version = ${mark}`);
  db.pragma('wal_checkpoint(TRUNCATE)');
}

/** Gives free pages back to the disk. A file that schema 1 began keeps its own, and uses them again. */
export function compactFile(db: Database.Database): void {
  const free = db.pragma('freelist_count', { simple: true }) as number;
  const all = db.pragma('page_count', { simple: true }) as number;
  if (free > all * FREE_SHARE_MAX) db.pragma(`incremental_vacuum(${COMPACT_PAGES})`);
}
