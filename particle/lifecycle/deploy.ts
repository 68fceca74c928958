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
import { type Effect, type Fence, fenceOf } from './effect.ts';
import type { Candidates } from './placement.ts';

export const DEPLOY_WORKFLOW = 'aether.deploy';

/** What a deploy needs of the lattice. */
export interface DeployPorts {
  /** This node's id. */
  readonly self: string;
  /** Name by which people know a node. */
  nodeName(node: string): string;
  /** Nodes that will serve a particle, best first, and why the others will not. */
  candidates(record: AppRecord, particle: string): Candidates;
  /** Live nodes that take requests. */
  nodes(): string[];
  /** Has the sink of a node apply an effect. @throws the sink's or the transport's error */
  apply(node: string, fence: Fence, effect: Effect): Promise<unknown>;
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
  const apply = (name: string, node: string, effect: Effect): Promise<unknown> =>
    ctx.step(
      name,
      async (step) => {
        try {
          return (await ports.apply(node, fenceOf(ctx, name, step), effect)) ?? null;
        } catch (error) {
          if (node !== ports.self && isUnreachable(error) && step.attempt >= REMOTE_ATTEMPTS) {
            return UNREACHED; // D3
          }
          throw error;
        }
      },
      { input: { node, kind: effect.kind }, retry: RETRY },
    );

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

/** What a step records about a node that it could not reach. */
export const UNREACHED = 'unreached';
/** Tries before a remote node is passed over (D3); with the delays below, about 3 s. */
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
  ],
} as const;

function isUnreachable(error: unknown): boolean {
  return (
    AetherError.is(error) &&
    (error.code === 'ERR_RING_UNREACHABLE' || error.code === 'ERR_RING_TIMEOUT')
  );
}
