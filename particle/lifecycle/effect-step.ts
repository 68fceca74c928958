/** The step of a workflow that has a node's sink apply an effect. */
import type { WorkflowContext } from '../../engine/index.ts';
import { AetherError } from '../../spec/error.ts';
import { type Effect, type Fence, fenceOf } from './effect.ts';

export interface EffectPorts {
  /** This node's id. */
  readonly self: string;
  /** Has the sink of a node apply an effect. @throws the sink's or the transport's error */
  apply(node: string, fence: Fence, effect: Effect): Promise<unknown>;
}

/** What a step records about another node that it could not reach. */
export const UNREACHED = 'unreached';
/** Tries before a remote node is passed over; with the delays below, about 3 s. */
const REMOTE_ATTEMPTS = 5;
const RETRY = {
  initial: '200ms',
  max: '2s',
  /** Refusals that no second try changes. */
  nonRetryable: [
    'ERR_DEPLOY_COMPONENT_MISSING',
    'ERR_DEPLOY_SUPERSEDED',
    'ERR_SINK_FENCED',
    'ERR_KV_BUCKET_EXISTS',
    'ERR_NOT_AVAILABLE',
    'ERR_PARTICLE_CORE_MODULE',
    'ERR_PARTICLE_LIMIT',
    'ERR_PARTICLE_MEMORY_LIMIT',
    'ERR_PARTICLE_NAME',
    'ERR_PARTICLE_NOT_A_COMPONENT',
    'ERR_PARTICLE_TRANSPILE',
    'ERR_PARTICLE_UNCAPPABLE',
    'ERR_PARTICLE_UNGRANTED_IMPORT',
    'ERR_PARTICLE_UNKNOWN_IMPORT',
    'ERR_PARTICLE_VERSION_TAKEN',
    'ERR_PARTICLE_WAKE',
    'ERR_RING_CHANGE_REFUSED',
    'ERR_RING_LAST_VOTER',
    'ERR_RING_NODE_ALIVE',
    'ERR_RING_NODE_NOT_FOUND',
    'ERR_RING_OPTION',
  ],
} as const;

/**
 * @returns what the sink answered; `UNREACHED` when another node does not answer for a while
 * @throws AetherError with the code of the sink's refusal
 */
export async function effectStep(
  ctx: WorkflowContext<never>,
  ports: EffectPorts,
  name: string,
  node: string,
  effect: Effect,
): Promise<unknown> {
  try {
    return await ctx.step(
      name,
      async (step) => {
        try {
          return (await ports.apply(node, fenceOf(ctx, name, step), effect)) ?? null;
        } catch (error) {
          if (node !== ports.self && isUnreachable(error) && step.attempt >= REMOTE_ATTEMPTS)
            return UNREACHED;
          throw error;
        }
      },
      { input: { node, kind: effect.kind }, retry: RETRY },
    );
  } catch (error) {
    // The step's own error says only that it failed, and a workflow hands on no cause.
    const { code, message } =
      (error as { cause?: { code?: string; message?: string } }).cause ?? {};
    if (code === undefined || message === undefined) throw error;
    throw new AetherError(`${name}: ${message}`, { code, cause: error });
  }
}

function isUnreachable(error: unknown): boolean {
  return (
    AetherError.is(error) &&
    (error.code === 'ERR_RING_UNREACHABLE' || error.code === 'ERR_RING_TIMEOUT')
  );
}
