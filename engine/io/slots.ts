/** Places for runs that have steps in flight: the larger priority first, then who asked first. */
interface Request {
  readonly priority: number;
  readonly grant: () => void;
}

export class Slots {
  #free: number;
  readonly #waiting: Request[] = [];

  constructor(limit: number) {
    this.#free = limit;
  }

  /** Calls `grant` at once or when a place is free; `release` gives it back. */
  request(priority: number, grant: () => void): void {
    if (this.#free > 0) {
      this.#free--;
      grant();
      return;
    }
    const request = { priority, grant };
    const at = this.#waiting.findLastIndex((other) => other.priority >= priority);
    this.#waiting.splice(at + 1, 0, request);
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next.grant();
  }
}
