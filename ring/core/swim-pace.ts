/** When views are compared: now and then, and soon after one another while members are unheard of. */
import { type Random, randomInt } from '../../spec/random.ts';
import type { SwimOptions } from './swim-options.ts';

export class SwimPace {
  readonly #options: SwimOptions;
  #restMs: number;
  dueMs: number;

  constructor(options: SwimOptions, nowMs: number, random: Random) {
    this.#options = options;
    this.#restMs = options.syncIntervalMs;
    this.dueMs = nowMs + randomInt(random, options.syncIntervalMs);
  }

  /** The roster names members that are not heard of yet. */
  hurry(nowMs: number): void {
    this.#restMs = this.#options.gossipIntervalMs;
    this.dueMs = Math.min(this.dueMs, nowMs + this.#restMs);
  }

  /** It is time. @returns whether that is to catch up: of a member that never was there nobody can tell, so each rest is longer. */
  next(nowMs: number, hasUnheard: boolean): boolean {
    const { syncIntervalMs } = this.#options;
    const isCatchingUp = hasUnheard && this.#restMs < syncIntervalMs;
    this.#restMs = isCatchingUp ? Math.min(this.#restMs * 2, syncIntervalMs) : syncIntervalMs;
    this.dueMs = nowMs + this.#restMs;
    return isCatchingUp;
  }
}
