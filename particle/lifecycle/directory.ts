/**
 * A node's view of the apps that are current, for routing: refreshed by events, never by a timer.
 *
 * Events: an activation, a request that carries a higher revision, a change of membership or epoch, and an unknown
 * route. V2 of revision.ts holds here too: a lower revision never replaces a higher one.
 */
import type { App, Route } from '../../spec/aetherfile/app.ts';
import type { AppRecord } from './catalog.ts';
import { type Revision, compareRevisions } from './revision.ts';

/** Where a request goes. */
export interface RouteTarget {
  app: string;
  particle: string;
  route: Route;
}

export class Directory {
  readonly #apps = new Map<string, AppRecord>();
  readonly #activated: (record: AppRecord, replaced: AppRecord | undefined) => void;

  /** @param activated called when an app's current revision went up. */
  constructor(activated: (record: AppRecord, replaced: AppRecord | undefined) => void) {
    this.#activated = activated;
  }

  record(app: string): AppRecord | undefined {
    return this.#apps.get(app);
  }

  app(name: string): App | undefined {
    return this.#apps.get(name)?.app;
  }

  records(): AppRecord[] {
    return [...this.#apps.values()];
  }

  /** True when this view is behind a revision of an app. */
  isBehind(app: string, revision: Revision): boolean {
    const known = this.#apps.get(app);
    return known === undefined || compareRevisions(known, revision) < 0;
  }

  /** Takes a published revision over, unless a higher one is known. */
  offer(record: AppRecord): void {
    if (!this.isBehind(record.app.name, record)) return;
    const replaced = this.#apps.get(record.app.name);
    this.#apps.set(record.app.name, record);
    this.#activated(record, replaced);
  }

  /**
   * The most specific route: an exact host before a wildcard before any, then the longest path. Between equals the
   * app's name decides, so that all nodes choose alike.
   */
  route(method: string, authority: string, path: string): RouteTarget | undefined {
    const host = hostOf(authority);
    let best: (RouteTarget & { rank: number }) | undefined;
    for (const { app } of this.#apps.values()) {
      for (const particle of Object.values(app.particles)) {
        for (const route of particle.routes) {
          const hostRank = rankHost(route.host, host, authority);
          if (hostRank < 0 || !underPath(route.path, path)) continue;
          if (route.methods.length > 0 && !route.methods.includes(method)) continue;
          const rank = hostRank * 65_536 + route.path.length;
          const isBetter = best === undefined || rank > best.rank;
          if (isBetter || (rank === best?.rank && app.name < best.app)) {
            best = { app: app.name, particle: particle.name, route, rank };
          }
        }
      }
    }
    return best;
  }
}

function hostOf(authority: string): string {
  return authority.replace(/:\d+$/, '').toLowerCase();
}

/** 2 exact, 1 wildcard, 0 any, -1 no match. A route that names a port wants it. */
function rankHost(pattern: string, host: string, authority: string): number {
  if (pattern === '*') return 0;
  const subject = /:\d+$/.test(pattern) ? authority.toLowerCase() : host;
  if (pattern.startsWith('*.')) return subject.endsWith(pattern.slice(1)) ? 1 : -1;
  return subject === pattern ? 2 : -1;
}

/** True for the path itself and what lies under it: `/a` covers `/a`, `/a/b` and `/a?q`, not `/ab`. */
function underPath(prefix: string, path: string): boolean {
  const bare = path.split('?', 1)[0] ?? '/';
  if (prefix === '/' || bare === prefix) return true;
  return bare.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`);
}
