/**
 * From an Aetherfile and its components to a running deploy: everything that can be refused is refused before anything
 * is stored, and asking twice for the same content is asking once.
 */
import { createHash } from 'node:crypto';
import type { Engine } from '../../engine/index.ts';
import { readAetherfile } from '../../spec/aetherfile/index.ts';
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
 * ERR_DEPLOY_COMPONENT_MISSING. ERR_KV_UNAVAILABLE when the catalog has no quorum; staged components may be left.
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
  const [highest] = await lifecycle.catalog.revisions(app.name);
  if (highest?.content === content && (await isDeployed(highest, self, engine))) {
    return submitted(highest, true);
  }
  for (const component of given.values()) await lifecycle.staging.put(component);
  const record: AppRecord = {
    app,
    components: digests,
    content,
    generation: (highest?.generation ?? 0) + 1,
    claimant: self,
    workflow: '',
    state: 'claimed',
  };
  record.workflow = deployId(record);
  await engine.start(DEPLOY_WORKFLOW, record, { id: record.workflow });
  return submitted(record, false);
}

/** True unless the revision's own deploy ended without publishing it, or runs on a node that cannot be asked. */
async function isDeployed(record: AppRecord, self: string, engine: Engine): Promise<boolean> {
  if (record.state === 'published') return true;
  if (record.claimant !== self) return false;
  const { status } = await engine.get(record.workflow).describe();
  return status === 'running' || status === 'sleeping' || status === 'completed';
}

function submitted(record: AppRecord, existing: boolean): Submitted {
  const { app, generation, workflow } = record;
  return { app: app.name, version: app.version, generation, workflow, existing };
}
