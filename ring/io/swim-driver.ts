/** Drives the membership core: its messages, its ticks from the clock, and what a clock can tell of this machine. */
import type { Clock } from '../../spec/clock.ts';
import type { Log } from '../../spec/log.ts';
import type { Random } from '../../spec/random.ts';
import { Swim } from '../core/swim.ts';
import type { SwimEffect, SwimEvent } from '../core/swim-event.ts';
import type { SwimMember } from '../core/swim-member.ts';
import type { OwnFacts } from '../core/swim-self.ts';
import type { MemberState } from '../core/swim-message.ts';
import type { SwimOptions } from '../core/swim-options.ts';
import { Roster, type RosterMember } from '../core/swim-view.ts';
import { fromWire, toWire } from '../core/swim-wire.ts';

/** The clock that goes on in suspend may be this much ahead before it means that the machine slept. */
const SLEEP_MIN_MS = 5_000;
/** Between looks at that clock, which cost more than a step of the core. */
const CLOCKS_INTERVAL_MS = 20;
/** What is this late is looked at: less is what a busy loop always is. */
const LAG_MIN_MS = 1_000;
/** While the main loop lags, its return is looked for this often. */
const LAG_INTERVAL_MS = 250;

export interface SwimDriverOptions {
  self: { id: string; incarnation: number; facts: OwnFacts };
  swim: SwimOptions;
  clock: Clock;
  /** Milliseconds since the machine started, counted in suspend too. */
  uptimeMs(): number;
  random: Random;
  log: Log;
  /** Number of the newest epoch known here: it goes with every message. */
  epochNumber(): number;
  /** Soon or never. */
  send(to: string, body: unknown): void;
  /** The sender uses an epoch of this number. */
  heardEpoch(number: number, from: string): void;
  changed(member: SwimMember, before: MemberState | undefined): void;
  /** The node has slept: what it held for a time, it may hold no more. */
  slept(): void;
  /** Nothing may be sent under it before it is durable. */
  keepIncarnation(incarnation: number): void;
  /** How long the node's main loop has stood still; none: it is the loop that this runs on. */
  lagMs?(): number;
}

export class SwimDriver {
  readonly #options: SwimDriverOptions;
  readonly #swim: Swim;
  /** How far the machine's clock was ahead of the monotonic one when they were compared. */
  #aheadMs: number;
  /** How long this loop stood still itself since the main loop moved last. */
  #stoodMs = 0;
  #isLagging = false;
  #cancelWake: () => void = () => {};
  #isStopped = false;
  /** When that was. */
  #comparedMs = -Infinity;

  constructor(options: SwimDriverOptions) {
    this.#options = options;
    const { self, swim, random, clock } = options;
    this.#swim = new Swim(self, swim, clock.monotonicMs(), random);
    this.#aheadMs = options.uptimeMs() - clock.monotonicMs();
  }

  /** Who may be a member, with the last known address of each. @param near those to whom a way is open. */
  setRoster(members: RosterMember[], near: readonly string[]): void {
    this.#step({ kind: 'roster', roster: new Roster(members), near });
  }

  /** What this node says of itself from now on. */
  setFacts(facts: OwnFacts): void {
    this.#step({ kind: 'facts', facts });
  }

  linkLost(id: string): void {
    this.#step({ kind: 'link-lost', id });
  }

  /** Tells the others that this node goes. */
  leave(): void {
    this.#step({ kind: 'leave' });
  }

  /** The member has taken a first connection, or is about to be dialled; or that is over. */
  dialling(id: string, isUnderWay: boolean): void {
    this.#step({ kind: 'dialling', id, isUnderWay });
  }

  /** A message of a proven sender, its form not looked at. */
  receive(body: unknown, from: string): void {
    const heard = fromWire(body);
    if (heard === undefined) {
      this.#options.log.warn({ from }, 'a membership message without form was dropped');
      return;
    }
    this.#options.heardEpoch(heard.epoch, from);
    this.#step({ kind: 'message', from, message: heard.message });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelWake();
  }

  /** To whom news goes in a large lattice. */
  get neighbors(): readonly string[] {
    return this.#swim.neighbors;
  }

  member(id: string): SwimMember | undefined {
    return this.#swim.member(id);
  }

  #step(event: SwimEvent): void {
    if (this.#isStopped) return;
    const { clock, random } = this.#options;
    for (const each of [...this.#standstills(), event])
      for (const effect of this.#swim.step(each, clock.monotonicMs(), random)) this.#apply(effect);
    this.#cancelWake();
    const dueMs = Math.max(1, Math.ceil(this.#swim.wakeMs - clock.monotonicMs()));
    const delayMs = this.#isLagging ? Math.min(dueMs, LAG_INTERVAL_MS) : dueMs;
    this.#cancelWake = clock.after(delayMs, () => this.#step({ kind: 'tick' }));
  }

  /** What the core is to hear first: that the machine slept, that the main loop does not move or moves again. */
  #standstills(): SwimEvent[] {
    const events: SwimEvent[] = [];
    const options = this.#options;
    const nowMs = options.clock.monotonicMs();
    if (nowMs - this.#comparedMs >= CLOCKS_INTERVAL_MS) {
      this.#comparedMs = nowMs;
      const aheadMs = options.uptimeMs() - nowMs;
      if (aheadMs - this.#aheadMs > SLEEP_MIN_MS) events.push({ kind: 'slept' });
      this.#aheadMs = aheadMs;
    }
    const behindMs = options.lagMs?.() ?? 0;
    const lateMs = nowMs - this.#swim.wakeMs;
    // While all of this process stands still the main loop does too, and is not behind for it.
    if (behindMs <= 0) this.#stoodMs = 0;
    else if (lateMs > options.swim.stallMs) this.#stoodMs += lateMs;
    const lagMs = Math.max(0, behindMs - this.#stoodMs);
    const isLagging = lagMs > LAG_MIN_MS;
    if (isLagging || this.#isLagging) events.push({ kind: 'lag', lagMs });
    this.#isLagging = isLagging;
    return events;
  }

  #apply(effect: SwimEffect): void {
    const options = this.#options;
    switch (effect.kind) {
      case 'send':
        options.send(effect.to, toWire(options.epochNumber(), effect.message));
        return;
      case 'member': {
        const member = this.#swim.member(effect.id);
        if (member !== undefined) options.changed(member, effect.before);
        return;
      }
      case 'incarnation':
        options.keepIncarnation(effect.incarnation);
        return;
      case 'slept':
        options.log.info({}, 'this node has stood still, or the machine has slept');
        options.slept();
        return;
    }
  }
}
