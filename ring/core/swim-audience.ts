/**
 * Whom a node speaks to beside whom it probes. News goes to its neighbours, in a lattice that has them; else, first of all, to
 * whoever is next on rings that all share, and then to members by chance.
 */
import { type Random, shuffled } from '../../spec/random.ts';
import type { PartialView } from './partial-view.ts';
import type { Choice } from './swim-choice.ts';
import type { GossipQueue } from './swim-gossip.ts';
import type { SwimOptions } from './swim-options.ts';
import { successors } from './swim-successors.ts';
import type { View } from './swim-view.ts';

/** New members that are asked for their view at once. */
const GREETINGS_MAX = 3;

export interface AudienceOptions {
  self: string;
  options: SwimOptions;
  view: View;
  choice: Choice;
  gossip: GossipQueue;
  neighbors: PartialView;
  /** Members are unheard of that are just coming. */
  isCatchingUp(): boolean;
}

export class Audience {
  readonly #of: AudienceOptions;
  /** Who has spoken to this node by a link that is not known to have broken. */
  readonly #contacts = new Set<string>();
  /** There are too many members for links to all. */
  #isPartial = false;

  constructor(of: AudienceOptions) {
    this.#of = of;
  }

  get hasNeighbors(): boolean {
    const { neighbors, options } = this.#of;
    return this.#isPartial && neighbors.active.length >= options.gossipFanout;
  }

  /** The member has spoken. To be called where there are links to all. */
  heard(id: string): void {
    this.#contacts.add(id);
  }

  /** The link to the member is gone. */
  lost(id: string): void {
    this.#contacts.delete(id);
  }

  /** All links are. */
  lostAll(): void {
    this.#contacts.clear();
  }

  /** @param isPartial there are too many members for links to all. */
  rosterChanged(isPartial: boolean): void {
    const { view } = this.#of;
    this.#isPartial = isPartial;
    for (const id of this.#contacts)
      if (isPartial || view.roster.indexOf(id) < 0) this.#contacts.delete(id);
  }

  /** Who is told what nobody was told of yet: neighbours, where there are, else `count`. */
  first(count: number, random: Random): readonly string[] {
    const { self, view, choice, gossip, neighbors } = this.#of;
    // One more, by chance, so that news reaches circles of neighbours that are among themselves.
    if (this.hasNeighbors) return [...neighbors.active, ...choice.usable(1, random)];
    const own = view.roster.indexOf(self);
    // In a lattice too large for links to all, rings are too much to look at.
    if (this.#isPartial || own < 0) return this.usable(count, random);
    const idOf = (index: number): string => view.roster.members[index]?.id ?? '';
    // While many come at once, connections to those who are next cost more than waiting for a repetition.
    const isToBeNear = this.#of.isCatchingUp();
    const isHearer = (index: number): boolean =>
      view.isUsable(index) &&
      (isToBeNear ? this.#isNear(index, idOf(index)) : isHeardOf(view, index)) &&
      gossip.isFreshTo(idOf(index));
    return successors(view, own, count, isHearer).map(idOf);
  }

  /** All to whom there is a link, where there are links to all. */
  near(): string[] {
    const { view } = this.#of;
    return [...this.#contacts].filter((id) => view.isUsable(view.roster.indexOf(id)));
  }

  /**
   * Who is asked for its view when the roster names strangers: those `near`, to whom a way is open, or any when a node that
   * begins has none. Of the others gossip brings word: who comes into a large lattice is not called by all of it.
   */
  greeted(
    strangers: readonly string[],
    near: readonly string[],
    isFirst: boolean,
    random: Random,
  ): string[] {
    const known = strangers.filter((id) => near.includes(id));
    const asked = known.length === 0 && isFirst ? strangers : known;
    return shuffled(random, asked).slice(0, GREETINGS_MAX);
  }

  usable(count: number, random: Random): string[] {
    return this.#of.choice.usable(count, random, (index, id) => this.#isNear(index, id));
  }

  /**
   * Up to `count` live members to probe another through: those to whom there are links, where these are enough. While many
   * come one is: to connect to others takes longer than the answer is waited for.
   */
  helpers(count: number, except: string, random: Random): string[] {
    const { view, choice, neighbors } = this.#of;
    const isAlive = (id: string): boolean => view.stateOf(view.roster.indexOf(id)) === 'alive';
    const linked = this.#isPartial ? neighbors.active : [...this.#contacts];
    const near = linked.filter((id) => id !== except && isAlive(id));
    if (near.length < (this.#of.isCatchingUp() ? 1 : count))
      return choice.alive(count, random, (id) => id !== except);
    return shuffled(random, near).slice(0, count);
  }

  /** There is a link to it, where there are any. While many come at once, a link to each of them would cost more than all news. */
  #isNear(index: number, id: string): boolean {
    return this.#contacts.size > 0 ? this.#contacts.has(id) : isHeardOf(this.#of.view, index);
  }
}

/** Only of these an address for membership is known. */
function isHeardOf(view: View, index: number): boolean {
  return view.incarnationOf(index) > 0;
}
