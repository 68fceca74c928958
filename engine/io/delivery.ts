/**
 * Hands a run what comes for it, one after another.
 *
 * V1. Events of one run are handled one at a time, in order of arrival; so are looks at it, between two events.
 * V2. Who sent something hears once it is durable, or that it was not wanted and all before it is durable.
 */
import { NotFoundError } from '../core/errors.ts';
import type { OutsideEvent } from '../core/event.ts';
import type { Run } from '../core/run.ts';
import type { Advance } from '../core/run-ports.ts';
import type { Arrival, Inbound, LiveRun, Visit } from './live-run.ts';
import type { Tracing } from './tracing.ts';

type Settled = ((error?: Error) => void) | undefined;

export interface DeliveryPorts {
  readonly tracing: Tracing;
  /** Brings a run into memory; undefined: there is nothing to deliver to. */
  load(live: LiveRun): Promise<Run | undefined>;
  /** Makes durable what a run did. */
  commit(live: LiveRun, run: Run, advance: Advance, settled: Settled): void;
  /** Resolves when everything recorded so far is durable. */
  flushed(): Promise<void>;
  begins(live: LiveRun): void;
  /** Its inbox is empty. */
  ends(live: LiveRun): void;
  fails(live: LiveRun, error: Error): void;
}

export class Delivery {
  readonly #ports: DeliveryPorts;

  constructor(ports: DeliveryPorts) {
    this.#ports = ports;
  }

  deliver(live: LiveRun, inbound: Inbound): void {
    live.inbox.push(inbound);
    this.pump(live);
  }

  /** Loads the run if need be, and empties its inbox. */
  pump(live: LiveRun): void {
    if (live.pumping || live.gone) return;
    live.pumping = true; // V1
    this.#ports.begins(live);
    void this.#work(live)
      .catch((error: unknown) => this.#ports.fails(live, error as Error))
      .finally(() => {
        live.pumping = false;
        // Something may have come after the loop had ended and before this ran.
        if (live.inbox.length > 0) this.pump(live);
        else this.#ports.ends(live);
      });
  }

  whenDurable(live: LiveRun, settled: Settled): void {
    if (settled === undefined) return;
    if (live.uncommitted === 0) settled();
    else void this.#ports.flushed().then(() => settled()); // V2
  }

  async #work(live: LiveRun): Promise<void> {
    const run = live.run ?? (await this.#ports.load(live));
    if (run === undefined) return;
    for (let one = live.inbox.shift(); one !== undefined && !live.gone; one = live.inbox.shift()) {
      if ('visit' in one) this.#visit(live, run, one);
      else await this.#arrive(live, run, one);
    }
  }

  #visit(live: LiveRun, run: Run, { visit, settled }: Visit): void {
    try {
      visit(run, live.historyBytes);
      this.whenDurable(live, settled);
    } catch (error) {
      settled?.(error as Error);
    }
  }

  async #arrive(live: LiveRun, run: Run, arrival: Arrival): Promise<void> {
    const { event, settled } = arrival;
    try {
      if (run.closing !== undefined) {
        throw new NotFoundError(`run ${live.runId} is closed (${run.closing.kind})`);
      }
      if (arrival.wanted?.(run) === false) return this.whenDurable(live, settled);
    } catch (error) {
      return settled?.(error as Error);
    }
    const { tracing } = this.#ports;
    if (run.stuck === undefined) tracing.wake(live, run, event);
    const delivered = tracing.delivery(live, run, arrival);
    const heard = delivered === undefined ? settled : both(delivered, settled);
    try {
      this.#ports.commit(live, run, await this.#apply(live, run, event), heard);
    } catch (error) {
      heard?.(error as Error); // V2
      throw error;
    }
  }

  #apply(live: LiveRun, run: Run, event: OutsideEvent): Advance | Promise<Advance> {
    if (event.kind === 'terminated' || event.kind === 'timed-out') return run.close(event);
    if (run.stuck !== undefined) return run.keep(event);
    return this.#ports.tracing.within(live, () => run.deliver(event));
  }
}

function both(delivered: NonNullable<Settled>, settled: Settled): Settled {
  return (error) => {
    delivered(error);
    settled?.(error);
  };
}
