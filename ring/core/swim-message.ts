/** What members tell each other about members. */
import type { NeighborRequest } from './partial-view.ts';
import type { Coordinate } from './swim-coordinate.ts';

/** `left`: stopped, as it said itself. */
export type MemberState = 'alive' | 'suspect' | 'dead' | 'left';

/** Whether nobody is there who could answer. */
export function isGone(state: MemberState | undefined): boolean {
  return state === 'dead' || state === 'left';
}

/**
 * What a member says of itself and may say otherwise later. (What does not change stands in the epoch, signed.)
 * Of two, the one with the higher (incarnation, version) is newer.
 */
export interface Facts {
  /** The member's own when it said so. */
  readonly incarnation: number;
  readonly version: number;
  /** How it is reached, best first: `host:port`, `relay/NODE` or `none`; see ways.ts. */
  readonly addresses: readonly string[];
  /** Versions of the messages between nodes that it reads, least and most. */
  readonly protocol: readonly [number, number];
  /** Number of the epoch that its certificate was made under. */
  readonly certificateEpoch: number;
  /** How busy it was when it said so: 0 idle, 1 full. Probes and their answers carry what it is now. */
  readonly load?: number;
  readonly coordinate?: Readonly<Coordinate>;
  /** How its traffic is carried, such as `ebpf` or `userspace`. */
  readonly tier?: string;
  /** Workflow types whose code it has. */
  readonly types?: readonly string[];
  /** Facts of later releases by number; passed on unread. */
  readonly ext?: Readonly<Record<string, Uint8Array>>;
}

/** A claim about one member. */
export interface Update {
  readonly id: string;
  readonly state: MemberState;
  /** Counts the member's own claims to be alive; only the member itself raises it. */
  readonly incarnation: number;
  readonly facts?: Facts;
  /** Of a suspect: who found it silent, each by a probe of its own. */
  readonly accusers?: readonly string[];
}

export type SwimRequest =
  /** `load`: of the sender. */
  | { readonly kind: 'ping'; readonly seq: number; readonly load?: number | undefined }
  | { readonly kind: 'ping-req'; readonly seq: number; readonly target: string }
  /** `target` was reached through the sender; none: the sender itself, of which the rest is. */
  | {
      readonly kind: 'ack';
      readonly seq: number;
      readonly target?: string;
      readonly coordinate?: Readonly<Coordinate>;
      readonly load?: number | undefined;
    }
  /** The sender is well, and whom it was asked to probe has not answered it yet. */
  | { readonly kind: 'nack'; readonly seq: number }
  | { readonly kind: 'gossip' }
  | SyncRequest
  | NeighborRequest;

/**
 * Two views are compared: `compare` carries the digest of the whole, `hashes` answers with those of the parts
 * (none: nothing differs), `ask` names the parts that differ and tells what the asker knows of them, `tell`
 * answers that. See swim-view.ts.
 */
export type SyncRequest =
  | {
      readonly kind: 'sync';
      readonly step: 'compare';
      /** Members that are alive as the sender sees it. */
      readonly alive: number;
      readonly digest: Digest;
    }
  | {
      readonly kind: 'sync';
      readonly step: 'hashes';
      readonly alive: number;
      /** Four bytes for each part. */
      readonly hashes: Uint8Array;
    }
  | {
      readonly kind: 'sync';
      readonly step: 'ask';
      readonly alive: number;
      /** How many parts there are, a power of two. */
      readonly parts: number;
      /** One bit for each part. */
      readonly differing: Uint8Array;
    }
  | { readonly kind: 'sync'; readonly step: 'tell'; readonly alive: number };

export type Digest = readonly [number, number];

/** `incarnation` is the sender's: who knows less of it asks. */
export type SwimMessage = SwimRequest & {
  readonly incarnation: number;
  readonly updates: readonly Update[];
};

/** True when `a` was said after `b`. */
export function isNewer(a: Facts | undefined, b: Facts | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation;
  return a.version > b.version;
}

/** What is sent all the time is written out: to copy what has any properties takes several times as long. */
export function messageOf(
  request: SwimRequest,
  incarnation: number,
  updates: readonly Update[],
): SwimMessage {
  const { kind } = request;
  if (kind === 'gossip') return { kind, incarnation, updates };
  if (kind === 'ping') {
    const { seq, load } = request;
    return { kind, seq, load, incarnation, updates };
  }
  if (kind === 'ack' && request.target === undefined && request.coordinate !== undefined) {
    const { seq, coordinate, load } = request;
    return { kind, seq, coordinate, load, incarnation, updates };
  }
  return { ...request, incarnation, updates };
}
