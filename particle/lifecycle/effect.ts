/**
 * The changes that a lifecycle workflow makes, as data: one step of a workflow sends one effect to one node's sink.
 *
 * An effect travels with a fence, which only a running step can make; so nothing changes infrastructure outside a step.
 */
import type { StepContext, WorkflowContext } from '../../engine/index.ts';
import type { AppRecord } from './catalog.ts';

export type Effect =
  /** Writes the intent of a revision, and fails if a higher one exists. */
  | { kind: 'claim'; record: AppRecord }
  /** Creates a bucket of the app, if it does not exist. */
  | { kind: 'bucket'; bucket: string; replicas: number }
  /** Stores a component that is staged on this node on the ring. */
  | { kind: 'push'; particle: string; digest: string }
  /** Fetches, checks, transpiles and once instantiates a component on this node. */
  | { kind: 'prepare'; record: AppRecord; particle: string }
  /** Makes a revision the app's current one. */
  | { kind: 'publish'; record: AppRecord }
  /** Routes the app's requests on this node to a revision. */
  | { kind: 'activate'; record: AppRecord }
  /** Gives a member another share of the ring. */
  | { kind: 'weigh'; node: string; weight: number }
  /** Takes a node that is gone for good out of the lattice. */
  | { kind: 'remove'; node: string }
  /** Takes this node out of the lattice; it has handed over what it kept. */
  | { kind: 'leave' }
  /** Ends what this node runs; a request that still comes wakes it again. */
  | { kind: 'release' };

/** Who asks, so that a sink applies an effect once and refuses a stale owner. */
export interface Fence {
  readonly workflow: string;
  /** Stable over retries and restarts. */
  readonly step: string;
  readonly ballot: string;
  /** The step's name, for people who read the log. */
  readonly name: string;
}

/** The fence of a running step. */
export function fenceOf(ctx: WorkflowContext<never>, name: string, step: StepContext): Fence {
  return { workflow: ctx.workflowId, step: step.idempotencyKey, ballot: step.ballot, name };
}
