import type { Update } from './swim-message.ts';

/** Whose claim is told; always the claim of the moment. */
export interface Told {
  readonly update: Update;
}

const NOTHING: readonly never[] = [];

/** What is told now, and who need not hear it. */
export interface News {
  readonly update: Update;
  /** Those who told it themselves. */
  readonly tellers: readonly string[];
}

/** News that is being spread: each piece is sent a bounded number of times, the least sent first. */
export class GossipQueue {
  readonly #pieces = new Map<string, Piece>();
  /** Of `#pieces`: asked for each message, so it is kept at hand. */
  #size = 0;
  /** Pieces for which messages of their own are sent; the others ride on probes. */
  #urgent = 0;
  /** Those of them for which none has been sent yet. */
  #fresh = 0;

  /** What is added now others have or are told already: it is told on, and first of all to nobody. */
  isBehind = false;

  get size(): number {
    return this.#size;
  }

  get isUrgent(): boolean {
    return this.#urgent > 0;
  }

  get isFresh(): boolean {
    return this.#fresh > 0;
  }

  /** News about a member; what was waiting about it is older and goes. @param by who told it. */
  add(told: Told, isUrgent: boolean, by?: string): void {
    const { id } = told.update;
    const before = this.#pieces.get(id);
    this.forget(id);
    const isToBeSent = isUrgent || before?.isUrgent === true;
    const isFresh = (isUrgent && !this.isBehind) || before?.isFresh === true;
    const tellers = by === undefined ? [] : [by];
    this.#pieces.set(id, { told, isUrgent: isToBeSent, isFresh, sent: 0, tellers });
    this.#urgent += Number(isToBeSent);
    this.#fresh += Number(isFresh);
    this.#size++;
  }

  /** More to the news that may be waiting already: told with it, or along with probes. */
  addTo(told: Told): void {
    if (!this.#pieces.has(told.update.id)) this.add(told, false);
  }

  /** Another has told all of what is waiting about the member. */
  heard(id: string, by: string): void {
    if (this.#urgent === 0) return;
    const piece = this.#pieces.get(id);
    if (piece?.isUrgent === true && !piece.tellers.includes(by))
      piece.tellers = piece.tellers.concat(by);
  }

  forget(id: string): void {
    const piece = this.#pieces.get(id);
    if (piece === undefined) return;
    this.#pieces.delete(id);
    this.#size--;
    this.#urgent -= Number(piece.isUrgent);
    this.#fresh -= Number(piece.isFresh);
  }

  /** Whether a message of its own to the member would tell it what it did not say itself. */
  isFreshTo(id: string): boolean {
    for (const { told, isFresh } of this.#pieces.values())
      if (isFresh && (told.update.id !== id || told.update.state !== 'alive')) return true;
    return false;
  }

  /**
   * What goes into the next message to a member by chance. A piece that was sent `sendsMax` times is dropped, unless
   * neighbours are still to be told of it.
   */
  take(count: number, sendsMax: number, hasNeighbors: boolean): readonly Update[] {
    let chosen: Update[] | undefined;
    // All that were sent less often go, and of those that were sent as often, so many.
    let [often, left] = [sendsMax, 0];
    if (this.#size > count) [often, left] = this.#threshold(count, sendsMax);
    for (const piece of this.#pieces.values()) {
      if (piece.sent < often || (piece.sent === often && left-- > 0)) {
        chosen = withOne(chosen, piece.told.update);
        piece.sent++;
      }
      if (piece.sent >= sendsMax && !(hasNeighbors && piece.isUrgent))
        this.forget(piece.told.update.id);
    }
    return chosen ?? NOTHING;
  }

  /** What so many members are told now in the first messages of its own. */
  takeFresh(count: number, receivers: number, sendsMax: number): News[] {
    const chosen: News[] = [];
    for (const piece of this.#pieces.values()) {
      if (chosen.length >= count) break;
      if (!piece.isFresh) continue;
      chosen.push({ update: piece.told.update, tellers: piece.tellers });
      piece.isFresh = false;
      this.#fresh--;
      piece.sent += receivers;
      if (piece.sent >= sendsMax) this.forget(piece.told.update.id);
    }
    return chosen;
  }

  /** What all neighbours are told now, once: from now on it rides on probes. */
  takeUrgent(count: number): News[] {
    const chosen: News[] = [];
    for (const piece of this.#pieces.values()) {
      if (chosen.length >= count) break;
      if (!piece.isUrgent) continue;
      chosen.push({ update: piece.told.update, tellers: piece.tellers });
      piece.tellers = NOTHING;
      this.#urgent--;
      this.#fresh -= Number(piece.isFresh);
      piece.isUrgent = false;
      piece.isFresh = false;
    }
    return chosen;
  }

  #threshold(count: number, sendsMax: number): [often: number, left: number] {
    const counts = Array.from({ length: sendsMax }, () => 0);
    for (const { sent } of this.#pieces.values()) counts[sent] = (counts[sent] ?? 0) + 1;
    let [often, left] = [0, count];
    while (often < sendsMax && left > (counts[often] ?? 0)) left -= counts[often++] ?? 0;
    return [often, left];
  }
}

interface Piece {
  readonly told: Told;
  isUrgent: boolean;
  /** Urgent, and no message of its own has been sent. */
  isFresh: boolean;
  sent: number;
  /** Who told it while it was urgent. */
  tellers: readonly string[];
}

/** The member has said it itself: few hear of it so, and all others from them. */
export function isFirsthand({ update, tellers }: News): boolean {
  return tellers.includes(update.id);
}

/** As it is told to the member. */
export function toTell(news: readonly News[], to: string): readonly Update[] {
  let chosen: Update[] | undefined;
  for (const { update, tellers } of news)
    if (!tellers.includes(to)) chosen = withOne(chosen, update);
  return chosen ?? NOTHING;
}

/** An array made for one, as most messages have, is a tenth as large as one that grows. */
function withOne(updates: Update[] | undefined, update: Update): Update[] {
  if (updates === undefined) return [update];
  updates.push(update);
  return updates;
}
