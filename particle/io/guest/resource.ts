/** What all host interfaces share: how a result fails, and what a guest's instance has around it. */
import type { LogGate } from '../../core/log-gate.ts';
import type { HostCall } from '../protocol.ts';

/** Becomes the error side of a WIT `result`: jco hands `payload` to the guest. Anything else thrown is a trap. */
export class Refusal extends Error {
  readonly payload: unknown;

  constructor(payload: unknown) {
    super('refused');
    this.payload = payload;
  }
}

/** The guest called `exit`. Ends the instance. */
export class GuestExit extends Error {}

/** The surroundings of one instance. */
export interface GuestContext {
  readonly env: Record<string, string>;
  readonly config: Record<string, string>;
  readonly buckets: ReadonlySet<string>;
  readonly stdout: LogGate;
  readonly stderr: LogGate;
  /** Outgoing exchanges under way, and how many there may be. */
  exchanges: number;
  readonly exchangesMax: number;
  /**
   * Asks the host, on behalf of the request that the instance works on.
   * @throws HostRefusal; Error, a trap, when the request has been cancelled.
   */
  call(body: HostCall): Promise<unknown>;
  /** Waits, at most until the request is cancelled, which is a trap. */
  sleep(ms: number): Promise<void>;
}

/** The host said no; `tag` is a case of the interface's error variant. */
export class HostRefusal extends Error {
  readonly tag: string;

  constructor(tag: string, message: string) {
    super(message);
    this.tag = tag;
  }
}
