/** A Particle's limits as numbers, and the fixed ones that hold for every Particle. */
import type { Particle } from '../../spec/aetherfile/app.ts';
import { durationMs } from '../../spec/duration.ts';
import { AetherError } from '../../spec/error.ts';

/** Bodies of requests and answers, in both directions. */
export const BODY_BYTES_MAX: number = 8 * 2 ** 20;
/** One value of a bucket. */
export const VALUE_BYTES_MAX: number = 2 ** 20;
export const KEY_BYTES_MAX = 1024;
/** Keys that one `list-keys` call returns. */
export const LIST_KEYS_MAX = 1000;
/** Requests of one Particle that wait for an instance on this node. */
export const WAITING_MAX = 1024;

const PAGE_BYTES = 65_536;
/** WebAssembly addresses 32 bits: 65,536 pages. */
const PAGES_MAX = 65_536;

export interface GuestLimits {
  /** Linear memory of one instance, in pages of 64 KiB. */
  memoryPages: number;
  /** One request, from its arrival to the end of its answer. */
  timeMs: number;
  /** Instances, and so requests at the same time, on one node. */
  instances: number;
  /** Outgoing exchanges at the same time on one node. */
  outbound: number;
}

/** @throws AetherError ERR_PARTICLE_LIMIT for what is out of range, ERR_DURATION. */
export function guestLimits({ limits, scale }: Pick<Particle, 'limits' | 'scale'>): GuestLimits {
  const memoryPages = Math.floor(byteCount(limits.memory) / PAGE_BYTES);
  if (memoryPages < 1 || memoryPages > PAGES_MAX) {
    throw new AetherError(`limits.memory is ${limits.memory}`, {
      code: 'ERR_PARTICLE_LIMIT',
      hint: 'write between 64Ki and 4Gi',
    });
  }
  return {
    memoryPages,
    timeMs: durationMs(limits.time),
    instances: Math.min(limits.instances, scale.max),
    outbound: limits.outbound,
  };
}

const UNIT_BYTES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
};

/** `64Mi`, `10k` or a number, as bytes. */
function byteCount(size: number | string): number {
  const match = /^([0-9]+)(Ki|Mi|Gi|k|M|G)?$/.exec(String(size));
  if (match === null) {
    throw new AetherError(`not a size: ${JSON.stringify(size)}`, {
      code: 'ERR_PARTICLE_LIMIT',
      hint: "write bytes as a number, or text such as '64Mi', '10k'",
    });
  }
  return Number(match[1]) * (UNIT_BYTES[match[2] ?? ''] as number);
}
