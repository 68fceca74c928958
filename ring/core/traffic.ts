/**
 * What each peer may send: token buckets for messages and bytes, and the count of what was over them.
 *
 * Members have buckets of their own; all who are no members share one set, so that many keys are worth no more than one.
 * They outlive connections: who comes anew has no fresh burst.
 *
 * What it takes to decode a message is paid for as well, in the units of codec.ts, and so is each frame, however little is in
 * it: who sends its messages one by one costs many times as much as who sends them together. While one message is decoded all others
 * wait, so that a long one that nobody asked for costs more than its weight: what a peer can make others wait so is less than a
 * hundredth of the time, and their 99th percentile does not see it.
 */
import type { Message } from './frame.ts';
import { TokenBucket } from './token-bucket.ts';
import type { TransportLimits } from './transport-limits.ts';

/** What is decoded before others have their turn: half a millisecond. */
export const TURN_WEIGHT = 25_000;
/** Of a frame, beside what is in it: ten microseconds to take it and to write an answer that comes alone. */
export const FRAME_WEIGHT = 500;
/** A message of more costs that many times its weight. */
const HEAVY_FACTOR = 32;
/** Longer than for other rates: one message may weigh a lot. */
const WEIGHT_DEBT_SECONDS = 60;

/** Control carries short calls; bulk what would keep them waiting; swim membership, between threads that do nothing else. */
export type Lane = 'control' | 'bulk' | 'swim';

/** What is counted and limited apart; `guest` is all that who is no member sends. */
export type TrafficClass = 'cast' | 'call' | 'bulk' | 'guest';

interface Buckets {
  cast: TokenBucket;
  call: TokenBucket;
  bulk: TokenBucket;
  controlBytes: TokenBucket;
  bulkBytes: TokenBucket;
  weight: TokenBucket;
}

export type Tally = Record<TrafficClass, number>;

export class Traffic {
  readonly #limits: TransportLimits;
  readonly #members = new Map<string, Buckets>();
  readonly #guestMessages: TokenBucket;
  readonly #guestBytes: TokenBucket;
  readonly #guestWeight: TokenBucket;
  /** Messages that came. */
  readonly received: Tally = { cast: 0, call: 0, bulk: 0, guest: 0 };
  /** Of these, over the rate: casts dropped, calls refused. */
  readonly overRate: Tally = { cast: 0, call: 0, bulk: 0, guest: 0 };
  /** Messages that were to be sent and found a full queue or no way. */
  readonly unsent: Tally = { cast: 0, call: 0, bulk: 0, guest: 0 };
  /** How often a peer was not read from for a while. */
  rests = 0;

  constructor(limits: TransportLimits, nowMs: number) {
    this.#limits = limits;
    const { guestMessagesPerSecond, guestBytesPerSecond, guestWeightPerSecond } = limits;
    this.#guestMessages = this.#bucket(guestMessagesPerSecond, nowMs);
    this.#guestBytes = this.#bucket(guestBytesPerSecond, nowMs);
    this.#guestWeight = this.#bucket(guestWeightPerSecond, nowMs, WEIGHT_DEBT_SECONDS);
  }

  /** One has come, of so many bytes. @param peer none: who is no member. */
  frame(peer: string | undefined, lane: Lane, bytes: number, nowMs: number): void {
    if (peer === undefined) this.#guestBytes.charge(bytes, nowMs);
    else this.#of(peer, nowMs)[lane === 'bulk' ? 'bulkBytes' : 'controlBytes'].charge(bytes, nowMs);
    this.weigh(peer, FRAME_WEIGHT, true, nowMs);
  }

  /** @param isAwaited it was asked for, as an answer is. */
  weigh(peer: string | undefined, weight: number, isAwaited: boolean, nowMs: number): void {
    const bucket = peer === undefined ? this.#guestWeight : this.#of(peer, nowMs).weight;
    bucket.charge(weight > TURN_WEIGHT && !isAwaited ? weight * HEAVY_FACTOR : weight, nowMs);
  }

  /** Counts one message. @returns false when it is over the rate. */
  admit(peer: string | undefined, traffic: TrafficClass, nowMs: number): boolean {
    this.received[traffic]++;
    const bucket =
      peer === undefined || traffic === 'guest'
        ? this.#guestMessages
        : this.#of(peer, nowMs)[traffic];
    if (bucket.charge(1, nowMs)) return true;
    this.overRate[traffic]++;
    return false;
  }

  /** How long the peer is not to be read from: until what it owes is paid. */
  restMs(peer: string | undefined, lane: Lane, nowMs: number): number {
    let debts: TokenBucket[];
    if (peer === undefined) {
      debts = [this.#guestMessages, this.#guestBytes, this.#guestWeight];
    } else {
      const { cast, call, bulk, controlBytes, bulkBytes, weight } = this.#of(peer, nowMs);
      debts =
        lane === 'bulk' ? [bulk, bulkBytes, weight] : [cast, call, bulk, controlBytes, weight];
    }
    const owedMs = Math.max(...debts.map((bucket) => bucket.debtMs(nowMs)));
    if (owedMs > 0) this.rests++;
    return owedMs;
  }

  /** Keeps the buckets of members only. */
  review(isMember: (peer: string) => boolean): void {
    for (const peer of this.#members.keys()) if (!isMember(peer)) this.#members.delete(peer);
  }

  #of(peer: string, nowMs: number): Buckets {
    const known = this.#members.get(peer);
    if (known !== undefined) return known;
    const limits = this.#limits;
    const buckets: Buckets = {
      cast: this.#bucket(limits.castsPerSecond, nowMs),
      call: this.#bucket(limits.callsPerSecond, nowMs),
      bulk: this.#bucket(limits.bulkPerSecond, nowMs),
      controlBytes: this.#bucket(limits.controlBytesPerSecond, nowMs),
      bulkBytes: this.#bucket(limits.bulkBytesPerSecond, nowMs),
      weight: this.#bucket(limits.weightPerSecond, nowMs, WEIGHT_DEBT_SECONDS),
    };
    this.#members.set(peer, buckets);
    return buckets;
  }

  #bucket(perSecond: number, nowMs: number, debtSeconds = 1): TokenBucket {
    const burst = Math.max(1, perSecond * this.#limits.burstSeconds);
    return new TokenBucket(perSecond, burst, nowMs, debtSeconds);
  }
}

/** Which class a message is of. */
export function classOf(kind: Message['kind'], lane: Lane, isGuest: boolean): TrafficClass {
  if (isGuest) return 'guest';
  if (kind === 'cast') return 'cast';
  return lane === 'bulk' || kind === 'part' ? 'bulk' : 'call';
}
