import { AetherError } from '../../spec/error.ts';

/** How membership is kept. Defaults suit a lattice of a few nodes on one machine or one network. */
export interface SwimOptions {
  /** One member is probed in each such period. Milliseconds, 50 to 60,000. */
  probeIntervalMs: number;
  /**
   * A direct answer later than this is asked for through others; they have as long again. Milliseconds, 10 to
   * half of `probeIntervalMs`.
   */
  ackTimeoutMs: number;
  /** How many others are asked to probe a silent member. 0 to 16. */
  indirectProbes: number;
  /**
   * How long a suspect has to refute at least, in probe periods, times log10 of the members (at least 1).
   * Longer = fewer false deaths, later true ones. 1 to 100.
   */
  suspicionPeriods: number;
  /** A suspect that nobody else accuses has this many times as long. 1 to 16. */
  suspicionFactorMax: number;
  /** So many more accusers, each by a probe of its own, shorten that to the least. 0 to 6. */
  confirmations: number;
  /** How many times slower than usual a node that is unwell may probe. 1 (never slower) to 16. */
  healthFactorMax: number;
  /**
   * News is repeated this often while there is any; what nobody was told of waits for a tenth of that at most. Milliseconds,
   * 10 to 60,000.
   */
  gossipIntervalMs: number;
  /** To how many members at a time. 1 to 16. */
  gossipFanout: number;
  /** Each piece of news is sent this often, times log10 of the members (rounded up). 1 to 16. */
  gossipRepeats: number;
  /**
   * In a lattice of more members news goes to a few neighbours (HyParView) instead of members by chance, so that a
   * node needs links to these alone, and to the others while it probes them. 3 to 1,000,000.
   */
  fullMeshMembersMax: number;
  /** News in one message, unless an eighth of what waits is more. 1 to 64. */
  gossipUpdatesMax: number;
  /** Views are compared with one live member this often. Milliseconds, 1,000 to 600,000. */
  syncIntervalMs: number;
  /** One dead member is called this often, so that partitions heal. Milliseconds, 100 to 600,000. */
  reconnectIntervalMs: number;
  /**
   * Where probes do not reach everybody soon (above 512 members), own load and coordinate are told to all at most this
   * often, times a 25th of the members, so that what it costs a node does not grow with the lattice. Milliseconds,
   * 100 to 600,000.
   */
  factsIntervalMs: number;
  /**
   * A step this much later than it was due means that this node itself stood still; it then gives
   * everybody the lost time back. Milliseconds, 50 to 60,000.
   */
  stallMs: number;
  /** Later than this it has slept: it suspects nobody and asks for news first. Milliseconds, above `stallMs`, to 600,000. */
  sleepMs: number;
  /**
   * A node whose main loop is blocked for longer says nothing, so that the others take it for dead. Milliseconds,
   * 3,000 to 600,000.
   */
  silenceMs: number;
  /** False = plain SWIM: no local health, confirmations, buddies or lost time given back. Only to compare with. */
  lifeguard: boolean;
}

const DEFAULTS: SwimOptions = {
  probeIntervalMs: 500,
  ackTimeoutMs: 150,
  indirectProbes: 3,
  suspicionPeriods: 8,
  suspicionFactorMax: 6,
  confirmations: 2,
  healthFactorMax: 8,
  gossipIntervalMs: 100,
  gossipFanout: 3,
  gossipRepeats: 4,
  fullMeshMembersMax: 300,
  gossipUpdatesMax: 16,
  syncIntervalMs: 15_000,
  reconnectIntervalMs: 2_000,
  factsIntervalMs: 60_000,
  stallMs: 300,
  sleepMs: 5_000,
  silenceMs: 8_000,
  lifeguard: true,
};

const RANGES: Record<Exclude<keyof SwimOptions, 'lifeguard'>, [least: number, most: number]> = {
  probeIntervalMs: [50, 60_000],
  ackTimeoutMs: [10, 30_000],
  indirectProbes: [0, 16],
  suspicionPeriods: [1, 100],
  suspicionFactorMax: [1, 16],
  confirmations: [0, 6],
  healthFactorMax: [1, 16],
  gossipIntervalMs: [10, 60_000],
  gossipFanout: [1, 16],
  gossipRepeats: [1, 16],
  fullMeshMembersMax: [3, 1_000_000],
  gossipUpdatesMax: [1, 64],
  syncIntervalMs: [1_000, 600_000],
  reconnectIntervalMs: [100, 600_000],
  factsIntervalMs: [100, 600_000],
  stallMs: [50, 60_000],
  sleepMs: [50, 600_000],
  silenceMs: [3_000, 600_000],
};

/** @throws AetherError ERR_RING_OPTION naming the option that is out of its range. */
export function swimOptions(given: Partial<SwimOptions> = {}): SwimOptions {
  const options = { ...DEFAULTS, ...given };
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = options[name as keyof typeof RANGES];
    if (!(value >= least && value <= most)) refuse(name, `a number from ${least} to ${most}`);
  }
  if (options.ackTimeoutMs * 2 > options.probeIntervalMs)
    refuse('ackTimeoutMs', `at most half of probeIntervalMs (${options.probeIntervalMs})`);
  if (options.sleepMs <= options.stallMs) refuse('sleepMs', `above stallMs (${options.stallMs})`);
  if (typeof options.lifeguard !== 'boolean') refuse('lifeguard', 'true or false');
  return options;
}

function refuse(name: string, range: string): never {
  throw new AetherError(`swim.${name} is out of its range`, {
    code: 'ERR_RING_OPTION',
    hint: `set swim.${name} to ${range}`,
  });
}
