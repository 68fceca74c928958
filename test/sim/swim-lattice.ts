/**
 * Many membership cores on one virtual clock and a network that loses, delays, repeats and splits.
 *
 * The cores are those that ship. One seed gives one run: `traceHash` tells two runs apart.
 */
import { decode } from '../../ring/core/codec.ts';
import { encodeMessage, FrameBatch } from '../../ring/core/frame.ts';
import { Swim } from '../../ring/core/swim.ts';
import type { SwimEvent } from '../../ring/core/swim-event.ts';
import type { SwimMember } from '../../ring/core/swim-member.ts';
import type { MemberState, SwimMessage, Update } from '../../ring/core/swim-message.ts';
import { type SwimOptions, swimOptions } from '../../ring/core/swim-options.ts';
import type { OwnFacts } from '../../ring/core/swim-self.ts';
import { Roster } from '../../ring/core/swim-view.ts';
import { fromWire, SWIM_VERSION, toWire } from '../../ring/core/swim-wire.ts';
import { type Random, randomInt, seededRandom } from '../../spec/random.ts';
import { type Due, EventWheel } from './event-wheel.ts';
import { NumberTable } from './number-table.ts';

export interface LatticeOptions {
  nodes: number;
  seed: number;
  swim?: Partial<SwimOptions>;
  /** All know of all at the start; else each knows the roster alone, and they find each other. */
  isSettled?: boolean;
  /** One in so many messages goes through the real codec and is measured. Default 16. */
  sampleEvery?: number;
  /** What a node says of itself beside its address. */
  facts?: (index: number) => Partial<OwnFacts>;
  /** Nodes of another release: what they put on the wire instead, and take from it, where it goes through the codec. */
  release?: Release;
}

interface Release {
  written(lattice: SwimLattice, from: number, to: number, body: unknown): unknown;
  read(to: number, body: unknown): unknown;
}

/** What the network does. May be changed while it runs. */
export interface Network {
  /** A message takes from so many to so many whole milliseconds. */
  delayMs: readonly [least: number, most: number];
  /** Share of the messages that are lost, 0 to 1. */
  loss: number;
  /** A lost message is sent again, as TCP does: it comes late, and what follows on the same way waits for it. */
  isStream: boolean;
  /** Share of the messages that come twice. */
  duplication: number;
  /** Share of the messages that are overtaken: they take up to 100 ms more. */
  reordering: number;
  canReach: (from: number, to: number) => boolean;
}

export type Changed = (
  observer: number,
  member: number,
  state: MemberState,
  before: MemberState | undefined,
) => void;

/**
 * What is kept of a node beside its core: whether it runs (1); until when it stands still, and what reaches it waits;
 * when its core is due; the tick that is in the wheel (Infinity: none); origin and speed of its own clock; its
 * incarnation, as on its disk; on how many ways from it something lost is being sent again.
 */
const [RUNNING, STALLED_UNTIL_MS, WAKE_MS, ARMED_MS, ORIGIN_MS, SPEED, INCARNATION, BLOCKED] = [
  0, 1, 2, 3, 4, 5, 6, 7,
];
const NEW_NODE = [1, 0, 0, Infinity, 0, 1, 1, 0];

/** `AGAIN` delivers what was lost and sent again. */
const [TICK, DELIVER, AGAIN, CALL] = [0, 1, 2, 3];
const TICKED: SwimEvent = { kind: 'tick' };
/** TCP's first retransmission comes after this, each further one after twice as long (RFC 6298; Linux' minimum). */
const RETRANSMIT_MS = 200;
const RETRANSMITS_MAX = 6;

export class SwimLattice {
  readonly network: Network = {
    delayMs: [1, 4],
    loss: 0,
    isStream: false,
    duplication: 0,
    reordering: 0,
    canReach: () => true,
  };
  readonly ids: readonly string[];
  messages = 0;
  /** Of frames, as far as they were measured: `bytes` stands for all messages. */
  bytes = 0;
  changed: Changed = () => {};
  sent: ((from: number, to: number, message: SwimMessage) => void) | undefined;
  readonly #options: SwimOptions;
  readonly #random: Random;
  readonly #roster: Roster;
  readonly #swims: Swim[] = [];
  readonly #nodes: NumberTable;
  readonly #wheel = new EventWheel();
  readonly #due: Due = {
    run: (kind, a, b, payload) => {
      if (kind === TICK) this.#tick(a, b);
      else if (kind === DELIVER) this.#deliver(a, b, payload as SwimMessage);
      else if (kind === AGAIN) this.#deliverAgain(a, b, payload as SwimMessage);
      else (payload as () => void)();
    },
    soon: (kind, a, b) => this.#fetch(kind === TICK ? a : b, kind === TICK),
  };
  /** What `#fetch` read: what nobody may look at need not be read. */
  fetched = 0;
  readonly #sampleEvery: number;
  readonly #factsOf: (index: number) => OwnFacts;
  readonly #release: Release | undefined;
  /** Ways on which something lost is being sent again -> until when. */
  readonly #blocked = new Map<number, number>();
  #hash = 0x811c9dc5;

  constructor(options: LatticeOptions) {
    const { nodes, seed, swim, isSettled = false, sampleEvery = 16 } = options;
    this.#options = swimOptions(swim);
    this.#random = seededRandom(seed);
    this.#sampleEvery = sampleEvery;
    this.#factsOf = (index) => ({ ...factsOf(index), ...options.facts?.(index) });
    this.#release = options.release;
    this.ids = internalized(Array.from({ length: nodes }, (_, index) => nodeName(index)));
    this.#roster = new Roster(
      this.ids.map((id, index) => ({
        id,
        address: addressOf(index),
        ...(isSettled ? { known: settled(id, this.#factsOf(index)) } : {}),
      })),
    );
    this.#nodes = new NumberTable(nodes, NEW_NODE);
    for (let index = 0; index < nodes; index++) {
      this.#swims.push(this.#core(index, 1, 0));
      this.#step(index, { kind: 'roster', roster: this.#roster });
    }
  }

  get size(): number {
    return this.ids.length;
  }

  get nowMs(): number {
    return this.#wheel.nowMs;
  }

  /** FNV-1a over every delivery and every change of a view, with its time. */
  get traceHash(): number {
    return this.#hash >>> 0;
  }

  isRunning(index: number): boolean {
    return this.#nodes.get(index, RUNNING) === 1;
  }

  kill(index: number): void {
    this.#nodes.set(index, RUNNING, 0);
  }

  /** Starts a node again. @param hasDisk false: it does not know the incarnation that it had. */
  start(index: number, hasDisk = true): void {
    const nodes = this.#nodes;
    const incarnation = hasDisk ? nodes.get(index, INCARNATION) + 1 : 1;
    nodes.set(index, INCARNATION, incarnation);
    nodes.set(index, RUNNING, 1);
    nodes.set(index, STALLED_UNTIL_MS, 0);
    nodes.set(index, ARMED_MS, Infinity);
    this.#swims[index] = this.#core(index, incarnation, this.#localMs(index));
    this.#step(index, { kind: 'roster', roster: this.#roster });
  }

  leave(index: number): void {
    this.#step(index, { kind: 'leave' });
    this.#nodes.set(index, RUNNING, 0);
  }

  /** The node does nothing for so long; what reaches it waits. */
  stall(index: number, forMs: number): void {
    this.#nodes.set(index, STALLED_UNTIL_MS, this.nowMs + forMs);
  }

  /** A machine that sleeps: as a stall, but its clock stands still too, and what reaches it is lost. */
  sleep(index: number, forMs: number): void {
    const nodes = this.#nodes;
    nodes.set(index, RUNNING, 0);
    this.after(forMs, () => {
      nodes.set(index, RUNNING, 1);
      nodes.set(index, ORIGIN_MS, nodes.get(index, ORIGIN_MS) - forMs * nodes.get(index, SPEED));
      nodes.set(index, ARMED_MS, Infinity);
      this.#step(index, { kind: 'slept' });
    });
  }

  /** From now on its clock goes at another speed. */
  skew(index: number, speed: number): void {
    const nodes = this.#nodes;
    const change = (nodes.get(index, SPEED) - speed) * this.nowMs;
    nodes.set(index, ORIGIN_MS, nodes.get(index, ORIGIN_MS) + change);
    nodes.set(index, SPEED, speed);
    this.#lookAhead(index);
  }

  event(index: number, event: SwimEvent): void {
    this.#step(index, event);
  }

  after(delayMs: number, run: () => void): void {
    this.#wheel.add(this.nowMs + delayMs, CALL, 0, 0, run);
  }

  run(forMs: number): void {
    this.#wheel.run(this.nowMs + forMs, this.#due);
  }

  /** Runs until it holds. @returns the milliseconds it took, or undefined when the limit is over. */
  runUntil(holds: () => boolean, limitMs: number): number | undefined {
    const startMs = this.nowMs;
    while (this.nowMs - startMs <= limitMs) {
      if (holds()) return this.nowMs - startMs;
      this.run(10);
    }
    return undefined;
  }

  view(observer: number, member: number): SwimMember | undefined {
    return this.#swim(observer).member(this.ids[member] ?? '');
  }

  state(observer: number, member: number): MemberState | undefined {
    return this.#swim(observer).stateOf(this.ids[member] ?? '');
  }

  /** Whom the node counts among its neighbours; none in a small lattice. */
  neighbors(index: number): number[] {
    return this.#swim(index).neighbors.map((id) => this.#roster.indexOf(id));
  }

  healthFactor(index: number): number {
    return this.#swim(index).healthFactor;
  }

  /** True when all `observers` see all `members` in the state. */
  allSee(observers: readonly number[], members: readonly number[], state: MemberState): boolean {
    return observers.every((observer) =>
      members.every((member) => this.state(observer, member) === state),
    );
  }

  #core(index: number, incarnation: number, nowMs: number): Swim {
    const self = { id: this.ids[index] ?? '', incarnation, facts: this.#factsOf(index) };
    return new Swim(self, this.#options, nowMs, this.#random);
  }

  #swim(index: number): Swim {
    return this.#swims[index] as Swim;
  }

  /** What the node's own clock shows. */
  #localMs(index: number): number {
    return this.#nodes.get(index, ORIGIN_MS) + this.#nodes.get(index, SPEED) * this.nowMs;
  }

  /** When the core is due; to be called when it or the clock is another. */
  #lookAhead(index: number): number {
    const { wakeMs } = this.#swim(index);
    const nodes = this.#nodes;
    const dueMs = Math.ceil((wakeMs - nodes.get(index, ORIGIN_MS)) / nodes.get(index, SPEED));
    nodes.set(index, WAKE_MS, dueMs);
    return dueMs;
  }

  #step(index: number, event: SwimEvent): void {
    const { nowMs } = this;
    for (const effect of this.#swim(index).step(event, this.#localMs(index), this.#random)) {
      switch (effect.kind) {
        case 'send':
          this.#send(index, effect.index, effect.message);
          break;
        case 'incarnation':
          this.#nodes.set(index, INCARNATION, effect.incarnation);
          break;
        case 'member': {
          const member = this.#roster.indexOf(effect.id);
          if (effect.state === effect.before) break;
          this.#mix(nowMs, index, member, 16 + effect.state.length);
          this.changed(index, member, effect.state, effect.before);
          break;
        }
        case 'slept':
          break;
      }
    }
    const wakeMs = Math.max(nowMs + 1, this.#lookAhead(index));
    if (wakeMs < this.#nodes.get(index, ARMED_MS)) this.#arm(index, wakeMs);
  }

  /**
   * Brings a node from main memory nearer to the processor. Of some nodes at a time the ways overlap; each node alone
   * would be waited for, as a hundred thousand are in no cache.
   */
  #fetch(index: number, isTick: boolean): void {
    // Of half of the ticks nothing comes: they were for an answer that has arrived.
    if (isTick && this.#nodes.get(index, WAKE_MS) > this.nowMs) return;
    const swim = this.#swim(index);
    this.fetched = this.#nodes.get(index, RUNNING) + swim.wakeMs + swim.healthFactor;
    this.fetched += swim.neighbors.length;
  }

  #arm(index: number, atMs: number): void {
    this.#nodes.set(index, ARMED_MS, atMs);
    this.#wheel.add(atMs, TICK, index, atMs, undefined);
  }

  #tick(index: number, armedMs: number): void {
    const nodes = this.#nodes;
    if (!this.isRunning(index) || nodes.get(index, ARMED_MS) !== armedMs) return;
    const { nowMs } = this;
    // Its timers fire first when it moves again, before it reads what came meanwhile.
    const dueMs = Math.max(nodes.get(index, STALLED_UNTIL_MS), nodes.get(index, WAKE_MS));
    if (dueMs > nowMs) {
      this.#arm(index, dueMs);
      return;
    }
    nodes.set(index, ARMED_MS, Infinity);
    this.#step(index, TICKED);
  }

  #send(from: number, to: number, message: SwimMessage): void {
    const network = this.network;
    this.messages++;
    this.sent?.(from, to, message);
    const isSampled = this.messages % this.#sampleEvery === 0;
    const sent = isSampled ? this.#throughCodec(from, to, message) : message;
    const [least, most] = network.delayMs;
    let kind = DELIVER;
    let delayMs = least + randomInt(this.#random, most - least + 1);
    if (network.loss > 0 && this.#random.next() < network.loss) {
      if (!network.isStream) return;
      let waitMs = RETRANSMIT_MS;
      for (let again = 0; again < RETRANSMITS_MAX; again++) {
        delayMs += waitMs;
        if (this.#random.next() >= network.loss) break;
        waitMs *= 2;
      }
      kind = AGAIN;
      this.#block(from, to, this.nowMs + delayMs);
    } else if (this.#nodes.get(from, BLOCKED) > 0) {
      const untilMs = this.#blocked.get(from * this.size + to) ?? 0;
      if (untilMs > this.nowMs + delayMs) delayMs = untilMs - this.nowMs;
      else if (untilMs > 0) this.#unblock(from, to);
    }
    if (network.reordering > 0 && this.#random.next() < network.reordering)
      delayMs += randomInt(this.#random, 100);
    this.#wheel.add(this.nowMs + delayMs, kind, from, to, sent);
    if (network.duplication > 0 && this.#random.next() < network.duplication)
      this.#wheel.add(this.nowMs + delayMs + randomInt(this.#random, 500), DELIVER, from, to, sent);
  }

  /** What comes out at the other side, and the size of the frame that it went in. */
  #throughCodec(from: number, to: number, message: SwimMessage): SwimMessage {
    const known = toWire(1, message);
    const body = this.#release?.written(this, from, to, known) ?? known;
    const batch = new FrameBatch();
    const encoded = encodeMessage({ kind: 'cast', method: 'swim', body });
    const frame = batch.add(encoded) ?? batch.take();
    this.bytes += (frame?.length ?? 0) * this.#sampleEvery;
    const [, , heard] = decode(encoded) as unknown[];
    const received = fromWire(this.#release?.read(to, heard) ?? heard);
    if (received === undefined) throw new Error(`not read again: ${JSON.stringify(body)}`);
    return received.message;
  }

  /** What waited for it on its way waits no longer. */
  #deliverAgain(from: number, to: number, message: SwimMessage): void {
    if ((this.#blocked.get(from * this.size + to) ?? Infinity) <= this.nowMs)
      this.#unblock(from, to);
    this.#deliver(from, to, message);
  }

  #block(from: number, to: number, untilMs: number): void {
    const before = this.#blocked.size;
    this.#blocked.set(from * this.size + to, untilMs);
    const more = this.#blocked.size - before;
    this.#nodes.set(from, BLOCKED, this.#nodes.get(from, BLOCKED) + more);
  }

  #unblock(from: number, to: number): void {
    this.#blocked.delete(from * this.size + to);
    this.#nodes.set(from, BLOCKED, this.#nodes.get(from, BLOCKED) - 1);
  }

  #deliver(from: number, to: number, message: SwimMessage): void {
    if (!this.isRunning(to) || !this.network.canReach(from, to)) return;
    const stalledUntilMs = this.#nodes.get(to, STALLED_UNTIL_MS);
    if (this.nowMs < stalledUntilMs) {
      this.#wheel.add(stalledUntilMs + 1, DELIVER, from, to, message);
      return;
    }
    this.#mix(this.nowMs, from, to, message.updates.length);
    this.#step(to, { kind: 'message', from: this.ids[from] ?? '', index: from, message });
  }

  #mix(a: number, b: number, c: number, d: number): void {
    let hash = this.#hash;
    hash = Math.imul(hash ^ a, 0x01000193);
    hash = Math.imul(hash ^ b, 0x01000193);
    hash = Math.imul(hash ^ c, 0x01000193);
    hash = Math.imul(hash ^ d, 0x01000193);
    this.#hash = hash ^ (hash >>> 15);
  }
}

/** As long as a node's real id. */
function nodeName(index: number): string {
  return `n${index.toString(32)}`.padEnd(53, 'z');
}

/** The same texts as V8 keeps names of properties: one object each, so that two are compared without being read. */
function internalized(texts: readonly string[]): string[] {
  return Object.keys(Object.fromEntries(texts.map((text) => [text, true])));
}

function addressOf(index: number): string {
  return `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:7400`;
}

function factsOf(index: number): OwnFacts {
  return {
    addresses: [addressOf(index)],
    protocol: [SWIM_VERSION, SWIM_VERSION],
    certificateEpoch: 1,
  };
}

function settled(id: string, own: OwnFacts): Update {
  const facts = { incarnation: 1, version: 1, ...own };
  return { id, state: 'alive', incarnation: 1, facts };
}
