/** Counts of the same shape, added up. */
type Counts = { readonly [name: string]: number | Counts };

export function addCounts<T extends object>(first: T, second: T): T {
  const add = (a: Counts, b: Counts): Counts =>
    Object.fromEntries(
      Object.entries(a).map(([name, value]) => {
        const other = b[name];
        if (typeof value === 'number') return [name, value + (other as number)];
        return [name, add(value, other as Counts)];
      }),
    );
  return add(first as Counts, second as Counts) as T;
}
