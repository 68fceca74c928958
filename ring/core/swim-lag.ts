/**
 * How long the rest of the node has stood still while its membership goes on, which by itself would speak for a
 * node that does no work. A cause that local health (Lifeguard, Dadgar, Phillips, Currey, DSN-W 2018) can see.
 */

/** So long a loop is busy. Beyond, each second of it is a sign that the node is slow. */
const BUSY_MS = 1_000;
/** Beyond, what this node sees of others counts for nothing. */
const BLOCKED_MS = 2_000;

export class LoopLag {
  readonly #silenceMs: number;
  /** The most of the present standstill. */
  #lagMs = 0;

  /** @param silenceMs beyond, the node counts as gone. */
  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
  }

  /** It accuses nobody. */
  get isBlocked(): boolean {
    return this.#lagMs > BLOCKED_MS;
  }

  /** It hears nothing and says nothing. */
  get isSilent(): boolean {
    return this.#lagMs > this.#silenceMs;
  }

  /**
   * @returns signs that the node is slow; and, once it goes on, for how long it stood still (0: not so long that it
   * matters; Infinity: it was gone).
   */
  note(lagMs: number): { ails: number; lostMs: number } {
    if (lagMs > BUSY_MS) {
      const before = this.#lagMs;
      this.#lagMs = Math.max(before, lagMs);
      return { ails: secondsOf(this.#lagMs) - secondsOf(before), lostMs: 0 };
    }
    const lostMs = this.isSilent ? Infinity : this.isBlocked ? this.#lagMs : 0;
    this.#lagMs = 0;
    return { ails: 0, lostMs };
  }
}

function secondsOf(lagMs: number): number {
  return Math.floor(lagMs / 1_000);
}
