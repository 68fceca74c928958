import type { Clock } from './clock.ts';

/** The clock of this machine. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, wake) {
    // setTimeout holds 2^31 - 1 ms at most and fires at once beyond.
    const timer = setTimeout(wake, Math.min(delayMs, 2_147_483_647));
    return () => clearTimeout(timer);
  },
};
