/** One attempt of a step: its function called, with its deadlines and its abort signal. */
import type { Clock } from '../../spec/clock.ts';
import { durationMs } from '../../spec/duration.ts';
import type { StepContext } from '../core/contract.ts';
import { TimeoutError } from '../core/errors.ts';
import type { Operation, StepState } from '../core/operation.ts';
import type { Json } from '../core/payload.ts';
import { Heartbeats } from './heartbeats.ts';

export type Outcome = { readonly value: unknown } | { readonly error: unknown };

export interface AttemptOptions {
  readonly idempotencyKey: string;
  readonly ballot: string;
  readonly clock: Clock;
  readonly lastHeartbeat: unknown;
  /** Calls the function, in the span of the attempt. */
  readonly enter?: (<T>(act: () => T) => T) | undefined;
  /** What is recorded of details. @throws PayloadTypeError, PayloadTooLargeError */
  readonly encode: (details: unknown) => Json;
  readonly onProgress: (details: Json) => void;
  /** Called once. After a timeout the function may still run; what it returns then is not looked at. */
  readonly onSettled: (outcome: Outcome) => void;
}

export class Attempt {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #onSettled: (outcome: Outcome) => void;
  readonly #timers: (() => void)[] = [];
  #heartbeats: Heartbeats<Json> | undefined;
  #cancelHeartbeatTimer: (() => void) | undefined;
  #settled = false;

  constructor(operation: Operation & { step: StepState }, options: AttemptOptions) {
    this.#clock = options.clock;
    this.#onSettled = options.onSettled;
    const { timeout, totalTimeout, heartbeatTimeout } = operation.step.options;
    if (timeout !== undefined) {
      this.#failAfter(durationMs(timeout), `step "${operation.name}" took longer than ${timeout}`);
    }
    if (totalTimeout !== undefined) {
      const leftMs = operation.scheduledAt + durationMs(totalTimeout) - options.clock.nowMs();
      const why = `step "${operation.name}" took longer than ${totalTimeout} in all`;
      this.#failAfter(Math.max(0, leftMs), why);
    }
    const watch = (): void => {
      this.#cancelHeartbeatTimer?.();
      if (heartbeatTimeout === undefined || this.#settled) return;
      this.#cancelHeartbeatTimer = options.clock.after(durationMs(heartbeatTimeout), () =>
        this.#fail(new TimeoutError(`step "${operation.name}" gave no sign of life`)),
      );
    };
    watch();
    const { fn } = operation.step;
    const { enter } = options;
    this.#call(enter === undefined ? fn : (context) => enter(() => fn(context)), {
      attempt: operation.step.attempt,
      idempotencyKey: options.idempotencyKey,
      ballot: options.ballot,
      signal: this.#controller.signal,
      lastHeartbeat: options.lastHeartbeat,
      heartbeat: (details) => {
        if (this.#settled) return;
        watch();
        const progress = options.encode(details);
        this.#heartbeats ??= new Heartbeats(options.clock, options.onProgress);
        this.#heartbeats.note(progress);
      },
    });
  }

  /** Tells the function that nobody wants its result. */
  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** Nobody waits for its outcome any more, nor does it have a deadline. */
  stop(): void {
    this.#settled = true;
    this.#clearTimers();
  }

  #call(fn: StepState['fn'], context: StepContext): void {
    let result: unknown;
    try {
      result = fn(context);
    } catch (error) {
      queueMicrotask(() => this.#settle({ error }));
      return;
    }
    Promise.resolve(result).then(
      (value) => this.#settle({ value }),
      (error: unknown) => this.#settle({ error }),
    );
  }

  #failAfter(delayMs: number, why: string): void {
    this.#timers.push(this.#clock.after(delayMs, () => this.#fail(new TimeoutError(why))));
  }

  #fail(error: TimeoutError): void {
    this.#controller.abort(error);
    this.#settle({ error });
  }

  #settle(outcome: Outcome): void {
    if (this.#settled) return;
    this.stop();
    if ('error' in outcome) this.#heartbeats?.flush();
    this.#onSettled(outcome);
  }

  #clearTimers(): void {
    for (const cancel of this.#timers) cancel();
    this.#cancelHeartbeatTimer?.();
    this.#heartbeats?.stop();
  }
}
