/** What a bucket is: the record that all nodes share. */

export interface BucketRecord {
  class: 'eventual';
  /** Wanted; a ring with fewer members keeps as many as it has. */
  replicas: number;
  /** Values without a lifetime of their own live this long; none = for ever. */
  ttlMs?: number;
}

export const REPLICAS_DEFAULT = 3;
export const REPLICAS_MAX = 7;
/** All that buckets may have. */
export const REPLICA_COUNTS: readonly number[] = Array.from(
  { length: REPLICAS_MAX },
  (_, i) => i + 1,
);

/** Buckets of the lattice itself; `$` is in no name that users give. */
export const BUCKETS = '$buckets';
export const BLOBS = '$blobs';
/** They exist before anything is written. */
export const SYSTEM_RECORD: BucketRecord = { class: 'eventual', replicas: REPLICAS_DEFAULT };

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export function isBucketName(name: string): boolean {
  return NAME.test(name);
}

export function encodeRecord(record: BucketRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(record));
}

/** @returns undefined when the bytes are no record that this release can serve. */
export function decodeRecord(bytes: Uint8Array): BucketRecord | undefined {
  const record = JSON.parse(new TextDecoder().decode(bytes)) as Partial<BucketRecord>;
  const { replicas, ttlMs } = record;
  const isSound =
    record.class === 'eventual' &&
    typeof replicas === 'number' &&
    (ttlMs === undefined || typeof ttlMs === 'number');
  return isSound ? (record as BucketRecord) : undefined;
}

export function isSameRecord(a: BucketRecord, b: BucketRecord): boolean {
  return a.class === b.class && a.replicas === b.replicas && a.ttlMs === b.ttlMs;
}
