/** Drives the membership core: its messages over links, its ticks from the clock. */
import type { Clock } from '../../spec/clock.ts';
import type { Log } from '../../spec/log.ts';
import type { Random } from '../../spec/random.ts';
import { Swim, type SwimEffect, type SwimEvent, type SwimMember } from '../core/swim.ts';
import { type MemberState, toSwimMessage } from '../core/swim-message.ts';
import type { SwimOptions } from '../core/swim-options.ts';
import type { Peers } from './peers.ts';

const CAST = 'swim';

export interface MembershipOptions {
  self: { id: string; address: string; incarnation: number };
  swim: SwimOptions;
  peers: Peers;
  clock: Clock;
  random: Random;
  log: Log;
  /** Number of the newest epoch known here: it goes with every message. */
  epochNumber(): number;
  /** The sender uses an epoch of this number. */
  heardEpoch(number: number, from: string): void;
  changed(member: SwimMember, before: MemberState | undefined): void;
  /** Must be durable when it returns. */
  keepIncarnation(incarnation: number): void;
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #swim: Swim;
  #cancelWake: () => void = () => {};
  #isStopped = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    const { self, swim, random, clock } = options;
    this.#swim = new Swim(self, swim, random, clock.monotonicMs());
    options.peers.onCast(CAST, (body, from) => this.#receive(body, from));
  }

  /** Who may be a member, with the last known address of each. */
  setRoster(members: { id: string; address: string }[]): void {
    this.#step({ kind: 'roster', members });
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
    const { epoch, swim } = (body ?? {}) as { epoch?: unknown; swim?: unknown };
    const message = toSwimMessage(swim);
    if (message === undefined || !Number.isSafeInteger(epoch)) {
      this.#options.log.warn({ from }, 'a membership message without form was dropped');
      return;
    }
    this.#options.heardEpoch(epoch as number, from);
    this.#step({ kind: 'message', from, message });
  }

  #step(event: SwimEvent): void {
    if (this.#isStopped) return;
    const { clock } = this.#options;
    for (const effect of this.#swim.step(event, clock.monotonicMs())) this.#apply(effect);
    this.#cancelWake();
    const delayMs = Math.max(1, Math.ceil(this.#swim.wakeMs - clock.monotonicMs()));
    this.#cancelWake = clock.after(delayMs, () => this.#step({ kind: 'tick' }));
  }

  #apply(effect: SwimEffect): void {
    const options = this.#options;
    switch (effect.kind) {
      case 'send':
        options.peers.cast(effect.to, CAST, {
          epoch: options.epochNumber(),
          swim: effect.message,
        });
        return;
      case 'member':
        options.changed(effect.member, effect.before);
        return;
      case 'incarnation':
        options.keepIncarnation(effect.incarnation);
        return;
    }
  }
}
