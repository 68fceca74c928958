/**
 * Starts of a voter, so that what it has forgotten is not counted (B1 to B6 of spec/epoch.md).
 *
 * Source: crash-consistent quorums, after Michael, Ports, Sharma, Szekeres, "Recovering Shared
 * Objects Without Stable Storage", DISC 2017.
 */

/** One start of a voter. */
export interface Boot {
  /** Counted on the voter's disk. */
  readonly number: number;
  /** Drawn at random: two starts from one state of the disk have different ones. */
  readonly nonce: number;
}

/** The latest boot heard of, by node. Entries only grow. */
export type Boots = Readonly<Record<string, Boot>>;

export function isSameBoot(a: Boot, b: Boot): boolean {
  return a.number === b.number && a.nonce === b.nonce;
}

/** True when what is known voids what was said under `boot`: there was another that is not earlier. */
export function isSuperseded(boot: Boot, known: Boot | undefined): boolean {
  return known !== undefined && !isSameBoot(boot, known) && known.number >= boot.number;
}

/** `known` with what `heard` has that is later; `known` itself when that is nothing. */
export function mergedBoots(known: Boots, heard: Boots): Boots {
  let merged = known;
  if (heard !== known)
    for (const node of Object.keys(heard)) merged = notedBoot(merged, node, heard[node] as Boot);
  return merged;
}

/** `known`, with a boot of a node itself. */
export function notedBoot(known: Boots, node: string, boot: Boot): Boots {
  const before = known[node];
  return before === undefined || isLater(boot, before) ? { ...known, [node]: boot } : known;
}

/** Nonces break ties only so that the outcome is the same in any order; of two, at most one ever votes. */
function isLater(a: Boot, b: Boot): boolean {
  return a.number === b.number ? a.nonce > b.nonce : a.number > b.number;
}
