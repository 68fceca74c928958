/**
 * Listing the keys of a bucket over all members of the ring.
 *
 * A page counts when, for every range of the ring, a quorum of its owners answered, in both
 * placements while the epoch is pending: so every acknowledged key is in it.
 */
import type { Clock } from '../spec/clock.ts';
import type { Stamp } from './core/hlc.ts';
import type { Placement, PlacementCache } from './core/kv-placement.ts';
import { Tally, union } from './core/kv-quorum.ts';
import { compareKeys, isLive } from './core/kv-row.ts';
import type { Coordinator } from './kv-coordinator.ts';
import { UnavailableError } from './kv-errors.ts';
import type { Count, Rounds } from './kv-round.ts';
import type { ListEntry, ListPage } from './kv-store.ts';

const PAGE_ENTRIES = 500;

export interface ListerOptions {
  clock: Clock;
  coordinator: Coordinator;
  placements: PlacementCache;
  rounds: Rounds;
  timeoutMs: number;
}

export interface Listing {
  bucket: string;
  /** As the bucket has it. */
  replicas: number;
  prefix: string;
  /** Only keys above this one. */
  after: string | undefined;
}

export class Lister {
  readonly #options: ListerOptions;

  constructor(options: ListerOptions) {
    this.#options = options;
  }

  /** Live keys by code point. @throws UnavailableError at the first page that is not whole. */
  async *keys(listing: Listing): AsyncGenerator<{ key: string; version: Stamp }> {
    let { after } = listing;
    do {
      const page = await this.#page({ ...listing, after });
      for (const [key, entries] of page.keys) {
        const version = await this.#version(listing, key, entries);
        if (version !== undefined) yield { key, version };
      }
      after = page.through;
    } while (after !== undefined);
  }

  /** @returns undefined when the key is deleted or expired. */
  async #version(
    { bucket, replicas }: Listing,
    key: string,
    entries: ListEntry[],
  ): Promise<Stamp | undefined> {
    const { clock, coordinator } = this.#options;
    const rows = entries.map(({ row }) => row).filter((row) => row !== undefined);
    // A damaged row says nothing: the other owners are asked.
    const newest =
      rows.length < entries.length
        ? await coordinator.read({ bucket, key, replicas }, 'quorum')
        : rows.reduce((a, b) => (a.stamp >= b.stamp ? a : b));
    return newest !== undefined && isLive(newest, clock.nowMs()) ? newest.stamp : undefined;
  }

  /** One page, merged. `through`: it is whole up to this key, and there is more above. */
  async #page(
    listing: Listing,
  ): Promise<{ keys: [string, ListEntry[]][]; through: string | undefined }> {
    const pages = await this.#gather(listing);
    const ends = pages.filter(({ more }) => more).map(({ entries }) => entries.at(-1)?.key ?? '');
    const [through] = ends.toSorted(compareKeys);
    const entries = pages.flatMap((page) => page.entries);
    const keys = [...Map.groupBy(entries, ({ key }) => key)]
      .filter(([key]) => through === undefined || compareKeys(key, through) <= 0)
      .toSorted(([a], [b]) => compareKeys(a, b));
    return { keys, through };
  }

  /** Pages of enough members to cover every range. */
  async #gather({ bucket, replicas, prefix, after }: Listing): Promise<ListPage[]> {
    const { clock, placements, rounds, timeoutMs } = this.#options;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    for (;;) {
      const placement = placements.current();
      const count = new Cover(placement, replicas);
      const pages: ListPage[] = [];
      const round = await rounds.ask<ListPage>({
        method: 'kv.list',
        body: { bucket, prefix, after, limit: PAGE_ENTRIES },
        epoch: placement.epoch.number,
        nodes: count.nodes,
        deadlineMs,
        count,
        heard(page) {
          if (count.state === 'open') pages.push(page);
          return undefined;
        },
      });
      if (round.state === 'met') return pages;
      if (clock.monotonicMs() < deadlineMs && (await rounds.caughtUp(round))) continue;
      throw new UnavailableError(
        `bucket ${bucket} cannot be listed whole (${round.reasons.join('; ')})`,
        { hint: 'see who is down with `aether ring status`, then try again' },
      );
    }
  }
}

/** Which ranges a quorum of the owners has answered for. */
class Cover implements Count {
  readonly nodes: readonly string[];
  readonly #tallies: Tally[];

  constructor(placement: Placement, replicas: number) {
    const sets = placement.rings.flatMap((ring) =>
      ring.ranges(replicas).map(({ owners }) => placement.present(owners)),
    );
    const distinct = new Map(sets.map((owners) => [owners.toSorted().join(), owners]));
    this.nodes = union([...distinct.values()]);
    this.#tallies = [...distinct.values()].map((owners) => new Tally([owners], 'quorum'));
  }

  accept(node: string): void {
    for (const tally of this.#tallies) tally.accept(node);
  }

  fail(node: string): void {
    for (const tally of this.#tallies) tally.fail(node);
  }

  get state(): 'open' | 'met' | 'missed' {
    const states = this.#tallies.map(({ state }) => state);
    if (states.length === 0 || states.includes('missed')) return 'missed';
    return states.includes('open') ? 'open' : 'met';
  }
}
