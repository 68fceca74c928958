/** Which nodes may serve a Particle: the ring's order, narrowed by what the Aetherfile says of regions and zones. */
import { type Load, type MemberView, preferenceUnderLoad } from '../../ring/index.ts';
import type { Placement } from '../../spec/aetherfile/app.ts';

/** A node that may not serve, and why. */
export interface Rejection {
  node: string;
  why: string;
}

export interface Candidates {
  /** Node ids, best first. */
  nodes: string[];
  rejected: Rejection[];
}

/**
 * @param order node ids in the ring's order for the Particle.
 * @param members every member by id.
 */
export function candidatesOf(
  order: readonly string[],
  members: ReadonlyMap<string, MemberView>,
  { regions, zones }: Placement,
): Candidates {
  const candidates: Candidates = { nodes: [], rejected: [] };
  for (const node of order) {
    const member = members.get(node);
    const why = rejection(member, regions, zones);
    if (why === undefined) candidates.nodes.push(node);
    else candidates.rejected.push({ node, why });
  }
  return candidates;
}

/** A node that is less busy than this has room, however idle the others are: to wake a Particle elsewhere costs more. */
const CALM_LOAD = 0.5;
/** Pieces of work that fill a node of weight 1. */
const PIECES = 100;

/**
 * Candidates for one more request to a stateless Particle: in their order, but who is much busier than the others comes after
 * them. A member that says nothing of its load is taken to be calm.
 */
export function candidatesUnderLoad(
  nodes: readonly string[],
  members: ReadonlyMap<string, MemberView>,
): string[] {
  const loads = new Map<string, Load>();
  for (const node of nodes) {
    const { load = 0, weight = 1 } = members.get(node) ?? {};
    loads.set(node, { load: Math.max(CALM_LOAD, load) * PIECES * weight, weight });
  }
  return preferenceUnderLoad(nodes, loads);
}

function rejection(
  member: MemberView | undefined,
  regions: readonly string[],
  zones: readonly string[],
): string | undefined {
  if (member === undefined) return 'it is not a member';
  // A suspect may still be alive: it is asked, and passed over when it cannot be reached.
  if (member.state !== 'alive' && member.state !== 'suspect') return `it is ${member.state}`;
  if (regions.length > 0 && !regions.includes(member.region ?? '')) {
    return `its region is ${member.region ?? 'not set'}`;
  }
  if (zones.length > 0 && !zones.includes(member.zone ?? '')) {
    return `its zone is ${member.zone ?? 'not set'}`;
  }
  return undefined;
}
