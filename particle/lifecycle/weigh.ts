/**
 * A node's share of the ring as a durable workflow; at weight 0 the node is drained: it stays a member and keeps nothing.
 *
 * W1. Every change is an effect sent from a step, so a change that is cut off anywhere goes on from the next step.
 * W2. Before a node is drained, its Particles are prepared where they will be served. A node that does not answer, or cannot
 *     prepare one, holds nothing up: the first request wakes the Particle there.
 * W3. What the drained node runs ends only after others own its share, and after its requests under way are answered.
 */
import { type Workflow, type WorkflowContext, workflow } from '../../engine/index.ts';
import type { AppRecord } from './catalog.ts';
import { effectStep, type EffectPorts, UNREACHED } from './effect-step.ts';

export const WEIGH_WORKFLOW = 'aether.weigh';

export interface WeighIntent {
  node: string;
  weight: number;
}

/** A Particle that the node serves, and who will serve it without it. */
export interface Move {
  record: AppRecord;
  particle: string;
  to: string;
  toName: string;
}

/** What such a change needs of the lattice. */
export interface WeighPorts extends EffectPorts {
  nodeName(node: string): string;
  /** The Particles that others take over when the node has no share. */
  moves(node: string): Move[];
}

export interface WeighOutcome {
  node: string;
  weight: number;
  /** Particles that others are prepared for, as `app/particle on node`. */
  moved: string[];
  /** False: the node did not answer; it ends what it runs when nobody asks for it. */
  released?: boolean;
}

/** The workflow id, made of the intent. */
export function weighId({ node, weight }: WeighIntent, epoch: number): string {
  return weight === 0 ? `drain:${node}:${epoch}` : `weigh:${node}:${weight}:${epoch}`;
}

export function weighWorkflow(ports: WeighPorts): Workflow<WeighIntent, WeighOutcome> {
  return workflow<WeighIntent, WeighOutcome>(
    WEIGH_WORKFLOW,
    (ctx, intent) => weigh(ctx, intent, ports),
    { version: '1' },
  );
}

async function weigh(
  ctx: WorkflowContext<WeighIntent>,
  { node, weight }: WeighIntent,
  ports: WeighPorts,
): Promise<WeighOutcome> {
  const name = ports.nodeName(node);
  const change = { kind: 'weigh', node, weight } as const;
  if (weight > 0) {
    await effectStep(ctx, ports, `weigh ${name} at ${weight}`, ports.self, change);
    return { node, weight, moved: [] };
  }
  const moved = await prepareElsewhere(ctx, ports, node); // W2
  await effectStep(ctx, ports, `take the share of ${name}`, ports.self, change);
  const release = { kind: 'release' } as const;
  const released = await effectStep(ctx, ports, `release what ${name} runs`, node, release); // W3
  return { node, weight, moved, released: released !== UNREACHED };
}

/** Prepares what a node serves where it will be served without it. @returns what is prepared, as `app/particle on node` */
export async function prepareElsewhere(
  ctx: WorkflowContext<never>,
  ports: WeighPorts,
  node: string,
): Promise<string[]> {
  const plan = await ctx.step('plan', () => ports.moves(node));
  const moved: string[] = [];
  for (const { record, particle, to, toName } of plan) {
    const what = `${record.app.name}/${particle} on ${toName}`;
    const effect = { kind: 'prepare', record, particle } as const;
    try {
      if ((await effectStep(ctx, ports, `prepare ${what}`, to, effect)) !== UNREACHED)
        moved.push(what);
    } catch {
      // It is not what is asked for: the first request wakes the Particle there.
    }
  }
  return moved;
}
