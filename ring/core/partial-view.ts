/**
 * Whom a node keeps links to in a lattice too large for links to everybody: HyParView (Leitão, Pereira, Rodrigues,
 * DSN 2007), for an overlay that stays whole when many die at once.
 *
 * The active view is a few members who count each other among it: news goes along these links. The passive view is
 * members that were heard of lately, to take the place of those who go. HyParView finds them by walks and shuffles;
 * here every node has the whole roster and SWIM's probes bring one after the other by chance, so that who answers is
 * what a shuffle would have brought. A newcomer asks for neighbours as whoever has too few.
 *
 * P1  The active view never has more than ACTIVE_MAX members.
 * P2  It is of two sides: who takes a member in says so, and who does not have room for one tells it, so that each
 *     side ends with the same. What one side lost (a restart, a message) `affirm` finds.
 * P3  Who has nobody is not refused: room is made for it.
 * P4  No circle stays among itself: now and then the oldest neighbour gives way to one met by chance.
 */
import { type Random, randomInt } from '../../spec/random.ts';

/** Who has fewer neighbours asks for one. */
export const ACTIVE_WANTED = 5;
/** Who has as many takes none: more than are wanted, so that the last who ask find somebody. */
export const ACTIVE_MAX = 8;
export const PASSIVE_MAX = 30;
/** An answer later than this is not waited for. */
const ANSWER_MS = 1_000;
/** After a refusal. */
const RETRY_MS = 100;

export type NeighborRequest =
  /** Be my neighbour: `high` from who has none, `low` from others; `yes` answers that you are. */
  | { readonly kind: 'neighbor'; readonly priority: Priority }
  /** I am not, or no longer, your neighbour. */
  | { readonly kind: 'disconnect' };

export type Priority = 'low' | 'high' | 'yes';

/** What the view is built into. */
export interface PartialViewHost {
  send(to: string, request: NeighborRequest): void;
  /** A live member by chance, when there is one that fits. */
  someone(fits: (id: string) => boolean): string | undefined;
}

export class PartialView {
  readonly #host: PartialViewHost;
  readonly #active: string[] = [];
  /** A ring: the next one met takes the place `#nextMet`, that of the one met longest ago. */
  #passive: string[] = [];
  #nextMet = 0;
  /** Whose answer counts. */
  readonly #asked = new Set<string>();
  /** When somebody is asked, if there are too few. */
  #dueMs: number;
  #wakeMs: number;
  #affirmed = 0;

  constructor(host: PartialViewHost) {
    this.#host = host;
    this.#dueMs = -Infinity;
    this.#wakeMs = -Infinity;
  }

  get active(): readonly string[] {
    return this.#active;
  }

  /** Latest last. */
  get passive(): readonly string[] {
    return [...this.#passive.slice(this.#nextMet), ...this.#passive.slice(0, this.#nextMet)];
  }

  /** When `tick` has something to do; Infinity: nothing. */
  get wakeMs(): number {
    return this.#wakeMs;
  }

  tick(nowMs: number): void {
    if (nowMs < this.wakeMs) return;
    const isStranger = (id: string): boolean => !this.#active.includes(id);
    const candidate = this.#latest(isStranger) ?? this.#host.someone(isStranger);
    this.#plan(nowMs + ANSWER_MS);
    if (candidate === undefined) return;
    this.#ask(candidate, this.#active.length === 0 ? 'high' : 'low');
  }

  receive(from: string, request: NeighborRequest, nowMs: number, random: Random): void {
    const isAnswer = this.#asked.delete(from);
    if (request.kind === 'disconnect') {
      this.#remove(this.#active, from);
      this.#plan(nowMs + RETRY_MS);
      return;
    }
    const { priority } = request;
    const isNew = !this.#active.includes(from);
    if (isNew) {
      if (this.#active.length >= ACTIVE_MAX && priority === 'high')
        this.#letGo(randomInt(random, this.#active.length)); // P3
      if (this.#active.length >= ACTIVE_MAX || (priority === 'yes' && !isAnswer)) {
        this.#host.send(from, { kind: 'disconnect' }); // P1, P2
        return;
      }
      this.#active.push(from);
      this.#plan(nowMs);
    }
    if (priority !== 'yes') this.#host.send(from, { kind: 'neighbor', priority: 'yes' });
    else if (isNew && this.#active.length > ACTIVE_WANTED) this.#letGo(0); // P4
  }

  /** A member that is there. */
  met(id: string): void {
    this.#passive[this.#nextMet] = id;
    this.#nextMet = (this.#nextMet + 1) % PASSIVE_MAX;
  }

  /** A member that is not there, or whose link broke: another takes its place. */
  lost(id: string, nowMs: number): void {
    this.#asked.delete(id);
    if (this.#remove(this.#active, id)) this.#plan(nowMs);
    if (!this.#passive.includes(id)) return;
    this.#passive = this.passive.filter((each) => each !== id);
    this.#nextMet = this.#passive.length % PASSIVE_MAX;
  }

  /** To be called now and then: P2, P4. @returns the neighbour that was asked, one after the other. */
  affirm(): string | undefined {
    const neighbor = this.#active[this.#affirmed++ % this.#active.length];
    if (neighbor !== undefined) this.#ask(neighbor, 'low');
    if (this.#active.length < ACTIVE_WANTED) return neighbor;
    const candidate = this.#latest((id) => !this.#active.includes(id));
    if (candidate !== undefined) this.#ask(candidate, 'low');
    return neighbor;
  }

  /** P2: this node was given up, and may have been by its neighbours. */
  affirmAll(): void {
    for (const id of this.#active) this.#ask(id, 'low');
  }

  /** Forgets whoever is no member any more. */
  retain(isMember: (id: string) => boolean, nowMs: number): void {
    for (const id of [...this.#active, ...this.#passive]) if (!isMember(id)) this.lost(id, nowMs);
  }

  /** Whom it met last of those who fit, to be asked once. */
  #latest(fits: (id: string) => boolean): string | undefined {
    const passive = [...this.passive];
    if (passive.length === 0) return undefined;
    let latest = passive.pop();
    while (latest !== undefined && !fits(latest)) latest = passive.pop();
    this.#passive = passive;
    this.#nextMet = passive.length;
    return latest;
  }

  #ask(id: string, priority: 'low' | 'high'): void {
    this.#asked.add(id);
    this.#host.send(id, { kind: 'neighbor', priority });
  }

  #letGo(at: number): void {
    const [id = ''] = this.#active.splice(at, 1);
    this.#asked.delete(id);
    this.#plan(this.#dueMs);
    this.#host.send(id, { kind: 'disconnect' });
    this.met(id);
  }

  /** To be called when there are more or fewer neighbours: reckoned here once, and not whenever it is asked. */
  #plan(dueMs: number): void {
    this.#dueMs = dueMs;
    this.#wakeMs = this.#active.length < ACTIVE_WANTED ? dueMs : Infinity;
  }

  #remove(view: string[], id: string): boolean {
    const at = view.indexOf(id);
    if (at >= 0) view.splice(at, 1);
    return at >= 0;
  }
}
