import type { CeilingBound } from './bounds.ts';
import { type Load, type LoadPlan } from './load.ts';
import { STEPS } from './subject.ts';

/** A load on an open subject, and the one figure that is taken from it. */
export interface Case {
  readonly name: string;
  readonly operation: LoadPlan['operation'];
  readonly callers: number;
  readonly metric: string;
  readonly unit: string;
  readonly value: (load: Load) => number;
  /** What the ratio of any subject's figure to the ceiling's is called. */
  readonly ratio: 'shareOfCeiling' | 'timesCeiling';
  readonly ceiling?: CeilingBound;
  /** How many times the best peer's figure ours must be. */
  readonly timesBestPeer?: number;
}

export const CASES: readonly Case[] = [
  {
    name: 'steps10-c64',
    operation: 'steps10',
    callers: 64,
    metric: 'stepsPerSecond',
    unit: '1/s',
    value: (load) => load.perSecond * STEPS,
    ratio: 'shareOfCeiling',
    ceiling: { text: 'at least 0.25 of the ceiling', holds: (ratio) => ratio >= 0.25 },
    timesBestPeer: 8,
  },
  {
    name: 'steps10-c1',
    operation: 'steps10',
    callers: 1,
    metric: 'p50Ms',
    unit: 'ms',
    value: (load) => load.p50Ms,
    ratio: 'timesCeiling',
    ceiling: { text: 'at most 2 times the ceiling', holds: (ratio) => ratio <= 2 },
  },
  {
    name: 'empty-c64',
    operation: 'empty',
    callers: 64,
    metric: 'workflowsPerSecond',
    unit: '1/s',
    value: (load) => load.perSecond,
    ratio: 'shareOfCeiling',
    timesBestPeer: 4,
  },
  {
    name: 'signal',
    operation: 'signal',
    callers: 1,
    metric: 'p50Ms',
    unit: 'ms',
    value: (load) => load.p50Ms,
    ratio: 'timesCeiling',
    ceiling: { text: 'at most 3 times one durable commit', holds: (ratio) => ratio <= 3 },
  },
];
