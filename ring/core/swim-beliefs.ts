/** What a node believes of the others: claims are weighed against what is known, and passed on where they are news. */
import type { PartialView } from './partial-view.ts';
import type { Audience } from './swim-audience.ts';
import { accusedBy, isAsMuch, isNews, toPassOn } from './swim-claim.ts';
import { cause } from './swim-effects.ts';
import type { GossipQueue } from './swim-gossip.ts';
import type { Herald } from './swim-herald.ts';
import type { Facts, Update } from './swim-message.ts';
import { note } from './swim-note.ts';
import { isAllButVitals } from './swim-self.ts';
import { Strangers } from './swim-strangers.ts';
import type { Suspicions } from './swim-suspicion.ts';
import { newest, RANK, type View } from './swim-view.ts';

/** More refutations and restarts than a member has between two times that one hears of it. */
const INCARNATION_JUMP_MAX = 2 ** 20;

export interface BeliefsOptions {
  self: string;
  view: View;
  suspicions: Suspicions;
  gossip: GossipQueue;
  herald: Herald;
  neighbors: PartialView;
  audience: Audience;
}

export class Beliefs {
  readonly #self: string;
  readonly #view: View;
  readonly #suspicions: Suspicions;
  readonly #gossip: GossipQueue;
  readonly #herald: Herald;
  readonly #neighbors: PartialView;
  readonly #audience: Audience;
  readonly #strangers = new Strangers();

  constructor(of: BeliefsOptions) {
    this.#self = of.self;
    this.#view = of.view;
    this.#suspicions = of.suspicions;
    this.#gossip = of.gossip;
    this.#herald = of.herald;
    this.#neighbors = of.neighbors;
    this.#audience = of.audience;
  }

  /** Another says something of one who is not this node. */
  hear(told: Update, from: string, nowMs: number): void {
    const index = this.#view.roster.indexOf(told.id);
    if (index < 0) {
      if (!isTooFar(told, 0)) this.#strangers.heard(told, from); // I5, I8
      return;
    }
    const claim = this.#withoutSelf(told);
    const isFarewell = claim.state === 'left';
    if (claim.id === from) {
      const why = isFarewell ? 'it was stopped' : 'it says so itself';
      this.#claim(index, claim, nowMs, why, undefined, from);
    } else if (isTooFar(claim, this.#view.incarnationOf(index))) return; // I8
    else if (claim.state === 'dead' && !this.#isRipe(index, claim.incarnation, nowMs))
      this.#claim(
        index,
        { ...claim, state: 'suspect', accusers: [from] },
        nowMs,
        'says that it is dead',
        from,
      );
    else this.#claim(index, claim, nowMs, 'says so', from);
  }

  /** The roster names the member now: what others have said of it before counts. */
  recall(id: string, nowMs: number): void {
    const foretold = this.#strangers.take(id);
    if (foretold !== undefined) this.hear(foretold.claim, foretold.by, nowMs);
  }

  /** This node finds the member silent. */
  suspect(id: string, nowMs: number): void {
    const index = this.#view.roster.indexOf(id);
    if (index < 0 || !this.#view.isUsable(index)) return;
    const { incarnation, state } = this.#view.updateOf(index);
    if (state === 'suspect' && incarnation === 0) {
      // Known from the roster alone, it was suspect from the start; now the clock runs.
      const tracked = this.#view.track(index);
      if (tracked.deadlineMs === Infinity) this.#suspicions.begin(tracked, nowMs);
      return;
    }
    const claim: Update = { id, state: 'suspect', incarnation, accusers: [this.#self] };
    this.#claim(index, claim, nowMs, 'it answered neither a probe nor one through others');
  }

  /** Ends the suspicions whose time is over. */
  judge(nowMs: number): void {
    for (const { update } of this.#suspicions.overdue(nowMs)) {
      const { id, incarnation } = update;
      const claim: Update = { id, state: 'dead', incarnation };
      const index = this.#view.roster.indexOf(id);
      this.#claim(index, claim, nowMs, 'it did not refute the suspicion');
    }
  }

  /** I7: this node was cut off. What it concluded of the others it forgets. */
  forget(nowMs: number): void {
    for (const [index, { update, facts }] of this.#view.tracked()) {
      const { id, state } = update;
      if (state !== 'suspect' && state !== 'dead') continue;
      if (update.incarnation === 0 && state === 'suspect') continue;
      const tracked = this.#view.set(index, { id, state: 'suspect', incarnation: 0 }, facts);
      this.#suspicions.end(tracked);
      this.#gossip.forget(id);
      note(tracked, update, nowMs, 'this node was cut off');
      if (state !== 'suspect') cause({ kind: 'member', id, state: 'suspect', before: state });
    }
  }

  /** I3: who told of the death may have been cut off, or lie. */
  #isRipe(index: number, incarnation: number, nowMs: number): boolean {
    const held = this.#view.get(index);
    if (held?.update.incarnation !== incarnation) return false;
    if (held.update.state === 'dead') return true; // It is no news.
    return held.update.state === 'suspect' && this.#suspicions.isRipe(held, nowMs);
  }

  /** Whom this node found silent it knows itself. */
  #withoutSelf(claim: Update): Update {
    if (claim.accusers?.includes(this.#self) !== true) return claim;
    return { ...claim, accusers: claim.accusers.filter((id) => id !== this.#self) };
  }

  /** @param by who says so of another. @param teller who has told it, be it of itself. */
  #claim(index: number, claim: Update, nowMs: number, why: string, by?: string, teller = by): void {
    const { id } = claim;
    const held = this.#view.get(index);
    const known = held === undefined ? this.#view.updateOf(index) : held.update;
    const knownFacts = held === undefined ? known.facts : held.facts;
    const facts = newest(claim.facts, knownFacts);
    const before = known.state;
    let isUrgent = true;
    if (isNews(claim, known)) this.#change(index, claim, facts, known, nowMs, why, by); // I1
    else {
      const isConfirmed = this.#confirm(index, claim, known, nowMs, by);
      if (isConfirmed) this.#gossip.addTo(this.#view.track(index));
      else if (teller !== undefined && isAsMuch(claim, known)) this.#gossip.heard(id, teller);
      if (facts === knownFacts) {
        if (isConfirmed) cause({ kind: 'member', id, state: before, before });
        return;
      }
      const confirmed = this.#view.updateOf(index);
      this.#view.set(index, toPassOn(confirmed, facts), facts);
      isUrgent = facts === undefined || !isAllButVitals(facts, knownFacts);
    }
    const told = this.#view.track(index);
    const { incarnation, state } = told.update;
    if (incarnation > 0) this.#herald.spread(told, isUrgent, nowMs, teller); // I6
    cause({ kind: 'member', id, state, before });
  }

  #change(
    index: number,
    claim: Update,
    facts: Facts | undefined,
    known: Update,
    nowMs: number,
    why: string,
    by?: string,
  ): void {
    const tracked = this.#view.set(index, toPassOn(claim, facts, by), facts);
    if (claim.state === 'suspect') this.#suspicions.begin(tracked, nowMs);
    else this.#suspicions.end(tracked);
    if (RANK[claim.state] > RANK.suspect) {
      this.#neighbors.lost(claim.id, nowMs);
      this.#audience.lost(claim.id);
    }
    note(tracked, known, nowMs, why, by);
  }

  /** More accusers shorten the suspicion. @returns false when the claim names no new one that counts. */
  #confirm(index: number, claim: Update, known: Update, nowMs: number, by?: string): boolean {
    const isSame = claim.state === 'suspect' && known.state === 'suspect';
    if (!isSame || claim.incarnation !== known.incarnation || known.incarnation === 0) return false;
    const accusers = known.accusers ?? [];
    const most = this.#suspicions.needed + 1;
    if (accusers.length >= most) return false;
    const more = (claim.accusers ?? []).filter((id) => !accusers.includes(id));
    if (more.length === 0) return false;
    const all = [...accusers, ...more].slice(0, most);
    const tracked = this.#view.track(index);
    tracked.update = accusedBy(all, claim, known);
    this.#suspicions.limit(tracked, nowMs);
    note(tracked, known, nowMs, 'is not alone to say so', by);
    return true;
  }
}

/** I8. @param known incarnation of the member. */
export function isTooFar({ incarnation, facts }: Update, known: number): boolean {
  return Math.max(incarnation, facts?.incarnation ?? 0) > known + INCARNATION_JUMP_MAX;
}
