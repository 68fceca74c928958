/** Chance as an argument, so that one seed gives one run. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

/**
 * A seeded generator: xoshiro128**, its state filled by splitmix32 (Blackman and Vigna, 2018).
 * Not for secrets.
 *
 * @param seed any integer, of which the low 32 bits count; or the state itself, four words of which one is not 0.
 */
export function seededRandom(seed: number | readonly [number, number, number, number]): Random {
  let fill = typeof seed === 'number' ? seed >>> 0 : 0;
  const splitmix = (): number => {
    fill = (fill + 0x9e3779b9) >>> 0;
    let z = fill;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let [a, b, c, d] =
    typeof seed === 'number' ? [splitmix(), splitmix(), splitmix(), splitmix()] : seed;
  const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
  return {
    next() {
      const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
      const shifted = b << 9;
      c ^= a;
      d ^= b;
      b ^= c;
      a ^= d;
      c ^= shifted;
      d = rotate(d, 11);
      return result / 4294967296;
    },
  };
}

/** A uniform integer in [0, below). */
export function randomInt(random: Random, below: number): number {
  return Math.floor(random.next() * below);
}

/** A new array in uniformly random order (Fisher–Yates). */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = randomInt(random, i + 1);
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}
