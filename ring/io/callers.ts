/**
 * Connections whose caller is not known yet.
 *
 * They cost little: each has a deadline, so many may be under way and so many may come from an address, in all and
 * per second. Those of the flooding address give way first.
 *
 * A handshake costs some three milliseconds, and strangers have many addresses. So theirs begin at a rate that all of them
 * share, one address after the other and never two at once: less than a hundredth of the time, so that the 99th percentile of
 * members does not see it. Those from where members are do not wait for them, as long as most of these are members.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
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

/** So long it takes until an address that is as good as unknown is trusted again, and as long until it is as before. */
const TRUST_SECONDS = 600;

export interface CallerCounts {
  /** Over the rate of their address. */
  overRate: number;
  /** Gave way to others. */
  gaveWay: number;
  /** Not done in time, waiting included. */
  late: number;
}

/** What is remembered of an address. */
interface Origin {
  /** Connections. */
  rate: TokenBucket;
  /** Handshakes that began at once, because members are there, and were no member's. */
  trust: TokenBucket;
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
  readonly #origins = new Map<string, Origin>();
  readonly #isFamiliar: (origin: string) => boolean;
  readonly #strangers: TokenBucket;
  readonly #waiting = new FairQueue<Caller>();
  #cancelTurn: (() => void) | undefined;
  /** By what the TLS socket and the one under it have in common: the connection's ends. */
  readonly #settle = new Map<string, (isMember: boolean) => void>();

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
    const { rate, trust } = this.#origin(origin);
    const nowMs = this.#clock.monotonicMs();
    if (!rate.tryTake(1, nowMs)) {
      this.counts.overRate++;
      reset(socket);
      return;
    }
    const isTrusted = this.#isFamiliar(origin) && trust.debtMs(nowMs) === 0;
    const ends = endsOf(socket);
    const caller = { socket, begin };
    const settle = (isMember: boolean): void => {
      cancel();
      socket.off('close', gone);
      if (isTrusted && !isMember) trust.charge(1, this.#clock.monotonicMs());
      this.#waiting.delete(caller, origin);
      this.#pending.delete(socket, origin);
      if (this.#settle.get(ends) === settle) this.#settle.delete(ends);
    };
    const gone = (): void => settle(false);
    const cancel = this.#clock.after(this.#limits.handshakeTimeoutMs, () => {
      this.counts.late++;
      socket.destroy();
    });
    this.#settle.set(ends, settle);
    socket.once('close', gone);
    const oldest = this.#pending.add(socket, origin);
    if (oldest !== undefined) {
      this.counts.gaveWay++;
      oldest.destroy();
    }
    if (isTrusted) {
      begin();
      return;
    }
    this.#waiting.push(caller, origin);
    this.#beginInTurn();
  }

  /** The caller on this connection is known now. */
  known(socket: Socket, isMember: boolean): void {
    this.#settle.get(endsOf(socket))?.(isMember);
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

  #origin(address: string): Origin {
    const known = this.#origins.get(address);
    if (known !== undefined) return known;
    const nowMs = this.#clock.monotonicMs();
    if (this.#origins.size >= ORIGINS_MAX) this.#forget(nowMs);
    const { handshakesPerIpPerSecond, handshakeBurstPerIp } = this.#limits;
    const origin = {
      rate: new TokenBucket(handshakesPerIpPerSecond, handshakeBurstPerIp, nowMs),
      trust: new TokenBucket(
        handshakeBurstPerIp / TRUST_SECONDS,
        handshakeBurstPerIp,
        nowMs,
        TRUST_SECONDS,
      ),
    };
    this.#origins.set(address, origin);
    return origin;
  }

  /** Forgets of whom nothing is known that is not so of a new one; when there are none, the longest known. */
  #forget(nowMs: number): void {
    for (const [address, { rate, trust }] of this.#origins)
      if (rate.isFull(nowMs) && trust.isFull(nowMs)) this.#origins.delete(address);
    const [longest] = this.#origins.keys();
    if (this.#origins.size >= ORIGINS_MAX && longest !== undefined) this.#origins.delete(longest);
  }
}

/** Closes without the farewell of TCP, which would cost as much again; what comes inside TLS has none of its own. */
function reset(socket: Socket): void {
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

/** Which connection it is, also when others share its far end: tunnels by one relay do. */
export function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
