/**
 * Which runs are in memory, and which of them leaves.
 *
 * L1. A run has at most one state in memory; one that left is marked `gone`, and what comes back from its steps is void.
 * L2. A run that only waits leaves: at once if it waits for long, else when its place is wanted.
 */
import { type LiveRun, liveRun } from './live-run.ts';

/** Runs that only wait and still are in memory: what wakes soon or often need not be replayed. */
const IDLE_RUNS_MAX = 1_000;
/** A run that wakes no sooner than this leaves memory at once. */
const SHORT_WAIT_MS = 1_000;

export class LiveRuns {
  readonly #live = new Map<string, LiveRun>();
  /** Those that only wait, the one that has waited longest first. */
  readonly #idle = new Map<string, LiveRun>();

  get size(): number {
    return this.#live.size;
  }

  [Symbol.iterator](): Iterator<LiveRun> {
    return this.#live.values();
  }

  get(runId: string): LiveRun | undefined {
    return this.#live.get(runId);
  }

  /** The run as it is in memory, or a place for it that is filled from the store. */
  attach(runId: string, workflowId: string): LiveRun {
    const known = this.#live.get(runId);
    if (known !== undefined) return known;
    const live = liveRun(runId, workflowId);
    this.#live.set(runId, live); // L1
    return live;
  }

  /** It has something to do. */
  busy(live: LiveRun): void {
    this.#idle.delete(live.runId);
  }

  /** It only waits (L2). */
  rest(live: LiveRun, nowMs: number): void {
    if (!isWorthKeeping(live, nowMs)) return this.evict(live);
    this.#idle.set(live.runId, live);
    const oldest = this.#idle.size > IDLE_RUNS_MAX ? this.#idle.values().next().value : undefined;
    if (oldest !== undefined) this.evict(oldest);
  }

  evict(live: LiveRun): void {
    live.gone = true;
    this.#idle.delete(live.runId);
    this.#live.delete(live.runId);
  }

  clear(): void {
    for (const live of this.#live.values()) live.gone = true;
    this.#live.clear();
    this.#idle.clear();
  }
}

/** It wakes soon, or may at any time. */
function isWorthKeeping({ run, record }: LiveRun, nowMs: number): boolean {
  if (run === undefined || run.closing !== undefined || run.stuck !== undefined) return false;
  const wakeAt = record?.wakeAt;
  return wakeAt !== undefined && (wakeAt === null || wakeAt - nowMs < SHORT_WAIT_MS);
}
