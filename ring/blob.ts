/**
 * Content by its digest, in rows of a system bucket.
 *
 * I1  The manifest is written after all chunks are acknowledged at quorum: who finds the manifest
 *     finds the content.
 * I2  What `get` returns has the digest that was asked for.
 */
import { createHash } from 'node:crypto';
import { AetherError } from '../spec/error.ts';
import type { Bucket } from './kv.ts';

/** One frame of the bulk socket holds a chunk and its key. */
const CHUNK_BYTES = 255 * 1024;
const BLOB_BYTES_MAX = 256 * 1024 * 1024;
/** Chunks on the way at one time. */
const PARALLEL = 4;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** A blob that cannot be kept, or is not what its digest says. */
export class BlobError extends AetherError {
  static override readonly code: string = 'ERR_BLOB_DAMAGED';
}

interface Manifest {
  bytes: number;
  chunks: number;
}

export class BlobStore {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /**
   * Keeps content; again does nothing.
   *
   * @returns its digest, `sha256:` and 64 hex digits.
   * @throws BlobError ERR_BLOB_TOO_LARGE above 256 MiB.
   * @throws UnavailableError, UnknownOutcomeError: put it again.
   */
  async put(bytes: Uint8Array): Promise<string> {
    if (bytes.length > BLOB_BYTES_MAX) {
      throw new BlobError(`the blob has ${bytes.length} bytes, ${BLOB_BYTES_MAX} are the most`, {
        code: 'ERR_BLOB_TOO_LARGE',
        hint: 'split it',
      });
    }
    const digest = digestOf(bytes);
    if (await this.has(digest)) return digest;
    const manifest = { bytes: bytes.length, chunks: Math.ceil(bytes.length / CHUNK_BYTES) };
    await inParallel(manifest.chunks, async (chunk) => {
      const content = bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
      await this.#bucket.put(chunkKey(digest, chunk), content);
    });
    // I1
    await this.#bucket.put(digest, new TextEncoder().encode(JSON.stringify(manifest)));
    return digest;
  }

  /**
   * @returns undefined when there is no such blob.
   * @throws BlobError ERR_BLOB_DIGEST for text that is no digest, ERR_BLOB_DAMAGED.
   * @throws UnavailableError
   */
  async get(digest: string): Promise<Uint8Array | undefined> {
    const manifest = await this.#manifest(digest);
    if (manifest === undefined) return undefined;
    const bytes = new Uint8Array(manifest.bytes);
    await inParallel(manifest.chunks, async (chunk) => {
      const found = await this.#bucket.get(chunkKey(digest, chunk));
      const room = Math.min(CHUNK_BYTES, manifest.bytes - chunk * CHUNK_BYTES);
      if (found?.value.length !== room) throw damaged(digest);
      bytes.set(found.value, chunk * CHUNK_BYTES);
    });
    if (digestOf(bytes) !== digest) throw damaged(digest); // I2
    return bytes;
  }

  /** @throws UnavailableError */
  async has(digest: string): Promise<boolean> {
    return (await this.#manifest(digest)) !== undefined;
  }

  async #manifest(digest: string): Promise<Manifest | undefined> {
    if (!DIGEST.test(digest)) {
      throw new BlobError(`not a digest: ${JSON.stringify(digest)}`, {
        code: 'ERR_BLOB_DIGEST',
        hint: 'write sha256: and 64 hex digits in lower case',
      });
    }
    const found = await this.#bucket.get(digest);
    if (found === undefined) return undefined;
    const manifest = JSON.parse(new TextDecoder().decode(found.value)) as Manifest;
    const isSound =
      manifest.bytes >= 0 &&
      manifest.bytes <= BLOB_BYTES_MAX &&
      manifest.chunks === Math.ceil(manifest.bytes / CHUNK_BYTES);
    if (!isSound) throw damaged(digest);
    return manifest;
  }
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function chunkKey(digest: string, chunk: number): string {
  return `${digest}/${chunk}`;
}

function damaged(digest: string): BlobError {
  return new BlobError(`blob ${digest} is not whole`, { hint: 'put its content again' });
}

/** Runs `work` for 0 to count - 1, a few at a time; stops taking new ones at the first failure. */
async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      try {
        await work(index);
      } catch (error) {
        next = count;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, count) }, worker));
}
