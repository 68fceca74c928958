/**
 * wasi:keyvalue/store, both published drafts: 0.2.0-draft pages with a number, 0.2.0-draft2 with a string. Every
 * operation is one call to the host, which checks it against the grants.
 */
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from '../../core/limits.ts';
import type { HostCall, KeyPage } from '../protocol.ts';
import { Resource } from './allowance.ts';
import { type GuestContext, HostRefusal, Refusal } from './resource.ts';

type Store = Record<string, unknown>;

export function keyValueStore(context: GuestContext, version: string): Store {
  const cursors: Cursors = version === '0.2.0-draft' ? new NumberedCursors() : plainCursors;

  class Bucket extends Resource {
    readonly #name: string;

    constructor(name: string) {
      super();
      this.#name = name;
    }

    async get(key: string): Promise<unknown> {
      return await ask({ kind: 'kv-get', bucket: this.#name, key });
    }

    async set(key: string, value: Uint8Array): Promise<void> {
      if (value.length > VALUE_BYTES_MAX) {
        throw refusal('other', `a value holds at most ${VALUE_BYTES_MAX} bytes`);
      }
      await ask({ kind: 'kv-set', bucket: this.#name, key, value: value.slice() });
    }

    async delete(key: string): Promise<void> {
      await ask({ kind: 'kv-delete', bucket: this.#name, key });
    }

    async exists(key: string): Promise<unknown> {
      return await ask({ kind: 'kv-exists', bucket: this.#name, key });
    }

    async listKeys(cursor: unknown): Promise<{ keys: string[]; cursor: unknown }> {
      const after = cursor === undefined ? undefined : cursors.read(cursor);
      const page = (await ask({ kind: 'kv-list', bucket: this.#name, after })) as KeyPage;
      return {
        keys: page.keys,
        cursor: page.after === undefined ? undefined : cursors.make(page.after),
      };
    }
  }

  async function ask(body: Exclude<HostCall, { kind: 'http' }>): Promise<unknown> {
    const key = body.kind === 'kv-list' ? body.after : body.key;
    if ((key?.length ?? 0) > KEY_BYTES_MAX) {
      throw refusal('other', `a key holds at most ${KEY_BYTES_MAX} bytes`);
    }
    try {
      return await context.call(body);
    } catch (error) {
      if (error instanceof HostRefusal) throw refusal(error.tag, error.message);
      throw error;
    }
  }

  return {
    Bucket,
    open(name: string): Bucket {
      if (!context.buckets.has(name)) throw refusal('access-denied', '');
      return new Bucket(name);
    },
  };
}

function refusal(tag: string, message: string): Refusal {
  return new Refusal(tag === 'other' ? { tag, val: message } : { tag });
}

interface Cursors {
  make(after: string): unknown;
  read(cursor: unknown): string;
}

const plainCursors: Cursors = {
  make: (after) => after,
  read: (cursor) => String(cursor),
};

/** Numbers that stand for keys, within one instance; the oldest are forgotten. */
class NumberedCursors implements Cursors {
  static readonly kept = 256;
  readonly #after = new Map<bigint, string>();
  #next = 1n;

  make(after: string): bigint {
    const cursor = this.#next++;
    this.#after.set(cursor, after);
    const [oldest] = this.#after.keys();
    if (this.#after.size > NumberedCursors.kept) this.#after.delete(oldest as bigint);
    return cursor;
  }

  read(cursor: unknown): string {
    const after = this.#after.get(cursor as bigint);
    if (after === undefined) throw refusal('other', 'the cursor is unknown or too old');
    return after;
  }
}
