/**
 * How many owners must answer before an operation counts as done.
 *
 * A set is the owners of a key in one placement. A settled epoch has one placement; a pending one
 * has two, the previous and the next, and a level is met only when it is met in each of them.
 *
 * I1  Two quorums of one set share a member.
 * I2  Only owners count: a stand-in that keeps a hint never does.
 */

export type Level = 'one' | 'quorum' | 'all';

/** How many of a set's owners a level asks for. */
export function needed(level: Level, owners: number): number {
  if (level === 'one') return Math.min(1, owners);
  return level === 'all' ? owners : Math.floor(owners / 2) + 1;
}

/** Counts the answers to one question that was put to every owner. */
export class Tally {
  readonly #sets: readonly (readonly string[])[];
  readonly #level: Level;
  readonly #accepted: Set<string> = new Set();
  readonly #failed: Set<string> = new Set();

  constructor(sets: readonly (readonly string[])[], level: Level) {
    this.#sets = sets;
    this.#level = level;
  }

  accept(node: string): void {
    this.#accepted.add(node);
  }

  fail(node: string): void {
    this.#failed.add(node);
  }

  /** `met`: enough accepted. `missed`: too many failed for that. A set without owners is missed. */
  get state(): 'open' | 'met' | 'missed' {
    let isMet = true;
    for (const owners of this.#sets) {
      const need = needed(this.#level, owners.length);
      const accepted = owners.filter((node) => this.#accepted.has(node)).length;
      const failed = owners.filter((node) => this.#failed.has(node) && !this.#accepted.has(node));
      if (owners.length === 0 || owners.length - failed.length < need) return 'missed';
      if (accepted < need) isMet = false;
    }
    return isMet ? 'met' : 'open';
  }
}

/** The members of all sets, each once, in order of preference. */
export function union(sets: readonly (readonly string[])[]): string[] {
  return [...new Set(sets.flat())];
}
