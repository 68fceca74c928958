/**
 * What a node answers as a replica.
 *
 * I1  A request of an older epoch is refused. Once a quorum of a placement has taken the next epoch,
 *     nothing is acknowledged or read there under the one before.
 * I2  A request of a newer epoch is served only after this node has taken that epoch.
 * I3  The epoch is checked in the turn in which the store takes the request: whatever was accepted
 *     under an older epoch is visible to a scan under the newer one (S3 of kv-store.ts).
 */
import type { Clock } from '../spec/clock.ts';
import { AHEAD_MS_MAX, type HybridClock, isStamp } from './core/hlc.ts';
import type { Row, Verdict } from './core/kv-row.ts';
import { KeyValueError } from './kv-errors.ts';
import type { ListRequest, ReplicaStore, ScanRequest } from './kv-store.ts';
import type { Rpc } from './rpc.ts';

/** Every request names the epoch that its sender placed it by. */
interface Placed {
  epoch: number;
}
/** The epoch of a replica that could not serve: newer than the request's, or older. */
export interface Misplaced {
  misplaced: number;
}
interface WriteBody extends Placed {
  rows: Row[];
  /** The rows come from a read of the other replicas. */
  repair: boolean;
}
interface ReadBody extends Placed {
  bucket: string;
  key: string;
}
export interface WriteAnswer {
  /** One per row, in order. */
  verdicts: Verdict[];
}
export type ReadAnswer = { row: Row | null } | { damaged: true };

export interface ReplicaOptions {
  rpc: Rpc;
  store: ReplicaStore;
  clock: Clock;
  hybridClock: HybridClock;
  epoch(): number;
  learn(number: number, from: string): Promise<void>;
}

/** Answers the replica methods on `rpc` from now on. */
export function serveReplica(options: ReplicaOptions): void {
  const { rpc, store, clock, hybridClock } = options;

  /** Serves a method whose body was placed by this node's epoch. */
  const serve = (method: string, answer: (body: Placed) => object | Promise<object>): void => {
    rpc.serve(method, async (body, from): Promise<object> => {
      const request = body as Placed;
      if (!Number.isSafeInteger(request?.epoch)) throw malformed('it names no epoch');
      if (request.epoch > options.epoch()) await options.learn(request.epoch, from); // I2
      const epoch = options.epoch();
      if (request.epoch !== epoch) return { misplaced: epoch } satisfies Misplaced; // I1
      return answer(request); // I3
    });
  };

  serve('kv.write', async (body): Promise<WriteAnswer> => {
    const { rows, repair } = body as WriteBody;
    if (!Array.isArray(rows) || !rows.every(isRow)) throw malformed('it has no rows');
    const nowMs = clock.nowMs();
    for (const { stamp } of rows) hybridClock.observe(stamp, nowMs);
    return { verdicts: await store.write(rows, { wallMsMax: nowMs + AHEAD_MS_MAX, repair }) };
  });
  serve('kv.read', (body): ReadAnswer => {
    const { bucket, key } = body as ReadBody;
    if (typeof bucket !== 'string' || typeof key !== 'string') throw malformed('it has no key');
    const found = store.read(bucket, key);
    if (found === 'damaged') return { damaged: true };
    return { row: found === 'absent' ? null : found };
  });
  serve('kv.list', (body) => store.list(body as Placed & ListRequest));
  serve('kv.scan', (body) => store.scan(body as Placed & ScanRequest));
}

function isRow(value: unknown): value is Row {
  const row = (value ?? {}) as Partial<Row>;
  return (
    typeof row.bucket === 'string' &&
    typeof row.key === 'string' &&
    isStamp(row.stamp) &&
    (row.value === null || row.value instanceof Uint8Array) &&
    (row.expiresMs === null || Number.isSafeInteger(row.expiresMs))
  );
}

function malformed(why: string): KeyValueError {
  return new KeyValueError(`a request between replicas cannot be read: ${why}`);
}
