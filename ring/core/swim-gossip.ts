/** News that is being spread: each piece is sent a bounded number of times, the least sent first. */
export class GossipQueue {
  /** Pieces for which messages of their own are sent; the others ride on probes. */
  #urgent = 0;
  readonly #pieces = new Map<string, Piece>();
  /** Pieces by how often they were sent; void ones are skipped. */
  readonly #levels: Piece[][] = [];

  get size(): number {
    return this.#pieces.size;
  }

  get isUrgent(): boolean {
    return this.#urgent > 0;
  }

  /** News about a member; what was waiting about it is older and goes. */
  add(id: string, isUrgent: boolean): void {
    const wasUrgent = this.#pieces.get(id)?.isUrgent === true;
    this.forget(id);
    const piece = { id, isUrgent: isUrgent || wasUrgent, sent: 0, isVoid: false };
    if (piece.isUrgent) this.#urgent++;
    this.#pieces.set(id, piece);
    this.#push(piece);
  }

  /** More to the news that may be waiting already: told with it, or along with probes. */
  addTo(id: string): void {
    if (!this.#pieces.has(id)) this.add(id, false);
  }

  forget(id: string): void {
    const piece = this.#pieces.get(id);
    if (piece !== undefined) this.#drop(piece);
  }

  /** Whose news goes into the next message. @param sendsMax a piece that was sent this often is dropped. */
  take(count: number, sendsMax: number): string[] {
    if (this.#pieces.size === 0) return [];
    const chosen: Piece[] = [];
    for (const level of this.#levels) {
      if (level.length === 0) continue;
      let taken = 0;
      while (chosen.length < count && taken < level.length) {
        const piece = level[taken++] as Piece;
        if (!piece.isVoid) chosen.push(piece);
      }
      if (taken > 0) level.splice(0, taken);
      if (chosen.length === count) break;
    }
    for (const piece of chosen) {
      piece.sent++;
      if (piece.sent < sendsMax) this.#push(piece);
      else this.#drop(piece);
    }
    return chosen.map(({ id }) => id);
  }

  #drop(piece: Piece): void {
    piece.isVoid = true;
    this.#pieces.delete(piece.id);
    if (piece.isUrgent) this.#urgent--;
  }

  #push(piece: Piece): void {
    while (this.#levels.length <= piece.sent) this.#levels.push([]);
    this.#levels[piece.sent]?.push(piece);
  }
}

interface Piece {
  readonly id: string;
  readonly isUrgent: boolean;
  sent: number;
  isVoid: boolean;
}
