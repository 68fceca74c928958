/**
 * Which revision of each Particle this node has prepared, and which one takes its requests.
 *
 * S1. A revision takes requests only while it is the current one of the directory.
 */
import type { App, Particle } from '../../spec/aetherfile/app.ts';
import { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import type { ParticleHost } from '../host.ts';
import type { AppRecord } from './catalog.ts';
import type { Directory } from './directory.ts';

export interface ServingPorts {
  host: ParticleHost;
  directory: Directory;
  /** A component by digest, from the ring. */
  component: (digest: string) => Promise<Uint8Array | undefined>;
  log: Log;
}

export class Serving {
  readonly #ports: ServingPorts;
  /** Version that was prepared last, and version that takes requests, by `app/particle`. */
  readonly #prepared = new Map<string, string>();
  readonly #active = new Map<string, string>();
  /** Preparations under way, by `app/particle version`: askers at the same time share one. */
  readonly #waking = new Map<string, Promise<void>>();

  constructor(ports: ServingPorts) {
    this.#ports = ports;
  }

  /**
   * Fetches, checks and transpiles a component of a revision.
   *
   * @throws AetherError ERR_DEPLOY_COMPONENT_MISSING, ERR_KV_UNAVAILABLE or what `ParticleHost.prepare` throws
   */
  async prepare(record: AppRecord, particle: string): Promise<void> {
    const spec = particleOf(record.app, particle);
    const digest = record.components[particle] ?? '';
    const bytes = await this.#ports.component(digest);
    if (bytes === undefined) throw componentMissing(digest, particle);
    await this.#ports.host.prepare(record.app.name, versionOf(record), spec, bytes);
    this.#prepared.set(keyOf(record, particle), versionOf(record));
  }

  /** Makes the current revision of an app the one that takes a Particle's requests. */
  async ensure(app: string, particle: string): Promise<void> {
    for (;;) {
      const record = this.#ports.directory.record(app);
      if (record === undefined || this.#active.get(keyOf(record, particle)) === versionOf(record)) {
        return;
      }
      await this.#wake(record, particle);
    }
  }

  /** The directory has a new current revision (S1). */
  replaced(record: AppRecord, before: AppRecord | undefined): void {
    for (const particle of Object.keys(record.app.particles)) {
      if (this.#prepared.get(keyOf(record, particle)) === versionOf(record)) {
        this.#activate(record, particle);
      }
    }
    for (const particle of Object.keys(before?.app.particles ?? {})) {
      if (record.app.particles[particle] === undefined) this.#retire(record.app.name, particle);
    }
  }

  /** Ends everything here, once its requests under way are answered. What is asked for again is woken. */
  async release(): Promise<void> {
    const keys = [...this.#prepared.keys()];
    this.#active.clear();
    this.#prepared.clear();
    const retired = keys.map((key) => {
      const [app = '', particle = ''] = key.split('/');
      return this.#ports.host.retire(app, particle);
    });
    await Promise.all(retired);
  }

  #wake(record: AppRecord, particle: string): Promise<void> {
    const key = `${keyOf(record, particle)} ${versionOf(record)}`;
    let waking = this.#waking.get(key);
    if (waking === undefined) {
      waking = this.prepare(record, particle)
        .then(() => {
          const isCurrent = this.#ports.directory.record(record.app.name) === record;
          if (isCurrent) this.#activate(record, particle);
          return undefined;
        })
        .finally(() => this.#waking.delete(key));
      this.#waking.set(key, waking);
    }
    return waking;
  }

  #activate(record: AppRecord, particle: string): void {
    this.#ports.host.activate(record.app.name, particle, versionOf(record));
    this.#active.set(keyOf(record, particle), versionOf(record));
  }

  #retire(app: string, particle: string): void {
    const key = `${app}/${particle}`;
    this.#active.delete(key);
    // A later revision that has it again, and was prepared early, goes too.
    this.#prepared.delete(key);
    this.#ports.host.retire(app, particle).catch((error: unknown) => {
      this.#ports.log.warn(
        { err: error, app, particle },
        'a retired particle did not end in order',
      );
    });
  }
}

/** A Particle of an app. @throws AetherError ERR_PARTICLE_NOT_FOUND */
export function particleOf(app: App, name: string): Particle {
  const particle = Object.hasOwn(app.particles, name) ? app.particles[name] : undefined;
  if (particle !== undefined) return particle;
  throw new AetherError(`app ${app.name} has no particle ${name}`, {
    code: 'ERR_PARTICLE_NOT_FOUND',
    hint: `it has: ${Object.keys(app.particles).join(', ')}`,
  });
}

export function componentMissing(digest: string, particle: string): AetherError {
  return new AetherError(`component ${digest} of ${particle} is not on the ring`, {
    code: 'ERR_DEPLOY_COMPONENT_MISSING',
    hint: 'deploy again, with the component',
  });
}

/** A revision's name on the host: unique within its app, and it shows the app's own version. */
function versionOf({ app, generation, claimant }: AppRecord): string {
  return `${app.version}+${generation}.${claimant.slice(1, 9)}`;
}

function keyOf(record: AppRecord, particle: string): string {
  return `${record.app.name}/${particle}`;
}
