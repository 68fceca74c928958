/** Carries effects out on this node. Each is safe to repeat (sink.ts, K1). */
import type { KeyValueStore } from '../../ring/index.ts';
import { type Catalog, SupersededError } from './catalog.ts';
import type { Directory } from './directory.ts';
import type { Effect } from './effect.ts';
import { type Serving, componentMissing } from './serving.ts';
import type { Staging } from './staging.ts';

export interface PerformerPorts {
  catalog: Catalog;
  directory: Directory;
  serving: Serving;
  staging: Staging;
  keyValue: KeyValueStore;
  /** Gives a member another share of the ring. Fulfilled once the lattice has settled it. */
  weigh(node: string, weight: number): Promise<void>;
  /** Takes a dead member out of the lattice. Fulfilled once the others have taken over, and at once when it is none. */
  remove(node: string): Promise<void>;
  /** Takes this node out of the lattice. Fulfilled once it is out, and at once when it is out already. */
  leave(): Promise<void>;
}

export class Performer {
  readonly #ports: PerformerPorts;

  constructor(ports: PerformerPorts) {
    this.#ports = ports;
  }

  async perform(effect: Effect): Promise<void> {
    const { catalog, keyValue, serving } = this.#ports;
    switch (effect.kind) {
      case 'claim':
        await catalog.claim(effect.record);
        break;
      case 'bucket':
        await keyValue.createBucket(effect.bucket, {
          class: 'eventual',
          replicas: effect.replicas,
        });
        break;
      case 'push':
        await this.#push(effect.digest, effect.particle);
        break;
      case 'prepare':
        await serving.prepare(effect.record, effect.particle);
        break;
      case 'publish':
        await catalog.publish(effect.record);
        break;
      case 'activate':
        this.#activate(effect);
        break;
      case 'weigh':
        await this.#ports.weigh(effect.node, effect.weight);
        break;
      case 'remove':
        await this.#ports.remove(effect.node);
        break;
      case 'leave':
        await this.#ports.leave();
        break;
      case 'release':
        await serving.release();
        break;
    }
  }

  async #push(digest: string, particle: string): Promise<void> {
    const { keyValue, staging } = this.#ports;
    if (!(await keyValue.blobs.has(digest))) {
      const bytes = await staging.get(digest);
      if (bytes === undefined) throw componentMissing(digest, particle);
      await keyValue.blobs.put(bytes);
    }
    await staging.delete(digest);
  }

  #activate({ record }: Extract<Effect, { kind: 'activate' }>): void {
    const { directory } = this.#ports;
    directory.offer({ ...record, state: 'published' });
    const current = directory.record(record.app.name);
    if (current?.workflow === record.workflow) return;
    throw new SupersededError(
      `${record.app.name}: generation ${record.generation} is behind generation ${current?.generation}`,
      { hint: 'deploy again to replace the newer one' },
    );
  }
}
