/** `aether/engine/testing`: an engine in memory whose time is a number. */
import type { Clock } from '../spec/clock.ts';
import { type Duration, durationMs } from '../spec/duration.ts';
import { type Log, silentLog } from '../spec/log.ts';
import { seededRandom } from '../spec/random.ts';
import { Engine } from './engine.ts';
import { systemClock } from './io/machine-clock.ts';
import { MemoryStore } from './io/memory.ts';
import type { WorkflowHandle } from './handle.ts';
import type { EngineOptions } from './options.ts';

export { MemoryStore } from './io/memory.ts';

/** `log` by default prints what is an error, such as a run that is stuck. */
export type TestEngineOptions = Omit<EngineOptions, 'store' | 'clock'> & {
  /** Of the jitter of retries. Default 1. */
  seed?: number;
  /** Unix ms. Default 2030-01-01. */
  startAt?: number;
  /**
   * Jump to the next timer when nothing else can run and a call of a handle, or of `schedules`, is awaited: so a
   * schedule or an endless loop stands still meanwhile. Default true; false: only `advance` moves time.
   */
  skipTime?: boolean;
};

/** Who waits for a run that is stuck waits for ever: a test that hangs has the reason in its output. */
const testLog: Log = { ...silentLog, error: (fields, message) => console.error(message, fields) };
const START_AT = Date.UTC(2030, 0, 1);
/** Turns of the event loop that must pass without work before time jumps, so that a test's next call comes first. */
const QUIET_TURNS = 3;

export class TestEngine extends Engine {
  readonly clock: VirtualClock;
  readonly #store: MemoryStore;
  readonly #testOptions: TestEngineOptions;

  private constructor(options: TestEngineOptions, store: MemoryStore, clock: VirtualClock) {
    const { strict = true, seed = 1 } = options;
    super({ log: testLog, ...options, strict, store, clock, random: seededRandom(seed) });
    this.#testOptions = options;
    this.#store = store;
    this.clock = clock;
    clock.attach(() => this.executor.activity);
  }

  static override async open(options: TestEngineOptions): Promise<TestEngine> {
    const clock = new VirtualClock(options.startAt ?? START_AT, options.skipTime ?? true);
    return TestEngine.#open(options, new MemoryStore(), clock);
  }

  static async #open(
    options: TestEngineOptions,
    store: MemoryStore,
    clock: VirtualClock,
  ): Promise<TestEngine> {
    const engine = new TestEngine(options, store, clock);
    await engine.begin();
    return engine;
  }

  protected override get waitClock(): Clock {
    return this.clock.orRealTime;
  }

  protected override handle<O>(...whose: Parameters<Engine['handle']>): WorkflowHandle<O> {
    const handle = super.handle<O>(...whose);
    const awaited = <T>(call: Promise<T>): Promise<T> => this.clock.awaited(call);
    return {
      id: handle.id,
      result: (options) => awaited(handle.result(options)),
      describe: () => awaited(handle.describe()),
      history: () => awaited(handle.history()),
      signal: (...call) => awaited(handle.signal(...call)),
      query: (...call) => awaited(handle.query(...call)),
      update: (...call) => awaited(handle.update(...call)),
      cancel: (reason) => awaited(handle.cancel(reason)),
      terminate: (reason) => awaited(handle.terminate(reason)),
    };
  }

  /** Lets time pass, and everything that happens meanwhile happen. */
  advance(duration: Duration): Promise<void> {
    return this.clock.advance(durationMs(duration));
  }

  /** Drops everything that is not durable and opens again on the same store, as after kill -9. */
  async crash(): Promise<TestEngine> {
    this.executor.kill();
    return TestEngine.#open(this.#testOptions, this.#store, this.clock);
  }

  override async close(): Promise<void> {
    this.clock.detach();
    await super.close();
  }
}

interface VirtualTimer {
  /** In elapsed time; that of a time of day changes when the wall clock jumps. */
  readonly dueMs: () => number;
  readonly wake: () => void;
}

/** Time that moves when it is told to, or when somebody waits and there is nothing else to do. */
export class VirtualClock implements Clock {
  readonly #skipTime: boolean;
  readonly #timers = new Set<VirtualTimer>();
  #activity: () => 'busy' | 'steps' | 'none' = () => 'none';
  #elapsedMs: number;
  #wallAheadMs = 0;
  #watching = false;
  #advancing = false;
  #awaited = 0;
  /**
   * For waits: a timeout is over after so much of this time, or else after so much real time. Time does not jump while
   * a step is under way, so a wait for a step that hangs would never be over.
   */
  readonly orRealTime: Clock = {
    nowMs: () => this.nowMs(),
    monotonicMs: () => this.monotonicMs(),
    after: (delayMs, wake) => {
      const once = (): void => {
        cancel();
        wake();
      };
      const cancels = [this.after(delayMs, once), systemClock.after(delayMs, once)];
      const cancel = (): void => cancels.forEach((one) => one());
      return cancel;
    },
  };

  constructor(startAtMs: number, skipTime: boolean) {
    this.#elapsedMs = startAtMs;
    this.#skipTime = skipTime;
  }

  now(): number {
    return this.nowMs();
  }
  nowMs(): number {
    return this.#elapsedMs + this.#wallAheadMs;
  }
  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, wake: () => void): () => void {
    const dueMs = this.#elapsedMs + delayMs;
    return this.#set({ dueMs: () => dueMs, wake });
  }

  until(epochMs: number, wake: () => void): () => void {
    return this.#set({ dueMs: () => epochMs - this.#wallAheadMs, wake });
  }

  /** Sets the wall clock forward, or back; no time passes by that. */
  jump(byMs: number): void {
    this.#wallAheadMs += byMs;
    this.#watch();
  }

  #set(timer: VirtualTimer): () => void {
    this.#timers.add(timer);
    this.#watch();
    return () => void this.#timers.delete(timer);
  }

  /** While this is not settled, time may jump. */
  async awaited<T>(promise: Promise<T>): Promise<T> {
    this.#awaited++;
    this.#watch();
    try {
      return await promise;
    } finally {
      this.#awaited--;
    }
  }

  attach(activity: () => 'busy' | 'steps' | 'none'): void {
    this.#activity = activity;
  }

  /** Nothing fires any more. */
  detach(): void {
    this.#timers.clear();
  }

  async advance(byMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + byMs;
    this.#advancing = true;
    try {
      await this.#settled();
      for (
        let next = this.#next();
        next !== undefined && next.dueMs() <= untilMs;
        next = this.#next()
      ) {
        this.#fire(next);
        await this.#settled();
      }
      this.#elapsedMs = Math.max(this.#elapsedMs, untilMs);
    } finally {
      this.#advancing = false;
      this.#watch();
    }
  }

  /** Fires what is due, and jumps when that is allowed, as long as a timer is set. */
  #watch(): void {
    if (this.#watching || this.#timers.size === 0) return;
    this.#watching = true;
    void this.#step().finally(() => {
      this.#watching = false;
      const next = this.#next();
      if (next !== undefined && (this.#mayJump() || next.dueMs() <= this.#elapsedMs)) this.#watch();
    });
  }

  async #step(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
      await turn(this.#activity() === 'steps');
      if (this.#activity() !== 'none') quiet = -1;
      const due = this.#next();
      if (due === undefined) return;
      if (due.dueMs() <= this.#elapsedMs) return this.#fire(due);
    }
    const next = this.#next();
    if (next !== undefined && this.#mayJump()) this.#fire(next);
  }

  #mayJump(): boolean {
    return this.#skipTime && this.#awaited > 0 && !this.#advancing;
  }

  async #settled(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
      await turn(false);
      if (this.#activity() === 'busy') quiet = -1;
    }
  }

  #next(): VirtualTimer | undefined {
    let next: VirtualTimer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.dueMs() < next.dueMs()) next = timer;
    }
    return next;
  }

  #fire(timer: VirtualTimer): void {
    this.#timers.delete(timer);
    this.#elapsedMs = Math.max(this.#elapsedMs, timer.dueMs());
    timer.wake();
  }
}

/** One turn of the event loop; a millisecond of it while real work is waited for. */
function turn(slow: boolean): Promise<void> {
  return new Promise((resolve) => void (slow ? setTimeout(resolve, 1) : setImmediate(resolve)));
}
