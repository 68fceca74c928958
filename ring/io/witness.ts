/**
 * Who vouches that the disk of a voter is the one that voted last: a note in memory that survives the process and not the
 * machine ("What vouches" in spec/epoch.md).
 *
 * The note names the machine's boot, the opening of the store that wrote it and the count of its writes. A folder that was put
 * back has an earlier count or another opening; after a restart of the machine there is no note.
 */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { join, resolve } from 'node:path';

export interface Witness {
  /** The last note, if it was made since the machine was started. */
  read(): Note | undefined;
  write(note: Note): void;
}

export interface Note {
  /** Drawn at random when the store was opened. */
  opening: string;
  /** Writes of the store that were durable. */
  writes: number;
}

const MEMORY = '/dev/shm';
const SWEEP_DELAY_MS = 30_000;
/** What statfs says of a file system in memory (statfs(2)). */
const TMPFS = 0x0102_1994;

export function drawOpening(): string {
  return randomBytes(16).toString('hex');
}

/**
 * @param data the node's folder: notes of folders that are gone are removed, soon after.
 * @returns undefined where nothing can vouch: not on Linux, or no file system in memory of one's own.
 */
export function openWitness(node: string, data: string): Witness | undefined {
  if (process.platform !== 'linux' || process.getuid === undefined) return undefined;
  try {
    const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const folder = join(MEMORY, `aether-${process.getuid()}`);
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = fs.lstatSync(folder);
    const isOwn = uid === process.getuid() && (mode & fs.constants.S_IFMT) === fs.constants.S_IFDIR;
    const isPrivate = (mode & 0o077) === 0;
    if (!isOwn || !isPrivate || fs.statfsSync(folder).type !== TMPFS) return undefined;
    sweepSoon(folder);
    return new NoteFile(join(folder, node), boot, resolve(data));
  } catch {
    return undefined;
  }
}

class NoteFile implements Witness {
  readonly #path: string;
  readonly #boot: string;
  readonly #data: string;

  constructor(path: string, boot: string, data: string) {
    this.#path = path;
    this.#boot = boot;
    this.#data = data;
  }

  read(): Note | undefined {
    try {
      const note = JSON.parse(fs.readFileSync(this.#path, 'utf8')) as Note & { boot: string };
      return note.boot === this.#boot ? note : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whole or not at all, as the process may end at any time. */
  write(note: Note): void {
    const aside = `${this.#path}.new`;
    const text = JSON.stringify({ ...note, boot: this.#boot, data: this.#data });
    fs.writeFileSync(aside, text, { mode: 0o600 });
    fs.renameSync(aside, this.#path);
  }
}

let sweeping: NodeJS.Timeout | undefined;

/** Once for all stores that a process opens at about the same time: each note is a file to be read. */
function sweepSoon(folder: string): void {
  sweeping ??= setTimeout(() => {
    sweeping = undefined;
    sweep(folder);
  }, SWEEP_DELAY_MS).unref();
}

function sweep(folder: string): void {
  for (const name of fs.readdirSync(folder)) {
    const path = join(folder, name);
    try {
      const { data } = JSON.parse(fs.readFileSync(path, 'utf8')) as { data: string };
      if (!fs.existsSync(data)) fs.rmSync(path);
    } catch {
      // Another process writes it, or it is no note.
    }
  }
}
