/**
 * Runs the steps of runs: each attempt under its deadlines, its outcome handed back as an event.
 *
 * What begins here is durable already (E1 of executor.ts); what comes back is not, until the executor has committed it.
 */
import type { AetherError } from '../../spec/error.ts';
import type { Clock } from '../../spec/clock.ts';
import { durationMs } from '../../spec/duration.ts';
import type { Random } from '../../spec/random.ts';
import { EngineClosedError } from '../core/errors.ts';
import type { OutsideEvent } from '../core/event.ts';
import { failureOf } from '../core/failure.ts';
import type { Operation, StepState } from '../core/operation.ts';
import type { Json, PayloadCodec } from '../core/payload.ts';
import { retryDelayMs } from '../core/retry.ts';
import type { Run } from '../core/run.ts';
import { Attempt, type Outcome } from './attempt.ts';
import type { Arrival, LiveRun } from './live-run.ts';
import type { AttemptOutcome, EngineMetrics } from './metrics.ts';
import { type EngineProbe, nameOf } from './probe.ts';
import { Slots } from './slots.ts';
import type { Tracing } from './tracing.ts';

export interface StepRunnerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly payloads: PayloadCodec;
  /** Runs that have steps in flight at once. */
  readonly concurrency: number;
  readonly probe: EngineProbe;
  readonly tracing: Tracing;
  readonly metrics: EngineMetrics;
}

export interface StepRunnerPorts {
  readonly ballot: () => string;
  /** Something came for a run. */
  readonly arrived: (live: LiveRun, arrival: Arrival) => void;
}

export class StepRunner {
  readonly #options: StepRunnerOptions;
  readonly #ports: StepRunnerPorts;
  readonly #slots: Slots;

  constructor(options: StepRunnerOptions, ports: StepRunnerPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#slots = new Slots(options.concurrency);
  }

  /** Begins the next attempt of a step, at once or when a place is free. Twice is once. */
  begin(live: LiveRun, operation: Operation): void {
    if (live.ready.has(operation.op) || live.attempts.has(operation.op)) return;
    if (operation.cancelled !== undefined) return this.fail(live, operation, operation.cancelled);
    live.ready.set(operation.op, operation);
    if (live.place === 'held') return this.#startReady(live);
    if (live.place === 'waiting') return;
    live.place = 'waiting';
    this.#slots.request(live.run?.started.priority ?? 0, () => {
      live.place = 'held';
      this.#startReady(live);
      this.#releasePlace(live);
    });
  }

  #startReady(live: LiveRun): void {
    for (const operation of live.ready.values()) {
      live.ready.delete(operation.op);
      const { run } = live;
      if (live.gone || run?.operation(operation.op) !== operation) continue;
      this.#attempt(live, run, operation as Operation & { step: StepState });
    }
  }

  #attempt(live: LiveRun, run: Run, operation: Operation & { step: StepState }): void {
    const { clock, payloads, tracing, metrics } = this.#options;
    const { lastHeartbeat, retryAt = operation.scheduledAt } = operation.step;
    const span = tracing.attempt(live, run, operation);
    const beganMs = clock.monotonicMs();
    if (operation.kind === 'step') {
      metrics.attemptBegan(run.identity.name, clock.nowMs() - retryAt);
    }
    const attempt = new Attempt(operation, {
      idempotencyKey: `${live.runId}/${operation.op}`,
      ballot: this.#ports.ballot(),
      clock,
      lastHeartbeat: lastHeartbeat === undefined ? undefined : payloads.decode(lastHeartbeat),
      encode: (details) => payloads.encode(details, `heartbeat of step "${operation.name}"`),
      onProgress: (payload) => this.#progressed(live, operation, payload),
      enter: span?.enter,
      onSettled: (outcome) => {
        span?.end(outcome);
        if (live.gone) return;
        const ended = this.#settled(live, run, operation, outcome);
        if (operation.kind !== 'step') return;
        metrics.attemptEnded(run.identity.name, ended, clock.monotonicMs() - beganMs);
      },
    });
    live.attempts.set(operation.op, attempt);
  }

  #progressed(live: LiveRun, { op }: Operation, payload: Json): void {
    const event = {
      kind: 'step-progressed',
      at: this.#options.clock.nowMs(),
      op,
      payload,
    } as const;
    this.#ports.arrived(live, { event, wanted: (run) => run.operation(op) !== undefined });
  }

  #settled(
    live: LiveRun,
    run: Run,
    operation: Operation & { step: StepState },
    outcome: Outcome,
  ): AttemptOutcome {
    const { kind, name, op } = operation;
    this.#options.probe.effectDone?.({ ...nameOf(run), seq: op, kind, step: name });
    return 'error' in outcome
      ? this.#failed(live, operation, outcome.error)
      : this.#succeeded(live, operation, outcome.value);
  }

  #succeeded(
    live: LiveRun,
    operation: Operation & { step: StepState },
    value: unknown,
  ): AttemptOutcome {
    const { payloads, clock } = this.#options;
    try {
      const payload = payloads.encode(value, `result of step "${operation.name}"`);
      const { op, name } = operation;
      const event = { kind: 'step-completed', at: clock.nowMs(), op, name, payload } as const;
      this.#arrived(live, operation, event);
      return 'completed';
    } catch (error) {
      this.fail(live, operation, error);
      return 'failed';
    }
  }

  #failed(
    live: LiveRun,
    operation: Operation & { step: StepState },
    error: unknown,
  ): AttemptOutcome {
    const { clock, payloads } = this.#options;
    const { trace } = operation.step;
    const at = clock.nowMs();
    let delayMs: number | undefined;
    try {
      delayMs = this.#delayMs(operation, error, at);
    } catch (thrown) {
      // `retryIf` is the program's.
      this.fail(live, operation, thrown);
      return 'failed';
    }
    if (delayMs === undefined) {
      this.fail(live, operation, error);
      return 'failed';
    }
    this.#arrived(live, operation, {
      kind: 'step-retried',
      at,
      op: operation.op,
      attempt: operation.step.attempt,
      error: failureOf(error, payloads),
      nextAt: at + delayMs,
      ...(trace === undefined ? {} : { trace }),
    });
    return 'retried';
  }

  /** @returns undefined when it is not tried again */
  #delayMs(
    { step, cancelled, scheduledAt }: Operation & { step: StepState },
    error: unknown,
    at: number,
  ): number | undefined {
    if (cancelled !== undefined) return undefined;
    const { retry = {}, totalTimeout } = step.options;
    const delayMs = retryDelayMs(retry, step.attempt, error, this.#options.random);
    if (delayMs === undefined) return undefined;
    return at + delayMs < totalDeadline(scheduledAt, totalTimeout) ? delayMs : undefined;
  }

  fail(live: LiveRun, operation: Operation, error: unknown): void {
    const { clock, payloads } = this.#options;
    this.#arrived(live, operation, {
      kind: 'step-failed',
      at: clock.nowMs(),
      op: operation.op,
      name: operation.name,
      attempts: operation.step?.attempt ?? 1,
      error: failureOf(error, payloads),
    });
  }

  /** An attempt counts as running until its outcome is delivered, so that no other begins in between. */
  #arrived(live: LiveRun, operation: Operation, event: OutsideEvent): void {
    this.#ports.arrived(live, {
      event,
      wanted: (run) => {
        live.attempts.delete(operation.op);
        this.#releasePlace(live);
        return run.stuck !== undefined || run.operation(operation.op) === operation;
      },
    });
  }

  /** Tells a step that nobody wants its result. @returns whether an attempt was running */
  abort(live: LiveRun, op: number, reason: AetherError | undefined): boolean {
    live.ready.delete(op);
    const attempt = live.attempts.get(op);
    attempt?.abort(reason ?? new EngineClosedError('the run is over'));
    return attempt !== undefined;
  }

  /** The run leaves memory with steps in flight: its place is free. */
  leave(live: LiveRun): void {
    if (live.place === 'held') this.#slots.release();
    live.place = 'none';
  }

  #releasePlace(live: LiveRun): void {
    if (live.place !== 'held' || live.attempts.size > 0 || live.ready.size > 0) return;
    live.place = 'none';
    this.#slots.release();
  }
}

function totalDeadline(scheduledAt: number, total: string | number | undefined): number {
  return total === undefined ? Infinity : scheduledAt + durationMs(total);
}
