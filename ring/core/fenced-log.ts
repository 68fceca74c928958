/**
 * A log whose writers are fenced by ballots, as a value.
 *
 * A log is a snapshot (the outcome of a committed prefix) and the entries after it. Two logs that
 * have the same (index, ballot) are the same up to there (L4 of spec/epoch.md), as each entry is
 * accepted only after the one that its owner put before it; this is Raft's log matching (Ongaro,
 * Ousterhout, §5.3), with ballots for terms.
 */
import { type Ballot, compareBallots, isSameBallot, NO_BALLOT } from './ballot.ts';
import type { Configuration } from './configuration.ts';

export interface Position {
  readonly index: number;
  readonly ballot: Ballot;
}

export interface Entry<V> {
  /** Of the owner that made it. */
  readonly ballot: Ballot;
  readonly value: V;
  /** Whose votes decide on this entry and those after it; without: as before. */
  readonly configuration?: Configuration;
}

/** A committed prefix (L7). */
export interface Snapshot<V> extends Position {
  readonly configuration?: Configuration;
  /** What the prefix amounts to; none at index 0. */
  readonly state?: V;
}

export interface FencedLog<V> {
  readonly snapshot: Snapshot<V>;
  readonly entries: readonly Entry<V>[];
}

/** What a voter shows of its log to somebody who knows the committed prefix up to `from`. */
export interface LogReport<V> {
  readonly from: number;
  readonly last: Position;
  /** When the voter has no entries as old as `from`. */
  readonly snapshot?: Snapshot<V>;
  readonly entries: readonly Entry<V>[];
}

export const EMPTY_SNAPSHOT: Snapshot<never> = { index: 0, ballot: NO_BALLOT };

export function lastIndex({ snapshot, entries }: FencedLog<unknown>): number {
  return snapshot.index + entries.length;
}

export function lastPosition(log: FencedLog<unknown>): Position {
  const ballot = log.entries.at(-1)?.ballot ?? log.snapshot.ballot;
  return { index: lastIndex(log), ballot };
}

/** @returns undefined when the entry is in the snapshot or not there. */
export function entryAt<V>(log: FencedLog<V>, index: number): Entry<V> | undefined {
  return index > log.snapshot.index ? log.entries[index - log.snapshot.index - 1] : undefined;
}

/** True when the log has the position: then it is the same as every log that has it, up to there. */
export function hasPosition(log: FencedLog<unknown>, { index, ballot }: Position): boolean {
  const found = index === log.snapshot.index ? log.snapshot : entryAt(log, index);
  return found !== undefined && isSameBallot(found.ballot, ballot);
}

/** V1: the last configuration in the log, committed or not. */
export function configurationOf(log: FencedLog<unknown>): Configuration | undefined {
  return configurationAt(log, lastIndex(log));
}

/** V4: whose votes decide on the entry at `index`. */
export function configurationAt(log: FencedLog<unknown>, index: number): Configuration | undefined {
  for (let at = index - log.snapshot.index - 1; at >= 0; at--) {
    const configuration = log.entries[at]?.configuration;
    if (configuration !== undefined) return configuration;
  }
  return log.snapshot.configuration;
}

/** L3: of two logs the later is the one that ends with the higher ballot and, there, further on. */
export function comparePositions(a: Position, b: Position): number {
  return compareBallots(a.ballot, b.ballot) || a.index - b.index;
}

/** What a committed prefix amounts to when one more value is committed. */
export type Fold<V> = (state: V | undefined, value: V) => V;

/** The log's committed prefix up to `index`, as a snapshot (L7). */
export function snapshotAt<V>(log: FencedLog<V>, index: number, fold: Fold<V>): Snapshot<V> {
  const { snapshot } = log;
  const prefix = log.entries.slice(0, index - snapshot.index);
  const last = prefix.at(-1);
  if (last === undefined) return snapshot;
  let { state } = snapshot;
  for (const { value } of prefix) state = fold(state, value);
  const configuration = configurationAt(log, index);
  return {
    index,
    ballot: last.ballot,
    ...(configuration === undefined ? {} : { configuration }),
    ...(state === undefined ? {} : { state }),
  };
}

export function reportOf<V>(log: FencedLog<V>, from: number): LogReport<V> {
  const last = lastPosition(log);
  if (log.snapshot.index > from) return { from, last, ...log };
  return { from, last, entries: log.entries.slice(from - log.snapshot.index) };
}

/** The log that was reported, for somebody whose snapshot is the committed prefix up to `from`. */
export function reportedLog<V>(snapshot: Snapshot<V>, report: LogReport<V>): FencedLog<V> {
  return { snapshot: report.snapshot ?? snapshot, entries: report.entries };
}
