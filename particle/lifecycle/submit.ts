/**
 * From an Aetherfile and its components to a running deploy: everything that can be refused is refused before anything
 * is stored, and asking twice for the same content is asking once.
 */
import { createHash } from 'node:crypto';
import type { Engine, WorkflowSummary } from '../../engine/index.ts';
import { readAetherfile } from '../../spec/aetherfile/index.ts';
import type { App } from '../../spec/aetherfile/app.ts';
import { collide } from '../../spec/aetherfile/route.ts';
import { AetherError } from '../../spec/error.ts';
import { checkGrants, inspectComponent } from '../inspect.ts';
import type { AppRecord } from './catalog.ts';
import { DEPLOY_WORKFLOW, deployId } from './deploy.ts';
import type { Lifecycle } from './lifecycle.ts';
import { checkSupported } from './support.ts';

export interface Bundle {
  /** Text of the Aetherfile, and the name by which errors call it. */
  source: string;
  file: string;
  /** Component bytes by particle, or the digest of one that the ring has. */
  components: Record<string, Uint8Array | string>;
}

export interface Submitted {
  app: string;
  version: string;
  generation: number;
  workflow: string;
  /** True when this very content is deployed, or being deployed, by that workflow. */
  existing: boolean;
}

/**
 * Checks a bundle, stages its components durably and starts the deploy.
 *
 * @param self the claimant: this node's id.
 * @throws AetherError before anything is stored: ERR_AETHERFILE_*, ERR_CUE_*, ERR_NOT_AVAILABLE, ERR_PARTICLE_*,
 * ERR_DEPLOY_COMPONENT_MISSING, ERR_DEPLOY_COMPONENT_UNKNOWN, ERR_DEPLOY_DIGEST, ERR_DEPLOY_ROUTE_TAKEN.
 * ERR_KV_UNAVAILABLE when the catalog has no quorum; staged components may be left.
 */
export async function submitDeploy(
  bundle: Bundle,
  self: string,
  lifecycle: Lifecycle,
  engine: Engine,
): Promise<Submitted> {
  const app = readAetherfile(bundle.source, bundle.file);
  checkSupported(app);
  const given = new Map<string, Uint8Array>();
  const digests: Record<string, string> = {};
  for (const particle of Object.values(app.particles)) {
    const component = bundle.components[particle.name];
    if (component === undefined) {
      throw new AetherError(`no component was given for particle ${particle.name}`, {
        code: 'ERR_DEPLOY_COMPONENT_MISSING',
        hint: 'send a file field named after the particle; `aether deploy` does so',
      });
    }
    if (typeof component === 'string') {
      checkDigest(component, particle.name);
      digests[particle.name] = component;
      continue;
    }
    const info = await inspectComponent(component);
    checkGrants(info, particle);
    given.set(particle.name, component);
    digests[particle.name] = info.digest;
  }
  for (const name of Object.keys(bundle.components)) {
    if (app.particles[name] === undefined) {
      throw new AetherError(
        `a component was given for ${name}, which the Aetherfile does not name`,
        {
          code: 'ERR_DEPLOY_COMPONENT_UNKNOWN',
          hint: `it names: ${Object.keys(app.particles).join(', ')}`,
        },
      );
    }
  }

  const content = createHash('sha256')
    .update(JSON.stringify([app, digests]))
    .digest('hex');
  // Of two at the same time the second sees what the first has started.
  return lifecycle.submissions.take(app.name, async () => {
    const [highest] = await lifecycle.catalog.revisions(app.name);
    const unclaimed = await unclaimedDeploy(app.name, highest?.generation ?? 0, engine);
    if (unclaimed?.content === content && UNDER_WAY.has(unclaimed.status)) return unclaimed.deploy;
    if (unclaimed === undefined && highest?.content === content) {
      if (await isDeployed(highest, self, engine)) return submitted(highest, true);
    }
    checkRoutes(app, await lifecycle.catalog.current());
    for (const component of given.values()) await lifecycle.staging.put(component);
    const record: AppRecord = {
      app,
      components: digests,
      content,
      generation: (unclaimed?.deploy.generation ?? highest?.generation ?? 0) + 1,
      claimant: self,
      workflow: '',
      state: 'claimed',
    };
    record.workflow = deployId(record);
    const { generation, workflow: id } = record;
    const attributes = { app: app.name, version: app.version, generation, content };
    await engine.start(DEPLOY_WORKFLOW, record, { id, attributes });
    return submitted(record, false);
  });
}

/** A route belongs to the app that had it first. @throws AetherError ERR_DEPLOY_ROUTE_TAKEN */
function checkRoutes(app: App, current: ReadonlyMap<string, AppRecord>): void {
  for (const { app: other } of current.values()) {
    if (other.name === app.name) continue;
    const theirs = Object.values(other.particles).flatMap(({ routes }) => routes);
    for (const { name, routes } of Object.values(app.particles)) {
      const taken = routes.find((route) => theirs.some((their) => collide(route, their)));
      if (taken === undefined) continue;
      throw new AetherError(
        `${taken.host}${taken.path} of ${name} is a route of app ${other.name}`,
        {
          code: 'ERR_DEPLOY_ROUTE_TAKEN',
          hint: 'give one of the two another host, path or methods',
        },
      );
    }
  }
}

function checkDigest(text: string, particle: string): void {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return;
  throw new AetherError(`${JSON.stringify(text.slice(0, 80))} of ${particle} is not a digest`, {
    code: 'ERR_DEPLOY_DIGEST',
    hint: 'send the component itself, or sha256:HEX of one that the ring has',
  });
}

type Status = WorkflowSummary['status'];

interface UnclaimedDeploy {
  deploy: Submitted;
  content: unknown;
  status: Status;
}

/** The newest deploy of an app that this node has started and the catalog, up to a generation, does not know. */
async function unclaimedDeploy(
  app: string,
  known: number,
  engine: Engine,
): Promise<UnclaimedDeploy | undefined> {
  let newest: UnclaimedDeploy | undefined;
  for await (const run of engine.list({ name: DEPLOY_WORKFLOW, attributes: { app } })) {
    const { version, generation, content } = run.attributes;
    if (Number(generation) <= (newest?.deploy.generation ?? known)) continue;
    const deploy = { app, version: String(version), generation: Number(generation) };
    newest = {
      deploy: { ...deploy, workflow: run.id, existing: true },
      content,
      status: run.status,
    };
  }
  return newest;
}

const UNDER_WAY: ReadonlySet<Status> = new Set(['running', 'sleeping']);

/** True unless the revision's own deploy ended without publishing it, or runs on a node that cannot be asked. */
async function isDeployed(record: AppRecord, self: string, engine: Engine): Promise<boolean> {
  if (record.state === 'published') return true;
  if (record.claimant !== self) return false;
  const { status } = await engine.get(record.workflow).describe();
  return status === 'completed' || UNDER_WAY.has(status);
}

function submitted(record: AppRecord, existing: boolean): Submitted {
  const { app, generation, workflow } = record;
  return { app: app.name, version: app.version, generation, workflow, existing };
}
