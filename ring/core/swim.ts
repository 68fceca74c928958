/**
 * Who is alive: SWIM (Das, Gupta, Motivala, DSN 2002) as a state machine.
 *
 * `step` takes an event and the time and returns effects; the driver owns sockets and timers, and
 * calls `step` with a tick at `wakeMs`. Membership is a hint: it routes and triggers, and decides
 * nothing that must be safe.
 *
 * I1  What is known of a member only grows, by (incarnation, state) with alive < suspect < dead <
 *     left. So every order of the same claims ends in one view, and a replayed claim does nothing.
 * I2  Only the member itself raises its incarnation; hearing itself called anything but alive, it
 *     does so at once, unless it is leaving.
 * I3  Nobody dies unheard: death follows a suspicion that lasted the whole suspicion time, and a
 *     death heard of in a sync counts as a suspicion.
 * I4  A node that stood still accuses nobody for it: the lost time is given back to everybody.
 * I5  Only members of the roster are tracked; claims about others do nothing.
 * I6  What is known from the roster alone (incarnation 0) is not passed on.
 */
import type { Random } from '../../spec/random.ts';
import { randomInt, shuffled } from '../../spec/random.ts';
import { GossipQueue } from './swim-gossip.ts';
import type { MemberState, SwimMessage, SwimRequest, Update } from './swim-message.ts';
import type { SwimOptions } from './swim-options.ts';

export type SwimEvent =
  | { kind: 'tick' }
  | { kind: 'message'; from: string; message: SwimMessage }
  /** Who may be a member; others are forgotten. */
  | { kind: 'roster'; members: { id: string; address: string }[] }
  /** The connection to a member broke: look at once, believe nothing yet. */
  | { kind: 'link-lost'; id: string }
  | { kind: 'leave' };

export type SwimEffect =
  | { kind: 'send'; to: string; message: SwimMessage }
  /** A member's state, incarnation or address is another now. */
  | { kind: 'member'; member: SwimMember; before: MemberState | undefined }
  /** The own incarnation is another now: keep it, so that a restart begins above it. */
  | { kind: 'incarnation'; incarnation: number };

/** A member as this node sees it. */
export interface SwimMember extends Update {
  /** Round trip of direct probes, smoothed; milliseconds. */
  rttMs?: number;
  /** What led to its state, oldest first. */
  trail: { atMs: number; text: string }[];
}

interface Tracked extends SwimMember {
  /** While suspect: when it is declared dead. */
  deadlineMs?: number;
}

interface Probe {
  id: string;
  seq: number;
  sentMs: number;
  isAcked: boolean;
  /** Others have been asked to probe it too. */
  isIndirect: boolean;
}

const RANK: Record<MemberState, number> = { alive: 0, suspect: 1, dead: 2, left: 3 };
const TRAIL_MAX = 16;
/** New members that are asked for their view at once; of the others gossip brings word. */
const GREETINGS_MAX = 8;
/** Members that are told directly of a departure. */
const FAREWELLS_MAX = 16;

export class Swim {
  readonly #options: SwimOptions;
  readonly #random: Random;
  readonly #self: Update;
  readonly #members = new Map<string, Tracked>();
  readonly #gossip = new GossipQueue();
  /** Members still to be probed in this round, next one last. */
  #round: string[] = [];
  #probe: Probe | undefined;
  #seq = 0;
  /** Probes made for others: own sequence number -> who asked, and by which of theirs. */
  readonly #relayed = new Map<
    number,
    { origin: string; seq: number; target: string; endMs: number }
  >();
  #probeDueMs: number;
  #gossipDueMs: number;
  #syncDueMs: number;
  #reconnectDueMs: number;
  #effects: SwimEffect[] = [];

  /** @param self its incarnation must be above all that it ever had. */
  constructor(
    self: { id: string; address: string; incarnation: number },
    options: SwimOptions,
    random: Random,
    nowMs: number,
  ) {
    this.#self = { ...self, state: 'alive' };
    this.#options = options;
    this.#random = random;
    this.#probeDueMs = nowMs + randomInt(random, options.probeIntervalMs);
    this.#gossipDueMs = nowMs;
    this.#syncDueMs = nowMs;
    this.#reconnectDueMs = nowMs + options.reconnectIntervalMs;
    this.#gossip.add(this.#own());
  }

  step(event: SwimEvent, nowMs: number): SwimEffect[] {
    this.#effects = [];
    switch (event.kind) {
      case 'tick':
        this.#tick(nowMs);
        break;
      case 'message':
        if (this.#members.has(event.from)) this.#receive(event.from, event.message, nowMs);
        break;
      case 'roster':
        this.#setRoster(event.members, nowMs);
        break;
      case 'link-lost':
        this.#lookAt(event.id, nowMs);
        break;
      case 'leave':
        this.#leave();
        break;
    }
    return this.#effects;
  }

  /** When the next tick is due. */
  get wakeMs(): number {
    let wakeMs = Math.min(this.#probeDueMs, this.#syncDueMs, this.#reconnectDueMs);
    if (!this.#gossip.isEmpty) wakeMs = Math.min(wakeMs, this.#gossipDueMs);
    const probe = this.#probe;
    if (probe !== undefined && !probe.isAcked && !probe.isIndirect)
      wakeMs = Math.min(wakeMs, probe.sentMs + this.#options.ackTimeoutMs);
    for (const { deadlineMs } of this.#members.values())
      if (deadlineMs !== undefined) wakeMs = Math.min(wakeMs, deadlineMs);
    return wakeMs;
  }

  /** This node first, then the others. */
  members(): SwimMember[] {
    return [{ ...this.#self, trail: [] }, ...[...this.#members.values()].map(view)];
  }

  member(id: string): SwimMember | undefined {
    if (id === this.#self.id) return { ...this.#self, trail: [] };
    const member = this.#members.get(id);
    return member === undefined ? undefined : view(member);
  }

  #tick(nowMs: number): void {
    const lateMs = nowMs - this.wakeMs;
    if (lateMs > this.#options.stallMs) this.#giveBack(lateMs, nowMs); // I4
    for (const member of this.#members.values()) {
      if (member.deadlineMs !== undefined && nowMs >= member.deadlineMs)
        this.#claim({ ...update(member), state: 'dead' }, 'it did not refute the suspicion', nowMs);
    }
    this.#probeTick(nowMs);
    if (nowMs >= this.#gossipDueMs && !this.#gossip.isEmpty) {
      this.#gossipDueMs = nowMs + this.#options.gossipIntervalMs;
      for (const id of this.#some(this.#options.gossipFanout, isUsable)) {
        if (!this.#gossip.isEmpty) this.#send(id, { kind: 'gossip' });
      }
    }
    if (nowMs >= this.#syncDueMs) {
      this.#syncDueMs = nowMs + this.#options.syncIntervalMs;
      for (const id of this.#some(1, isUsable)) this.#sendSync(id, false);
    }
    if (nowMs >= this.#reconnectDueMs) {
      this.#reconnectDueMs = nowMs + this.#options.reconnectIntervalMs;
      for (const id of this.#some(1, (member) => member.state === 'dead'))
        this.#sendSync(id, false);
    }
  }

  #giveBack(lostMs: number, nowMs: number): void {
    for (const member of this.#members.values())
      if (member.deadlineMs !== undefined) member.deadlineMs += lostMs;
    if (this.#probe !== undefined && !this.#probe.isAcked) {
      // What it was sent in time for may wait unread: only a new probe tells.
      this.#round.push(this.#probe.id);
      this.#probe = undefined;
      this.#probeDueMs = nowMs;
    }
  }

  /** SWIM §4.3: every member once a round, in an order shuffled anew each round. */
  #probeTick(nowMs: number): void {
    const probe = this.#probe;
    const ackDueMs = (probe?.sentMs ?? 0) + this.#options.ackTimeoutMs;
    if (probe !== undefined && !probe.isAcked && !probe.isIndirect && nowMs >= ackDueMs) {
      probe.isIndirect = true;
      const others = (member: Tracked): boolean =>
        member.state === 'alive' && member.id !== probe.id;
      for (const id of this.#some(this.#options.indirectProbes, others))
        this.#send(id, { kind: 'ping-req', seq: probe.seq, target: probe.id });
    }
    if (nowMs < this.#probeDueMs) return;
    if (probe !== undefined && !probe.isAcked) this.#suspect(probe, nowMs);
    for (const [seq, { endMs }] of this.#relayed) if (nowMs >= endMs) this.#relayed.delete(seq);
    this.#probeDueMs = nowMs + this.#options.probeIntervalMs;
    const id = this.#nextOfRound();
    if (id === undefined) {
      this.#probe = undefined;
      return;
    }
    const seq = ++this.#seq;
    this.#probe = { id, seq, sentMs: nowMs, isAcked: false, isIndirect: false };
    this.#send(id, { kind: 'ping', seq });
  }

  #nextOfRound(): string | undefined {
    for (let rounds = 0; rounds < 2; rounds++) {
      for (let id = this.#round.pop(); id !== undefined; id = this.#round.pop()) {
        const member = this.#members.get(id);
        if (member !== undefined && isUsable(member)) return id;
      }
      this.#round = shuffled(this.#random, [...this.#members.keys()]);
    }
    return undefined;
  }

  #suspect(probe: Probe, nowMs: number): void {
    const member = this.#members.get(probe.id);
    if (member === undefined || !isUsable(member)) return;
    const why = 'it answered neither a probe nor one through others';
    if (member.state === 'alive') this.#claim({ ...update(member), state: 'suspect' }, why, nowMs);
    // Known from the roster alone, it was suspect from the start; now the clock runs.
    else member.deadlineMs ??= nowMs + this.#suspicionMs();
  }

  #lookAt(id: string, nowMs: number): void {
    const member = this.#members.get(id);
    if (member === undefined || !isUsable(member)) return;
    this.#round.push(id);
    if (this.#probe === undefined || this.#probe.isAcked) this.#probeDueMs = nowMs;
  }

  #receive(from: string, message: SwimMessage, nowMs: number): void {
    const isSync = message.kind === 'sync';
    for (const each of message.updates) {
      // I3: the one who syncs may be the one who was cut off.
      const claim: Update = isSync && each.state === 'dead' ? { ...each, state: 'suspect' } : each;
      this.#hear(claim, from, nowMs);
    }
    switch (message.kind) {
      case 'ping':
        this.#send(from, { kind: 'ack', seq: message.seq, target: this.#self.id });
        break;
      case 'ping-req':
        this.#relay(from, message.seq, message.target, nowMs);
        break;
      case 'ack':
        this.#acked(from, message.seq, message.target, nowMs);
        break;
      case 'sync':
        if (!message.isReply) this.#sendSync(from, true);
        break;
      case 'gossip':
        break;
    }
    this.#compare(from, message);
  }

  /** The sender knows more of itself than we do, or is not what we take it for: tell and ask. */
  #compare(from: string, message: SwimMessage): void {
    const member = this.#members.get(from);
    if (member === undefined) return;
    if (message.incarnation > member.incarnation) {
      if (message.kind !== 'sync') this.#sendSync(from, false);
    } else if (member.state !== 'alive' && message.kind !== 'ping' && message.kind !== 'sync') {
      this.#send(from, { kind: 'gossip' });
    }
  }

  #relay(origin: string, seq: number, target: string, nowMs: number): void {
    if (!this.#members.has(target)) return;
    const own = ++this.#seq;
    const endMs = nowMs + this.#options.probeIntervalMs;
    this.#relayed.set(own, { origin, seq, target, endMs });
    this.#send(target, { kind: 'ping', seq: own });
  }

  #acked(from: string, seq: number, target: string, nowMs: number): void {
    const probe = this.#probe;
    if (probe?.seq === seq && probe.id === target) {
      probe.isAcked = true;
      const member = this.#members.get(from);
      if (from === target && !probe.isIndirect && member !== undefined) {
        const rttMs = nowMs - probe.sentMs;
        member.rttMs = member.rttMs === undefined ? rttMs : member.rttMs * 0.8 + rttMs * 0.2;
      }
      return;
    }
    const relayed = this.#relayed.get(seq);
    if (relayed === undefined || relayed.target !== from || target !== from) return;
    this.#relayed.delete(seq);
    this.#send(relayed.origin, { kind: 'ack', seq: relayed.seq, target });
  }

  #hear(claim: Update, from: string, nowMs: number): void {
    if (claim.id === this.#self.id) this.#hearOfSelf(claim);
    else this.#claim(claim, claim.id === from ? 'it says so itself' : `${from} says so`, nowMs);
  }

  #hearOfSelf(claim: Update): void {
    const self = this.#self;
    if (self.state === 'left' || claim.incarnation < self.incarnation) return;
    const isOurs =
      claim.incarnation === self.incarnation &&
      claim.state === 'alive' &&
      claim.address === self.address;
    if (isOurs) return;
    self.incarnation = claim.incarnation + 1; // I2
    this.#effects.push({ kind: 'incarnation', incarnation: self.incarnation });
    this.#gossip.add(this.#own());
  }

  #claim(claim: Update, why: string, nowMs: number): void {
    const member = this.#members.get(claim.id);
    if (member === undefined || !isNews(claim, member)) return; // I5, I1
    const before = member.state;
    Object.assign(member, claim);
    if (claim.state === 'suspect') member.deadlineMs = nowMs + this.#suspicionMs();
    else delete member.deadlineMs;
    if (before !== claim.state) note(member, `${claim.state}: ${why}`, nowMs);
    if (claim.incarnation > 0) this.#gossip.add(update(member)); // I6
    this.#effects.push({ kind: 'member', member: view(member), before });
  }

  #setRoster(roster: { id: string; address: string }[], nowMs: number): void {
    const ids = new Set(roster.map(({ id }) => id));
    for (const id of this.#members.keys()) {
      if (ids.has(id)) continue;
      this.#members.delete(id);
      this.#gossip.forget(id);
    }
    const strangers = roster.filter(({ id }) => id !== this.#self.id && !this.#members.has(id));
    for (const { id, address } of strangers) {
      const member: Tracked = { id, state: 'suspect', incarnation: 0, address, trail: [] };
      note(member, 'suspect: not heard of yet', nowMs);
      this.#members.set(id, member);
      this.#round.splice(randomInt(this.#random, this.#round.length + 1), 0, id);
      this.#effects.push({ kind: 'member', member: view(member), before: undefined });
    }
    for (const { id } of shuffled(this.#random, strangers).slice(0, GREETINGS_MAX))
      this.#sendSync(id, false);
  }

  #leave(): void {
    this.#self.state = 'left';
    this.#gossip.add(this.#own());
    for (const id of this.#some(FAREWELLS_MAX, isUsable)) this.#send(id, { kind: 'gossip' });
  }

  #suspicionMs(): number {
    const { suspicionPeriods, probeIntervalMs } = this.#options;
    return suspicionPeriods * probeIntervalMs * this.#scale();
  }

  /** log10 of the members, at least 1: what spreading and refuting take grows no faster. */
  #scale(): number {
    return Math.max(1, Math.log10(this.#members.size + 1));
  }

  /** Up to `count` of the members that fit, by chance. */
  #some(count: number, fits: (member: Tracked) => boolean): string[] {
    const fitting = [...this.#members.values()].filter(fits);
    const chosen: string[] = [];
    while (chosen.length < count && fitting.length > 0) {
      const [member] = fitting.splice(randomInt(this.#random, fitting.length), 1);
      if (member !== undefined) chosen.push(member.id);
    }
    return chosen;
  }

  #own(): Update {
    return { ...this.#self };
  }

  #sendSync(to: string, isReply: boolean): void {
    const known = [...this.#members.values()]
      .filter(({ incarnation }) => incarnation > 0)
      .map(update);
    this.#post(to, { kind: 'sync', isReply }, [this.#own(), ...known]);
  }

  /** With news; first of it what the receiver should know of itself (Lifeguard's buddy system). */
  #send(to: string, request: SwimRequest): void {
    const sendsMax = Math.ceil(this.#options.gossipRepeats * this.#scale());
    const news = this.#gossip.take(this.#options.gossipUpdatesMax, sendsMax);
    const member = this.#members.get(to);
    const isAccused = member !== undefined && member.state !== 'alive' && member.incarnation > 0;
    const first = isAccused ? [update(member)] : [];
    this.#post(to, request, [...first, ...news.filter(({ id }) => !isAccused || id !== to)]);
  }

  #post(to: string, request: SwimRequest, updates: Update[]): void {
    const message = { ...request, incarnation: this.#self.incarnation, updates };
    this.#effects.push({ kind: 'send', to, message });
  }
}

/** SWIM §4.2, as one order (I1). */
function isNews(claim: Update, known: Update): boolean {
  if (claim.incarnation !== known.incarnation) return claim.incarnation > known.incarnation;
  return RANK[claim.state] > RANK[known.state];
}

/** Takes part as far as is known. */
function isUsable(member: { state: MemberState }): boolean {
  return member.state === 'alive' || member.state === 'suspect';
}

function note(member: Tracked, text: string, atMs: number): void {
  member.trail.push({ atMs, text });
  if (member.trail.length > TRAIL_MAX) member.trail.shift();
}

function update({ id, state, incarnation, address, ext }: Tracked): Update {
  const known = { id, state, incarnation, address };
  return ext === undefined ? known : { ...known, ext };
}

function view(member: Tracked): SwimMember {
  const { rttMs, trail } = member;
  return {
    ...update(member),
    trail: [...trail],
    ...(rttMs === undefined ? {} : { rttMs }),
  };
}
