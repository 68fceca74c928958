/** Closes links that nobody needs now, as core/link-cache.ts says; not those that carry something. */
import type { Clock } from '../../spec/clock.ts';
import { FULL_MESH, type LinkCacheLimits, surplusLinks } from '../core/link-cache.ts';
import type { Link } from './link.ts';

/** The reason given at both ends: nothing is wrong with the peer. */
export const IDLE = 'idle';

export interface IdleLinksOptions {
  limits: LinkCacheLimits;
  clock: Clock;
  open(): Link[];
  inUse(): ReadonlySet<Link>;
}

export class IdleLinks {
  readonly #options: IdleLinksOptions;
  readonly #keptUntilMs = new WeakMap<Link, number>();
  #cancel: (() => void) | undefined;

  constructor(options: IdleLinksOptions) {
    this.#options = options;
  }

  /** It stays for so long: a node that cannot be dialled is reached by it. */
  keep(link: Link, forMs: number): void {
    this.#keptUntilMs.set(link, this.#options.clock.monotonicMs() + forMs);
  }

  /** After each link that has opened. */
  review(): void {
    const { limits, clock } = this.#options;
    const links = this.#options.open();
    if (links.length <= limits.linksMax && links.length <= FULL_MESH) return;
    const nowMs = clock.monotonicMs();
    const inUse = this.#options.inUse();
    const isHeld = (link: Link): boolean =>
      inUse.has(link) || link.queuedBytes > 0 || (this.#keptUntilMs.get(link) ?? 0) > nowMs;
    for (const link of surplusLinks(links, limits, isHeld, nowMs)) link.close(1000, IDLE);
    this.#cancel ??= clock.after(limits.linkIdleMs / 4, () => {
      this.#cancel = undefined;
      this.review();
    });
  }

  close(): void {
    this.#cancel?.();
  }
}
