import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Components that were handed to this node and are not on the ring yet, in files named by digest. */
export class Staging {
  readonly #folder: string;

  /** @param folder created when missing, 0700. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Stores bytes durably. @returns their digest, `sha256:HEX`. */
  async put(bytes: Uint8Array): Promise<string> {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const partial = join(this.#folder, `.${randomBytes(8).toString('hex')}`);
    const file = await open(partial, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, this.#path(digest));
    const folder = await open(this.#folder);
    await folder.sync();
    await folder.close();
    return digest;
  }

  /** @returns undefined when it is not staged here. */
  async get(digest: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(digest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async delete(digest: string): Promise<void> {
    await rm(this.#path(digest), { force: true });
  }

  #path(digest: string): string {
    return join(this.#folder, `${digest.slice('sha256:'.length)}.wasm`);
  }
}
