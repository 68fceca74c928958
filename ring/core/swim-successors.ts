/**
 * Who hears news first: all members stand on rings, on each in an order by chance that all nodes share, and whoever has news
 * tells it to the next one on each (Fireflies; Johansen, Allavena, van Renesse, EuroSys 2006).
 *
 * Everybody is the next of somebody on every ring: the first telling leaves nobody out, where of members by chance one in
 * twenty (e^-3, when each tells three) has to wait for the second. Where two rosters differ, only who stands there has another next.
 */
import type { View } from './swim-view.ts';

/** The next one that fits on each of `count` rings, each once: another after it for who is next on two. */
export function successors(
  view: View,
  self: number,
  count: number,
  fits: (index: number) => boolean,
): number[] {
  const { roster, size } = view;
  const chosen: number[] = [];
  for (let ring = 0; ring < count; ring++) {
    const place = roster.placeOn(ring, self);
    let [next, nearest] = [-1, Infinity];
    for (let index = 0; index < size; index++) {
      const distance = (roster.placeOn(ring, index) - place) >>> 0;
      if (distance >= nearest || index === self || chosen.includes(index) || !fits(index)) continue;
      [next, nearest] = [index, distance];
    }
    if (next < 0) break;
    chosen.push(next);
  }
  return chosen;
}
