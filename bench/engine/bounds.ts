/** What our figures must keep against the ceiling and against other engines of the same run. */
import type { Bound } from '../report.ts';

type Verdict = Pick<Bound, 'text' | 'holds' | 'why'>;

/** The ratio of our figure to the ceiling's. */
export interface CeilingBound {
  readonly text: string;
  readonly holds: (ratio: number) => boolean;
}

/** A peer that was not measured, and why. */
export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

export function againstCeiling(bound: CeilingBound, ours: number, ceiling: number): Verdict {
  const ratio = ours / ceiling;
  return { text: `${bound.text}; measured ${ratio.toPrecision(3)}`, holds: bound.holds(ratio) };
}

/**
 * Our figure, of which more is better, must be `times` that of the best peer. A peer that was left out might have been
 * the best: then the bound can be broken by those that are there, but it cannot hold.
 */
export function againstPeers(
  times: number,
  ours: number,
  peers: ReadonlyMap<string, number>,
  leftOut: readonly LeftOut[],
): Verdict {
  const text = `at least ${times} times the best peer`;
  const missing = `left out: ${leftOut.map(({ name, why }) => `${name}: ${why}`).join('; ')}`;
  const [best] = [...peers].toSorted(([, a], [, b]) => b - a);
  if (best === undefined) return { text, holds: undefined, why: missing };
  const [name, value] = best;
  const holds = ours >= times * value;
  const measured = `${text}; measured ${(ours / value).toPrecision(3)} times ${name}`;
  if (!holds || leftOut.length === 0) return { text: measured, holds };
  return { text: measured, holds: undefined, why: missing };
}
