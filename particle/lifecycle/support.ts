/** What the schema can say and this release does not carry out: refused at deploy by name, never ignored. */
import type { App, Particle } from '../../spec/aetherfile/app.ts';
import { NotAvailableError } from '../../spec/error.ts';

interface Feature {
  name: string;
  used: (particle: Particle) => boolean;
}

const FEATURES: readonly Feature[] = [
  { name: 'source.oci', used: (p) => 'oci' in p.source },
  { name: 'schedules', used: (p) => p.schedules.length > 0 },
  { name: 'health', used: (p) => p.health !== undefined },
  { name: 'rollout.strategy "canary"', used: (p) => p.rollout.strategy === 'canary' },
  { name: 'placement.require', used: (p) => Object.keys(p.placement.require).length > 0 },
  { name: 'placement.avoid', used: (p) => p.placement.avoid.length > 0 },
  { name: 'limits.fuel', used: (p) => p.limits.fuel !== undefined },
  { name: 'routes.rate', used: (p) => p.routes.some((route) => route.rate !== undefined) },
  {
    name: 'network.ingress from a cidr',
    used: (p) => p.network.ingress.some((rule) => rule.from.some((peer) => 'cidr' in peer)),
  },
  ...(['blob', 'secret', 'workflow'] as const).map((kind) => ({
    name: `grants of kind "${kind}"`,
    used: (p: Particle) => p.grants.some((grant) => grant.kind === kind),
  })),
  {
    name: 'kv grant op "atomic"',
    used: (p) => p.grants.some((grant) => grant.kind === 'kv' && grant.ops.includes('atomic')),
  },
];

/** @throws NotAvailableError naming every such feature and where it is used. Nothing was done. */
export function checkSupported(app: App): void {
  const found = FEATURES.flatMap(({ name, used }) => {
    const where = Object.values(app.particles)
      .filter(used)
      .map((particle) => particle.name);
    return where.length > 0 ? [`${name} (${where.join(', ')})`] : [];
  });
  if (Object.keys(app.blob).length > 0) found.push('blob containers');
  if (app.secrets.length > 0) found.push('secrets');
  for (const [bucket, { ttl }] of Object.entries(app.kv)) {
    if (ttl !== undefined) found.push(`kv.${bucket}.ttl`);
  }
  if (found.length === 0) return;
  throw new NotAvailableError(`this release does not carry out: ${found.join('; ')}`, {
    hint: 'take these out of the Aetherfile',
    details: { features: found },
  });
}
