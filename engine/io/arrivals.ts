/** What programs send to a run, as events for its inbox. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../spec/clock.ts';
import type { PayloadCodec } from '../core/payload.ts';
import { mayCallBody } from '../core/run.ts';
import type { Arrival } from './live-run.ts';
import type { Tracing } from './tracing.ts';

/** Without who waits for it to be durable. */
export type Sent = Omit<Arrival, 'settled'>;

export interface ArrivalsOptions {
  readonly clock: Clock;
  readonly payloads: PayloadCodec;
  readonly tracing: Tracing;
}

export class Arrivals {
  readonly #options: ArrivalsOptions;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** The same id again is once; refused when the run's history is full. @throws PayloadTypeError, PayloadTooLargeError */
  signal(name: string, payload: unknown, id?: string): Sent {
    const encoded = this.#options.payloads.encode(payload, `payload of signal "${name}"`);
    return {
      event: {
        kind: 'signal-received',
        at: this.#nowMs(),
        name,
        payload: encoded,
        ...(id === undefined ? {} : { id }),
      },
      ...this.#sender(),
      wanted: (run) => {
        if (id !== undefined && run.signalIds.has(id)) return false;
        run.checkRoom();
        return true;
      },
    };
  }

  /** Refused by the run's own check before it is recorded. @throws PayloadTypeError, PayloadTooLargeError */
  update(name: string, argument: unknown, named?: string): Sent & { id: string } {
    const id = named ?? randomUUID();
    const payload = this.#options.payloads.encode(argument, `argument of update "${name}"`);
    return {
      id,
      event: {
        kind: 'update-accepted',
        at: this.#nowMs(),
        name,
        payload,
        id,
        ...(named === undefined ? { unnamed: true } : {}),
      },
      ...this.#sender(),
      wanted: (run) => {
        if (run.updates.has(id)) return false;
        run.checkRoom();
        run.handlers.validateUpdate(name, this.#options.payloads.decode(payload));
        return true;
      },
    };
  }

  /** Asked twice is asked once. */
  cancel(reason: string): Sent {
    return {
      event: { kind: 'cancel-requested', at: this.#nowMs(), reason },
      wanted: (run) => run.root.cancelled === undefined,
    };
  }

  terminate(reason: string): Sent {
    return { event: { kind: 'terminated', at: this.#nowMs(), reason } };
  }

  /** The body is called, unless it was already. */
  begin(): Sent {
    return { event: { kind: 'begun', at: this.#nowMs() }, wanted: mayCallBody };
  }

  #sender(): Pick<Arrival, 'trace'> {
    const trace = this.#options.tracing.current();
    return trace === undefined ? {} : { trace };
  }

  #nowMs(): number {
    return this.#options.clock.nowMs();
  }
}
