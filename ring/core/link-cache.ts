/**
 * Which links to give up, that are opened again when they are needed.
 *
 * A lattice in which everybody may keep a link to everybody (FULL_MESH) closes none. Above that those go that were not used
 * for a while, and above a limit the least recently used, however short that was (LRU).
 */

/** What is known of a link. */
export interface LinkUse {
  /** When something was last sent or heard on it. */
  readonly usedMs: number;
}

export interface LinkCacheLimits {
  linksMax: number;
  linkIdleMs: number;
}

/** Links up to which a node stays in touch with all that it ever spoke with. */
export const FULL_MESH = 300;

/**
 * @param links all that are open.
 * @param isHeld what is in use now and never given up, though the limit be passed.
 * @returns those to close, the least recently used first.
 */
export function surplusLinks<L extends LinkUse>(
  links: readonly L[],
  { linksMax, linkIdleMs }: LinkCacheLimits,
  isHeld: (link: L) => boolean,
  nowMs: number,
): L[] {
  const idlest = links.filter((link) => !isHeld(link)).toSorted((a, b) => a.usedMs - b.usedMs);
  const mayGo = ({ usedMs }: L, gone: number): boolean => {
    const left = links.length - gone;
    return left > linksMax || (left > FULL_MESH && nowMs - usedMs >= linkIdleMs);
  };
  const first = idlest.findIndex((link, gone) => !mayGo(link, gone));
  return first < 0 ? idlest : idlest.slice(0, first);
}
