/** What led to a member's state as this node knows it: for `aether ring why`. */
import type { MemberState } from './swim-message.ts';

export interface Mark {
  readonly atMs: number;
  readonly state: MemberState;
  readonly incarnation: number;
  readonly why: string;
  /** Who said so, when it was another. */
  readonly by?: string;
  /** Of a suspect: who found it silent. */
  readonly accusers?: readonly string[];
}

const MARKS_MAX = 16;

/** Oldest first. A member that nobody ever accused has none, and costs nothing. */
export type Trail = Mark[] | undefined;

/** @returns the trail with the mark at its end: as long as it is, since one that grows keeps room for sixteen more. */
export function marked(trail: Trail, mark: Mark): Mark[] {
  if (trail === undefined) return [mark];
  return (trail.length < MARKS_MAX ? trail : trail.slice(1)).concat(mark);
}

export function textsOf(trail: Trail): { atMs: number; text: string }[] {
  return (trail ?? []).map((mark) => ({ atMs: mark.atMs, text: textOf(mark) }));
}

function textOf({ state, incarnation, why, by, accusers = [] }: Mark): string {
  const said = by === undefined ? why : `${by} ${why}`;
  const silent = accusers.length === 0 ? '' : `, found silent by ${accusers.join(', ')}`;
  const number = incarnation === 0 ? '' : ` (incarnation ${incarnation})`;
  return `${state}: ${said}${silent}${number}`;
}
