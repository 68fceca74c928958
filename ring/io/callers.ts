/**
 * Connections whose caller is not known yet.
 *
 * They cost little: each has a deadline, so many may be under way and so many may come from an address, in all and
 * per second. Those of the flooding address give way first.
 *
 * A handshake costs milliseconds, and strangers have many addresses. So theirs begin at a rate that all of them share, one
 * address after the other and never two at once; those from where members are do not wait for them.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../spec/clock.ts';
import { Crowd } from '../core/crowd.ts';
import { FairQueue } from '../core/fair-queue.ts';
import { TokenBucket } from '../core/token-bucket.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import { originOf } from './address.ts';

/** Addresses of which a rate is remembered; the longest known are forgotten. */
const ORIGINS_MAX = 8_192;

/** Between the beginnings of two strangers' handshakes: others are served meanwhile. */
const GAP_MS = 10;

export interface CallerCounts {
  /** Over the rate of their address. */
  overRate: number;
  /** Gave way to others. */
  gaveWay: number;
  /** Not done in time, waiting included. */
  late: number;
}

interface Caller {
  readonly socket: Socket;
  /** Begins its handshake. */
  readonly begin: () => void;
}

export class Callers {
  readonly counts: CallerCounts = { overRate: 0, gaveWay: 0, late: 0 };
  readonly #limits: TransportLimits;
  readonly #clock: Clock;
  readonly #pending: Crowd<Socket>;
  readonly #rates = new Map<string, TokenBucket>();
  readonly #isFamiliar: (origin: string) => boolean;
  readonly #strangers: TokenBucket;
  readonly #waiting = new FairQueue<Caller>();
  #cancelTurn: (() => void) | undefined;
  /** By what the TLS socket and the one under it have in common: the connection's ends. */
  readonly #settle = new Map<string, () => void>();

  /** @param isFamiliar whether members are at the address. */
  constructor(limits: TransportLimits, clock: Clock, isFamiliar: (origin: string) => boolean) {
    this.#limits = limits;
    this.#clock = clock;
    this.#isFamiliar = isFamiliar;
    const { strangersPerSecond, strangerBurst } = limits;
    this.#strangers = new TokenBucket(strangersPerSecond, strangerBurst, clock.monotonicMs());
    this.#pending = new Crowd(limits.handshakesMax, limits.handshakesPerIpMax);
  }

  /** Handshakes under way, and those that wait. */
  get pending(): number {
    return this.#pending.size;
  }

  /** A connection has come: closes it, or begins its handshake now or when its turn comes. */
  take(socket: Socket, begin: () => void): void {
    if (socket.remoteAddress === undefined) {
      socket.destroy(); // Gone already.
      return;
    }
    const origin = originOf(socket.remoteAddress);
    if (!this.#rate(origin).tryTake(1, this.#clock.monotonicMs())) {
      this.counts.overRate++;
      socket.destroy();
      return;
    }
    const ends = endsOf(socket);
    const caller = { socket, begin };
    const settle = (): void => {
      cancel();
      this.#waiting.delete(caller, origin);
      this.#pending.delete(socket, origin);
      if (this.#settle.get(ends) === settle) this.#settle.delete(ends);
    };
    const cancel = this.#clock.after(this.#limits.handshakeTimeoutMs, () => {
      this.counts.late++;
      socket.destroy();
    });
    this.#settle.set(ends, settle);
    socket.once('close', settle);
    const oldest = this.#pending.add(socket, origin);
    if (oldest !== undefined) {
      this.counts.gaveWay++;
      oldest.destroy();
    }
    if (this.#isFamiliar(origin)) {
      begin();
      return;
    }
    this.#waiting.push(caller, origin);
    this.#beginInTurn();
  }

  /** The caller on this connection is known now. */
  known(socket: Socket): void {
    this.#settle.get(endsOf(socket))?.();
  }

  /** Begins a stranger's handshake if the rate allows it, and comes back for the others. */
  #beginInTurn(): void {
    if (this.#waiting.isEmpty || this.#cancelTurn !== undefined) return;
    const mayBegin = this.#strangers.tryTake(1, this.#clock.monotonicMs());
    const untilNextMs = mayBegin ? GAP_MS : 1_000 / this.#limits.strangersPerSecond;
    this.#cancelTurn = this.#clock.after(untilNextMs, () => {
      this.#cancelTurn = undefined;
      this.#beginInTurn();
    });
    if (mayBegin) this.#waiting.shift()?.begin();
  }

  /** Closes all. */
  close(): void {
    this.#cancelTurn?.();
    for (const socket of this.#pending) socket.destroy();
  }

  #rate(origin: string): TokenBucket {
    const known = this.#rates.get(origin);
    if (known !== undefined) return known;
    const nowMs = this.#clock.monotonicMs();
    if (this.#rates.size >= ORIGINS_MAX) this.#forget(nowMs);
    const { handshakesPerIpPerSecond, handshakeBurstPerIp } = this.#limits;
    const rate = new TokenBucket(handshakesPerIpPerSecond, handshakeBurstPerIp, nowMs);
    this.#rates.set(origin, rate);
    return rate;
  }

  /** Forgets whose rate is as if it were new; when there are none, the longest known. */
  #forget(nowMs: number): void {
    for (const [origin, rate] of this.#rates) if (rate.isFull(nowMs)) this.#rates.delete(origin);
    const [longest] = this.#rates.keys();
    if (this.#rates.size >= ORIGINS_MAX && longest !== undefined) this.#rates.delete(longest);
  }
}

/** Which connection it is, also when others share its far end: tunnels by one relay do. */
export function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
