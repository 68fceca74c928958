/**
 * Reads and writes of one key over its owners. Any node can be the coordinator.
 *
 * I1  Acknowledged at a level = that many owners have the row on disk; while the epoch is pending,
 *     that many of the previous owners and that many of the next.
 * I2  An owner that holds a higher stamp refuses; if the level cannot be met without it, the write
 *     goes on under a stamp above that one. A quorum meets every earlier quorum, so a row
 *     acknowledged at quorum is replaced only by rows written later, whatever the clocks say.
 * I3  A read at quorum returns a row only once a quorum has it on disk: it writes the newest row
 *     back to owners that lack it. So no later read at quorum returns an older one.
 * I4  A damaged row is no answer, neither "absent" nor a vote: a quorum of others must answer.
 * I5  Reads and writes of a pending epoch meet the level in both placements, so they meet those of
 *     the epoch before (previous owners) and of the one after (next owners). Replicas refuse the
 *     rest (I1 of kv-replica.ts).
 * I6  UnavailableError: no owner was sent anything that it may have stored, under any stamp tried.
 * I7  A row so far ahead that too few owners take it was not acknowledged; it locks nobody out: who
 *     holds it is no answer to a read (what it held before is gone), and a quorum of others answers.
 *     Like any write of unknown outcome it may take effect later, when clocks have come to it.
 *
 * Hence a key that is only used at quorum is one atomic register (Attiya, Bar-Noy and Dolev, 1995),
 * except that a write refused for a higher stamp may be seen under both its stamps.
 */
import type { Clock } from '../spec/clock.ts';
import { type HybridClock, type Stamp, stampWallMs } from './core/hlc.ts';
import type { Consistency, PlacementCache } from './core/kv-placement.ts';
import { type Level, needed, Tally, union } from './core/kv-quorum.ts';
import type { Row } from './core/kv-row.ts';
import { UnavailableError, UnknownOutcomeError } from './kv-errors.ts';
import type { ReadAnswer, WriteAnswer } from './kv-replica.ts';
import type { Round, Rounds } from './kv-round.ts';
import type { Rpc } from './rpc.ts';

export interface CoordinatorOptions {
  rpc: Rpc;
  clock: Clock;
  hybridClock: HybridClock;
  placements: PlacementCache;
  rounds: Rounds;
  /** Whether a node seems up: only decides whom to ask first. */
  isAlive: (node: string) => boolean;
  /** Likewise; undefined: not known. */
  rttMs: (node: string) => number | undefined;
  /** An operation gives up after this long. */
  timeoutMs: number;
}

export interface Place {
  bucket: string;
  key: string;
  /** As the bucket has it. */
  replicas: number;
}

/** What a write puts in the place of a key. */
export interface Change extends Place {
  /** null deletes. */
  value: Uint8Array | null;
  ttlMs?: number | undefined;
}

/** Where an operation stands: who has to agree, and until when. */
interface Target {
  epoch: number;
  /** All owners. */
  owners: readonly string[];
  /** Those that count, by placement. */
  counted: readonly string[][];
  level: Level;
  deadlineMs: number;
}

export class Coordinator {
  readonly #options: CoordinatorOptions;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
  }

  /**
   * @returns the stamp under which the change is acknowledged (I1).
   * @throws UnavailableError, UnknownOutcomeError
   */
  async write(change: Change, consistency: Consistency): Promise<Stamp> {
    const { clock, hybridClock, rounds, timeoutMs } = this.#options;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    let stamp = hybridClock.tick(clock.nowMs());
    let mayBeStored = false;
    let repairs = 0;
    for (;;) {
      const target = this.#target(change, consistency, deadlineMs);
      let higher = '';
      let isDamaged = false;
      const round = await rounds.ask<WriteAnswer>({
        ...target,
        method: 'kv.write',
        nodes: target.owners,
        // With no other owner to repair a damaged row from, the new row is all there is.
        body: { rows: [toRow(change, stamp)], repair: target.owners.length === 1 },
        count: new Tally(target.counted, target.level),
        heard({ verdicts: [verdict] }) {
          if (verdict === 'stored') {
            mayBeStored = true;
            return undefined;
          }
          if (typeof verdict === 'object') {
            if (verdict.higher > higher) higher = verdict.higher;
            return { why: 'it holds a higher stamp', isStale: true };
          }
          if (verdict === 'damaged') isDamaged = true;
          return { why: `the row is ${verdict}` };
        },
        lost() {
          mayBeStored = true;
        },
      });
      if (round.state === 'met') {
        if (isDamaged) this.#repair(change);
        return stamp;
      }
      if (clock.monotonicMs() < deadlineMs) {
        if (await rounds.caughtUp(round)) continue;
        if (higher !== '') {
          stamp = hybridClock.tickAfter(higher, clock.nowMs()); // I2
          continue;
        }
        if (isDamaged && repairs++ === 0) {
          await this.read(change, 'quorum').catch(() => undefined);
          continue;
        }
      }
      throw failure(change, consistency, round, mayBeStored); // I6
    }
  }

  /**
   * The newest row of a key, also when it is deleted or expired.
   *
   * @throws UnavailableError
   */
  async read(place: Place, consistency: Consistency): Promise<Row | undefined> {
    const { clock, rounds, timeoutMs } = this.#options;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    const ignored = new Set<Stamp>();
    for (;;) {
      const target = this.#target(place, consistency, deadlineMs);
      const answers = new Answers();
      const nodes = this.#byPreference(union(target.counted));
      let round = await rounds.ask<ReadAnswer>({
        ...target,
        nodes,
        first: target.counted.length > 1 ? nodes.length : needed(target.level, nodes.length),
        method: 'kv.read',
        body: { bucket: place.bucket, key: place.key },
        count: new Tally(target.counted, target.level),
        heard(answer, node) {
          if ('damaged' in answer) {
            answers.damaged.push(node);
            return { why: 'its row is damaged' }; // I4
          }
          if (answer.row !== null && ignored.has(answer.row.stamp))
            return { why: 'its row is ahead of all clocks' }; // I7
          answers.rows.set(node, answer.row);
          return undefined;
        },
      });
      if (round.state === 'met') {
        const row = answers.newest();
        if (row === undefined) return undefined;
        if (consistency === 'one') {
          this.#writeBack(row, answers.lacking(row), target);
          return row;
        }
        const outcome = await this.#settle(row, answers, target);
        if (outcome === 'met') return row;
        if (outcome === 'unacknowledged') {
          ignored.add(row.stamp);
          continue;
        }
        round = outcome;
      }
      if (clock.monotonicMs() < deadlineMs && (await rounds.caughtUp(round))) continue;
      throw failure(place, consistency, round, false);
    }
  }

  /** Makes sure that the level's number of owners has the row (I3). */
  async #settle(
    row: Row,
    answers: Answers,
    target: Target,
  ): Promise<'met' | 'unacknowledged' | Round> {
    const count = new Tally(target.counted, target.level);
    const holders = answers.holders(row);
    for (const node of holders) count.accept(node);
    if (count.state === 'met') {
      this.#writeBack(row, answers.lacking(row), target);
      return 'met';
    }
    const refused = new Set<string>();
    const round = await this.#options.rounds.ask<WriteAnswer>({
      ...target,
      nodes: target.owners.filter((node) => !holders.includes(node)),
      method: 'kv.write',
      body: { rows: [row], repair: true },
      count,
      heard({ verdicts: [verdict] }, node) {
        // Who holds a higher stamp will not show an older row either.
        if (verdict === 'stored' || typeof verdict === 'object') return undefined;
        refused.add(node);
        return { why: `the row is ${verdict}` };
      },
    });
    if (round.state === 'met') return 'met';
    const isPossible = target.counted.every(
      (owners) =>
        owners.filter((node) => !refused.has(node)).length >= needed(target.level, owners.length),
    );
    return isPossible ? round : 'unacknowledged'; // I7
  }

  /** Brings nodes up to date; nobody waits for it. */
  #writeBack(row: Row, nodes: readonly string[], { epoch, deadlineMs }: Target): void {
    const { rpc, clock } = this.#options;
    const timeoutMs = Math.max(1, deadlineMs - clock.monotonicMs());
    const body = { epoch, rows: [row], repair: true };
    for (const node of nodes) {
      rpc.call(node, 'kv.write', body, { timeoutMs }).catch(() => undefined);
    }
  }

  /** Replaces a damaged row by what the other owners have; nobody waits for it. */
  #repair(place: Place): void {
    this.read(place, 'quorum').catch(() => undefined);
  }

  #target({ bucket, key, replicas }: Place, consistency: Consistency, deadlineMs: number): Target {
    const placement = this.#options.placements.current();
    const owners = placement.owners(bucket, key, replicas);
    return {
      epoch: placement.epoch.number,
      owners: union(owners),
      counted: placement.counted(owners, consistency, this.#options.rpc.self), // I5
      level: consistency === 'local-quorum' ? 'quorum' : consistency,
      deadlineMs,
    };
  }

  /** This node first, then those that seem up, the nearest of them first; whose distance is not known after these. */
  #byPreference(nodes: readonly string[]): string[] {
    const { rpc, isAlive, rttMs } = this.#options;
    const rank = (node: string): number => (node === rpc.self ? 0 : isAlive(node) ? 1 : 2);
    const distance = (node: string): number => rttMs(node) ?? Number.MAX_VALUE;
    return nodes.toSorted((a, b) => rank(a) - rank(b) || distance(a) - distance(b));
  }
}

/** What owners answered to a read. */
class Answers {
  readonly rows: Map<string, Row | null> = new Map();
  readonly damaged: string[] = [];

  newest(): Row | undefined {
    const rows = [...this.rows.values()].filter((row) => row !== null);
    return rows.toSorted((a, b) => (a.stamp > b.stamp ? -1 : 1))[0];
  }

  /** Who has the row, or a newer one. */
  holders({ stamp }: Row): string[] {
    return [...this.rows].filter(([, row]) => row !== null && row.stamp >= stamp).map(([id]) => id);
  }

  /** Who is known to need the row. */
  lacking({ stamp }: Row): string[] {
    const stale = [...this.rows].filter(([, row]) => row === null || row.stamp < stamp);
    return [...stale.map(([id]) => id), ...this.damaged];
  }
}

function toRow({ bucket, key, value, ttlMs }: Change, stamp: Stamp): Row {
  const expiresMs = ttlMs === undefined ? null : stampWallMs(stamp) + ttlMs;
  return { bucket, key, stamp, value, expiresMs };
}

function failure(
  { bucket, key }: Place,
  consistency: Consistency,
  { reasons }: Round,
  mayBeStored: boolean,
): UnavailableError {
  const why = reasons.length > 0 ? reasons.join('; ') : 'no answer in time';
  const message = `${bucket}/${key}: not at ${consistency} (${why})`;
  if (mayBeStored) {
    return new UnknownOutcomeError(message, {
      hint: 'it may or may not be stored; writing the same again is safe',
    });
  }
  return new UnavailableError(message, {
    hint: 'nothing was done; see who is down with `aether ring status`, then try again',
  });
}
