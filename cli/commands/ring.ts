/** `aether ring`: who is in the lattice, why it is seen so, and who keeps what. */
import {
  isGone,
  type MemberTrail,
  type MemberView,
  type OwnCertificate,
  type PendingChange,
  type VoterStanding,
} from '../../ring/index.ts';
import type { Context } from '../context.ts';
import { segment } from '../io/control-client.ts';
import { certificateReport } from './certificate.ts';
import { table } from '../io/table.ts';

/** `GET /v1/status`, as far as it is shown. */
export interface LatticeStatus {
  lattice: string;
  latticeTag: string;
  self: string;
  epoch: number;
  pending?: PendingChange;
  voters: string[];
  tolerates: number;
  standing?: VoterStanding;
  certificate?: OwnCertificate;
  members: MemberView[];
  datapath: { tier: string; why: string[] };
}

/** `GET /v1/ring/nodes/{node}` */
type TrailAnswer = MemberTrail & { by: string };

type Paint = Context['out']['paint'];

export async function ringStatus({ client, out }: Context): Promise<void> {
  const status = await client.json<LatticeStatus>('/status');
  out.result(status, () => {
    const { paint } = out;
    const nameOf = (id: string): string =>
      status.members.find((member) => member.id === id)?.name ?? id.slice(0, 12);
    // Most lattices have no such nodes.
    const via = {
      title: 'VIA',
      cell: ({ via: used, relays = [] }: MemberView) => used ?? relays.join(','),
    };
    const hasRelays = status.members.some(({ relays }) => relays !== undefined);
    const members = table(
      [
        { title: 'NODE', cell: ({ id, name }) => (id === status.self ? paint.bold(name) : name) },
        { title: 'ID', cell: ({ id }) => id.slice(0, 12) },
        { title: 'STATE', cell: ({ state }) => painted(state, paint) },
        { title: 'RING', cell: ({ ownership }) => percent(ownership), align: 'right' },
        { title: 'WEIGHT', cell: ({ weight }) => String(weight), align: 'right' },
        {
          title: 'LOAD',
          cell: ({ load }) => (load === undefined ? '' : percent(load)),
          align: 'right',
        },
        { title: 'RTT', cell: ({ rttMs }) => milliseconds(rttMs), align: 'right' },
        { title: 'INC', cell: ({ incarnation }) => String(incarnation), align: 'right' },
        { title: 'ZONE', cell: ({ region, zone }) => [region, zone].filter(Boolean).join('/') },
        { title: 'ROLES', cell: ({ roles }) => roles.join(',') },
        { title: 'ADDRESS', cell: ({ address }) => address },
        ...(hasRelays ? [via] : []),
        { title: 'WHY', cell: ({ state, why }) => (state === 'alive' ? '' : (why ?? '')) },
      ],
      status.members,
      paint.dim,
    );
    const { tier, why } = status.datapath;
    return [
      `lattice ${status.lattice} (tag ${status.latticeTag})`,
      `epoch ${status.epoch} (${pendingText(status, nameOf)})  voters: ${status.voters.map(nameOf).join(', ')} (${toleranceText(status)})`,
      ...standingText(status, nameOf).map(paint.yellow),
      members,
      certificateText(status, nameOf, paint),
      `datapath: ${tier} (${why.join('; ')})`,
    ].join('\n');
  });
}

/** What led to the state in which the asked node sees another. */
export async function ringWhy({ client, out }: Context, node: string): Promise<void> {
  const answer = await client.json<TrailAnswer>(`/ring/nodes/${segment(node)}`);
  out.result(answer, () => {
    const { by, member, trail } = answer;
    const { name, id, state, incarnation } = member;
    const head = `${out.paint.bold(name)} (${id}) is ${painted(state, out.paint)}, incarnation ${incarnation}`;
    const lines = trail.map(
      ({ atMs, text }) => `  ${out.paint.dim(new Date(atMs).toISOString())}  ${text}`,
    );
    return [head, ...(lines.length > 0 ? lines : [`  ${quiet(by === id, incarnation)}`])].join(
      '\n',
    );
  });
}

/** The nodes that keep a key of a bucket, or that a program finds by `ring.owners(key)`. */
export async function ringOwners(
  { client, out }: Context,
  key: string,
  { bucket }: { bucket?: string },
): Promise<void> {
  const answer = await client.json<{ epoch: number; owners: string[] }>('/ring/owners', {
    query: { key, bucket },
  });
  const { members } = await client.json<LatticeStatus>('/status');
  out.result(answer, () => {
    const rows = answer.owners.map((id) => ({
      id,
      member: members.find((each) => each.id === id),
    }));
    return table(
      [
        { title: 'NODE', cell: ({ member }) => member?.name ?? '' },
        { title: 'ID', cell: ({ id }) => id },
        { title: 'STATE', cell: ({ member }) => painted(member?.state ?? 'unknown', out.paint) },
      ],
      rows,
      out.paint.dim,
    );
  });
}

function quiet(isSelf: boolean, incarnation: number): string {
  if (isSelf) return 'it is the node that was asked';
  return incarnation === 0
    ? 'it has not been heard of since the asked node started'
    : 'nothing has changed since the asked node first heard of it';
}

function pendingText({ pending }: LatticeStatus, nameOf: (id: string) => string): string {
  if (pending === undefined) return 'settled';
  const parts = [
    ['joining', pending.joining],
    ['leaving', pending.leaving],
    ['changing weight', pending.reweighted],
    ['to take over yet', pending.awaited ?? []],
  ] as const;
  const texts = parts
    .filter(([, ids]) => ids.length > 0)
    .map(([what, ids]) => `${what}: ${ids.map(nameOf).join(', ')}`);
  return ['pending', ...texts].join('; ');
}

/** What keeps a change of the epoch from its end, as the asked node sees it; undefined: nothing that it knows of. */
export async function changeAwaits({ client }: Context): Promise<string | undefined> {
  const status = await client.json<LatticeStatus>('/status');
  if (goneVoters(status).length > status.tolerates) return toleranceText(status);
  const nameOf = (id: string): string => {
    const { name, state } = status.members.find((member) => member.id === id) ?? {};
    return name === undefined ? id.slice(0, 12) : `${name} (${state})`;
  };
  return status.pending && `epoch ${status.epoch} is ${pendingText(status, nameOf)}`;
}

/** Voters that do not answer, as the asked node sees them, by name. */
export function goneVoters({ voters, members }: LatticeStatus): string[] {
  return members
    .filter(({ id, state }) => voters.includes(id) && isGone(state))
    .map(({ name }) => name);
}

/** How many voters more may be lost. */
export function toleranceText(status: LatticeStatus): string {
  const gone = goneVoters(status).length;
  const spare = status.tolerates - gone;
  if (spare < 0) return 'no majority answers: nobody can join, leave or be removed';
  const further = gone === 0 ? '' : 'further ';
  if (spare === 0) return `tolerates no ${further}failure`;
  return `tolerates ${spare} ${further}failure${spare === 1 ? '' : 's'}`;
}

/** The asked node's own. */
function certificateText(
  { certificate }: LatticeStatus,
  nameOf: (id: string) => string,
  paint: Paint,
): string {
  const { verdict, text } = certificateReport(certificate, nameOf, Date.now());
  return `certificate: ${verdict === 'good' ? text : paint.yellow(text)}`;
}

/** Why this node's vote does not count, if it has one. */
function standingText(
  { standing, voters, members }: LatticeStatus,
  nameOf: (id: string) => string,
): string[] {
  if (standing === undefined || standing === 'voting') return [];
  if (standing !== 'waiting')
    return [`this node does not vote: it is ${standing}, and its log says why`];
  const isAlive = (id: string): boolean =>
    members.some((member) => member.id === id && member.state === 'alive');
  const absent = voters.filter((id) => !isAlive(id)).map(nameOf);
  const whom = absent.length === 0 ? 'the other voters' : absent.join(', ');
  return [
    `this node does not vote yet: nothing vouches for its disk since the machine was started, and it waits for ${whom}`,
    'start or remove those; or, if the folder is no older copy, start this node with --trust-disk',
  ];
}

function painted(state: string, paint: Paint): string {
  if (state === 'alive') return paint.green(state);
  return state === 'suspect' ? paint.yellow(state) : paint.red(state);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '' : `${value.toFixed(1)} ms`;
}
