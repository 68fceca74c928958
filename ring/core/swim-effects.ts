/**
 * What the step that is being made causes; nothing between steps. No core keeps it: what an old object holds the garbage
 * collector must note at each step, and carries along until the next.
 */
import type { SwimEffect } from './swim-event.ts';

let effects: SwimEffect[] | undefined;

/** An array made for one, as most steps have, is a tenth as large as one that grows. */
export function cause(effect: SwimEffect): void {
  if (effects === undefined) effects = [effect];
  else effects.push(effect);
}

/** What was caused since it was asked last. */
export function takeCaused(): SwimEffect[] {
  const caused = effects ?? [];
  effects = undefined;
  return caused;
}
