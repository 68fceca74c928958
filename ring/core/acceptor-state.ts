/** What an acceptor of a fenced log keeps on disk, and how a write changes it. */
import { type Ballot, NO_BALLOT } from './ballot.ts';
import type { Boot, Boots } from './boot.ts';
import { EMPTY_SNAPSHOT, type Entry, type FencedLog, type Snapshot } from './fenced-log.ts';

export interface AcceptorState<V> {
  readonly generation: number;
  /** Nothing below it is answered (L2). */
  readonly promised: Ballot;
  readonly log: FencedLog<V>;
  readonly boot: Boot;
  /** The boot is known to enough others (B2), so this node votes. */
  readonly isRegistered: boolean;
  /** The disk was found to be older than what this node has said (B6): it never votes again. */
  readonly isRefused: boolean;
  readonly boots: Boots;
}

/** One change, whole or not at all. Fields that are not there stay as they are. */
export interface AcceptorWrite<V> {
  readonly promised?: Ballot;
  readonly boot?: Boot;
  readonly isRegistered?: boolean;
  readonly isRefused?: boolean;
  readonly boots?: Boots;
  readonly log?: LogChange<V>;
}

/** In this order. */
export interface LogChange<V> {
  /** Entries up to its index go. */
  readonly snapshot?: Snapshot<V>;
  /** Entries after this index go. */
  readonly keepThrough?: number;
  /** These come after what is left. */
  readonly entries?: readonly Entry<V>[];
}

/** @param snapshot the founding value, for the first voter of a group; others begin empty. */
export function newAcceptorState<V>(
  generation: number,
  snapshot: Snapshot<V> = EMPTY_SNAPSHOT,
): AcceptorState<V> {
  return {
    generation,
    promised: NO_BALLOT,
    log: { snapshot, entries: [] },
    boot: { number: 0, nonce: 0 },
    isRegistered: false,
    isRefused: false,
    boots: {},
  };
}

export function written<V>(state: AcceptorState<V>, write: AcceptorWrite<V>): AcceptorState<V> {
  const { log, ...facts } = write;
  return { ...state, ...facts, log: log === undefined ? state.log : changed(state.log, log) };
}

function changed<V>(log: FencedLog<V>, change: LogChange<V>): FencedLog<V> {
  const { snapshot = log.snapshot, keepThrough, entries = [] } = change;
  const end = keepThrough === undefined ? undefined : keepThrough - log.snapshot.index;
  const kept = log.entries.slice(snapshot.index - log.snapshot.index, end);
  return { snapshot, entries: [...kept, ...entries] };
}
