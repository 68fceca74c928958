/**
 * What a request may make its worker hold outside of the guest's own memory. Neither the cap on linear memory nor the
 * engine's heap limit would stop one guest from filling the thread that others share.
 */
export interface Allowance {
  bytes: number;
}

/** What one resource costs, with its handle in the generated code. */
const RESOURCE_BYTES = 256;

let current: Allowance = { bytes: 0 };

/** Says on whose account the next calls of a guest are: whoever lets a guest run calls this first. */
export function useAllowance(allowance: Allowance): void {
  current = allowance;
}

/** @returns false when the guest has used up its allowance. */
export function spend(bytes: number): boolean {
  if (bytes > current.bytes) return false;
  current.bytes -= bytes;
  return true;
}

/** The base of every resource that a guest can get hold of; one too many is a trap. */
export class Resource {
  constructor() {
    if (!spend(RESOURCE_BYTES)) throw new Error('too many resources at once');
  }

  /** jco calls this when the guest drops its handle. */
  [Symbol.dispose](): void {
    current.bytes += RESOURCE_BYTES;
  }
}
