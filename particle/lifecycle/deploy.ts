/**
 * The deploy of an app as a durable workflow: claim, push, prepare, publish, activate.
 *
 * D1. Every change is an effect sent from a step, so a deploy that is cut off anywhere goes on from the next step.
 * D2. Nothing is routed to a revision before each of its components was stored at quorum and prepared on a node that
 *     will serve it.
 * D3. A node that cannot be reached holds no deploy up: it prepares the component when the first request wakes it there.
 */
import { type Workflow, type WorkflowContext, workflow } from '../../engine/index.ts';
import { AetherError } from '../../spec/error.ts';
import { bucketOf } from '../core/bucket.ts';
import type { AppRecord } from './catalog.ts';
import type { Effect } from './effect.ts';
import { effectStep, type EffectPorts, UNREACHED } from './effect-step.ts';
import type { Candidates } from './placement.ts';

export const DEPLOY_WORKFLOW = 'aether.deploy';

/** What a deploy needs of the lattice. */
export interface DeployPorts extends EffectPorts {
  /** Name by which people know a node. */
  nodeName(node: string): string;
  /** Nodes that will serve a particle, best first, and why the others will not. */
  candidates(record: AppRecord, particle: string): Candidates;
  /** Live nodes that take requests. */
  nodes(): string[];
}

export interface DeployOutcome {
  app: string;
  version: string;
  generation: number;
  /** Nodes that were prepared, by particle. */
  prepared: Record<string, string[]>;
}

/** The workflow id of a deploy, made of its intent. */
export function deployId(record: AppRecord): string {
  return `deploy:${record.app.name}:${record.generation}:${record.app.version}`;
}

export function deployWorkflow(ports: DeployPorts): Workflow<AppRecord, DeployOutcome> {
  return workflow<AppRecord, DeployOutcome>(
    DEPLOY_WORKFLOW,
    (ctx, record) => deploy(ctx, record, ports),
    { version: '1' },
  );
}

async function deploy(
  ctx: WorkflowContext<AppRecord>,
  record: AppRecord,
  ports: DeployPorts,
): Promise<DeployOutcome> {
  const { app, components } = record;
  // D1, D3.
  const apply = (name: string, node: string, effect: Effect): Promise<unknown> =>
    effectStep(ctx, ports, name, node, effect);

  await apply(`claim generation ${record.generation}`, ports.self, { kind: 'claim', record });
  for (const [bucket, { replicas }] of Object.entries(app.kv)) {
    await apply(`bucket ${bucket}`, ports.self, {
      kind: 'bucket',
      bucket: bucketOf(app.name, bucket),
      replicas,
    });
  }
  for (const [particle, digest] of Object.entries(components)) {
    await apply(`push ${particle}`, ports.self, { kind: 'push', particle, digest });
  }

  const plan = await ctx.step('plan', () => ({
    candidates: Object.fromEntries(
      Object.keys(components).map((particle) => [particle, ports.candidates(record, particle)]),
    ),
    nodes: ports.nodes(),
  }));
  const prepared: Record<string, string[]> = {};
  for (const [particle, { nodes, rejected }] of Object.entries(plan.candidates)) {
    const ready: string[] = [];
    for (const node of nodes) {
      const name = `prepare ${particle} on ${ports.nodeName(node)}`;
      if ((await apply(name, node, { kind: 'prepare', record, particle })) !== UNREACHED) {
        ready.push(node);
      }
    }
    if (ready.length === 0) {
      const reasons = [
        ...nodes.map((node) => `${ports.nodeName(node)}: it cannot be reached`),
        ...rejected.map(({ node, why }) => `${ports.nodeName(node)}: ${why}`),
      ];
      throw new AetherError(`no node may serve ${particle} (${reasons.join(', ')})`, {
        code: 'ERR_DEPLOY_NO_NODE',
        hint: 'start a node that may, or change its placement in the Aetherfile; then deploy again',
      });
    }
    prepared[particle] = ready;
  }

  await apply('publish', ports.self, { kind: 'publish', record }); // D2
  for (const node of plan.nodes) {
    await apply(`activate on ${ports.nodeName(node)}`, node, { kind: 'activate', record });
  }
  return { app: app.name, version: app.version, generation: record.generation, prepared };
}
