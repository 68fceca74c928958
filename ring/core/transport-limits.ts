import { AetherError } from '../../spec/error.ts';

/** What others may make a node do. Defaults suit full-mesh lattices, also with all nodes on one machine. */
export interface TransportLimits {
  /** From the first byte of a connection to its open WebSocket. Milliseconds, 100 to 60,000. */
  handshakeTimeoutMs: number;
  /** Handshakes under way at once; the oldest of the address that has most gives way. 8 to 65,536. */
  handshakesMax: number;
  /** Of these from one address; the oldest gives way. 1 to 65,536. */
  handshakesPerIpMax: number;
  /** Connections taken from one address per second; others are closed unheard. 1 to 100,000. */
  handshakesPerIpPerSecond: number;
  /**
   * So many may come at once after a quiet time. And so many within ten minutes may be of others than members before an address
   * where members are is treated as one where none are. 1 to 100,000.
   */
  handshakeBurstPerIp: number;
  /**
   * Handshakes begun per second with addresses where no members are; others wait for their turn. One takes some 3 ms of the main
   * loop: at the default less than a hundredth of the time is theirs. 1 to 100,000.
   */
  strangersPerSecond: number;
  /** So many may begin after a quiet time, 10 ms apart. 1 to 100,000. */
  strangerBurst: number;
  /** Open links of peers that are no members; the oldest of the address that has most gives way. 1 to 4,096. */
  guestsMax: number;
  /** Of these from one address; the oldest gives way. 1 to 4,096. */
  guestsPerIpMax: number;
  /** Open links of one member, on each lane; the oldest gives way. 2 to 64. */
  linksPerPeerMax: number;
  /** Open links in all; the least recently used that carries nothing is closed, to be opened again on demand. 16 to 65,536. */
  linksMax: number;
  /** Above 300 open links, one that was not used for so long is closed. Milliseconds, 1,000 to 86,400,000. */
  linkIdleMs: number;
  /** Casts (membership) of one member; others are dropped. 1 to 1,000,000. */
  castsPerSecond: number;
  /** Calls and answers of one member on the control lane; calls beyond are refused. 1 to 10,000,000. */
  callsPerSecond: number;
  /** Bytes of one member on the control lane; then it is not read from for a while. 2²⁰ to 2³⁴. */
  controlBytesPerSecond: number;
  /** Messages and parts of one member on the bulk lane; as calls. 1 to 10,000,000. */
  bulkPerSecond: number;
  /** Bytes of one member on the bulk lane; as on the control lane. 2²⁰ to 2³⁴. */
  bulkBytesPerSecond: number;
  /**
   * What it takes to decode what one member sends, in units of 20 ns or so; then it is not read from for a while. Each frame costs
   * 500 beside what is in it; a message of more than 25,000 that was not asked for, 32 times as much. 10⁵ to 10⁹.
   */
  weightPerSecond: number;
  /** Messages of all who are no members together; calls beyond are refused. 1 to 1,000,000. */
  guestMessagesPerSecond: number;
  /** Bytes of all who are no members together; as on the control lane. 2²⁰ to 2³⁴. */
  guestBytesPerSecond: number;
  /** As `weightPerSecond`, of all who are no members together. 10⁴ to 10⁹. */
  guestWeightPerSecond: number;
  /** Tunnels that this node carries for others at once; more are refused. 0 (it is no relay) to 65,536. */
  tunnelsMax: number;
  /** Of these with one member at either end. 1 to 65,536. */
  tunnelsPerPeerMax: number;
  /** Bytes, both ways, of the tunnels that one member opened; then they are not read from for a while. 2²⁰ to 2³⁴. */
  tunnelBytesPerSecond: number;
  /** A tunnel through which nothing has passed for so long ends. Milliseconds, 500 to 600,000. */
  tunnelIdleMs: number;
  /** What may come at once after a quiet time, as a time at these rates. Seconds, 0.1 to 60. */
  burstSeconds: number;
}

const DEFAULTS: TransportLimits = {
  handshakeTimeoutMs: 5_000,
  handshakesMax: 256,
  handshakesPerIpMax: 128,
  handshakesPerIpPerSecond: 32,
  handshakeBurstPerIp: 256,
  strangersPerSecond: 2,
  strangerBurst: 64,
  guestsMax: 128,
  guestsPerIpMax: 64,
  linksPerPeerMax: 4,
  linksMax: 600,
  linkIdleMs: 300_000,
  castsPerSecond: 1_000,
  callsPerSecond: 50_000,
  controlBytesPerSecond: 64 << 20,
  bulkPerSecond: 20_000,
  bulkBytesPerSecond: 256 << 20,
  weightPerSecond: 10_000_000,
  guestMessagesPerSecond: 50,
  guestBytesPerSecond: 4 << 20,
  guestWeightPerSecond: 250_000,
  tunnelsMax: 256,
  tunnelsPerPeerMax: 64,
  tunnelBytesPerSecond: 16 << 20,
  tunnelIdleMs: 300_000,
  burstSeconds: 2,
};

/** A frame at least. */
const BYTES: [number, number] = [1 << 20, 2 ** 34];
const RANGES: Record<keyof TransportLimits, [least: number, most: number]> = {
  handshakeTimeoutMs: [100, 60_000],
  handshakesMax: [8, 65_536],
  handshakesPerIpMax: [1, 65_536],
  handshakesPerIpPerSecond: [1, 100_000],
  handshakeBurstPerIp: [1, 100_000],
  strangersPerSecond: [1, 100_000],
  strangerBurst: [1, 100_000],
  guestsMax: [1, 4_096],
  guestsPerIpMax: [1, 4_096],
  linksPerPeerMax: [2, 64],
  linksMax: [16, 65_536],
  linkIdleMs: [1_000, 86_400_000],
  castsPerSecond: [1, 1_000_000],
  callsPerSecond: [1, 10_000_000],
  controlBytesPerSecond: BYTES,
  bulkPerSecond: [1, 10_000_000],
  bulkBytesPerSecond: BYTES,
  weightPerSecond: [100_000, 1e9],
  guestMessagesPerSecond: [1, 1_000_000],
  guestBytesPerSecond: BYTES,
  guestWeightPerSecond: [10_000, 1e9],
  tunnelsMax: [0, 65_536],
  tunnelsPerPeerMax: [1, 65_536],
  tunnelBytesPerSecond: BYTES,
  tunnelIdleMs: [500, 600_000],
  burstSeconds: [0.1, 60],
};

/** @throws AetherError ERR_RING_OPTION naming the option that is out of its range. */
export function transportLimits(given: Partial<TransportLimits> = {}): TransportLimits {
  const limits = { ...DEFAULTS, ...given };
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = limits[name as keyof TransportLimits];
    if (value >= least && value <= most) continue;
    throw new AetherError(`limits.${name} is out of its range`, {
      code: 'ERR_RING_OPTION',
      hint: `set limits.${name} to a number from ${least} to ${most}`,
    });
  }
  return limits;
}
