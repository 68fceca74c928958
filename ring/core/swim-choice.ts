/** Members by chance. */
import { type Random, randomInt } from '../../spec/random.ts';
import type { View } from './swim-view.ts';

export class Choice {
  readonly #view: View;
  readonly #self: string;

  /** @param self is never chosen. */
  constructor(view: View, self: string) {
    this.#view = view;
    this.#self = self;
  }

  /** Up to `count` that are alive or suspect, and fit. */
  usable(count: number, random: Random, fits?: (index: number, id: string) => boolean): string[] {
    return this.#some(
      count,
      random,
      (index) => this.#view.isUsable(index) && fits?.(index, this.#idOf(index)) !== false,
    );
  }

  /** Up to `count` that are alive and fit. */
  alive(count: number, random: Random, fits: (id: string) => boolean): string[] {
    return this.#some(
      count,
      random,
      (index) => this.#view.stateOf(index) === 'alive' && fits(this.#idOf(index)),
    );
  }

  dead(random: Random): string | undefined {
    if (this.#view.usable === this.#view.size) return undefined;
    let seen = 0;
    let chosen: string | undefined;
    for (const [, { update }] of this.#view.tracked())
      if (update.state === 'dead' && randomInt(random, ++seen) === 0) chosen = update.id;
    return chosen;
  }

  #some(count: number, random: Random, fits: (index: number) => boolean): string[] {
    const { size, roster } = this.#view;
    const self = roster.indexOf(this.#self);
    const chosen = sample(size, count, random, (index) => index !== self && fits(index));
    return chosen.map((index) => this.#idOf(index));
  }

  #idOf(index: number): string {
    return this.#view.roster.idOf(index) ?? '';
  }
}

/** Up to `count` of the numbers from 0 to `size` - 1 that fit, each once, by chance. */
function sample(
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
