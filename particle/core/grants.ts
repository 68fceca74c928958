/**
 * What a Particle's grants let it do. Deny by default: each function answers for one act, and no grant means no.
 *
 * G1. A component whose imports ask for more than its grants is refused before anything of it runs.
 * G2. A grant is checked again at every call, in the host and not in the component's worker.
 */
import type { Grant, KvOp, Particle } from '../../spec/aetherfile/app.ts';
import { durationMs } from '../../spec/duration.ts';
import { AetherError, NotAvailableError } from '../../spec/error.ts';
import { accessOf } from './interfaces.ts';

/** The component imports what its Particle is not granted. Nothing was stored. */
export class UngrantedImportError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_UNGRANTED_IMPORT';
}

/** The component imports what no host offers. Nothing was stored. */
export class UnknownImportError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_UNKNOWN_IMPORT';
}

type GrantOf<K extends Grant['kind']> = Extract<Grant, { kind: K }>;

const UNAVAILABLE_GRANTS: ReadonlySet<Grant['kind']> = new Set(['blob', 'secret', 'workflow']);

/**
 * Checks a component's imports against its Particle's grants (G1).
 *
 * @throws NotAvailableError for a grant or interface that this release does not serve; UnknownImportError;
 *   UngrantedImportError, whose hint is the line to add.
 */
export function checkImports(imports: readonly string[], particle: Particle): void {
  for (const grant of particle.grants) checkGrant(grant, particle.name);
  const held = new Set<string>(particle.grants.map((grant) => grant.kind));
  for (const name of imports) {
    const access = accessOf(name);
    if (access === undefined) {
      throw new UnknownImportError(
        `particle ${particle.name} imports ${name}, which no host offers`,
        { hint: 'build against the WIT of spec/wit', details: { import: name } },
      );
    }
    if (access.kind === 'unavailable') {
      throw new NotAvailableError(`particle ${particle.name} imports ${name}: ${access.why}`, {
        hint: 'build the component without it',
        details: { import: name },
      });
    }
    if (access.kind === 'grant' && !access.grants.some((kind) => held.has(kind))) {
      throw new UngrantedImportError(
        `particle ${particle.name} imports ${name} and holds no grant for it`,
        {
          hint: `to allow it, add to its grants: ${access.line}`,
          details: { import: name, grant: access.line },
        },
      );
    }
  }
}

function checkGrant(grant: Grant, particle: string): void {
  const atomic = grant.kind === 'kv' && grant.ops.includes('atomic');
  if (!atomic && !UNAVAILABLE_GRANTS.has(grant.kind)) return;
  throw new NotAvailableError(
    `particle ${particle}: ${atomic ? 'the kv operation "atomic"' : `grants of kind "${grant.kind}"`} cannot be served yet`,
    { hint: 'remove it from the grants', details: { grant } },
  );
}

function grantsOf<K extends Grant['kind']>(particle: Particle, kind: K): GrantOf<K>[] {
  return particle.grants.filter((grant): grant is GrantOf<K> => grant.kind === kind);
}

/** True when one grant covers bucket, operation and key together. */
export function allowsKey(particle: Particle, bucket: string, op: KvOp, key: string): boolean {
  return grantsOf(particle, 'kv').some(
    (grant) =>
      grant.bucket === bucket &&
      grant.ops.includes(op) &&
      grant.keys.some((pattern) => matchesKey(pattern, key)),
  );
}

/** Key prefixes that a listing may walk, none of them inside another; empty when listing is not granted. */
export function listPrefixes(particle: Particle, bucket: string): string[] {
  const prefixes = grantsOf(particle, 'kv')
    .filter((grant) => grant.bucket === bucket && grant.ops.includes('list'))
    .flatMap((grant) => grant.keys.map((key) => key.replace(/\*$/, '')))
    .toSorted();
  return prefixes.filter(
    (prefix, index) => !prefixes.slice(0, index).some((outer) => prefix.startsWith(outer)),
  );
}

function matchesKey(pattern: string, key: string): boolean {
  return pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern;
}

export interface Outgoing {
  method: string;
  scheme: string;
  /** `host` or `host:port`. */
  authority: string;
}

export type OutgoingVerdict =
  | { allowed: true; budgetMs?: number }
  /** `why` is for the log; the guest hears `HTTP-request-denied`. */
  | { allowed: false; why: string };

/** Names of the Particles of the own app, in HTTP: `http://NAME.aether/`. */
const INTERNAL = '.aether';

export function decideOutgoing(particle: Particle, outgoing: Outgoing): OutgoingVerdict {
  const authority = outgoing.authority.toLowerCase();
  const [host, port] = splitAuthority(authority);
  if (host.endsWith(INTERNAL)) {
    const name = host.slice(0, -INTERNAL.length);
    const grant = grantsOf(particle, 'invoke').find((invoke) => invoke.particle === name);
    if (grant === undefined) {
      return { allowed: false, why: `add {kind: "invoke", particle: "${name}"} to its grants` };
    }
    return { allowed: true, budgetMs: durationMs(grant.budget) };
  }
  const hosts = grantsOf(particle, 'http').filter((grant) =>
    grant.allow.some((pattern) => matchesHost(pattern, host, port)),
  );
  if (hosts.length === 0) {
    return { allowed: false, why: `add {kind: "http", allow: ["${authority}"]} to its grants` };
  }
  const methods = hosts.filter((grant) => grant.methods.includes(outgoing.method));
  if (methods.length === 0) {
    return { allowed: false, why: `its http grant for ${host} does not list ${outgoing.method}` };
  }
  if (outgoing.scheme !== 'https' && !methods.some((grant) => !grant.tls)) {
    return { allowed: false, why: `its http grant for ${host} asks for https` };
  }
  return { allowed: true };
}

function splitAuthority(authority: string): [host: string, port: string | undefined] {
  const colon = authority.lastIndexOf(':');
  return colon < 0
    ? [authority, undefined]
    : [authority.slice(0, colon), authority.slice(colon + 1)];
}

/** `*.example.org` covers every name below example.org and not itself; no port in the pattern means the default one. */
function matchesHost(pattern: string, host: string, port: string | undefined): boolean {
  const [name, wantedPort] = splitAuthority(pattern.toLowerCase());
  const defaultPort = port === undefined || port === '443' || port === '80';
  if (wantedPort === undefined ? !defaultPort : wantedPort !== port) return false;
  return name.startsWith('*.') ? host.endsWith(name.slice(1)) : host === name;
}
