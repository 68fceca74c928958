/** The mark that a change leaves in a member's trail. */
import type { Update } from './swim-message.ts';
import { marked } from './swim-trail.ts';
import type { Tracked } from './swim-view.ts';

/**
 * @param tracked as it is known now.
 * @param before what was known until now.
 * @param why what happened, where it is not that the member refutes what was said.
 * @param by who said so, when it was another.
 */
export function note(
  tracked: Tracked,
  before: Update,
  atMs: number,
  why: string,
  by?: string,
): void {
  const { state, incarnation, accusers } = tracked.update;
  if (state === 'alive') {
    // It is heard of, and nobody has accused it yet.
    if (before.incarnation === 0 && (tracked.trail?.length ?? 0) <= 1) tracked.trail = undefined;
    if (tracked.trail === undefined) return;
  }
  const isRefuted = state === 'alive' && before.state !== 'alive';
  const text = !isRefuted ? why : by === undefined ? 'it refutes that' : 'has its refutation';
  tracked.trail = marked(tracked.trail, {
    atMs,
    state,
    incarnation,
    why: text,
    ...(by === undefined ? {} : { by }),
    ...(accusers === undefined ? {} : { accusers }),
  });
}
