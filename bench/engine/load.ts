/** Closed loops: each caller asks again as soon as it is answered. */
import { percentile } from '../medians.ts';
import type { Subject } from './subject.ts';

const WARM_UP_SECONDS = 0.5;

export interface LoadPlan {
  readonly operation: 'steps10' | 'empty' | 'signal';
  readonly callers: number;
  /** How long calls are begun for; those that were begun are waited for. */
  readonly seconds: number;
}

export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
}

/**
 * The rate is the sum of the callers' own, each over the whole calls that it made. Calls of slow subjects end in
 * volleys, and to count those that fall into a fixed time would measure its edges.
 */
export async function measureLoad(
  subject: Subject,
  { operation, callers, seconds }: LoadPlan,
): Promise<Load> {
  const prepare = (): (() => Promise<unknown>) | Promise<() => Promise<unknown>> =>
    operation === 'signal' ? subject.signal() : () => subject[operation]();
  const latencies: number[] = [];
  const fromMs = performance.now() + WARM_UP_SECONDS * 1_000;
  const untilMs = fromMs + seconds * 1_000;
  const rateOfCaller = async (): Promise<number> => {
    let calls = 0;
    let firstMs = 0;
    let endedMs = 0;
    while (performance.now() < untilMs || calls === 0) {
      const call = await prepare();
      const startedMs = performance.now();
      await call();
      endedMs = performance.now();
      if (startedMs < fromMs) continue;
      if (calls++ === 0) firstMs = startedMs;
      latencies.push(endedMs - startedMs);
    }
    return (calls * 1_000) / (endedMs - firstMs);
  };
  const rates = await Promise.all(Array.from({ length: callers }, rateOfCaller));
  return {
    perSecond: rates.reduce((sum, rate) => sum + rate, 0),
    p50Ms: percentile(latencies, 0.5),
  };
}
