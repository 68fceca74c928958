import type { Update } from './swim-message.ts';

/** News that is being spread: each piece is sent a bounded number of times, the least sent first. */
export class GossipQueue {
  readonly #news = new Map<string, { update: Update; sent: number }>();

  get isEmpty(): boolean {
    return this.#news.size === 0;
  }

  /** Newer news about a member replaces the older. */
  add(update: Update): void {
    this.#news.delete(update.id);
    this.#news.set(update.id, { update, sent: 0 });
  }

  forget(id: string): void {
    this.#news.delete(id);
  }

  /** @param sendsMax a piece that was sent this often is dropped. */
  take(count: number, sendsMax: number): Update[] {
    const chosen = [...this.#news.values()].toSorted((a, b) => a.sent - b.sent).slice(0, count);
    for (const piece of chosen) {
      piece.sent++;
      if (piece.sent >= sendsMax) this.#news.delete(piece.update.id);
    }
    return chosen.map(({ update }) => update);
  }
}
