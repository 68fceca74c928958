/** A member of a lattice under measurement, of ours or of a peer's. */

/** What a member said of another, when it came to this process. */
export interface Heard {
  readonly atMs: number;
  readonly by: number;
  readonly who: number;
  /** `suspect`: it did not answer; `dead`: it is taken for gone. */
  readonly state: 'alive' | 'suspect' | 'dead';
}

export interface Member {
  /** Undefined before it has a process. */
  readonly pid: number | undefined;
  /** Makes it ready to join at once. */
  prepare(): Promise<void>;
  /** Tells it to join. */
  join(): void;
}

/** Makes members by number; 0 is the one that the others join at, once `isOpen` says that they can. */
export interface Kind {
  member(index: number, hear: (of: Omit<Heard, 'atMs' | 'by'>) => void): Member;
  /** Fulfilled once the others can join. */
  readonly isOpen: Promise<unknown>;
}
