/**
 * Tells a write-ahead log that rots from one that a power loss cut.
 *
 * SQLite reads both up to the first frame whose checksum is wrong, and says nothing. With synchronous=FULL they differ:
 * a commit is written only after the one before it was synced, so a power loss spoils frames of the last commit only.
 * What is spoilt before a commit with frames after it was whole once. (Format: sqlite.org/fileformat2.html §4.1)
 */
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** Of every file that a store made. */
const PAGE_BYTES = 4_096;
const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES;

type Sums = readonly [number, number];

/** The first frame, from 0, that was whole once and is not any more; undefined: none, or none that can be told. */
export function rottenFrame(bytes: Uint8Array): number | undefined {
  if (bytes.length < HEADER_BYTES + FRAME_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const frames = Math.floor((bytes.length - HEADER_BYTES) / FRAME_BYTES);
  const [valid, salt] = validFrames(view, frames);
  let committed = false;
  for (let frame = valid; frame < frames; frame++) {
    const at = HEADER_BYTES + frame * FRAME_BYTES;
    if (view.getBigUint64(at + 8) !== salt) continue;
    if (committed) return valid;
    committed = view.getUint32(at + 4) !== 0;
  }
  return undefined;
}

/** @returns how many frames are whole, and the salt of those that belong to this log */
function validFrames(view: DataView, frames: number): [number, bigint] {
  const little = (view.getUint32(0) & 1) === 0;
  let sums = summed(view, 0, HEADER_BYTES - 8, little, [0, 0]);
  if (!isWritten(view, HEADER_BYTES - 8, sums)) return [0, view.getBigUint64(HEADER_BYTES + 8)];
  const salt = view.getBigUint64(16);
  for (let frame = 0; frame < frames; frame++) {
    const at = HEADER_BYTES + frame * FRAME_BYTES;
    sums = summed(view, at, 8, little, sums);
    sums = summed(view, at + FRAME_HEADER_BYTES, PAGE_BYTES, little, sums);
    if (view.getBigUint64(at + 8) !== salt || !isWritten(view, at + 16, sums)) return [frame, salt];
  }
  return [frames, salt];
}

function summed(view: DataView, at: number, size: number, little: boolean, [a, b]: Sums): Sums {
  let first = a;
  let second = b;
  for (let i = at; i < at + size; i += 8) {
    first = (first + view.getUint32(i, little) + second) >>> 0;
    second = (second + view.getUint32(i + 4, little) + first) >>> 0;
  }
  return [first, second];
}

function isWritten(view: DataView, at: number, [first, second]: Sums): boolean {
  return view.getUint32(at) === first && view.getUint32(at + 4) === second;
}
