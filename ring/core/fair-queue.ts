/** Those who wait, by origin: each origin has its turn, and within one it is who came first. */
export class FairQueue<T> {
  /** The origin whose turn is next first. */
  readonly #waiting = new Map<string, Set<T>>();

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  push(one: T, origin: string): void {
    const own = this.#waiting.get(origin) ?? new Set();
    this.#waiting.set(origin, own.add(one));
  }

  /** Nothing, when it does not wait. */
  delete(one: T, origin: string): void {
    const own = this.#waiting.get(origin);
    if (own?.delete(one) === true && own.size === 0) this.#waiting.delete(origin);
  }

  /** Whose turn it is; it waits no more. */
  shift(): T | undefined {
    const [turn] = this.#waiting;
    if (turn === undefined) return undefined;
    const [origin, own] = turn;
    const [one] = own;
    own.delete(one as T);
    this.#waiting.delete(origin);
    if (own.size > 0) this.#waiting.set(origin, own);
    return one;
  }
}
