/** What is compared: systems that do the same work, each in a process of its own. */

export const STEPS = 10;
/** About 100 bytes as JSON: what a step returns and a signal carries. */
export const PAYLOAD: { readonly id: string; readonly note: string } = {
  id: 'abcdefghij',
  note: 'x'.repeat(74),
};

/** What a commit has reached when it is acknowledged, as the subject itself says once it is open. */
export interface Durability {
  readonly text: string;
  /** It outlives a loss of power. */
  readonly full: boolean;
}

/** An open system. Its process is killed at the end, so it needs no way to close. */
export interface Subject {
  readonly durability: Durability;
  /** One run of ten steps that return PAYLOAD, from its start to its result. */
  steps10(): Promise<unknown>;
  /** One run that does nothing, from its start to its result. */
  empty(): Promise<unknown>;
  /** Brings a run to where it waits for a signal. @returns signals it, and ends when the run has */
  signal(): Promise<() => Promise<unknown>>;
}

/** A system whose runs outlive its process. */
export interface DurableSubject extends Subject {
  /** Starts run number `run` of ten steps, each of which calls `Opening.onStep`. Ends when that is acknowledged. */
  startMid(run: number): Promise<unknown>;
  /**
   * Ends when all of these have their durable results or never will, also if another process started them.
   *
   * @returns those that have
   */
  midResults(runs: readonly number[]): Promise<readonly number[]>;
}

export interface Opening {
  /** Where its data is or shall be. */
  readonly folder: string;
  /** Of its backend, or empty. */
  readonly address: string;
  /** The folder was used by a process that was killed. */
  readonly again: boolean;
  /** A package of the folder that `bench/peers` is installed in. */
  readonly load: (name: string) => unknown;
  /** Called by the body of each step of a mid run. */
  readonly onStep: (run: number, step: number) => void;
}

/** A server that a subject needs beside its process. */
export interface Backend {
  /** What its client connects to. */
  readonly address: string;
  /** kill -9 and a new start on the same data, when it is the engine that is to recover; a database is not. */
  readonly crash?: { kill(): Promise<void>; restart(): Promise<void> };
  stop(): Promise<void>;
}

export interface BackendOptions {
  readonly folder: string;
  /** Where `bench/peers` is installed. */
  readonly packages: string;
}

/** A system that can be opened. The module that has it loads nothing of it before. */
export interface Source {
  readonly name: string;
  open(opening: Opening): Promise<Subject>;
  /** @throws Error why it cannot be had on this machine */
  startBackend?(options: BackendOptions): Promise<Backend>;
}

export interface Peer extends Source {
  open(opening: Opening): Promise<DurableSubject>;
  /** The package of `bench/peers/package.json` whose version is the peer's. */
  readonly package: string;
}
