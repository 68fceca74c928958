/**
 * The root key as a file: moved off the machine that made it, and used to name its successor.
 *
 * F1  The key is durable at its new place, and has been read back from there, before it is removed from the old one.
 * F2  No file is ever overwritten.
 */
import * as fs from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { AetherError } from '../spec/error.ts';
import { equal } from './core/canonical.ts';
import type { RootKey } from './core/epoch.ts';
import { type RootSuccession, successor } from './core/root-key.ts';
import { KeyFileError, openKeyFile, readKeyFile, type SigningKey } from './io/keys.ts';
import { syncFolder } from './io/new-file.ts';

const ROOT_FILE = 'root.key';

/** What is to be done with a root key is not possible. Nothing was changed. */
export class RootFileError extends AetherError {
  static override readonly code: string = 'ERR_RING_ROOT_FILE';
}

/**
 * Moves the root key out of a data folder; a node may run on it or not.
 *
 * @param file where to, not in the data folder; made 0600.
 * @throws RootFileError ERR_RING_NO_ROOT, ERR_RING_ROOT_PLACE, ERR_RING_ROOT_EXISTS; KeyFileError: the key is where it was.
 */
export function exportRoot(data: string, file: string): void {
  const root = rootIn(data);
  const folder = fs.existsSync(dirname(file)) ? fs.realpathSync(dirname(file)) : undefined;
  if (folder === undefined) {
    throw new RootFileError(`there is no folder ${dirname(file)}`, {
      code: 'ERR_RING_ROOT_PLACE',
      hint: 'name a file in a folder that is there',
    });
  }
  const inside = relative(fs.realpathSync(data), folder);
  if (inside === '' || !inside.startsWith('..')) {
    throw new RootFileError(`${file} is in the data folder that the root key is to leave`, {
      code: 'ERR_RING_ROOT_PLACE',
      hint: 'name a file elsewhere, best on a disk that is taken away',
    });
  }
  writeOnce(file, pemOf(root));
  syncFolder(folder);
  if (!equal(readKeyFile(file).publicKey, root.publicKey))
    throw new KeyFileError(`${file} does not hold what was written to it`); // F1
  fs.unlinkSync(join(data, ROOT_FILE));
  syncFolder(data);
}

/** The root key of a data folder as text; it stays where it is. @throws RootFileError ERR_RING_NO_ROOT; KeyFileError */
export function rootText(data: string): string {
  return pemOf(rootIn(data));
}

/**
 * The statement by which the key in one file becomes the root after that in another.
 *
 * @param next made when it is not there; one that is there is used as it is, as after an attempt that failed.
 * @returns undefined when it is the root already.
 * @throws KeyFileError; RootFileError ERR_RING_ROOT_REPLACED: no key was made.
 */
export function nextRoot(root: string, next: string, known: RootSuccession): RootKey | undefined {
  const [newest, old] = [known.roots.at(-1) as Uint8Array, readKeyFile(root)];
  if (fs.existsSync(next) && equal(readKeyFile(next).publicKey, newest)) return undefined;
  if (!equal(old.publicKey, newest)) {
    throw new RootFileError(`the key in ${root} is not the newest root of this lattice`, {
      code: 'ERR_RING_ROOT_REPLACED',
      hint: 'give the one that replaced it; an earlier root signs nothing any more',
    });
  }
  return successor(known, old, openKeyFile(next));
}

function rootIn(data: string): SigningKey {
  const path = join(data, ROOT_FILE);
  if (fs.existsSync(path)) return readKeyFile(path);
  throw new RootFileError(`the data folder ${data} holds no root key`, {
    code: 'ERR_RING_NO_ROOT',
    hint: 'it is in the folder of the node that founded the lattice, until it is exported',
  });
}

function pemOf(key: SigningKey): string {
  return key.secret.export({ format: 'pem', type: 'pkcs8' });
}

/** F2 */
function writeOnce(file: string, text: string): void {
  let handle: number;
  try {
    handle = fs.openSync(file, 'wx', 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new RootFileError(`there is a file ${file} already`, {
      code: 'ERR_RING_ROOT_EXISTS',
      hint: 'name one that is not there: a key is never overwritten',
      cause,
    });
  }
  try {
    fs.writeFileSync(handle, text);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}
