import { test } from 'tap';
import { LOOK_EVERY_MS, machineClock } from './machine-clock.ts';

const HOUR_MS = 3_600_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A machine whose clocks are moved by hand. */
class HandMachine {
  #wallMs = 1_000_000;
  #awakeMs = 50;
  #suspendedMs = 0;
  readonly #timers = new Set<{ dueMs: number; wake: () => void }>();

  wallMs = (): number => this.#wallMs;
  monotonicMs = (): number => this.#awakeMs;
  /** As coarse as that of some systems. */
  uptimeMs = (): number =>
    Math.floor((777_000 + this.#awakeMs + this.#suspendedMs) / 1_000) * 1_000;
  timer = (delayMs: number, wake: () => void): (() => void) => {
    if (delayMs > LONGEST_TIMER_MS) throw new Error('setTimeout would fire at once');
    const timer = { dueMs: this.#awakeMs + delayMs, wake };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  set(wallByMs: number): void {
    this.#wallMs += wallByMs;
  }
  suspend(ms: number): void {
    this.#wallMs += ms;
    this.#suspendedMs += ms;
  }
  run(ms: number): void {
    const untilMs = this.#awakeMs + ms;
    for (;;) {
      const [next] = [...this.#timers].toSorted((a, b) => a.dueMs - b.dueMs);
      const atMs = Math.min(untilMs, next?.dueMs ?? untilMs);
      this.#wallMs += atMs - this.#awakeMs;
      this.#awakeMs = atMs;
      if (next === undefined || next.dueMs > untilMs) return;
      this.#timers.delete(next);
      next.wake();
    }
  }
}

function setUp() {
  const machine = new HandMachine();
  const clock = machineClock(machine);
  let woken = 0;
  return { machine, clock, wake: () => void woken++, woken: () => woken };
}

test('a wait is as long as it is, however long', async (t) => {
  const { machine, clock, wake, woken } = setUp();
  const longMs = 100 * 24 * HOUR_MS;
  clock.after(longMs, wake);
  const cancel = clock.after(longMs / 2, wake);
  machine.run(longMs / 3);
  cancel();
  machine.set(-5 * HOUR_MS);
  machine.run(longMs / 3);
  machine.set(999 * HOUR_MS);
  machine.run(longMs / 3 - 1);
  t.equal(woken(), 0);
  machine.run(1);
  t.equal(woken(), 1);
  machine.run(longMs);
  t.equal(woken(), 1);
});

test('time goes on while the machine is suspended', async (t) => {
  const { machine, clock, wake, woken } = setUp();
  clock.after(HOUR_MS, wake);
  const beganMs = clock.monotonicMs();
  machine.run(HOUR_MS / 2);
  machine.suspend(8 * HOUR_MS);
  machine.run(LOOK_EVERY_MS - 1);
  machine.run(1);
  t.equal(woken(), 1, 'noticed with the next look');
  t.ok(Math.abs(clock.monotonicMs() - beganMs - 8.5 * HOUR_MS - LOOK_EVERY_MS) <= 1_000);
  clock.after(HOUR_MS, wake);
  machine.run(HOUR_MS - 1_000);
  t.equal(woken(), 1, 'one suspension counts once');
  machine.run(LOOK_EVERY_MS);
  t.equal(woken(), 2);
});

test('a coarse uptime is no suspension', async (t) => {
  const { machine, clock } = setUp();
  const beganMs = clock.monotonicMs();
  clock.after(1_000 * HOUR_MS, () => {});
  for (let i = 0; i < 1_000; i++) machine.run(LOOK_EVERY_MS + 333.3);
  t.ok(Math.abs(clock.monotonicMs() - beganMs - 1_000 * (LOOK_EVERY_MS + 333.3)) < 1e-3);
});

test('where there is no uptime, time goes on as it does', async (t) => {
  const machine = new HandMachine();
  const { uptimeMs } = machine;
  const refused = (): number => {
    throw new Error('EACCES');
  };
  machine.uptimeMs = refused;
  const blind = machineClock(machine);
  machine.uptimeMs = uptimeMs;
  const half = machineClock(machine);
  for (const clock of [blind, half]) clock.after(10 * HOUR_MS, () => {});
  const beganMs = machine.monotonicMs();
  machine.run(HOUR_MS);
  machine.uptimeMs = refused;
  machine.run(HOUR_MS);
  machine.uptimeMs = uptimeMs;
  machine.run(HOUR_MS);
  for (const clock of [blind, half]) t.equal(clock.monotonicMs() - beganMs, 3 * HOUR_MS);
});

test('a time of day comes when the wall clock shows it', async (t) => {
  const { machine, clock, wake, woken } = setUp();
  const at = clock.nowMs() + HOUR_MS;
  clock.until?.(at, wake);
  clock.until?.(at, wake)();
  machine.run(HOUR_MS / 2);
  machine.set(-HOUR_MS);
  machine.run(HOUR_MS);
  t.equal(woken(), 0);
  machine.run(HOUR_MS / 2);
  t.equal(woken(), 1, 'when it is shown');
  t.equal(clock.nowMs(), at);
  clock.until?.(at + 5 * HOUR_MS, wake);
  machine.set(6 * HOUR_MS);
  machine.run(LOOK_EVERY_MS);
  t.equal(woken(), 2, 'with the next look, when it was jumped over');
  clock.until?.(at, wake);
  machine.run(0);
  t.equal(woken(), 3, 'at once, when it is over');
});
