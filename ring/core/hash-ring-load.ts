/** Which of a key's members takes one more piece of work, when any of them could. */

/** How full a member is. */
export interface Load {
  /** Pieces of work that it has. */
  readonly load: number;
  /** Work it can take relative to the others. */
  readonly weight: number;
}

/** No member gets more than this many times its share of all work. */
const BOUND = 1.25;

/**
 * A preference list under load: who has room keeps the list's order, who is full comes after them, the
 * least full first. A member is full at `bound` times its share of all work including the piece to place.
 * So keys stay where they are as long as they can, and hot ones spread (Mirrokni, Thorup,
 * Zadimoghaddam, Consistent hashing with bounded loads, SODA 2018).
 *
 * @param order a key's members, the preferred first.
 * @param loads of all members that share the work, by id. Who is not there is taken to be full.
 * @param bound above 1. Nearer to 1 is more even, and moves more keys.
 */
export function preferenceUnderLoad(
  order: readonly string[],
  loads: ReadonlyMap<string, Load>,
  bound: number = BOUND,
): string[] {
  let [work, weights] = [1, 0];
  for (const { load, weight } of loads.values()) {
    work += load;
    weights += weight;
  }
  /** Part of the room that is used. */
  const fullness = (id: string): number => {
    const { load, weight } = loads.get(id) ?? { load: 0, weight: 0 };
    const room = Math.ceil((bound * work * weight) / weights);
    return room > 0 ? load / room : Infinity;
  };
  const all = order.map((id) => ({ id, used: fullness(id) }));
  const full = all.filter(({ used }) => used >= 1);
  return [
    ...all.filter(({ used }) => used < 1),
    // Infinity - Infinity is no number: these keep their order.
    ...full.toSorted((a, b) => (a.used === b.used ? 0 : a.used - b.used)),
  ].map(({ id }) => id);
}
