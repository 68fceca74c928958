/**
 * Who is alive: SWIM (Das, Gupta, Motivala, DSN 2002) with Lifeguard (Dadgar, Phillips, Currey, DSN-W 2018)
 * as a state machine.
 *
 * `step` takes an event, the time and chance and returns effects; the driver owns sockets and timers, and
 * calls `step` with a tick at `wakeMs`. Membership is a hint: it routes and triggers, and decides
 * nothing that must be safe.
 *
 * I1  What is known of a member only grows, by (incarnation, state) with alive < suspect < dead <
 *     left, and its facts by (incarnation, version). So every order of the same claims ends in one view,
 *     and a replayed claim does nothing. (I7 is the exception.)
 * I2  Only the member itself raises its incarnation; hearing itself called anything but what it is, it
 *     does so at once, unless it is leaving. So does who has slept, before it hears what it was called meanwhile.
 * I3  Nobody dies unheard: death follows a suspicion that lasted the whole suspicion time; and a death that
 *     another tells of counts as a suspicion, unless this node's own has lasted half of the least time. So one
 *     member that lies, or was cut off, buries nobody who can answer.
 * I4  A node that stood still accuses nobody for it: the lost time is given back to everybody. One that slept
 *     asks for news before it probes. Where the rest of the node stands still and this does not, it accuses nobody
 *     meanwhile, and is silent once that lasts.
 * I5  Only members of the roster are tracked; of others nothing is known, and nothing passed on, before the roster names
 *     them. A bounded number of claims is kept until then.
 * I6  What is known from the roster alone (incarnation 0) is not passed on.
 * I7  A node that finds most members down, and meets one that sees most alive, was cut off: what it concluded
 *     about the others meanwhile is worth nothing: it is forgotten as by a restart, and not believed by those it is told
 *     to while views are compared. So who comes back makes the lattice refute nothing but its own death, whatever its size.
 * I8  What others say of a member may be ahead of what is known of it, but not so far that a few claims use up
 *     the numbers with which it could refute them.
 * I9  Who has taken a first connection is not accused before it could be asked by that: the handshake may take longer than an
 *     answer is waited for, so a probe of it is put off until that is over.
 */
import { type Random, randomInt } from '../../spec/random.ts';
import { PartialView } from './partial-view.ts';
import { Acquaintances, ACQUAINTANCES_MAX } from './swim-acquaintance.ts';
import { Agenda } from './swim-agenda.ts';
import { Audience } from './swim-audience.ts';
import { Beliefs, isTooFar } from './swim-beliefs.ts';
import { Choice } from './swim-choice.ts';
import { cause, takeCaused } from './swim-effects.ts';
import type { SwimEffect, SwimEvent } from './swim-event.ts';
import { GossipQueue, toTell } from './swim-gossip.ts';
import { Herald } from './swim-herald.ts';
import { LoopLag } from './swim-lag.ts';
import { memberOf, type SwimMember } from './swim-member.ts';
import {
  type Facts,
  isNewer,
  type MemberState,
  type SwimMessage,
  type SwimRequest,
  type SyncRequest,
  type Update,
} from './swim-message.ts';
import { note } from './swim-note.ts';
import type { SwimOptions } from './swim-options.ts';
import { SwimPace } from './swim-pace.ts';
import { Prober } from './swim-probe.ts';
import { type OwnFacts, Self } from './swim-self.ts';
import { Suspicions } from './swim-suspicion.ts';
import { comparison, syncAnswers } from './swim-sync.ts';
import { textsOf } from './swim-trail.ts';
import { RANK, Roster, View } from './swim-view.ts';

/** Members that are told directly of a departure. */
const FAREWELLS_MAX = 16;
/** Members that are asked for news after sleep, at once. */
const AWAKENINGS = 3;
const NOBODY: readonly string[] = [];
/** So large a lattice tells load and coordinates as often as `factsIntervalMs` says; a larger one less often. */
const FACTS_MEMBERS = 25;

export class Swim {
  // What each step needs comes first, and so lies together.
  #wakeMs: number;
  /** Of the step that is being made. */
  #nowMs: number;
  #random: Random;
  readonly #id: string;
  readonly #options: SwimOptions;
  readonly #view = new View(new Roster([]));
  readonly #agenda: Agenda;
  readonly #gossip = new GossipQueue();
  readonly #self: Self;
  readonly #prober: Prober;
  readonly #herald: Herald;
  /** Of `#lag`: asked with each message, so it is kept at hand. */
  #isBlocked = false;
  /** There are too many members for links to all. */
  #isPartial = false;
  /** Whom news goes to then. */
  readonly #neighbors: PartialView;
  readonly #acquaintances = new Acquaintances();
  readonly #beliefs: Beliefs;
  readonly #audience: Audience;
  readonly #choice: Choice;
  readonly #suspicions: Suspicions;
  readonly #pace: SwimPace;
  readonly #lag: LoopLag;

  /** @param self its incarnation must be above all that it ever had. */
  constructor(
    self: { id: string; incarnation: number; facts: OwnFacts },
    options: SwimOptions,
    nowMs: number,
    random: Random,
  ) {
    const { id, incarnation, facts } = self;
    this.#id = id;
    this.#options = options;
    const agenda = new Agenda(nowMs);
    this.#agenda = agenda;
    this.#suspicions = new Suspicions(options, this.#view, agenda, id);
    this.#lag = new LoopLag(options.silenceMs);
    this.#choice = new Choice(this.#view, id);
    this.#self = new Self(id, incarnation, facts);
    this.#nowMs = nowMs;
    this.#random = random;
    this.#pace = new SwimPace(options, nowMs, random);
    agenda.compareMs = this.#pace.dueMs;
    agenda.reconnectMs = nowMs + randomInt(random, options.reconnectIntervalMs);
    this.#wakeMs = nowMs;
    const host = {
      ping: (to: string, index: number, seq: number) =>
        this.#herald.send(to, { kind: 'ping', seq, load: this.#self.load }, index),
      send: (to: string, request: SwimRequest) => this.#herald.send(to, request),
      others: (count: number, except: string) =>
        this.#audience.helpers(count, except, this.#random),
      silent: (silent: string) => {
        if (!this.#isBlocked) this.#beliefs.suspect(silent, this.#nowMs); // I4
      },
    };
    this.#neighbors = new PartialView({
      send: (to, request) => this.#herald.post(to, request),
      someone: (fits) => this.#choice.alive(1, this.#random, fits)[0],
    });
    this.#audience = new Audience({
      self: id,
      options,
      view: this.#view,
      choice: this.#choice,
      gossip: this.#gossip,
      neighbors: this.#neighbors,
      isCatchingUp: () => this.#isCatchingUp,
    });
    this.#herald = new Herald({
      options,
      view: this.#view,
      gossip: this.#gossip,
      self: this.#self,
      agenda,
      suspicions: this.#suspicions,
      audience: this.#audience,
    });
    this.#beliefs = new Beliefs({
      self: id,
      view: this.#view,
      suspicions: this.#suspicions,
      gossip: this.#gossip,
      herald: this.#herald,
      neighbors: this.#neighbors,
      audience: this.#audience,
    });
    agenda.probeMs = nowMs + randomInt(random, options.probeIntervalMs);
    this.#prober = new Prober(options, host, id, this.#view, agenda);
  }

  /** The state is this object's; it is another afterwards. */
  step(event: SwimEvent, nowMs: number, random: Random): SwimEffect[] {
    this.#nowMs = nowMs;
    this.#random = random;
    const lateMs = nowMs - this.#wakeMs;
    if (event.kind === 'slept') this.#stoodStill(Infinity);
    else if (lateMs > this.#options.stallMs && this.#options.lifeguard) this.#stoodStill(lateMs); // I4
    switch (event.kind) {
      case 'tick':
        this.#tick();
        break;
      case 'message': {
        const { from, index = this.#view.roster.indexOf(from) } = event;
        if (index >= 0 && !this.#herald.isSilent) this.#receive(from, index, event.message);
        break;
      }
      case 'roster':
        this.#setRoster(event.roster, event.near ?? NOBODY);
        break;
      case 'link-lost':
        this.#prober.lookAt(event.id, nowMs);
        this.#neighbors.lost(event.id, nowMs);
        this.#audience.lost(event.id);
        break;
      case 'dialling':
        if (event.isUnderWay) this.#prober.dialling(event.id);
        else this.#prober.dialled(event.id, nowMs);
        break;
      case 'facts':
        if (this.#self.describe(event.facts)) this.#announce(true);
        break;
      case 'slept':
        break;
      case 'lag':
        this.#lagged(event.lagMs);
        break;
      case 'leave':
        this.#leave();
        break;
    }
    this.#wakeMs = this.#nextMs();
    return takeCaused();
  }

  /** When the next tick is due. */
  get wakeMs(): number {
    return this.#wakeMs;
  }

  /** How many times slower than usual this node probes, because of its own state; 1 = it is well. */
  get healthFactor(): number {
    return this.#prober.factor;
  }

  /** Whom news goes to, in a lattice of more than `fullMeshMembersMax`. */
  get neighbors(): readonly string[] {
    return this.#isPartial ? this.#neighbors.active : NOBODY;
  }

  /** This node first, then the others. */
  members(): SwimMember[] {
    const others = this.#view.roster.members.filter(({ id }) => id !== this.#id);
    return [this.#selfView(), ...others.map(({ id }) => this.member(id) as SwimMember)];
  }

  member(id: string): SwimMember | undefined {
    if (id === this.#id) return this.#selfView();
    const index = this.#view.roster.indexOf(id);
    if (index < 0) return undefined;
    const known = this.#acquaintances;
    const rttMs = known.rttMs(index) ?? this.#self.estimateMs(this.#view.factsOf(index));
    return memberOf(this.#view, index, rttMs, known.load(index));
  }

  /** As `member(id).state`, without the rest. */
  stateOf(id: string): MemberState | undefined {
    if (id === this.#id) return this.#own.state;
    const index = this.#view.roster.indexOf(id);
    return index < 0 ? undefined : this.#view.stateOf(index);
  }

  get #own(): Update & { facts: Facts } {
    return this.#self.update;
  }

  #selfView(): SwimMember {
    const { id, state, incarnation, facts } = this.#own;
    const address = facts.addresses[0] ?? '';
    return { id, state, incarnation, address, facts, trail: textsOf(this.#self.trail) };
  }

  #nextMs(): number {
    const { probeMs, compareMs, reconnectMs, verdictMs, gossipMs, freshMs, factsMs } = this.#agenda;
    let wakeMs = Math.min(probeMs, compareMs, reconnectMs);
    if (!this.#isBlocked) wakeMs = Math.min(wakeMs, verdictMs); // I4
    if (this.#gossip.isUrgent) wakeMs = Math.min(wakeMs, gossipMs);
    if (this.#gossip.isFresh) wakeMs = Math.min(wakeMs, freshMs);
    if (this.#hasMoved) wakeMs = Math.min(wakeMs, factsMs);
    if (this.#isPartial) wakeMs = Math.min(wakeMs, this.#neighbors.wakeMs);
    return Math.max(this.#nowMs, wakeMs);
  }

  #tick(): void {
    const nowMs = this.#nowMs;
    const agenda = this.#agenda;
    if (nowMs >= agenda.verdictMs && !this.#isBlocked) this.#beliefs.judge(nowMs); // I4
    this.#prober.tick(nowMs, this.#random);
    if (this.#hasMoved && nowMs >= agenda.factsMs) this.#announce(false);
    if (this.#gossip.isFresh && nowMs >= agenda.freshMs)
      this.#herald.tellFresh(nowMs, this.#random);
    if (this.#gossip.isUrgent && nowMs >= agenda.gossipMs) this.#herald.tellOn(nowMs, this.#random);
    if (nowMs >= agenda.compareMs) {
      const isCatchingUp = this.#pace.next(nowMs, this.#view);
      agenda.compareMs = this.#pace.dueMs;
      const neighbor = this.#isPartial ? this.#neighbors.affirm() : undefined;
      const others = isCatchingUp ? this.#audience : this.#choice;
      for (const id of neighbor === undefined ? others.usable(1, this.#random) : [neighbor])
        this.#compare(id);
    }
    if (this.#isPartial) this.#neighbors.tick(nowMs);
    if (nowMs >= agenda.reconnectMs) {
      agenda.reconnectMs = nowMs + this.#options.reconnectIntervalMs;
      const dead = this.#choice.dead(this.#random);
      if (dead !== undefined) this.#compare(dead);
    }
  }

  #lagged(lagMs: number): void {
    if (!this.#options.lifeguard) return;
    const { ails, lostMs } = this.#lag.note(lagMs);
    this.#isBlocked = this.#lag.isBlocked;
    this.#herald.isSilent = this.#lag.isSilent;
    this.#prober.ail(ails);
    if (lostMs > 0) this.#stoodStill(lostMs);
  }

  #stoodStill(lateMs: number): void {
    const { probeIntervalMs, sleepMs } = this.#options;
    const hasSlept = lateMs > sleepMs;
    const why = hasSlept ? 'this node slept' : `this node stood still for ${Math.round(lateMs)} ms`;
    const then = hasSlept ? 'begins anew' : 'lasts as much longer';
    this.#self.note(this.#nowMs, why);
    for (const suspect of this.#suspicions.giveBack(hasSlept ? Infinity : lateMs, this.#nowMs))
      note(suspect, suspect.update, this.#nowMs, `${why}, the suspicion ${then}`);
    this.#prober.ail(Math.ceil(Math.min(lateMs, sleepMs) / probeIntervalMs));
    if (!hasSlept) {
      this.#prober.startOver(this.#nowMs);
      return;
    }
    this.#prober.rest(this.#nowMs + probeIntervalMs * 2);
    cause({ kind: 'slept' });
    this.#awake();
  }

  /** Who has slept for so long was given up, or will be: it does not wait to hear that, and asks what else there is. */
  #awake(): void {
    if (this.#own.state !== 'left') this.#outbid(this.#own.incarnation);
    this.#neighbors.affirmAll();
    this.#audience.lostAll();
    const known = this.#audience.first(AWAKENINGS, this.#random);
    const hearers = known.length > 0 ? known : this.#choice.usable(AWAKENINGS, this.#random);
    const news = this.#herald.takeFresh(hearers.length);
    const request = comparison(this.#view);
    for (const id of hearers) this.#herald.post(id, request, toTell(news, id));
  }

  #receive(from: string, index: number, message: SwimMessage): void {
    if (!this.#isPartial) this.#audience.heard(from);
    // I7: what one who is cut off concluded about others is not even hearsay.
    const isCutOff = message.kind === 'sync' && message.alive * 2 <= this.#view.size;
    const counts = ({ id, state }: Update): boolean =>
      !isCutOff || state === 'alive' || id === from || id === this.#id;
    const step = message.kind === 'sync' ? message.step : undefined;
    const isCatchingUp = message.updates.length > 0 && this.#isCatchingUp;
    for (const each of message.updates) {
      if (!counts(each)) continue;
      this.#gossip.isBehind =
        step === 'tell' || (isCatchingUp && (step === 'ask' || each.id !== from));
      if (each.id === this.#id) this.#hearOfSelf(each, from);
      else this.#beliefs.hear(each, from, this.#nowMs);
    }
    this.#gossip.isBehind = false;
    switch (message.kind) {
      case 'ping': {
        if (message.load !== undefined) this.#acquaintances.heard(index, message.load);
        const { coordinate, load } = this.#self;
        this.#herald.send(from, { kind: 'ack', seq: message.seq, coordinate, load }, index);
        break;
      }
      case 'ping-req': {
        const target = this.#view.roster.indexOf(message.target);
        if (target >= 0) this.#prober.relay(from, message.seq, message.target, target, this.#nowMs);
        break;
      }
      case 'ack': {
        const { seq, target = from, coordinate, load } = message;
        const rttMs = this.#prober.acked(from, seq, target, this.#nowMs);
        if (load !== undefined) this.#acquaintances.heard(index, load);
        if (rttMs === undefined) break;
        this.#acquaintances.measured(index, rttMs);
        if (this.#isPartial) this.#neighbors.met(from);
        if (coordinate !== undefined) this.#self.measured(coordinate, rttMs, this.#random);
        break;
      }
      case 'nack':
        this.#prober.nacked(message.seq);
        break;
      case 'sync':
        this.#sync(from, message);
        break;
      case 'neighbor':
      case 'disconnect':
        this.#neighbors.receive(from, message, this.#nowMs, this.#random);
        break;
      case 'gossip':
        break;
    }
    this.#lookInto(from, index, message);
  }

  /** The sender knows more of itself than we do, or is not what we take it for: tell and ask. */
  #lookInto(from: string, index: number, message: SwimMessage): void {
    if (message.kind === 'sync') return;
    if (message.incarnation > this.#view.incarnationOf(index)) this.#compare(from);
    else if (this.#view.stateOf(index) !== 'alive' && message.kind !== 'ping') {
      // I7: before it tells others that they are dead, who may have been cut off asks.
      if (this.#suspicions.isCutOff) this.#compare(from);
      else this.#herald.send(from, { kind: 'gossip' });
    }
  }

  #hearOfSelf(claim: Update, from: string): void {
    const own = this.#own;
    if (isTooFar(claim, own.incarnation)) return; // I8
    if (own.state === 'left' || claim.incarnation < own.incarnation) return;
    const isAccused = claim.state !== 'alive';
    const isOurs =
      claim.incarnation === own.incarnation && !isAccused && !isNewer(claim.facts, own.facts);
    if (isOurs) return;
    if (isAccused) this.#prober.ail(1);
    if (RANK[claim.state] > RANK.suspect) this.#neighbors.affirmAll();
    this.#outbid(Math.max(claim.incarnation, claim.facts?.incarnation ?? 0));
    this.#self.note(
      this.#nowMs,
      isAccused ? `called it ${claim.state}, which it refutes` : 'told what it never said',
      from,
    );
  }

  /** I2: what others say of this node up to the incarnation counts no more. */
  #outbid(incarnation: number): void {
    cause({ kind: 'incarnation', incarnation: incarnation + 1 });
    this.#announce(true, incarnation + 1);
  }

  /** Says of itself what is so now. */
  #announce(isUrgent: boolean, incarnation: number = this.#own.incarnation): void {
    this.#self.renew(incarnation);
    this.#agenda.factsMs = this.#nowMs + this.#factsIntervalMs();
    this.#know();
    this.#herald.spread(this.#self, isUrgent, this.#nowMs);
  }

  /** Of load and coordinate only who is not probed soon has to be told. */
  get #hasMoved(): boolean {
    return this.#self.hasMoved && this.#view.size > ACQUAINTANCES_MAX;
  }

  #factsIntervalMs(): number {
    return this.#options.factsIntervalMs * Math.max(1, this.#view.size / FACTS_MEMBERS);
  }

  #setRoster(roster: Roster, near: readonly string[]): void {
    if (roster === this.#view.roster) return;
    const isFirst = this.#view.size === 0;
    const { strangers, gone } = this.#view.setRoster(roster);
    this.#prober.rosterChanged();
    this.#acquaintances.setRoster(roster);
    this.#isPartial = this.#view.size > this.#options.fullMeshMembersMax;
    this.#audience.rosterChanged(this.#isPartial);
    this.#neighbors.retain((id) => roster.indexOf(id) >= 0, this.#nowMs);
    this.#agenda.factsMs = this.#nowMs + randomInt(this.#random, this.#factsIntervalMs());
    for (const id of gone) {
      if (id !== this.#id) this.#gossip.forget(id);
    }
    this.#suspicions.rosterChanged();
    const self = roster.indexOf(this.#id);
    const isKnown = self >= 0 && this.#view.updateOf(self).incarnation === this.#own.incarnation;
    this.#know();
    const others = strangers.filter((index) => this.#idOf(index) !== this.#id);
    for (const index of others) {
      const tracked = this.#view.track(index);
      note(tracked, tracked.update, this.#nowMs, 'not heard of yet');
      const { id } = tracked.update;
      cause({ kind: 'member', id, state: 'suspect', before: undefined });
    }
    // Who says so has told the others too.
    this.#gossip.isBehind = true;
    for (const index of others) this.#beliefs.recall(this.#idOf(index), this.#nowMs);
    this.#gossip.isBehind = false;
    if (others.length > 0) this.#pace.hurry(this.#nowMs);
    this.#agenda.compareMs = this.#pace.dueMs;
    const ids = others.map((index) => this.#idOf(index));
    const greeted = this.#audience.greeted(ids, near, isFirst, this.#random);
    const own = self < 0 ? [] : [this.#own];
    for (const id of greeted) this.#herald.post(id, comparison(this.#view), own);
    // Who is greeted hears it so, and is the first to tell it.
    this.#gossip.isBehind = greeted.length > 0;
    if (!isKnown) this.#herald.spread(this.#self, true, this.#nowMs);
    this.#gossip.isBehind = false;
  }

  /** The own claim has its place in the view, as the others see it there. */
  #know(): void {
    const index = this.#view.roster.indexOf(this.#id);
    if (index >= 0) this.#view.set(index, this.#own, this.#own.facts);
  }

  #leave(): void {
    this.#self.become('left');
    this.#know();
    this.#herald.spread(this.#self, true, this.#nowMs);
    for (const id of this.#choice.usable(FAREWELLS_MAX, this.#random))
      this.#herald.send(id, { kind: 'gossip' });
  }

  #compare(to: string): void {
    this.#herald.post(to, comparison(this.#view));
  }

  /** There are links to all, and members are unheard of: others are told of them as this node is. */
  get #isCatchingUp(): boolean {
    return !this.#isPartial && this.#pace.isCatchingUp && this.#view.hasUnheard;
  }

  #sync(from: string, message: SyncRequest & Pick<SwimMessage, 'updates'>): void {
    if (this.#suspicions.isCutOff && message.alive * 2 > this.#view.size)
      this.#beliefs.forget(this.#nowMs); // I7
    const index = this.#view.roster.indexOf(from);
    const accusation = message.step === 'compare' ? this.#herald.accusationOf(index) : undefined;
    for (const { request, updates } of syncAnswers(this.#view, message, message.updates))
      this.#herald.post(
        from,
        request,
        accusation === undefined ? updates : [accusation, ...updates],
      );
  }

  #idOf(index: number): string {
    return this.#view.roster.idOf(index) ?? '';
  }
}
