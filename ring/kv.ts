/**
 * The replicated key-value store of a lattice, as its users see it.
 *
 * Buckets of class `eventual`: the last write wins. At QUORUM (the default) a key is one atomic
 * register; at ONE, and for keys used at different levels, reads may be old and the older of two
 * writes may win. Guarantees and why they hold: kv-coordinator.ts, kv-list.ts, kv-stream.ts.
 */
import type { Clock } from '../spec/clock.ts';
import { type Duration, durationMs } from '../spec/duration.ts';
import { NotAvailableError } from '../spec/error.ts';
import type { Epoch } from './core/epoch.ts';
import { HybridClock } from './core/hlc.ts';
import {
  BLOBS,
  BUCKETS,
  type BucketRecord,
  decodeRecord,
  encodeRecord,
  isBucketName,
  isSameRecord,
  REPLICAS_DEFAULT,
  REPLICAS_MAX,
  SYSTEM_RECORD,
} from './core/kv-bucket.ts';
import { type Consistency, PlacementCache } from './core/kv-placement.ts';
import { isLive } from './core/kv-row.ts';
import { BlobStore } from './blob.ts';
import { Coordinator } from './kv-coordinator.ts';
import { ConflictError, KeyValueError } from './kv-errors.ts';
import { Lister } from './kv-list.ts';
import { serveReplica } from './kv-replica.ts';
import { Rounds } from './kv-round.ts';
import type { ReplicaStore } from './kv-store.ts';
import { streamGains } from './kv-stream.ts';
import type { Rpc } from './rpc.ts';

export type { Consistency };

/** A value with its key and terms fits a frame of 1 MiB. */
const VALUE_BYTES_MAX = 1024 * 1024 - 4096;
const KEY_BYTES_MAX = 1024;

export interface KeyValueOptions {
  rpc: Rpc;
  /** The epoch this node has on disk. */
  epoch: () => Epoch;
  /**
   * Called when a peer is in a newer epoch: brings this node to that number or beyond, and resolves
   * when it is there or cannot get there now. Never rejects.
   *
   * @param from a node that has it.
   */
  learn: (epoch: number, from: string) => Promise<void>;
  /** Taken over: `close` closes it. */
  store: ReplicaStore;
  clock: Clock;
  /** Whether a node seems up. Default: all do. Decides only whom a read asks first. */
  isAlive?: (node: string) => boolean;
  /** How far away a node is, if that is known; a read asks the nearest first. Milliseconds. */
  rttMs?: (node: string) => number | undefined;
  /** After this long an operation is given up. Default 5,000 ms. */
  timeoutMs?: number;
  /** A read without an answer by then asks more owners. Default 50 ms. */
  hedgeMs?: number;
}

export interface BucketOptions {
  class: 'eventual' | 'strong';
  /** 1 to 7, default 3. */
  replicas?: number;
  /** Lifetime of values that are put without one; counted from the version's time. */
  ttl?: Duration;
  quotaBytes?: number;
}

export interface Bucket {
  get(
    key: string,
    options?: { consistency?: Consistency },
  ): Promise<{ value: Uint8Array; version: string } | undefined>;
  put(key: string, value: Uint8Array, options?: PutOptions): Promise<string>;
  delete(key: string, options?: DeleteOptions): Promise<void>;
  list(options?: ListOptions): AsyncIterable<{ key: string; version: string }>;
  increment(key: string, by: bigint, options?: { requestId?: string }): Promise<bigint>;
  batch(
    operations: ({ put: string; value: Uint8Array } | { delete: string })[],
    options?: { requestId?: string },
  ): Promise<string[]>;
  watch(options?: {
    prefix?: string;
    from?: string;
    signal?: AbortSignal;
  }): AsyncIterable<{ key: string; version: string; value?: Uint8Array; deleted?: true }>;
}

export interface PutOptions {
  consistency?: Consistency;
  expect?: string | null;
  ttl?: Duration;
  requestId?: string;
}

export interface DeleteOptions {
  consistency?: Consistency;
  expect?: string;
  requestId?: string;
}

export interface ListOptions {
  prefix?: string;
  /** Only keys above this one. */
  after?: string;
  /** Keys at most; none = all. */
  limit?: number;
}

/** The contract of shared use; `KeyValueStore` is what serves it. */
export interface KeyValue {
  createBucket(name: string, options: BucketOptions): Promise<{ created: boolean }>;
  bucket(name: string): Bucket;
  lock(
    bucket: string,
    key: string,
    options?: { ttl?: Duration; signal?: AbortSignal },
  ): Promise<{ token: string; lost: AbortSignal; release(): Promise<void> }>;
}

export class KeyValueStore implements KeyValue {
  readonly blobs: BlobStore;
  readonly #options: KeyValueOptions;
  readonly #coordinator: Coordinator;
  readonly #lister: Lister;
  readonly #placements: PlacementCache;
  /** Records as read at quorum. */
  readonly #records: Map<string, { record: BucketRecord; readMs: number }> = new Map();

  /** Answers the replica methods on `rpc` from now on. */
  constructor(options: KeyValueOptions) {
    this.#options = options;
    const { rpc, clock, store } = options;
    // A public key's first 80 bits are as unique as all of them, and a version is that much shorter.
    const hybridClock = new HybridClock(rpc.self.slice(0, 17), store.boot);
    const placements = new PlacementCache(options.epoch);
    const timeoutMs = options.timeoutMs ?? 5_000;
    const { learn } = options;
    const hedgeMs = options.hedgeMs ?? 50;
    const rounds = new Rounds({ rpc, clock, placements, learn, hedgeMs });
    const coordinator = new Coordinator({
      rpc,
      clock,
      hybridClock,
      placements,
      rounds,
      timeoutMs,
      isAlive: options.isAlive ?? (() => true),
      rttMs: options.rttMs ?? (() => undefined),
    });
    this.#placements = placements;
    this.#coordinator = coordinator;
    this.#lister = new Lister({ clock, coordinator, placements, rounds, timeoutMs });
    this.blobs = new BlobStore(this.#bucketOf(BLOBS, async () => SYSTEM_RECORD));
    serveReplica({
      rpc,
      store,
      clock,
      hybridClock,
      learn,
      epoch: () => options.epoch().number,
    });
  }

  /**
   * Makes a bucket; again with the same settings it does nothing.
   *
   * @returns whether it is new.
   * @throws ConflictError ERR_KV_BUCKET_EXISTS: it exists with other settings. Two nodes that make
   *   one bucket with different settings at the same moment may both succeed; one setting wins.
   * @throws NotAvailableError for class `strong` and for `quotaBytes`.
   * @throws KeyValueError ERR_KV_BUCKET_NAME, ERR_KV_BUCKET_CLASS, ERR_KV_REPLICAS.
   * @throws UnavailableError, UnknownOutcomeError
   */
  async createBucket(name: string, options: BucketOptions): Promise<{ created: boolean }> {
    if (!isBucketName(name)) {
      throw new KeyValueError(`not a bucket name: ${JSON.stringify(name)}`, {
        code: 'ERR_KV_BUCKET_NAME',
        hint: 'use 1 to 128 letters, digits, dots, dashes and underscores, a letter or digit first',
      });
    }
    if (options.class === 'strong')
      throw notAvailable('buckets of class strong', "class 'eventual' with consistency 'quorum'");
    if (options.class !== 'eventual') {
      throw new KeyValueError(`no such class of buckets: ${JSON.stringify(options.class)}`, {
        code: 'ERR_KV_BUCKET_CLASS',
        hint: "use 'eventual'",
      });
    }
    if (options.quotaBytes !== undefined) throw notAvailable('quotas of buckets');
    const replicas = options.replicas ?? REPLICAS_DEFAULT;
    if (!Number.isInteger(replicas) || replicas < 1 || replicas > REPLICAS_MAX) {
      throw new KeyValueError(`a bucket cannot have ${replicas} replicas`, {
        code: 'ERR_KV_REPLICAS',
        hint: `choose 1 to ${REPLICAS_MAX}`,
      });
    }
    const wanted: BucketRecord = {
      class: 'eventual',
      replicas,
      ...(options.ttl === undefined ? {} : { ttlMs: durationMs(options.ttl) }),
    };
    const there = await this.#readRecord(name);
    if (there === undefined) {
      const change = { ...recordPlace(name), value: encodeRecord(wanted) };
      await this.#coordinator.write(change, 'quorum');
    }
    // Also after the own write: somebody else's may have won.
    const record = there ?? (await this.#readRecord(name)) ?? wanted;
    if (!isSameRecord(record, wanted)) {
      throw new ConflictError(`bucket ${name} exists with other settings`, {
        code: 'ERR_KV_BUCKET_EXISTS',
        hint: `it has ${JSON.stringify(record)}; use these, or another name`,
        details: record,
      });
    }
    return { created: there === undefined };
  }

  /** The bucket of this name; whether it exists is found out by its first use. */
  bucket(name: string): Bucket {
    return this.#bucketOf(name, (bucket) => this.#record(bucket));
  }

  /** Ids of the nodes that own a key, the preferred first. */
  async owners(bucket: string, key: string): Promise<string[]> {
    const { replicas } = await this.#record(bucket);
    return this.#placements.current().owners(bucket, key, replicas).at(-1) ?? [];
  }

  /** @throws NotAvailableError always: locks stand on strong buckets. */
  async lock(): Promise<never> {
    throw notAvailable('locks');
  }

  /**
   * Resolves when this node has on disk all that it gains by the pending epoch. The epoch must be
   * the one this node is in.
   *
   * @throws UnavailableError when, for some range, no quorum of the previous owners could be read;
   *   called again it goes on where it stopped.
   */
  async stream(epoch: Epoch): Promise<void> {
    if (epoch.previous === undefined) return;
    const { rpc, clock, store } = this.#options;
    await streamGains(epoch, {
      rpc,
      clock,
      store,
      replicaCounts: () => this.#replicaCounts(),
      read: async (bucket, key) => {
        const { replicas } = bucket.startsWith('$') ? SYSTEM_RECORD : await this.#record(bucket);
        return this.#coordinator.read({ bucket, key, replicas }, 'quorum');
      },
    });
  }

  /** Commits what waits and closes the store; call it after the last request was answered. */
  close(): void {
    this.#options.store.close();
  }

  #bucketOf(name: string, record: (name: string) => Promise<BucketRecord>): Bucket {
    return new EventualBucket(name, {
      record: () => record(name),
      coordinator: this.#coordinator,
      lister: this.#lister,
      clock: this.#options.clock,
    });
  }

  /** How many replicas buckets have, all numbers that occur. */
  async #replicaCounts(): Promise<number[]> {
    const counts = new Set([SYSTEM_RECORD.replicas]);
    const listing = { ...recordPlace(''), prefix: '', after: undefined };
    for await (const { key } of this.#lister.keys(listing)) {
      const record = await this.#readRecord(key);
      if (record !== undefined) counts.add(record.replicas);
    }
    return [...counts].toSorted((a, b) => a - b);
  }

  /** @throws KeyValueError ERR_KV_BUCKET_UNKNOWN, _BUCKET_NAME */
  async #record(name: string): Promise<BucketRecord> {
    const cached = this.#records.get(name);
    if (cached !== undefined) {
      // A record changes only when two were made at once: noticed soon is soon enough.
      const isOld = this.#options.clock.monotonicMs() - cached.readMs > RECORD_FRESH_MS;
      if (isOld) this.#readRecord(name).catch(() => undefined);
      return cached.record;
    }
    const record = isBucketName(name) ? await this.#readRecord(name) : undefined;
    if (record === undefined) {
      throw new KeyValueError(`there is no bucket ${JSON.stringify(name)}`, {
        code: 'ERR_KV_BUCKET_UNKNOWN',
        hint: 'create it first, `aether kv create BUCKET`; a bucket of an app is called APP.BUCKET',
      });
    }
    return record;
  }

  async #readRecord(name: string): Promise<BucketRecord | undefined> {
    const readMs = this.#options.clock.monotonicMs();
    const cached = this.#records.get(name);
    if (cached !== undefined) cached.readMs = readMs;
    const row = await this.#coordinator.read(recordPlace(name), 'quorum');
    if (row?.value == null) return undefined;
    const record = decodeRecord(row.value);
    if (record === undefined) throw notAvailable(`buckets such as ${name}`);
    this.#records.set(name, { record, readMs });
    return record;
  }
}

const RECORD_FRESH_MS = 10_000;

function recordPlace(name: string): { bucket: string; key: string; replicas: number } {
  return { bucket: BUCKETS, key: name, replicas: SYSTEM_RECORD.replicas };
}

interface BucketParts {
  record(): Promise<BucketRecord>;
  coordinator: Coordinator;
  lister: Lister;
  clock: Clock;
}

class EventualBucket implements Bucket {
  readonly #name: string;
  readonly #parts: BucketParts;

  constructor(name: string, parts: BucketParts) {
    this.#name = name;
    this.#parts = parts;
  }

  async get(
    key: string,
    options: { consistency?: Consistency } = {},
  ): Promise<{ value: Uint8Array; version: string } | undefined> {
    checkKey(key);
    const { coordinator, clock } = this.#parts;
    const { replicas } = await this.#parts.record();
    const place = { bucket: this.#name, key, replicas };
    const row = await coordinator.read(place, options.consistency ?? 'quorum');
    if (row === undefined || row.value === null || !isLive(row, clock.nowMs())) return undefined;
    return { value: row.value, version: row.stamp };
  }

  async put(key: string, value: Uint8Array, options: PutOptions = {}): Promise<string> {
    checkKey(key);
    if (value.length > VALUE_BYTES_MAX) {
      throw new KeyValueError(
        `the value has ${value.length} bytes, ${VALUE_BYTES_MAX} are the most`,
        {
          code: 'ERR_KV_VALUE_TOO_LARGE',
          hint: 'split it over several keys, or keep it elsewhere and its address here',
        },
      );
    }
    checkUnconditional(options);
    const { replicas, ttlMs } = await this.#parts.record();
    const change = {
      bucket: this.#name,
      key,
      replicas,
      // The caller may go on using its buffer.
      value: value.slice(),
      ttlMs: options.ttl === undefined ? ttlMs : durationMs(options.ttl),
    };
    return this.#parts.coordinator.write(change, options.consistency ?? 'quorum');
  }

  async delete(key: string, options: DeleteOptions = {}): Promise<void> {
    checkKey(key);
    checkUnconditional(options);
    const { replicas } = await this.#parts.record();
    const change = { bucket: this.#name, key, replicas, value: null };
    await this.#parts.coordinator.write(change, options.consistency ?? 'quorum');
  }

  async *list(options: ListOptions = {}): AsyncGenerator<{ key: string; version: string }> {
    const { prefix = '', after, limit = Number.POSITIVE_INFINITY } = options;
    const { replicas } = await this.#parts.record();
    const listing = { bucket: this.#name, replicas, prefix, after };
    let left = limit;
    if (left <= 0) return;
    for await (const entry of this.#parts.lister.keys(listing)) {
      yield entry;
      if (--left <= 0) return;
    }
  }

  async increment(): Promise<never> {
    throw notAvailable('counters');
  }

  async batch(): Promise<never> {
    throw notAvailable('batches', 'single puts and deletes');
  }

  watch(): never {
    throw notAvailable('watches', 'list and get');
  }
}

/** @throws KeyValueError ERR_KV_KEY_INVALID */
function checkKey(key: string): void {
  const isSound =
    key.length > 0 &&
    !key.includes('\0') &&
    key.isWellFormed() &&
    new TextEncoder().encode(key).length <= KEY_BYTES_MAX;
  if (isSound) return;
  throw new KeyValueError('not a key', {
    code: 'ERR_KV_KEY_INVALID',
    hint: `a key is text of 1 to ${KEY_BYTES_MAX} bytes in UTF-8, without NUL`,
  });
}

function checkUnconditional(options: { expect?: string | null; requestId?: string }): void {
  if (options.expect !== undefined)
    throw notAvailable('conditional writes', 'puts without a condition');
  if (options.requestId !== undefined)
    throw notAvailable('request ids', 'a plain retry: writing the same again is safe');
}

function notAvailable(what: string, instead?: string): NotAvailableError {
  return new NotAvailableError(`${what} are not in this release`, {
    hint: instead === undefined ? 'do without' : `use ${instead}`,
  });
}
