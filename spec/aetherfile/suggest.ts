const NAME_CHARS_MAX = 64;
/** Names that are looked at: a reader with more of them is not helped by a guess. */
const CANDIDATES_MAX = 500;

/** The candidate that `name` is most likely a slip of, if one is near enough. */
export function suggest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > NAME_CHARS_MAX) return undefined;
  let best: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  let looked = 0;
  for (const candidate of candidates) {
    if (++looked > CANDIDATES_MAX) break;
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const edits = distance(name.toLowerCase(), candidate.toLowerCase());
    if (edits < least) [best, least] = [candidate, edits];
  }
  return best;
}

/** Edits between two words, two swapped neighbours counting as one (optimal string alignment). */
function distance(from: string, to: string): number {
  let older: number[] = [];
  let old = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      let edits = Math.min(
        (old[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (old[j - 1] ?? 0) + (isSame ? 0 : 1),
      );
      const isSwap = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (i > 1 && j > 1 && isSwap) edits = Math.min(edits, (older[j - 2] ?? 0) + 1);
      row.push(edits);
    }
    [older, old] = [old, row];
  }
  return old[to.length] ?? 0;
}
