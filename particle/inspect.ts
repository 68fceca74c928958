/** What a component is, and whether its Particle may have it: asked before anything of it is stored or run. */
import { createHash } from 'node:crypto';
import type { Particle } from '../spec/aetherfile/app.ts';
import { AetherError } from '../spec/error.ts';
import { readComponent } from './core/component.ts';
import { checkImports } from './core/grants.ts';
import { splitName } from './core/interfaces.ts';

/** What a Particle that serves HTTP exports. */
export const HTTP_HANDLER = 'wasi:http/incoming-handler';

export interface ComponentInfo {
  /** `sha256:<hex>` of the bytes. */
  digest: string;
  bytes: number;
  /** Interfaces with their versions, or plain names. */
  imports: string[];
  exports: string[];
}

/**
 * Reads what a component is without running it.
 *
 * @throws NotAComponentError, CoreModuleError
 */
export async function inspectComponent(bytes: Uint8Array): Promise<ComponentInfo> {
  const { imports, exports } = readComponent(bytes);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { digest, bytes: bytes.length, imports, exports };
}

/**
 * Refuses a component that asks for more than its Particle is granted, or lacks what its world promises.
 *
 * @throws UngrantedImportError, UnknownImportError, NotAvailableError; AetherError ERR_PARTICLE_WORLD
 */
export function checkGrants(info: ComponentInfo, particle: Particle): void {
  checkImports(info.imports, particle);
  const exported = info.exports.map((name) => splitName(name).interface);
  if (particle.world.startsWith('wasi:http/proxy') && !exported.includes(HTTP_HANDLER)) {
    throw new AetherError(`particle ${particle.name} does not export ${HTTP_HANDLER}`, {
      code: 'ERR_PARTICLE_WORLD',
      hint: `its world ${particle.world} asks for it; write the component's own world into the Aetherfile, or export it`,
      details: { exports: info.exports },
    });
  }
}
