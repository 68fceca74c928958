/** Fewer show a bias in small orders. */
const ROUNDS = 6;

/**
 * A keyed permutation of 0 … size-1, computed on demand: a Feistel network over the next even power of two,
 * walked until it falls inside (Black and Rogaway, CT-RSA 2002). The order of probes needs no array of its own.
 */
export class Permutation {
  readonly size: number;
  readonly #half: number;
  readonly #mask: number;
  readonly #key: number;

  /** @param key any 32-bit integer; another key is another order. */
  constructor(size: number, key: number) {
    this.size = size;
    const bits = Math.max(2, 32 - Math.clz32(Math.max(1, size - 1)));
    this.#half = (bits + 1) >> 1;
    this.#mask = (1 << this.#half) - 1;
    this.#key = key | 0;
  }

  /** What stands at the place, 0 ≤ place < size. */
  at(place: number): number {
    let value = place;
    do value = this.#once(value);
    while (value >= this.size);
    return value;
  }

  #once(value: number): number {
    let left = value >>> this.#half;
    let right = value & this.#mask;
    for (let round = 1; round <= ROUNDS; round++) {
      let mixed = Math.imul(right ^ Math.imul(this.#key + round, 0x9e3779b1), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13) ^ this.#key, 0xc2b2ae35);
      [left, right] = [right, left ^ ((mixed ^ (mixed >>> 16)) & this.#mask)];
    }
    return ((left << this.#half) | right) >>> 0;
  }
}
