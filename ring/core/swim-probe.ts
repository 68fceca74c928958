/**
 * One member after the other is asked whether it is there: directly, then through others (SWIM §4.3), in an
 * order that is another in each round. How well this node itself is (Lifeguard's local health) stretches
 * its periods and its patience, so that who is slow does not blame others for it.
 */
import { type Random, randomInt } from '../../spec/random.ts';
import type { Agenda } from './swim-agenda.ts';
import type { SwimRequest } from './swim-message.ts';
import type { SwimOptions } from './swim-options.ts';
import { Permutation } from './swim-permutation.ts';
import type { View } from './swim-view.ts';

/** What the prober is built into. */
export interface ProbeHost {
  /** @param index of the member in the roster. */
  ping(to: string, index: number, seq: number): void;
  send(to: string, request: SwimRequest): void;
  /** Up to `count` live members, by chance. */
  others(count: number, except: string): string[];
  /** The member answered neither a probe nor one through others. */
  silent(id: string): void;
}

/** The last probe; one object, used again and again. */
interface Probe {
  id: string;
  /** Of the member, when it was asked: one that has begun anew or refuted something meanwhile is not silent. */
  incarnation: number;
  seq: number;
  sentMs: number;
  timeoutMs: number;
  /** When the answer is late; then others are asked, and have as long again. */
  endMs: number;
  /** Answered, given up or not there. */
  isDone: boolean;
  /** Others have been asked to probe it too: so many, of which so many said that they try. */
  isIndirect: boolean;
  asked: number;
  nacks: number;
}

/** A probe made for another. */
interface Relay {
  readonly origin: string;
  /** The origin's number. */
  readonly originSeq: number;
  readonly seq: number;
  readonly target: string;
  nackMs: number;
  readonly endMs: number;
}

/** Of the time that the origin gives: so that its nack comes in time. */
const NACK_SHARE = 0.8;
const RELAYS_MAX = 1_024;

export class Prober {
  readonly #options: SwimOptions;
  readonly #host: ProbeHost;
  readonly #self: string;
  /** Its index in the roster. */
  #selfIndex = -1;
  readonly #view: View;
  /** Members to be probed before the next of the round, last one first. */
  #urgent: string[] = [];
  #order: Permutation | undefined;
  #place = 0;
  readonly #probe: Probe = {
    id: '',
    incarnation: 0,
    seq: 0,
    sentMs: 0,
    timeoutMs: 0,
    endMs: 0,
    isDone: true,
    isIndirect: false,
    asked: 0,
    nacks: 0,
  };
  #relays: Relay[] = [];
  /** To whom a first connection is being made, and whether a probe was given up for that. */
  readonly #dialling = new Map<string, boolean>();
  #seq = 0;
  #dueMs: number;
  /** See `#plan`. */
  readonly #agenda: Agenda;
  #restMs = -Infinity;
  #ails = 0;

  /** @param agenda its `probeMs` is when to begin, and then this object's. */
  constructor(options: SwimOptions, host: ProbeHost, self: string, view: View, agenda: Agenda) {
    this.#options = options;
    this.#host = host;
    this.#self = self;
    this.#view = view;
    this.#agenda = agenda;
    this.#dueMs = agenda.probeMs;
  }

  /** How many times slower than usual this node probes; 1 = it is well. */
  get factor(): number {
    return 1 + this.#ails;
  }

  /** Signs that this node is slow (above 0) or well (below). */
  ail(by: number): void {
    if (!this.#options.lifeguard) return;
    const most = this.#options.healthFactorMax - 1;
    this.#ails = Math.min(most, Math.max(0, this.#ails + by));
  }

  /** The round begins anew: it was of another roster. */
  rosterChanged(): void {
    this.#order = undefined;
    this.#selfIndex = this.#view.roster.indexOf(this.#self);
  }

  lookAt(id: string, nowMs: number): void {
    if (!this.#urgent.includes(id)) this.#urgent.push(id);
    if (this.#probe.isDone) this.#dueMs = Math.max(nowMs, this.#restMs);
    this.#plan();
  }

  /** I9. */
  dialling(id: string): void {
    if (!this.#dialling.has(id)) this.#dialling.set(id, false);
  }

  /** The connection is there or given up. */
  dialled(id: string, nowMs: number): void {
    const isOwed = this.#dialling.get(id);
    this.#dialling.delete(id);
    if (isOwed === true) this.lookAt(id, nowMs);
  }

  /** What was sent before this node stood still may lie here answered and unread: only a new probe tells. */
  startOver(nowMs: number): void {
    const probe = this.#probe;
    if (probe.isDone) return;
    probe.isDone = true;
    this.lookAt(probe.id, nowMs);
  }

  /** Forgets what is under way and probes nobody until then. */
  rest(untilMs: number): void {
    this.#probe.isDone = true;
    this.#relays = [];
    this.#urgent = [];
    this.#restMs = untilMs;
    this.#dueMs = untilMs;
    this.#plan();
  }

  tick(nowMs: number, random: Random): void {
    const probe = this.#probe;
    if (!probe.isDone) this.#watch(probe, nowMs);
    if (this.#relays.length > 0) this.#watchRelays(nowMs);
    if (nowMs >= this.#dueMs && probe.isDone) this.#begin(probe, nowMs, random);
    this.#plan();
  }

  /** The next probe. */
  #begin(probe: Probe, nowMs: number, random: Random): void {
    this.#dueMs = nowMs + this.#options.probeIntervalMs * this.factor;
    const index = this.#next(random);
    const id = this.#view.roster.idOf(index);
    if (id === undefined) return;
    probe.id = id;
    probe.incarnation = this.#view.incarnationOf(index);
    probe.seq = ++this.#seq;
    probe.sentMs = nowMs;
    probe.timeoutMs = this.#options.ackTimeoutMs * this.factor;
    probe.endMs = nowMs + probe.timeoutMs;
    probe.isDone = false;
    probe.isIndirect = false;
    probe.asked = 0;
    probe.nacks = 0;
    this.#host.ping(id, index, this.#seq);
  }

  /** @returns the round trip in milliseconds, when it is one of a direct probe. */
  acked(from: string, seq: number, target: string, nowMs: number): number | undefined {
    const probe = this.#probe;
    if (probe.seq === seq && probe.id === target) {
      if (probe.isDone) return undefined;
      probe.isDone = true;
      this.#plan();
      this.ail(-1);
      return from === target && !probe.isIndirect ? nowMs - probe.sentMs : undefined;
    }
    const at = this.#relays.findIndex((relay) => relay.seq === seq);
    const relay = this.#relays[at];
    if (relay === undefined || relay.target !== from || target !== from) return undefined;
    this.#relays.splice(at, 1);
    this.#plan();
    this.#host.send(relay.origin, { kind: 'ack', seq: relay.originSeq, target });
    return undefined;
  }

  nacked(seq: number): void {
    if (this.#probe.seq === seq) this.#probe.nacks++;
  }

  /** @param index of the target in the roster. */
  relay(origin: string, originSeq: number, target: string, index: number, nowMs: number): void {
    if (this.#relays.length >= RELAYS_MAX) return;
    const { ackTimeoutMs, probeIntervalMs } = this.#options;
    const seq = ++this.#seq;
    const nackMs = nowMs + Math.floor(ackTimeoutMs * NACK_SHARE);
    this.#relays.push({ origin, originSeq, seq, target, nackMs, endMs: nowMs + probeIntervalMs });
    this.#plan();
    this.#host.ping(target, index, seq);
  }

  /** To be called when something is due at another time: reckoned here once, and not whenever it is asked. */
  #plan(): void {
    let wakeMs = this.#probe.isDone ? this.#dueMs : this.#probe.endMs;
    for (const { nackMs, endMs } of this.#relays) wakeMs = Math.min(wakeMs, nackMs, endMs);
    this.#agenda.probeMs = wakeMs;
  }

  #watch(probe: Probe, nowMs: number): void {
    if (nowMs < probe.endMs) return;
    if (this.#dialling.has(probe.id)) {
      this.#dialling.set(probe.id, true);
      probe.isDone = true; // I9
      return;
    }
    if (!probe.isIndirect) {
      probe.isIndirect = true;
      // Of a tick that comes late: it must not end both waits at once.
      const lateMs = this.#options.lifeguard ? nowMs - probe.endMs : 0;
      probe.endMs += lateMs + probe.timeoutMs;
      const others = this.#host.others(this.#options.indirectProbes, probe.id);
      probe.asked = others.length;
      for (const id of others)
        this.#host.send(id, { kind: 'ping-req', seq: probe.seq, target: probe.id });
      if (nowMs < probe.endMs) return;
    }
    probe.isDone = true;
    // Others who try and say so: the fault is not on our side.
    this.ail(probe.asked === 0 ? 1 : Math.max(0, probe.asked - probe.nacks));
    const index = this.#view.roster.indexOf(probe.id);
    if (this.#view.incarnationOf(index) === probe.incarnation) this.#host.silent(probe.id);
    else if (index >= 0) this.lookAt(probe.id, nowMs);
  }

  #watchRelays(nowMs: number): void {
    for (const relay of this.#relays) {
      if (nowMs < relay.nackMs) continue;
      relay.nackMs = Infinity;
      this.#host.send(relay.origin, { kind: 'nack', seq: relay.originSeq });
    }
    this.#relays = this.#relays.filter(({ endMs }) => nowMs < endMs);
  }

  /** @returns the member's index, or -1 when there is nobody. */
  #next(random: Random): number {
    const { roster } = this.#view;
    for (let id = this.#urgent.pop(); id !== undefined; id = this.#urgent.pop()) {
      const index = roster.indexOf(id);
      if (index >= 0 && this.#view.isUsable(index)) return index;
    }
    for (let left = this.#view.size * 2; left > 0; left--) {
      if (this.#order === undefined || this.#place >= this.#order.size) {
        this.#order = new Permutation(this.#view.size, randomInt(random, 2 ** 32));
        this.#place = 0;
      }
      const index = this.#order.at(this.#place++);
      if (index !== this.#selfIndex && this.#view.isUsable(index)) return index;
    }
    return -1;
  }
}
