/**
 * How long a suspect has to refute: long while one node alone accuses it, shorter with each other that does
 * so by a probe of its own (Lifeguard's dogpile: Dadgar, Phillips, Currey, DSN-W 2018).
 */
import type { SwimOptions } from './swim-options.ts';

/** Confirmations that count: none where there are too few others to give them. */
export function confirmationsNeeded(options: SwimOptions, usable: number): number {
  const { lifeguard, confirmations } = options;
  // Neither the suspect nor its first accuser confirms.
  return lifeguard && usable - 2 >= confirmations ? confirmations : 0;
}

/**
 * @param members of the roster.
 * @param needed see `confirmationsNeeded`.
 * @param accusers nodes that accuse it, at least 1.
 */
export function suspicionMs(
  options: SwimOptions,
  members: number,
  needed: number,
  accusers: number,
): number {
  const { suspicionPeriods, probeIntervalMs, suspicionFactorMax } = options;
  const least = suspicionPeriods * probeIntervalMs * Math.max(1, Math.log10(members));
  if (needed === 0) return least;
  const most = least * suspicionFactorMax;
  const share = Math.log(Math.max(1, accusers)) / Math.log(needed + 1);
  return Math.max(least, most - (most - least) * share);
}
