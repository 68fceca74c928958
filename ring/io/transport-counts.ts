/** What a transport counts, of the links and calls of a node or of its membership. */
import type { Traffic } from '../core/traffic.ts';
import type { CallerCounts } from './callers.ts';
import type { Link } from './link.ts';
import type { Listener } from './listener.ts';
import type { RelayCounts } from './relay.ts';

/** Counters only grow. */
export interface TransportCounts extends Pick<
  Traffic,
  'received' | 'overRate' | 'unsent' | 'rests'
> {
  /** Connections that were not taken, and why. */
  refused: CallerCounts & GaveWay;
  /** Now: handshakes under way, links of members and of others, bytes that wait to be written. */
  open: { handshakes: number; members: number; guests: number };
  queuedBytes: number;
  /** What this node carries for others. */
  relay: RelayCounts;
}

/** Links that gave way to newer ones. */
export interface GaveWay {
  guests: number;
  links: number;
}

/** What is counted where it happens. */
export interface Counted {
  traffic: Traffic;
  /** Undefined: nobody calls here yet. */
  listener: Listener | undefined;
  /** All that are there, of guests too. */
  links: readonly Link[];
  guests: number;
  gaveWay: GaveWay;
  relay: RelayCounts;
}

export function transportCounts(counted: Counted): TransportCounts {
  const { traffic, listener, links, guests, gaveWay, relay } = counted;
  const { received, overRate, unsent, rests } = traffic;
  const callers = listener?.refused ?? { overRate: 0, gaveWay: 0, late: 0 };
  return {
    received: { ...received },
    overRate: { ...overRate },
    unsent: { ...unsent },
    rests,
    refused: { ...callers, ...gaveWay },
    open: { handshakes: listener?.pending ?? 0, members: links.length - guests, guests },
    queuedBytes: links.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0),
    relay: { ...relay },
  };
}

/** Counts of the same shape, added up. */
type Counts = { readonly [name: string]: number | Counts };

export function addCounts<T extends object>(first: T, second: T): T {
  const add = (a: Counts, b: Counts): Counts =>
    Object.fromEntries(
      Object.entries(a).map(([name, value]) => {
        const other = b[name];
        if (typeof value === 'number') return [name, value + (other as number)];
        return [name, add(value, other as Counts)];
      }),
    );
  return add(first as Counts, second as Counts) as T;
}
