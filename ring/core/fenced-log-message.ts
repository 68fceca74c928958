/** What owners and acceptors of a fenced log say to each other, about one group. */
import type { Ballot } from './ballot.ts';
import type { Boot, Boots } from './boot.ts';
import type { Entry, LogReport, Position, Snapshot } from './fenced-log.ts';

interface ToAcceptor {
  /** Of the group: a number that the two sides must share. */
  readonly generation: number;
  /** Boots the sender has heard of (B5). */
  readonly boots: Boots;
  /** Whom the sender takes for voters: who has to register asks them. */
  readonly voters: readonly string[];
}

/** "May I own the log?" The answer shows what comes after `from`. */
export interface Prepare extends ToAcceptor {
  readonly kind: 'prepare';
  readonly ballot: Ballot;
  readonly from: number;
}

/** "After `previous` come `entries`." With a snapshot that is `previous`, for who is behind it. */
export interface Accept<V> extends ToAcceptor {
  readonly kind: 'accept';
  readonly ballot: Ballot;
  readonly previous: Position;
  readonly snapshot?: Snapshot<V>;
  readonly entries: readonly Entry<V>[];
  /** Index up to which the log is committed. */
  readonly committed: number;
}

/** "I have started again: note my boot, and show me what comes after `from`." */
export interface Register extends ToAcceptor {
  readonly kind: 'register';
  readonly boot: Boot;
  readonly from: number;
}

/** Under which boot a voter says it, and what it knows of others' (B3). */
interface Said {
  readonly generation: number;
  readonly boot: Boot;
  readonly boots: Boots;
}

export interface Promised<V> extends Said {
  readonly kind: 'promised';
  readonly ballot: Ballot;
  readonly report: LogReport<V>;
}

/** The log is the owner's up to `index`, on disk. */
export interface Accepted extends Said {
  readonly kind: 'accepted';
  readonly ballot: Ballot;
  readonly index: number;
  /** The voter's, over what the effect `attests`; made after the entries were durable. */
  readonly signatures?: readonly IndexSignature[];
}

export interface IndexSignature {
  readonly index: number;
  readonly signature: Uint8Array;
}

/** The voter has not got `previous`. */
export interface Mismatched extends Said {
  readonly kind: 'mismatched';
  readonly ballot: Ballot;
  /** Up to here it has what is committed. */
  readonly committed: number;
}

/** A higher ballot was promised. */
export interface Refused {
  readonly kind: 'refused';
  readonly generation: number;
  readonly ballot: Ballot;
  readonly promised: Ballot;
}

export interface Registered<V> extends Said {
  readonly kind: 'registered';
  /** The boot that was asked about. */
  readonly of: Boot;
  readonly promised: Ballot;
  /** Its disk lacks nothing: it votes, or is vouched for. Else it comes back itself (B2). */
  readonly isWhole: boolean;
  readonly report: LogReport<V>;
}

/** The boot is not above one that is known: an empty or rolled-back disk, or a copy (B6). */
export interface Outdated {
  readonly kind: 'outdated';
  readonly generation: number;
  readonly of: Boot;
}

export type ToAcceptorMessage<V> = Prepare | Accept<V> | Register;
export type ToOwnerMessage<V> = Promised<V> | Accepted | Mismatched | Refused;
export type RegistrationMessage<V> = Registered<V> | Outdated;
/** A voter's core takes these two kinds, an owner's the other. */
export type AcceptorMessage<V> = ToAcceptorMessage<V> | RegistrationMessage<V>;
export type FencedLogMessage<V> = AcceptorMessage<V> | ToOwnerMessage<V>;
