import { test } from 'tap';
import type { Clock } from '../../spec/clock.ts';
import { silentLog } from '../../spec/log.ts';
import { seededRandom } from '../../spec/random.ts';
import { swimOptions } from '../core/swim-options.ts';
import { toWire } from '../core/swim-wire.ts';
import { SwimDriver } from './swim-driver.ts';

/** A driver on a clock that stands still until it is told, beside a main loop of which it hears. */
class Bench {
  readonly sent: number[] = [];
  slept = 0;
  nowMs = 0;
  /** When the main loop moved last. */
  pulseMs = 0;
  uptimeMs = 0;
  #wake: { atMs: number; call: () => void } | undefined;
  readonly driver: SwimDriver;

  constructor() {
    const clock: Clock = {
      nowMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      after: (delayMs, call) => {
        const wake = { atMs: this.nowMs + delayMs, call };
        this.#wake = wake;
        return () => {
          if (this.#wake === wake) this.#wake = undefined;
        };
      },
    };
    const facts = { addresses: ['a:1'], protocol: [1, 1], certificateEpoch: 1 } as const;
    this.driver = new SwimDriver({
      self: { id: 'a', incarnation: 1, facts },
      swim: swimOptions({ silenceMs: 3_000 }),
      clock,
      uptimeMs: () => this.uptimeMs,
      random: seededRandom(1),
      log: silentLog,
      epochNumber: () => 1,
      send: () => this.sent.push(this.nowMs),
      heardEpoch: () => {},
      changed: () => {},
      slept: () => this.slept++,
      keepIncarnation: () => {},
      lagMs: () => this.nowMs - this.pulseMs,
    });
    this.driver.setRoster(
      ['a', 'b', 'c'].map((id) => ({ id, address: `${id}:1` })),
      [],
    );
    for (const id of ['b', 'c'])
      this.driver.receive(toWire(1, { kind: 'gossip', incarnation: 1, updates: [] }), id);
  }

  /** Wakes come in time until then. */
  runUntil(untilMs: number, isMainRunning: boolean): void {
    while (this.#wake !== undefined && this.#wake.atMs <= untilMs) {
      const { atMs, call } = this.#wake;
      this.uptimeMs += Math.max(0, atMs - this.nowMs);
      this.nowMs = Math.max(this.nowMs, atMs);
      if (isMainRunning) this.pulseMs = this.nowMs;
      this.#wake = undefined;
      call();
    }
    this.nowMs = untilMs;
  }

  /** All of it stands still. */
  stop(forMs: number): void {
    this.nowMs += forMs;
    this.uptimeMs += forMs;
  }
}

test('a main loop that stays blocked makes the node silent until it moves', (t) => {
  const bench = new Bench();
  bench.runUntil(2_000, true);
  bench.runUntil(5_500, false);
  const before = bench.sent.length;
  bench.runUntil(10_000, false);
  t.equal(bench.sent.length, before);
  bench.runUntil(12_000, true);
  t.ok(bench.sent.length > before);
  t.equal(bench.slept, 1);
  t.end();
});

test('what all of the process stood still for is not counted as a blocked main loop', (t) => {
  const bench = new Bench();
  bench.runUntil(2_000, true);
  bench.stop(20_000);
  const before = bench.sent.length;
  bench.runUntil(22_400, false); // The main loop is a little later to come back.
  t.ok(bench.sent.length > before, 'it asks for news at once');
  bench.runUntil(24_000, true);
  t.equal(bench.slept, 1, 'it has slept, and once');
  // A blocked one is found also by a thread that is late itself now and then.
  for (let i = 0; i < 6; i++) {
    bench.stop(900);
    bench.runUntil(bench.nowMs + 1_000, false);
  }
  const silent = bench.sent.length;
  bench.runUntil(bench.nowMs + 3_000, false);
  t.equal(bench.sent.length, silent);
  t.end();
});

test('a clock that goes on in suspend tells of sleep', (t) => {
  const bench = new Bench();
  bench.runUntil(2_000, true);
  bench.uptimeMs += 60_000;
  bench.runUntil(3_000, true);
  t.equal(bench.slept, 1);
  t.end();
});
