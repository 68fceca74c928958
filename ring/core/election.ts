/**
 * Who shall be the voters of an epoch.
 *
 * As few changes as can be: who votes goes on while it is a member, dead or alive, as only a removal or a revocation says
 * that it does not come back. Two voters tolerate the loss of none, like one; but neither alone can be put back to an earlier state unnoticed.
 */
import type { Epoch, EpochMember } from './epoch.ts';
import { mayVote } from './epoch-change.ts';

/** With so many candidates in so many zones there are five voters: two zones may be lost. */
const LARGE = { candidates: 7, zones: 5 };

/**
 * @param voters those of now.
 * @param canStand whether a node answers, and would take a vote.
 * @returns the voters to be; the same ones when nothing is to be changed.
 */
export function electedVoters(
  epoch: Epoch,
  voters: readonly string[],
  canStand: (node: string) => boolean,
): string[] {
  const before = epoch.previous ?? epoch.members;
  const isSettled = ({ id }: EpochMember): boolean => before.some((each) => each.id === id);
  const revoked = new Set(epoch.revoked);
  const candidates = epoch.members.filter(
    (member) => mayVote(member) && isSettled(member) && !revoked.has(member.id),
  );
  const byId = new Map(candidates.map((member) => [member.id, member]));
  const zoneOf = (node: string): string => byId.get(node)?.zone ?? node;
  const kept = voters.filter((node) => byId.has(node));
  const size = sizeFor(candidates);
  const chosen = kept.length > size ? best(kept, size, zoneOf, canStand) : [...kept];
  const others = candidates
    .map(({ id }) => id)
    .filter((node) => !kept.includes(node) && canStand(node));

  while (chosen.length < size && others.length > 0) chosen.push(taken(others, chosen, zoneOf));
  // An even number tolerates no more than one less: it is not worth a change, unless somebody goes.
  const isWorth = chosen.length === size || kept.length < voters.length;
  if (chosen.length === 0 || !isWorth) return [...voters];
  return spreadOut(chosen, others, zoneOf, canStand);
}

function sizeFor(candidates: readonly EpochMember[]): number {
  const zones = new Set(candidates.flatMap(({ zone }) => zone ?? [])).size;
  if (candidates.length >= LARGE.candidates && zones >= LARGE.zones) return 5;
  return Math.min(3, candidates.length);
}

/** So many of them: the living before the dead, each in a zone of its own while there are zones. */
function best(
  nodes: readonly string[],
  size: number,
  zoneOf: (node: string) => string,
  canStand: (node: string) => boolean,
): string[] {
  const left = [...nodes.filter(canStand), ...nodes.filter((node) => !canStand(node))];
  const chosen: string[] = [];
  while (chosen.length < size) chosen.push(taken(left, chosen, zoneOf));
  return chosen;
}

/** Takes one out of the list: the first in a zone of its own, or the first. */
function taken(
  list: string[],
  chosen: readonly string[],
  zoneOf: (node: string) => string,
): string {
  const at = list.findIndex((node) => isElsewhere(node, chosen, zoneOf));
  return list.splice(Math.max(0, at), 1)[0] as string;
}

/** One of two living voters in a zone gives way to a node of a zone without any. */
function spreadOut(
  chosen: readonly string[],
  others: readonly string[],
  zoneOf: (node: string) => string,
  canStand: (node: string) => boolean,
): string[] {
  const next = others.find((node) => isElsewhere(node, chosen, zoneOf));
  const crowded = chosen.findLast(
    (node, i) => canStand(node) && !isElsewhere(node, chosen.toSpliced(i, 1), zoneOf),
  );
  if (next === undefined || crowded === undefined) return [...chosen];
  return chosen.map((node) => (node === crowded ? next : node));
}

function isElsewhere(
  node: string,
  chosen: readonly string[],
  zoneOf: (node: string) => string,
): boolean {
  return !chosen.some((each) => zoneOf(each) === zoneOf(node));
}
