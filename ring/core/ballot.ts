/**
 * Who may write a log: the higher ballot.
 *
 * L1 of spec/epoch.md: no ballot is used twice. `run` is drawn at random when a process starts, so a
 * node that has forgotten its counters, or a copy of it, still makes ballots of its own.
 */
export interface Ballot {
  readonly counter: number;
  readonly node: string;
  /** Of the process that made it: a random integer. */
  readonly run: number;
}

/** Below every ballot that a node makes. */
export const NO_BALLOT: Ballot = { counter: 0, node: '', run: 0 };

/** Negative when `a` is lower, positive when it is higher, 0 when they are the same. */
export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.counter !== b.counter) return a.counter - b.counter;
  if (a.node !== b.node) return a.node < b.node ? -1 : 1;
  return a.run - b.run;
}

export function isSameBallot(a: Ballot, b: Ballot): boolean {
  return a.counter === b.counter && a.run === b.run && a.node === b.node;
}

export function higherBallot(a: Ballot, b: Ballot): Ballot {
  return compareBallots(a, b) >= 0 ? a : b;
}
