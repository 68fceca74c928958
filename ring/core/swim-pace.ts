/** When views are compared: now and then, and soon after one another while members are unheard of. */
import { type Random, randomInt } from '../../spec/random.ts';
import type { SwimOptions } from './swim-options.ts';
import type { View } from './swim-view.ts';

/** The first rest, as a part of the usual interval of gossip, and how often it is so short before rests grow. */
const SOON_SHARE = 1 / 2;
const SOON_TIMES = 2;

export class SwimPace {
  readonly #options: SwimOptions;
  #restMs: number;
  /** Times left after so short a rest. */
  #times = 0;
  dueMs: number;

  constructor(options: SwimOptions, nowMs: number, random: Random) {
    this.#options = options;
    this.#restMs = options.syncIntervalMs;
    this.dueMs = nowMs + randomInt(random, options.syncIntervalMs);
  }

  /** The roster names members that are not heard of yet. */
  hurry(nowMs: number): void {
    this.#restMs = this.#options.gossipIntervalMs * SOON_SHARE;
    this.#times = SOON_TIMES;
    this.dueMs = Math.min(this.dueMs, nowMs + this.#restMs);
  }

  /** It is the time after members were named that may be unheard of. */
  get isCatchingUp(): boolean {
    return this.#restMs < this.#options.syncIntervalMs;
  }

  /**
   * It is time. @param view is looked through only when there may be somebody. @returns whether that is to catch up: of a member
   * that never was there nobody can tell, so rests grow.
   */
  next(nowMs: number, view: View): boolean {
    const { syncIntervalMs } = this.#options;
    const isCatchingUp = this.isCatchingUp && view.hasUnheard;
    if (!isCatchingUp) this.#restMs = syncIntervalMs;
    else if (--this.#times <= 0) this.#restMs = Math.min(this.#restMs * 2, syncIntervalMs);
    this.dueMs = nowMs + this.#restMs;
    return isCatchingUp;
  }
}
