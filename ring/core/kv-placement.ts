/**
 * Who owns a key under an epoch.
 *
 * Who is revoked is no owner, neither asked nor counted, until the next epoch gives its ranges to others. Of up to four
 * owners a quorum of the rest has all that was on a quorum of all, unless the rest has it not at all; of five or more, while
 * no second one is revoked.
 */
import type { Epoch } from './epoch.ts';
import { HashRing } from './hash-ring.ts';
import { placementKey } from './kv-row.ts';

/** As the callers name it; 'local-quorum' = a quorum of the owners in the caller's region. */
export type Consistency = 'one' | 'quorum' | 'local-quorum' | 'all';

export class Placement {
  readonly epoch: Epoch;
  /** One ring, or two while the epoch is pending: the previous one first. */
  readonly rings: readonly HashRing[];
  readonly #regions: Map<string, string | undefined>;
  readonly #revoked: ReadonlySet<string>;

  constructor(epoch: Epoch) {
    this.epoch = epoch;
    this.#revoked = new Set(epoch.revoked);
    const generations = epoch.previous === undefined ? [] : [epoch.previous];
    this.rings = [...generations, epoch.members].map((members) => new HashRing(members));
    this.#regions = new Map(
      [...(epoch.previous ?? []), ...epoch.members].map(({ id, region }) => [id, region]),
    );
  }

  /** The owners of a key on each ring. */
  owners(bucket: string, key: string, replicas: number): string[][] {
    const position = placementKey(bucket, key);
    return this.rings.map((ring) => this.present(ring.owners(position, replicas)));
  }

  /** Those owners that are not revoked. */
  present(owners: string[]): string[] {
    return this.#revoked.size === 0 ? owners : owners.filter((node) => !this.#revoked.has(node));
  }

  /**
   * The owners that count for a level: those in the region of `self` for 'local-quorum', if there
   * are regions and it has any of them.
   */
  counted(owners: readonly string[][], consistency: Consistency, self: string): string[][] {
    const region = this.#regions.get(self);
    if (consistency !== 'local-quorum' || region === undefined) return [...owners];
    return owners.map((set) => {
      const local = set.filter((node) => this.#regions.get(node) === region);
      return local.length > 0 ? local : set;
    });
  }
}

/** Placements of the epochs seen last, made once each. */
export class PlacementCache {
  readonly #epoch: () => Epoch;
  #current: Placement | undefined;

  constructor(epoch: () => Epoch) {
    this.#epoch = epoch;
  }

  current(): Placement {
    const epoch = this.#epoch();
    if (this.#current?.epoch.number !== epoch.number) this.#current = new Placement(epoch);
    return this.#current;
  }
}
