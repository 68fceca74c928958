/**
 * The clocks of a machine as an engine needs them.
 *
 * W1. Elapsed time goes on while the machine is suspended. Node's does not; the system's uptime does, and tells.
 * W2. A wait for a time of day ends when the wall clock shows it, also after a jump.
 * W3. So no timer of Node runs for longer than `LOOK_EVERY_MS`: it would see neither. (One of more than 2^31 - 1 ms
 *     would end at once.)
 */
import { uptime } from 'node:os';
import type { Clock } from '../../spec/clock.ts';

/** What a machine has. */
export interface Machine {
  /** Unix ms; jumps. */
  wallMs(): number;
  /** Grows evenly, and stands still during a suspension. */
  monotonicMs(): number;
  /** Grows evenly, also during a suspension. May be coarse. @throws where it cannot be read: suspensions are not seen then */
  uptimeMs(): number;
  /** @returns cancels it */
  timer(delayMs: number, wake: () => void): () => void;
}

/** What became due during a suspension, or by a jump of the wall clock, is noticed no later than this. */
export const LOOK_EVERY_MS = 30_000;
/** Less is how coarse an uptime may be. */
const SUSPENSION_MS_MIN = 2_000;

export function machineClock(machine: Machine): Clock {
  const aheadMs = (): number | undefined => {
    try {
      return machine.uptimeMs() - machine.monotonicMs();
    } catch {
      return undefined;
    }
  };
  let awakeAheadMs = aheadMs();
  let lookedMs = machine.monotonicMs();
  let suspendedMs = 0;

  const monotonicMs = (): number => machine.monotonicMs() + suspendedMs;

  function lookForSuspension(): void {
    const nowMs = machine.monotonicMs();
    if (nowMs - lookedMs < LOOK_EVERY_MS) return;
    lookedMs = nowMs;
    const nowAheadMs = aheadMs();
    if (nowAheadMs === undefined || awakeAheadMs === undefined) return;
    const missedMs = nowAheadMs - awakeAheadMs;
    if (missedMs > SUSPENSION_MS_MIN) suspendedMs += missedMs; // W1
    if (missedMs > SUSPENSION_MS_MIN || missedMs < 0) awakeAheadMs = nowAheadMs;
  }

  function wait(leftMs: () => number, wake: () => void): () => void {
    const set = (): (() => void) =>
      machine.timer(Math.min(Math.max(0, leftMs()), LOOK_EVERY_MS), look); // W3
    const look = (): void => {
      lookForSuspension();
      if (leftMs() <= 0) wake();
      else cancel = set();
    };
    let cancel = set();
    return () => cancel();
  }

  return {
    nowMs: () => machine.wallMs(),
    monotonicMs,
    after(delayMs, wake) {
      const dueMs = monotonicMs() + delayMs;
      return wait(() => dueMs - monotonicMs(), wake);
    },
    until: (epochMs, wake) => wait(() => epochMs - machine.wallMs(), wake), // W2
  };
}

export const systemClock: Clock = machineClock({
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  uptimeMs: () => uptime() * 1_000,
  timer(delayMs, wake) {
    const timer = setTimeout(wake, delayMs);
    return () => clearTimeout(timer);
  },
});
