import type { Random } from './random.ts';

/** Unseeded chance of this machine. Not for secrets. */
export const systemRandom: Random = { next: () => Math.random() };
