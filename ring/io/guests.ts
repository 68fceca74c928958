/**
 * Links of nodes that are no members: so many, for so long, and for so much.
 *
 * Whom this node has called says what it was asked for, and is held for none until it is called a guest itself.
 */
import type { Clock } from '../../spec/clock.ts';
import { Crowd } from '../core/crowd.ts';
import type { Message } from '../core/frame.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import type { Link } from './link.ts';

/** Verifying what a guest says costs milliseconds: it may not ask for more of them. */
const GUEST_CALLS_MAX = 16;
/** Of any kind: who was let in a moment ago gossips before all have heard of it. */
const GUEST_MESSAGES_MAX = 256;
const GUEST_TIMEOUT_MS = 60_000;

export interface GuestsOptions {
  limits: TransportLimits;
  clock: Clock;
  isMember(node: string): boolean;
  /** Of links that others opened; undefined: this node did. */
  originOf(link: Link): string | undefined;
}

interface Guest {
  link: Link;
  origin: string;
  calls: number;
  messages: number;
}

export class Guests {
  readonly #options: GuestsOptions;
  readonly #guests = new Map<Link, Guest>();
  readonly #crowd: Crowd<Guest>;
  /** How many gave way to newer ones. */
  gaveWay = 0;

  constructor(options: GuestsOptions) {
    this.#options = options;
    const { guestsMax, guestsPerIpMax } = options.limits;
    this.#crowd = new Crowd(guestsMax, guestsPerIpMax);
  }

  get size(): number {
    return this.#guests.size;
  }

  /** Its node is a member before its time is over, or the link ends; held again it is the same guest. */
  hold(link: Link): void {
    if (!this.#guests.has(link)) this.#admit(link);
  }

  /** Ends the link to a guest that has said too much. @returns whether it has. */
  isWearing(link: Link, { kind }: Message): boolean {
    const held = this.#guests.get(link);
    if (held === undefined && this.#options.originOf(link) === undefined) return false;
    const guest = held ?? this.#admit(link);
    guest.messages++;
    if (kind === 'request') guest.calls++;
    if (guest.calls <= GUEST_CALLS_MAX && guest.messages <= GUEST_MESSAGES_MAX) return false;
    link.close(1008, 'ERR_RING_BUSY: a guest says too much');
    return true;
  }

  #admit(link: Link): Guest {
    const options = this.#options;
    const guest: Guest = { link, origin: options.originOf(link) ?? '', calls: 0, messages: 0 };
    const oldest = this.#crowd.add(guest, guest.origin);
    if (oldest !== undefined) {
      this.gaveWay++;
      oldest.link.close(1013, 'ERR_RING_BUSY: too many guests');
    }
    this.#guests.set(link, guest);
    const release = (): void => {
      this.#crowd.delete(guest, guest.origin);
      this.#guests.delete(link);
    };
    const cancel = options.clock.after(GUEST_TIMEOUT_MS, () => {
      release();
      if (!options.isMember(link.peer)) link.close(1008, 'ERR_RING_NOT_MEMBER');
    });
    void link.closed.finally(() => {
      cancel();
      release();
    });
    return guest;
  }
}
