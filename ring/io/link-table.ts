/** The links of a node, by peer and lane: so many of each, the oldest gives way. */
import type { Lane } from '../core/traffic.ts';
import type { Link } from './link.ts';

export class LinkTable {
  readonly #links = new Map<string, Set<Link>>();
  readonly #perLaneMax: number;
  /** How many gave way to newer ones. */
  gaveWay = 0;

  /** @param perLaneMax links of one peer on each lane. */
  constructor(perLaneMax: number) {
    this.#perLaneMax = perLaneMax;
  }

  add(link: Link): void {
    const links = this.#links.get(link.peer) ?? new Set();
    this.#links.set(link.peer, links.add(link));
    const [oldest, ...newer] = [...links].filter(
      ({ lane, isOpen }) => lane === link.lane && isOpen,
    );
    if (newer.length < this.#perLaneMax) return;
    this.gaveWay++;
    oldest?.close(1013, 'ERR_RING_BUSY: too many links of one node');
  }

  /** @returns whether it was the last one of its peer. */
  delete(link: Link): boolean {
    const links = this.#links.get(link.peer);
    links?.delete(link);
    if (links?.size !== 0) return false;
    return this.#links.delete(link.peer);
  }

  /** Those of the peer, oldest first, closing ones too. */
  of(peer: string): Link[] {
    return [...(this.#links.get(peer) ?? [])];
  }

  countOf(peer: string): number {
    return this.#links.get(peer)?.size ?? 0;
  }

  all(): Link[] {
    return [...this.#links.values()].flatMap((links) => Array.from(links));
  }

  open(): Link[] {
    return this.all().filter(({ isOpen }) => isOpen);
  }

  peers(): string[] {
    return [...this.#links.keys()];
  }

  /**
   * The link to use: a direct one before a relayed one, and a newer before an older: who has opened a new link may have lost
   * the old one without our knowing.
   */
  best(peer: string, lane: Lane): Link | undefined {
    let best: Link | undefined;
    for (const link of this.#links.get(peer) ?? []) {
      if (link.lane !== lane || !link.isOpen) continue;
      if (best === undefined || best.via !== undefined || link.via === undefined) best = link;
    }
    return best;
  }
}
