import type { Update } from './swim-message.ts';

/** Whose claim is told; always the claim of the moment. */
export interface Told {
  readonly update: Update;
}

/** News that is being spread: each piece is sent a bounded number of times, the least sent first. */
export class GossipQueue {
  readonly #pieces = new Map<string, Piece>();
  /** Of `#pieces`: asked for each message, so it is kept at hand. */
  #size = 0;
  /** Pieces for which messages of their own are sent; the others ride on probes. */
  #urgent = 0;

  get size(): number {
    return this.#size;
  }

  get isUrgent(): boolean {
    return this.#urgent > 0;
  }

  /** News about a member; what was waiting about it is older and goes. */
  add(told: Told, isUrgent: boolean): void {
    const { id } = told.update;
    const wasUrgent = this.#pieces.get(id)?.isUrgent === true;
    this.forget(id);
    const piece = { told, isUrgent: isUrgent || wasUrgent, sent: 0 };
    if (piece.isUrgent) this.#urgent++;
    this.#pieces.set(id, piece);
    this.#size++;
  }

  /** More to the news that may be waiting already: told with it, or along with probes. */
  addTo(told: Told): void {
    if (!this.#pieces.has(told.update.id)) this.add(told, false);
  }

  forget(id: string): void {
    const piece = this.#pieces.get(id);
    if (piece === undefined) return;
    this.#pieces.delete(id);
    this.#size--;
    if (piece.isUrgent) this.#urgent--;
  }

  /**
   * What goes into the next message to a member by chance. A piece that was sent `sendsMax` times is dropped, unless
   * neighbours are still to be told of it.
   */
  take(count: number, sendsMax: number, hasNeighbors: boolean): Update[] {
    const chosen: Update[] = [];
    // All that were sent less often go, and of those that were sent as often, so many.
    let [often, left] = [sendsMax, 0];
    if (this.#size > count) [often, left] = this.#threshold(count, sendsMax);
    for (const piece of this.#pieces.values()) {
      if (piece.sent < often || (piece.sent === often && left-- > 0)) {
        chosen.push(piece.told.update);
        piece.sent++;
      }
      if (piece.sent >= sendsMax && !(hasNeighbors && piece.isUrgent))
        this.forget(piece.told.update.id);
    }
    return chosen;
  }

  /** What all neighbours are told now, once: from now on it rides on probes. */
  takeUrgent(count: number): Update[] {
    const chosen: Update[] = [];
    for (const piece of this.#pieces.values()) {
      if (chosen.length >= count) break;
      if (!piece.isUrgent) continue;
      chosen.push(piece.told.update);
      piece.isUrgent = false;
      this.#urgent--;
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
  sent: number;
}
