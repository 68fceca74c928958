/**
 * The apps of a lattice and their revisions, kept in a bucket of the ring.
 *
 * Every revision has a key of its own, `APP/GENERATION/CLAIMANT`, written by its workflow alone (revision.ts, V1), so
 * that a workflow which wakes up late can only repeat itself. Writes and reads are at quorum: of two claims at the same
 * time at least one sees the other.
 */
import type { Bucket, KeyValue } from '../../ring/index.ts';
import type { App } from '../../spec/aetherfile/app.ts';
import { AetherError } from '../../spec/error.ts';
import { type Revision, compareRevisions, revisionText } from './revision.ts';

/** One revision of an app. */
export interface AppRecord extends Revision {
  app: App;
  /** Digest of each particle's component. */
  components: Record<string, string>;
  /** Hash of the app and its components: the same content asked for twice is one deploy. */
  content: string;
  /** Id of the workflow that deploys it. */
  workflow: string;
  state: 'claimed' | 'published';
}

/** A higher revision of the app exists. The deploy that hears this changed nothing by the refused step. */
export class SupersededError extends AetherError {
  static override readonly code = 'ERR_DEPLOY_SUPERSEDED';
}

const CATALOG_BUCKET = 'aether.apps';

export class Catalog {
  readonly #keyValue: KeyValue;
  #created = false;

  constructor(keyValue: KeyValue) {
    this.#keyValue = keyValue;
  }

  /**
   * Writes a revision's intent.
   *
   * @throws SupersededError when a higher revision is there; the claim stays, unpublished, and never becomes current.
   */
  async claim(record: AppRecord): Promise<void> {
    const bucket = await this.#bucket();
    await write(bucket, { ...record, state: 'claimed' });
    const [highest] = await this.revisions(record.app.name);
    if (highest !== undefined && compareRevisions(highest, record) > 0) {
      throw new SupersededError(
        `${record.app.name}: generation ${record.generation} is behind generation ${highest.generation} (${highest.workflow})`,
        { hint: 'deploy again to replace the newer one' },
      );
    }
  }

  async publish(record: AppRecord): Promise<void> {
    await write(await this.#bucket(), { ...record, state: 'published' });
  }

  /** Revisions of an app, or of all, highest first within an app. */
  async revisions(app?: string): Promise<AppRecord[]> {
    const bucket = await this.#bucket();
    const records: AppRecord[] = [];
    for await (const { key } of bucket.list(app === undefined ? {} : { prefix: `${app}/` })) {
      const row = await bucket.get(key);
      if (row !== undefined) records.push(JSON.parse(new TextDecoder().decode(row.value)));
    }
    return records.toSorted(
      (a, b) => a.app.name.localeCompare(b.app.name) || compareRevisions(b, a),
    );
  }

  /** The current revision of each app (V2). */
  async current(): Promise<Map<string, AppRecord>> {
    const current = new Map<string, AppRecord>();
    for (const record of await this.revisions()) {
      if (record.state === 'published' && !current.has(record.app.name)) {
        current.set(record.app.name, record);
      }
    }
    return current;
  }

  async #bucket(): Promise<Bucket> {
    if (!this.#created) {
      await this.#keyValue.createBucket(CATALOG_BUCKET, { class: 'eventual' });
      this.#created = true;
    }
    return this.#keyValue.bucket(CATALOG_BUCKET);
  }
}

async function write(bucket: Bucket, record: AppRecord): Promise<void> {
  const key = `${record.app.name}/${revisionText(record)}`;
  await bucket.put(key, new TextEncoder().encode(JSON.stringify(record)));
}
