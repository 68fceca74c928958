/** Drives the membership core: its messages over links, its ticks from the clock. */
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
import type { Peers } from './peers.ts';

const CAST = 'swim';
/** The clock that goes on in suspend may be this much ahead before it means that the machine slept. */
const SLEEP_MIN_MS = 5_000;

export interface MembershipOptions {
  self: { id: string; incarnation: number; facts: OwnFacts };
  swim: SwimOptions;
  peers: Peers;
  clock: Clock;
  /** Milliseconds since the machine started, counted in suspend too. */
  uptimeMs(): number;
  random: Random;
  log: Log;
  /** Number of the newest epoch known here: it goes with every message. */
  epochNumber(): number;
  /** The sender uses an epoch of this number. */
  heardEpoch(number: number, from: string): void;
  changed(member: SwimMember, before: MemberState | undefined): void;
  /** The node has slept: what it held for a time, it may hold no more. */
  slept(): void;
  /** Must be durable when it returns. */
  keepIncarnation(incarnation: number): void;
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #swim: Swim;
  /** How far the machine's clock was ahead of the monotonic one at the last step. */
  #aheadMs: number;
  #cancelWake: () => void = () => {};
  #isStopped = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    const { self, swim, random, clock } = options;
    this.#swim = new Swim(self, swim, clock.monotonicMs(), random);
    this.#aheadMs = options.uptimeMs() - clock.monotonicMs();
    options.peers.onCast(CAST, (body, from) => this.#receive(body, from));
  }

  /** Who may be a member, with the last known address of each. */
  setRoster(members: RosterMember[]): void {
    this.#step({ kind: 'roster', roster: new Roster(members) });
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

  stop(): void {
    this.#isStopped = true;
    this.#cancelWake();
  }

  members(): SwimMember[] {
    return this.#swim.members();
  }

  member(id: string): SwimMember | undefined {
    return this.#swim.member(id);
  }

  #receive(body: unknown, from: string): void {
    const heard = fromWire(body);
    if (heard === undefined) {
      this.#options.log.warn({ from }, 'a membership message without form was dropped');
      return;
    }
    this.#options.heardEpoch(heard.epoch, from);
    this.#step({ kind: 'message', from, message: heard.message });
  }

  #step(event: SwimEvent): void {
    if (this.#isStopped) return;
    const { clock, random } = this.#options;
    const aheadMs = this.#options.uptimeMs() - clock.monotonicMs();
    const hasSlept = aheadMs - this.#aheadMs > SLEEP_MIN_MS;
    this.#aheadMs = aheadMs;
    const events: SwimEvent[] = hasSlept ? [{ kind: 'slept' }, event] : [event];
    for (const each of events)
      for (const effect of this.#swim.step(each, clock.monotonicMs(), random)) this.#apply(effect);
    this.#cancelWake();
    const delayMs = Math.max(1, Math.ceil(this.#swim.wakeMs - clock.monotonicMs()));
    this.#cancelWake = clock.after(delayMs, () => this.#step({ kind: 'tick' }));
  }

  #apply(effect: SwimEffect): void {
    const options = this.#options;
    switch (effect.kind) {
      case 'send':
        options.peers.cast(effect.to, CAST, toWire(options.epochNumber(), effect.message));
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
        options.log.info({}, 'this machine has slept');
        options.slept();
        return;
    }
  }
}
