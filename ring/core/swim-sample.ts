import { type Random, randomInt } from '../../spec/random.ts';

/** Up to `count` of the numbers from 0 to `size` - 1 that fit, each once, by chance. */
export function sample(
  size: number,
  count: number,
  random: Random,
  fits: (index: number) => boolean,
): number[] {
  const chosen: number[] = [];
  for (let tries = count * 4 + 8; tries > 0 && chosen.length < count; tries--) {
    if (size === 0) break;
    const index = randomInt(random, size);
    if (!chosen.includes(index) && fits(index)) chosen.push(index);
  }
  if (chosen.length < count) {
    // Few fit: all are looked at.
    const fitting = [];
    for (let index = 0; index < size; index++)
      if (!chosen.includes(index) && fits(index)) fitting.push(index);
    while (chosen.length < count && fitting.length > 0)
      chosen.push(...fitting.splice(randomInt(random, fitting.length), 1));
  }
  return chosen;
}
