/**
 * The row that a replica keeps for a key, and what a replica does when another one comes in.
 *
 * The row with the highest stamp wins, whatever the order of arrival: merging is commutative,
 * associative and idempotent. A deletion is a row without a value (tombstone) and is kept.
 */
import { type Stamp, stampWallMs } from './hlc.ts';

export interface Row {
  bucket: string;
  key: string;
  stamp: Stamp;
  /** null: deleted. */
  value: Uint8Array | null;
  /** Unix ms from which on the row counts as deleted; null = never. Made from the stamp. */
  expiresMs: number | null;
}

/** A row without its value. */
export interface ListedRow {
  stamp: Stamp;
  isDeleted: boolean;
  expiresMs: number | null;
}

/** What a replica finds for a key. `damaged`: there is a row whose checksum does not fit. */
export type Found = Row | 'absent' | 'damaged';

/**
 * `stored`: durable now, or held already. `higher`: a higher stamp is held. `ahead`: the stamp is
 * too far in the future. `damaged`: the row held is damaged, so nothing can be promised about it.
 */
export type Verdict = 'stored' | 'ahead' | 'damaged' | { higher: Stamp };

export interface WriteTerms {
  /** Wall time that a stamp may have at most. */
  wallMsMax: number;
  /** The row comes from a read of the other replicas: it may replace a damaged one. */
  repair: boolean;
}

/**
 * What a replica answers to an incoming row; 'stored' with `held` below it means: store it.
 *
 * A stamp ahead of the local time is good all the same when it is no further ahead than the row it
 * replaces: else a key would be locked after a clock was set back.
 */
export function judge(held: Found, incoming: Row, terms: WriteTerms): Verdict {
  if (held === 'damaged') {
    if (!terms.repair) return 'damaged';
  } else if (held !== 'absent') {
    if (held.stamp > incoming.stamp) return { higher: held.stamp };
    if (stampWallMs(incoming.stamp) <= stampWallMs(held.stamp)) return 'stored';
  }
  return stampWallMs(incoming.stamp) > terms.wallMsMax ? 'ahead' : 'stored';
}

/** Whether readers see a value at this time. */
export function isLive(row: Row | ListedRow, nowMs: number): boolean {
  const isDeleted = 'isDeleted' in row ? row.isDeleted : row.value === null;
  return !isDeleted && (row.expiresMs === null || row.expiresMs > nowMs);
}

/** Where a key is hashed to on the ring. */
export function placementKey(bucket: string, key: string): string {
  return `${bucket}\0${key}`;
}

/** Order by code points, which is the order of the UTF-8 bytes. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above all the single units. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
