/** Time as an argument: what a shell hands to a core, and a simulator replaces. */
export interface Clock {
  /** Unix milliseconds, UTC; may jump. */
  nowMs(): number;
  /** Milliseconds that only grow; the origin means nothing. */
  monotonicMs(): number;
  /** Calls `wake` once after `delayMs`. @returns cancels it; harmless afterwards. */
  after(delayMs: number, wake: () => void): () => void;
  /** Calls `wake` once `nowMs` is `epochMs`, also if it jumps there; absent: who waits counts by `after`. @returns as `after` */
  until?(epochMs: number, wake: () => void): () => void;
}
