/** What a node says, and what news it adds to that. */
import type { Random } from '../../spec/random.ts';
import type { Agenda } from './swim-agenda.ts';
import type { Audience } from './swim-audience.ts';
import { cause } from './swim-effects.ts';
import { type GossipQueue, isFirsthand, type News, type Told, toTell } from './swim-gossip.ts';
import { messageOf, type SwimRequest, type Update } from './swim-message.ts';
import type { SwimOptions } from './swim-options.ts';
import type { Self } from './swim-self.ts';
import type { Suspicions } from './swim-suspicion.ts';
import type { View } from './swim-view.ts';

/** News of which nobody was told yet waits for more of it at most so long, as a part of the usual interval. */
const FRESH_SHARE = 1 / 10;
/** The part of the waiting news that one message may take at least, so that a flood of it is over as soon. */
const BACKLOG_SHARE = 8;
const NOTHING: readonly Update[] = [];

export interface HeraldOptions {
  options: SwimOptions;
  view: View;
  gossip: GossipQueue;
  self: Self;
  agenda: Agenda;
  suspicions: Suspicions;
  audience: Audience;
}

export class Herald {
  /** Nothing is said. */
  isSilent = false;
  readonly #view: View;
  readonly #gossip: GossipQueue;
  readonly #self: Self;
  readonly #options: SwimOptions;
  readonly #agenda: Agenda;
  readonly #suspicions: Suspicions;
  readonly #audience: Audience;

  constructor(of: HeraldOptions) {
    this.#view = of.view;
    this.#gossip = of.gossip;
    this.#self = of.self;
    this.#options = of.options;
    this.#agenda = of.agenda;
    this.#suspicions = of.suspicions;
    this.#audience = of.audience;
  }

  /** There is news to be told from now on. @param by who told it. */
  spread(told: Told, isUrgent: boolean, nowMs: number, by?: string): void {
    if (!this.#gossip.isUrgent) this.#agenda.gossipMs = nowMs + this.#options.gossipIntervalMs;
    this.#gossip.add(told, isUrgent, by);
  }

  /** What nobody was told of yet is told, but to those who told it; all who are near hear what a member said of itself. */
  tellFresh(nowMs: number, random: Random): void {
    const { gossipIntervalMs, gossipFanout } = this.#options;
    this.#agenda.freshMs = nowMs + gossipIntervalMs * FRESH_SHARE;
    const hearers = this.#audience.first(gossipFanout, random);
    const news = this.takeFresh(hearers.length);
    for (const id of hearers) {
      const updates = toTell(news, id);
      if (updates.length > 0) this.send(id, { kind: 'gossip' }, undefined, updates);
    }
    const firsthand = news.filter(isFirsthand);
    if (firsthand.length === 0) return;
    for (const id of this.#audience.near()) {
      const updates = hearers.includes(id) ? NOTHING : toTell(firsthand, id);
      if (updates.length > 0) this.send(id, { kind: 'gossip' }, undefined, updates);
    }
  }

  /** What some were told of is told on. */
  tellOn(nowMs: number, random: Random): void {
    this.#agenda.gossipMs = nowMs + this.#options.gossipIntervalMs;
    if (this.#audience.hasNeighbors) {
      this.tellFresh(nowMs, random);
      return;
    }
    for (const id of this.#audience.usable(this.#options.gossipFanout, random))
      if (this.#gossip.isUrgent) this.send(id, { kind: 'gossip' });
  }

  /** What so many are told first. */
  takeFresh(hearers: number): readonly News[] {
    if (this.#audience.hasNeighbors) return this.#gossip.takeUrgent(this.#newsMax);
    return this.#gossip.takeFresh(this.#newsMax, hearers, this.#sendsMax);
  }

  /** With news; first of it what the receiver should know of itself (Lifeguard's buddy system). */
  send(
    to: string,
    request: SwimRequest,
    index: number = this.#view.roster.indexOf(to),
    news: readonly Update[] = this.#news(),
  ): void {
    const accusation = this.accusationOf(index);
    const isTold = accusation !== undefined;
    this.post(
      to,
      request,
      isTold ? [accusation, ...news.filter(({ id }) => id !== to)] : news,
      index,
    );
  }

  /** With these updates and no others. */
  post(
    to: string,
    request: SwimRequest,
    updates: readonly Update[] = NOTHING,
    index: number = this.#view.roster.indexOf(to),
  ): void {
    if (this.isSilent) return;
    const message = messageOf(request, this.#self.update.incarnation, updates);
    cause({ kind: 'send', to, index, message });
  }

  /** What the member is called, if that is to be refuted and this node may say so. */
  accusationOf(index: number): Update | undefined {
    const view = this.#view;
    const isAccused =
      index >= 0 && view.stateOf(index) !== 'alive' && view.incarnationOf(index) > 0;
    const isTold = isAccused && this.#options.lifeguard && !this.#suspicions.isCutOff;
    return isTold ? view.updateOf(index) : undefined;
  }

  /** For one member by chance. */
  #news(): readonly Update[] {
    if (this.#gossip.size === 0) return NOTHING;
    return this.#gossip.take(this.#newsMax, this.#sendsMax, this.#audience.hasNeighbors);
  }

  /** Of one piece. */
  get #sendsMax(): number {
    const { gossipRepeats } = this.#options;
    if (this.#audience.hasNeighbors) return gossipRepeats;
    return gossipRepeats * Math.ceil(Math.log10(this.#view.size + 1));
  }

  get #newsMax(): number {
    return Math.max(this.#options.gossipUpdatesMax, Math.ceil(this.#gossip.size / BACKLOG_SHARE));
  }
}
