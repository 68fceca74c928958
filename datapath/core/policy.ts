/**
 * Who may talk to which Particle: deny by default, decided from what the Aetherfile grants.
 *
 * P1. Nothing is allowed that no rule allows.
 * P2. A call between Particles needs the caller's `invoke` grant; the callee's own rules can only narrow it.
 * P3. A rule that denies wins over every rule that allows.
 * P4. `mode: "audit"` lets a denied exchange pass and says so; it never turns an allowed one into a denied one.
 */
import type { App, Network, Particle } from '../../spec/aetherfile/app.ts';

/** Who calls: something outside the lattice, or a Particle of an app. */
export type Identity = { kind: 'world' } | { kind: 'particle'; app: string; particle: string };

/** What is called. */
export interface Service {
  app: string;
  particle: string;
}

export interface Verdict {
  allowed: boolean;
  /** The rule that decided, in words that a reader finds again in the Aetherfile. */
  rule: string;
  /** True when the exchange passes only because the callee audits instead of enforcing. */
  audited: boolean;
  /** What to write into the Aetherfile to allow it, when it is denied. */
  allowWith?: string;
}

/** What an L7 verdict looks at. */
export interface Exchange {
  method: string;
  /** Path and query. */
  path: string;
}

export function identityText(identity: Identity): string {
  return identity.kind === 'world' ? 'world' : `${identity.app}/${identity.particle}`;
}

export function serviceText(service: Service): string {
  return `${service.app}/${service.particle}`;
}

/**
 * Decides one exchange.
 *
 * @param app the callee's app as deployed; undefined when no such app runs here.
 */
export function decide(
  app: App | undefined,
  identity: Identity,
  service: Service,
  exchange: Exchange,
): Verdict {
  const callee = app?.particles[service.particle];
  if (app === undefined || callee === undefined) {
    return { allowed: false, rule: 'no such service', audited: false };
  }
  const verdict = enforce(app, callee, identity, exchange);
  if (verdict.allowed || callee.network.mode === 'enforce') return verdict;
  return { ...verdict, allowed: true, audited: true };
}

function enforce(app: App, callee: Particle, identity: Identity, exchange: Exchange): Verdict {
  if (identity.kind === 'particle') {
    const grant = invokeGrant(app, callee.name, identity);
    if (grant === undefined) {
      return deny(
        `no invoke grant from ${identityText(identity)} to ${callee.name}`,
        `grants: [{kind: "invoke", particle: "${callee.name}"}]`,
      );
    }
  }
  const rules = callee.network.ingress;
  const matching = rules.filter((rule) => matches(rule, identity, exchange));
  const denied = matching.find((rule) => rule.action === 'deny');
  if (denied !== undefined) return deny(`${callee.name}.network.ingress denies`);
  if (matching.length > 0) {
    return { allowed: true, rule: `${callee.name}.network.ingress`, audited: false };
  }
  if (rules.length > 0) {
    return deny(
      `no rule of ${callee.name}.network.ingress matches ${identityText(identity)} ${exchange.method} ${exchange.path}`,
      `network: ingress: [{from: [${peerText(identity)}]}]`,
    );
  }
  if (identity.kind === 'particle') return { allowed: true, rule: 'invoke grant', audited: false };
  // With no rules of its own, publishing a route is what lets the world in.
  return callee.routes.length > 0
    ? { allowed: true, rule: `${callee.name}.routes`, audited: false }
    : deny(`${callee.name} has no route`, 'routes: [{path: "/"}]');
}

function invokeGrant(
  app: App,
  callee: string,
  identity: { app: string; particle: string },
): object | undefined {
  if (identity.app !== app.name) return undefined;
  return app.particles[identity.particle]?.grants.find(
    (grant) => grant.kind === 'invoke' && grant.particle === callee,
  );
}

function matches(
  rule: Network['ingress'][number],
  identity: Identity,
  exchange: Exchange,
): boolean {
  const from = rule.from.some((peer) =>
    'world' in peer
      ? identity.kind === 'world'
      : 'particle' in peer && identity.kind === 'particle' && peer.particle === identity.particle,
  );
  return (
    from &&
    (rule.methods.length === 0 || rule.methods.includes(exchange.method)) &&
    (rule.paths.length === 0 || pathsMatch(rule, readingsOf(exchange.path)))
  );
}

/** A rule that denies needs one reading of the path to match, a rule that allows needs them all (P1, P3). */
function pathsMatch(
  { action, paths }: Network['ingress'][number],
  readings: readonly string[],
): boolean {
  const matchesOne = (path: string): boolean => paths.some((pattern) => pathMatches(pattern, path));
  return action === 'deny' ? readings.some(matchesOne) : readings.every(matchesOne);
}

/** A path as it was sent, and as a callee reads it that decodes, merges slashes and resolves dot segments. */
function readingsOf(target: string): string[] {
  const sent = target.split('?', 1)[0] ?? '/';
  const segments: string[] = [];
  const decoded = sent.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  for (const segment of decoded.split(/[/\\]+/).slice(1)) {
    if (segment === '..') segments.pop();
    else if (segment !== '.') segments.push(segment);
  }
  const resolved = `/${segments.join('/')}`;
  return resolved === sent ? [sent] : [sent, resolved];
}

/** A path pattern is a whole path, or a prefix that ends in `*`. */
function pathMatches(pattern: string, path: string): boolean {
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern;
}

function peerText(identity: Identity): string {
  return identity.kind === 'world' ? '{world: true}' : `{particle: "${identity.particle}"}`;
}

function deny(rule: string, allowWith?: string): Verdict {
  return {
    allowed: false,
    rule,
    audited: false,
    ...(allowWith === undefined ? {} : { allowWith }),
  };
}
