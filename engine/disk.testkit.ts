/** What a process asked of the disk, as faults.shim.c recorded it, and the disks that a power loss may leave of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Random } from '../spec/random.ts';

export interface DiskCall {
  readonly op: 'write' | 'truncate' | 'sync' | 'close' | 'create' | 'unlink';
  readonly failed: boolean;
  /** Below the watched folder; '' is the folder. */
  readonly name: string;
  /** Of a truncate: the size. */
  readonly offset: number;
  readonly data: Buffer;
}

const OPS: Readonly<Record<string, DiskCall['op']>> = {
  w: 'write',
  t: 'truncate',
  s: 'sync',
  c: 'close',
  o: 'create',
  u: 'unlink',
};
const HEAD_BYTES = 16;
const SECTOR_BYTES = 512;

/** For files whose syncs are nobody's business: there they take no time. */
export const PLACE: string = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** @returns where it is, or undefined where there is no C compiler. */
export function compileShim(folder: string, name: string): string | undefined {
  const path = join(folder, `${name}.so`);
  const source = join(import.meta.dirname, name);
  try {
    execFileSync(process.env['CC'] ?? 'cc', [
      '-shared',
      '-fPIC',
      '-O1',
      '-Wall',
      '-Werror',
      '-o',
      path,
      source,
    ]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return path;
}

export function readTrace(bytes: Buffer): DiskCall[] {
  const calls: DiskCall[] = [];
  for (let at = 0; at < bytes.length;) {
    const name = at + HEAD_BYTES;
    const data = name + bytes.readUInt16LE(at + 2);
    const end = data + bytes.readUInt32LE(at + 4);
    calls.push({
      op: OPS[String.fromCharCode(bytes[at] as number)] as DiskCall['op'],
      failed: bytes[at + 1] === 1,
      name: bytes.toString('utf8', name, data),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      data: bytes.subarray(data, end),
    });
    at = end;
  }
  return calls;
}

interface TracedFile {
  readonly name: string;
  /** Only what was synced. */
  content: Buffer;
  /** Writes and truncates since. */
  pending: DiskCall[];
  /** Whether its name is on the disk for sure, and whether the name is being taken away. */
  linked: boolean;
  unlinked: boolean;
}

/**
 * A disk that keeps what was synced. Of the rest, a power loss keeps any part; a sync that failed keeps nothing, since
 * the kernel may have dropped what it could not write (Rebello et al., "Can Applications Recover from fsync Failures?").
 */
export class Disk {
  #files: TracedFile[];

  /** @param files what is on the disk for sure, by name. */
  constructor(files: Readonly<Record<string, Buffer>> = {}) {
    this.#files = Object.entries(files).map(([name, content]) => ({
      name,
      content,
      pending: [],
      linked: true,
      unlinked: false,
    }));
  }

  apply(call: DiskCall): void {
    if (call.op === 'close') return;
    if (call.op === 'sync' && call.name === '') return call.failed ? undefined : this.#syncNames();
    const file = this.#file(call.name);
    if (call.op === 'unlink') file.unlinked = true;
    else if (call.op === 'sync') {
      if (!call.failed) for (const one of file.pending) file.content = changed(file.content, one);
      file.pending = [];
    } else if (call.op !== 'create' && !call.failed) file.pending.push(call);
  }

  /** Writes what a power loss leaves now into a folder. @param random chooses; none: nothing but what was synced */
  image(folder: string, random?: Random): void {
    mkdirSync(folder, { recursive: true });
    const happens = (): boolean => random !== undefined && random.next() < 0.5;
    for (const { name, content, pending, linked, unlinked } of this.#files) {
      if (unlinked ? happens() : !linked && !happens()) continue;
      let kept = content;
      for (const call of pending) if (happens()) kept = changed(kept, torn(call, random));
      writeFileSync(join(folder, name), kept);
    }
  }

  #file(name: string): TracedFile {
    const known = this.#files.findLast((file) => file.name === name && !file.unlinked);
    if (known !== undefined) return known;
    const file = { name, content: Buffer.alloc(0), pending: [], linked: false, unlinked: false };
    this.#files.push(file);
    return file;
  }

  #syncNames(): void {
    this.#files = this.#files.filter((file) => !file.unlinked);
    for (const file of this.#files) file.linked = true;
  }
}

/** Of a write of several sectors, sometimes only the first ones. */
function torn(call: DiskCall, random: Random | undefined): DiskCall {
  const sectors = Math.floor(call.data.length / SECTOR_BYTES);
  if (random === undefined || sectors < 2 || random.next() < 0.5) return call;
  const data = call.data.subarray(0, SECTOR_BYTES * Math.floor(random.next() * sectors));
  return { ...call, data };
}

function changed(content: Buffer, { op, offset, data }: DiskCall): Buffer {
  if (op === 'truncate') {
    return offset <= content.length
      ? content.subarray(0, offset)
      : Buffer.concat([content, Buffer.alloc(offset - content.length)]);
  }
  const result = Buffer.alloc(Math.max(content.length, offset + data.length));
  content.copy(result);
  data.copy(result, offset);
  return result;
}
