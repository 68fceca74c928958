/**
 * Bringing a new owner up to date while an epoch is pending.
 *
 * For every range that this node has to be sure of it reads all rows from a quorum of the previous
 * owners, and has them on disk before it says so. Why that is enough: header of core/kv-move.ts.
 *
 * I1  A source answers only in the pending epoch, after which it takes nothing of the epoch before
 *     (I1, I3 of kv-replica.ts): nothing is acknowledged behind the reader's back.
 * I2  Progress is noted only after the rows up to it are durable; a restart goes on from there.
 * I3  A row that is damaged at a source is read from the other owners instead.
 * I4  An owner that is revoked is not asked. All the others are, and so meet whatever was on a quorum with it; what was on
 *     nobody else is lost with it.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { Epoch } from './core/epoch.ts';
import type { TokenRange } from './core/hash-ring.ts';
import { REPLICA_COUNTS } from './core/kv-bucket.ts';
import { type Gain, gains } from './core/kv-move.ts';
import { Placement } from './core/kv-placement.ts';
import { Tally } from './core/kv-quorum.ts';
import type { Row } from './core/kv-row.ts';
import { UnavailableError } from './kv-errors.ts';
import type { Misplaced } from './kv-replica.ts';
import type { ReplicaStore, ScanCursor, ScanPage } from './kv-store.ts';
import type { Rpc } from './rpc.ts';

/** A page fills a few frames of the bulk socket. */
const PAGE_BYTES = 1024 * 1024;
const PAGE_TIMEOUT_MS = 30_000;
const NOTE = 'stream';

export interface StreamOptions {
  rpc: Rpc;
  clock: Clock;
  store: ReplicaStore;
  /** Numbers of replicas that buckets have. */
  replicaCounts(): Promise<number[]>;
  /** The newest row of a key at quorum. */
  read(bucket: string, key: string): Promise<Row | undefined>;
}

/** What is on disk of a stream: the sources that are done, and where the present one stands. */
interface Progress {
  epoch: number;
  replicaCounts: number[];
  done: string[];
  source?: string | undefined;
  after?: ScanCursor | undefined;
}

/**
 * Resolves when this node has on disk all that it gains by the pending `epoch`; at once when it
 * gains nothing. Called again after a failure or a restart, it goes on where it stopped.
 *
 * @throws UnavailableError when, for some range, no quorum of the previous owners could be read.
 */
export async function streamGains(epoch: Epoch, options: StreamOptions): Promise<void> {
  const { rpc, store } = options;
  const placement = new Placement(epoch);
  const [previous, next] = placement.rings;
  if (previous === undefined || next === undefined) return;
  // Which numbers there are is a question to others, who may not be ready to answer yet.
  if (gains(previous, next, rpc.self, REPLICA_COUNTS).length === 0) return;
  const replicaCounts = await options.replicaCounts();
  const wanted = gains(previous, next, rpc.self, replicaCounts);
  const progress = readProgress(store, epoch.number, replicaCounts);
  const ranges = wanted.map((gain) => ({ gain, tallies: quorums(gain, placement) }));
  for (const node of progress.done) for (const { tallies } of ranges) accept(tallies, node);

  const reasons: string[] = [];
  for (const source of new Set(wanted.flatMap(({ sources }) => sources.flat()))) {
    if (progress.done.includes(source) || epoch.revoked.includes(source)) continue; // I4
    const open = ranges.filter(
      ({ gain, tallies }) =>
        gain.sources.some((owners) => owners.includes(source)) &&
        tallies.some(({ state }) => state !== 'met'),
    );
    if (open.length === 0) continue;
    let isWorthNoting: boolean;
    try {
      // A source that counts as done later must have given all its ranges, not the open ones only.
      const all = ranges.filter(({ gain }) => gain.sources.flat().includes(source));
      const merged = merge(all.map(({ gain }) => gain.range));
      isWorthNoting = await pull(source, merged, epoch.number, progress, options);
    } catch (error) {
      reasons.push(`${source.slice(0, 8)}: ${AetherError.is(error) ? error.code : String(error)}`);
      continue;
    }
    progress.done.push(source);
    progress.source = undefined;
    progress.after = undefined;
    // To ask a source again that had nothing costs less than the disk.
    if (isWorthNoting) store.setNote(NOTE, JSON.stringify(progress)); // I2
    for (const { tallies } of ranges) accept(tallies, source);
  }
  if (ranges.some(({ tallies }) => tallies.some(({ state }) => state !== 'met'))) {
    throw new UnavailableError(
      `the rows that come with epoch ${epoch.number} cannot be read from a quorum of their owners: ${reasons.join('; ')}`,
      { hint: 'start the previous owners; the stream goes on where it stopped' },
    );
  }
}

/** I4 */
function quorums({ sources }: Gain, placement: Placement): Tally[] {
  return sources.flatMap((owners) => {
    const left = placement.present(owners);
    if (left.length === owners.length) return [new Tally([owners], 'quorum')];
    return left.length === 0 ? [] : [new Tally([left], 'all')];
  });
}

function accept(tallies: readonly Tally[], node: string): void {
  for (const tally of tallies) tally.accept(node);
}

/** @returns whether there was anything. */
async function pull(
  source: string,
  ranges: TokenRange[],
  epoch: number,
  progress: Progress,
  options: StreamOptions,
): Promise<boolean> {
  const { rpc, store } = options;
  let hasRows = false;
  if (progress.source !== source) {
    progress.source = source;
    progress.after = undefined;
  }
  for (;;) {
    const body = { epoch, ranges, after: progress.after, bytesMax: PAGE_BYTES };
    const answer = (await rpc.call(source, 'kv.scan', body, {
      timeoutMs: PAGE_TIMEOUT_MS,
    })) as ScanPage | Misplaced;
    if ('misplaced' in answer) {
      throw new UnavailableError(`it is in epoch ${answer.misplaced}`, {
        code: 'ERR_KV_EPOCH_MISPLACED',
      });
    }
    // Whoever acknowledged these rows has checked their stamps.
    const terms = { wallMsMax: Number.POSITIVE_INFINITY, repair: true };
    await store.write(answer.rows, terms);
    for (const { bucket, key } of answer.damaged) {
      const row = await options.read(bucket, key); // I3
      if (row !== undefined) await store.write([row], terms);
    }
    hasRows ||= answer.rows.length > 0 || answer.damaged.length > 0;
    if (answer.next === undefined) return hasRows;
    progress.after = answer.next;
    store.setNote(NOTE, JSON.stringify(progress)); // I2
  }
}

function readProgress(store: ReplicaStore, epoch: number, replicaCounts: number[]): Progress {
  const note = store.note(NOTE);
  const progress = note === undefined ? undefined : (JSON.parse(note) as Progress);
  const isSame =
    progress?.epoch === epoch && progress.replicaCounts.join() === replicaCounts.join();
  return isSame ? progress : { epoch, replicaCounts, done: [] };
}

/** Neighbouring ranges as one. */
function merge(ranges: readonly TokenRange[]): TokenRange[] {
  const merged: TokenRange[] = [];
  for (const { first, last } of ranges) {
    const before = merged.at(-1);
    if (before !== undefined && before.last + 1 === first) before.last = last;
    else merged.push({ first, last });
  }
  return merged;
}
