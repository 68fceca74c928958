/** Files that are whole or not there, whenever the process or the machine stops. */
import * as fs from 'node:fs';

/**
 * Makes a file. Its content is durable when this returns, and its name once the folder is synced: one `syncFolder` does for
 * all that was made in a folder.
 *
 * @param write makes it, private, at the path that it is given.
 */
export function makeFile(path: string, write: (aside: string) => void): void {
  const aside = `${path}.new`;
  fs.rmSync(aside, { force: true }); // Of a process that ended over it.
  write(aside);
  sync(aside);
  fs.renameSync(aside, path);
}

/** What was made, renamed or removed in the folder is durable. */
export function syncFolder(path: string): void {
  sync(path);
}

function sync(path: string): void {
  const file = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}
