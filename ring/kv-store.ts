import type { TokenRange } from './core/hash-ring.ts';
import type { Found, ListedRow, Row, Verdict, WriteTerms } from './core/kv-row.ts';

/**
 * The rows of one replica.
 *
 * A store keeps these:
 * S1. `write` resolves only after everything it reports as stored is durable (fsynced).
 * S2. Nobody sees a row before it is durable.
 * S3. `scan` and `list` see every row whose `write` was called before them.
 * S4. A row that is not what was written is reported as damaged, never returned.
 * S5. `boot` is durable and higher than at every earlier opening.
 * S6. When a write rejects, nothing of it may be taken as done or as not done until it was read.
 */
export interface ReplicaStore {
  readonly boot: number;
  /** One verdict per row, in order, by `judge` of core/kv-row.ts. */
  write(rows: readonly Row[], terms: WriteTerms): Promise<Verdict[]>;
  read(bucket: string, key: string): Found;
  /** Keys of a bucket by code point, tombstones and damaged ones included. */
  list(request: ListRequest): ListPage;
  /** Rows by (position on the ring, bucket, key). */
  scan(request: ScanRequest): ScanPage;
  /** Small facts about unfinished work; durable when the call returns. */
  note(name: string): string | undefined;
  setNote(name: string, value: string | undefined): void;
  close(): void;
}

export interface ListRequest {
  bucket: string;
  prefix: string;
  /** Only keys above this one. */
  after: string | undefined;
  limit: number;
}

export interface ListEntry {
  key: string;
  /** undefined: the row is damaged. */
  row?: ListedRow;
}

export interface ListPage {
  entries: ListEntry[];
  /** There are keys above the last one. */
  more: boolean;
}

/** Where a scan stands: after this row. */
export interface ScanCursor {
  token: number;
  bucket: string;
  key: string;
}

export interface ScanRequest {
  /** Ascending, without overlap. */
  ranges: readonly TokenRange[];
  after: ScanCursor | undefined;
  /** A page ends after the row that reaches it. */
  bytesMax: number;
}

export interface ScanPage {
  rows: Row[];
  damaged: { bucket: string; key: string }[];
  /** undefined: the scan is complete. */
  next?: ScanCursor;
}
