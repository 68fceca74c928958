import { AetherError } from '../../spec/error.ts';

/** How membership is kept. Defaults suit a lattice of a few nodes on one machine or one network. */
export interface SwimOptions {
  /** One member is probed in each such period. Milliseconds, 50 to 60,000. */
  probeIntervalMs: number;
  /** A direct answer later than this is asked for through others. Below `probeIntervalMs`. */
  ackTimeoutMs: number;
  /** How many others are asked to probe a silent member. 0 to 16. */
  indirectProbes: number;
  /**
   * How long a suspect has to refute, in probe periods, times log10 of the members (at least 1).
   * Longer = fewer false deaths, later true ones. 1 to 100.
   */
  suspicionPeriods: number;
  /** News is passed on this often while there is any. Milliseconds, 10 to 60,000. */
  gossipIntervalMs: number;
  /** To how many members at a time. 1 to 16. */
  gossipFanout: number;
  /** Each piece of news is sent this often, times log10 of the members (at least 1). 1 to 16. */
  gossipRepeats: number;
  /** News in one message. 1 to 64. */
  gossipUpdatesMax: number;
  /** The whole view is exchanged with one live member this often. Milliseconds, 1,000 to 600,000. */
  syncIntervalMs: number;
  /** One dead member is called this often, so that partitions heal. Milliseconds, 100 to 600,000. */
  reconnectIntervalMs: number;
  /**
   * A step this much later than it was due means that this node itself stood still; it then gives
   * everybody the lost time back. Milliseconds, 50 to 60,000.
   */
  stallMs: number;
}

const DEFAULTS: SwimOptions = {
  probeIntervalMs: 500,
  ackTimeoutMs: 200,
  indirectProbes: 3,
  suspicionPeriods: 10,
  gossipIntervalMs: 100,
  gossipFanout: 3,
  gossipRepeats: 4,
  gossipUpdatesMax: 16,
  syncIntervalMs: 15_000,
  reconnectIntervalMs: 2_000,
  stallMs: 300,
};

const RANGES: Record<keyof SwimOptions, [least: number, most: number]> = {
  probeIntervalMs: [50, 60_000],
  ackTimeoutMs: [10, 60_000],
  indirectProbes: [0, 16],
  suspicionPeriods: [1, 100],
  gossipIntervalMs: [10, 60_000],
  gossipFanout: [1, 16],
  gossipRepeats: [1, 16],
  gossipUpdatesMax: [1, 64],
  syncIntervalMs: [1_000, 600_000],
  reconnectIntervalMs: [100, 600_000],
  stallMs: [50, 60_000],
};

/** @throws AetherError ERR_RING_OPTION naming the option that is out of its range. */
export function swimOptions(given: Partial<SwimOptions> = {}): SwimOptions {
  const options = { ...DEFAULTS, ...given };
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = options[name as keyof SwimOptions];
    if (!(value >= least && value <= most)) refuse(name, `a number from ${least} to ${most}`);
  }
  if (options.ackTimeoutMs >= options.probeIntervalMs)
    refuse('ackTimeoutMs', `below probeIntervalMs (${options.probeIntervalMs})`);
  return options;
}

function refuse(name: string, range: string): never {
  throw new AetherError(`swim.${name} is out of its range`, {
    code: 'ERR_RING_OPTION',
    hint: `set swim.${name} to ${range}`,
  });
}
