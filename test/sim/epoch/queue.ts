/** What happens next on a virtual clock: by time, then by order of asking. */
interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class EventQueue {
  nowMs = 0;
  readonly #items: Due[] = [];
  #order = 0;

  at(atMs: number, run: () => void): void {
    const items = this.#items;
    const due = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, run };
    let at = items.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(due, items[parent] as Due)) break;
      items[at] = items[parent] as Due;
      at = parent;
    }
    items[at] = due;
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.nowMs + delayMs, run);
  }

  /** Runs what is due first, unless that is after `endMs`. @returns whether it did. */
  runNext(endMs: number): boolean {
    const items = this.#items;
    const first = items[0];
    if (first === undefined || first.atMs > endMs) return false;
    const last = items.pop() as Due;
    if (items.length > 0) this.#sink(last);
    this.nowMs = first.atMs;
    first.run();
    return true;
  }

  #sink(due: Due): void {
    const items = this.#items;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      const right = child + 1;
      if (right < items.length && isBefore(items[right] as Due, items[child] as Due)) child = right;
      if (!isBefore(items[child] as Due, due)) break;
      items[at] = items[child] as Due;
      at = child;
    }
    items[at] = due;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
}
