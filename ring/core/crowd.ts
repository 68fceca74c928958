/**
 * Those who have no name yet: so many at once, in all and from one origin.
 *
 * When one more comes, the oldest of its own origin gives way, or, when there are too many in all, the oldest of
 * the origin that has most. So who floods pushes out its own; an honest caller, which is done in a moment, gets through.
 */
export class Crowd<T> {
  readonly #max: number;
  readonly #perOriginMax: number;
  /** By origin, oldest first. */
  readonly #members = new Map<string, Set<T>>();
  #size = 0;

  constructor(max: number, perOriginMax: number) {
    this.#max = max;
    this.#perOriginMax = perOriginMax;
  }

  get size(): number {
    return this.#size;
  }

  /** @returns who gives way, no more in the crowd. */
  add(one: T, origin: string): T | undefined {
    const own = this.#members.get(origin)?.size ?? 0;
    let from: string | undefined;
    if (own >= this.#perOriginMax) from = origin;
    else if (this.#size >= this.#max) from = this.#largest();
    const [oldest] = this.#members.get(from ?? '') ?? [];
    if (from !== undefined && oldest !== undefined) this.delete(oldest, from);
    const members = this.#members.get(origin) ?? new Set();
    this.#members.set(origin, members.add(one));
    this.#size++;
    return oldest;
  }

  /** @returns false when it was not there any more. */
  delete(one: T, origin: string): boolean {
    const members = this.#members.get(origin);
    if (members?.delete(one) !== true) return false;
    if (members.size === 0) this.#members.delete(origin);
    this.#size--;
    return true;
  }

  /** How many of the origin there are. */
  countOf(origin: string): number {
    return this.#members.get(origin)?.size ?? 0;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const members of this.#members.values()) yield* members;
  }

  #largest(): string | undefined {
    let [largest, most] = [undefined as string | undefined, 0];
    for (const [origin, { size }] of this.#members)
      if (size > most) [largest, most] = [origin, size];
    return largest;
  }
}
