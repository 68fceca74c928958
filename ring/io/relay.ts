/**
 * What this node carries for others: tunnels between a member that calls and one that cannot be dialled.
 *
 * R1  Both ends are members, and the one that is called has a link of its own with this node.
 * R2  Only the node that was called can take the ticket, once.
 * R3  What waits here has a bound: so many tunnels, in all and for each end, so many bytes per second for each caller.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../spec/clock.ts';
import { TokenBucket } from '../core/token-bucket.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import { RpcError } from '../rpc.ts';
import { splice } from './splice.ts';
import type { TunnelRequest } from './tunnel.ts';

const TICKET_BYTES = 16;
/** Members whose rate is remembered; the longest known are forgotten. */
const RATES_MAX = 4_096;

/** Counters only grow, but for `open`: tunnels there are now. */
export interface RelayCounts {
  open: number;
  opened: number;
  refused: number;
  bytes: number;
}

export interface RelayOptions {
  limits: TransportLimits;
  clock: Clock;
  /** The node has an open link with this one that goes through no other. */
  isNear: (node: string) => boolean;
  /** Asks the node to come with the ticket. @throws AetherError when it does not. */
  invite: (node: string, ticket: string) => Promise<unknown>;
}

interface Waiting {
  node: string;
  came: (stream: Duplex) => void;
}

export class Relay {
  readonly counts: RelayCounts = { open: 0, opened: 0, refused: 0, bytes: 0 };
  readonly #options: RelayOptions;
  /** By ticket. */
  readonly #waiting = new Map<string, Waiting>();
  /** Tunnels of each member, as either end; those that are being opened too. */
  readonly #ends = new Map<string, number>();
  readonly #rates = new Map<string, TokenBucket>();
  readonly #tunnels = new Set<() => void>();
  #isClosed = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /**
   * A member asks for a tunnel, or comes with a ticket.
   *
   * @returns what takes the member's stream over.
   * @throws RpcError ERR_RING_BUSY at a limit; ERR_RING_UNREACHABLE when the node or the ticket is not known here.
   */
  async take(from: string, asked: TunnelRequest): Promise<(stream: Duplex) => void> {
    try {
      return asked.kind === 'tunnel'
        ? await this.#open(from, asked.node)
        : this.#come(from, asked.ticket);
    } catch (error) {
      this.counts.refused++;
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const end of this.#tunnels) end();
  }

  async #open(from: string, node: string): Promise<(stream: Duplex) => void> {
    const { limits, isNear, invite } = this.#options;
    if (!isNear(node)) throw new RpcError(`node ${node} keeps no link with this relay`); // R1
    const { tunnelsMax, tunnelsPerPeerMax } = limits; // R3
    const isFull = [from, node].some((end) => (this.#ends.get(end) ?? 0) >= tunnelsPerPeerMax);
    if (isFull || this.counts.open >= tunnelsMax) {
      throw new RpcError('too many tunnels', {
        code: 'ERR_RING_BUSY',
        hint: 'nothing was sent; another relay, or the same one in a moment, may do',
      });
    }
    this.#count(from, node, 1);
    const ticket = randomBytes(TICKET_BYTES).toString('base64url');
    const { promise, resolve } = Promise.withResolvers<Duplex>();
    this.#waiting.set(ticket, { node, came: resolve });
    try {
      await Promise.race([promise, invite(node, ticket)]);
      if (this.#waiting.has(ticket)) throw new RpcError(`node ${node} did not come`);
      const far = await promise;
      return (near) => this.#join(near, far, from, node);
    } catch (error) {
      this.#count(from, node, -1);
      throw error;
    } finally {
      this.#waiting.delete(ticket);
    }
  }

  #come(from: string, ticket: string): (stream: Duplex) => void {
    const waiting = this.#waiting.get(ticket);
    if (waiting?.node !== from) throw new RpcError('nobody waits with this ticket'); // R2
    this.#waiting.delete(ticket);
    return waiting.came;
  }

  #join(near: Duplex, far: Duplex, from: string, node: string): void {
    const { clock, limits } = this.#options;
    this.counts.opened++;
    const end = splice(near, far, {
      clock,
      idleMs: limits.tunnelIdleMs,
      charge: (bytes) => {
        this.counts.bytes += bytes;
        const rate = this.#rate(from);
        rate.charge(bytes, clock.monotonicMs());
        return rate.debtMs(clock.monotonicMs());
      },
      ended: () => {
        this.#tunnels.delete(end);
        this.#count(from, node, -1);
      },
    });
    this.#tunnels.add(end);
    if (this.#isClosed) end();
  }

  #count(from: string, node: string, by: 1 | -1): void {
    this.counts.open += by;
    for (const end of [from, node]) {
      const count = (this.#ends.get(end) ?? 0) + by;
      if (count > 0) this.#ends.set(end, count);
      else this.#ends.delete(end);
    }
  }

  #rate(member: string): TokenBucket {
    const known = this.#rates.get(member);
    if (known !== undefined) return known;
    const [longest] = this.#rates.keys();
    if (this.#rates.size >= RATES_MAX && longest !== undefined) this.#rates.delete(longest);
    const { tunnelBytesPerSecond: perSecond, burstSeconds } = this.#options.limits;
    const nowMs = this.#options.clock.monotonicMs();
    const rate = new TokenBucket(perSecond, perSecond * burstSeconds, nowMs);
    this.#rates.set(member, rate);
    return rate;
  }
}
