/** `aether ring status` and `aether ring owners`: who is in the lattice, and who keeps what. */
import type { Context } from '../context.ts';
import { table } from '../io/table.ts';

/** `GET /v1/status`, as far as it is shown. */
export interface LatticeStatus {
  lattice: string;
  self: string;
  epoch: number;
  members: {
    id: string;
    name: string;
    address: string;
    state: string;
    zone?: string;
    region?: string;
    roles: string[];
    ownership: number;
    rttMs?: number;
    why?: string;
  }[];
  datapath: { tier: string; why: string[] };
}

export async function ringStatus({ client, out }: Context): Promise<void> {
  const status = await client.json<LatticeStatus>('/status');
  out.result(status, () => {
    const { paint } = out;
    const members = table(
      [
        { title: 'NODE', cell: ({ id, name }) => (id === status.self ? paint.bold(name) : name) },
        { title: 'ID', cell: ({ id }) => id.slice(0, 12) },
        {
          title: 'STATE',
          cell: ({ state }) => (state === 'alive' ? paint.green : paint.red)(state),
        },
        { title: 'RING', cell: ({ ownership }) => percent(ownership), align: 'right' },
        { title: 'ADDRESS', cell: ({ address }) => address },
        { title: 'ZONE', cell: ({ region, zone }) => [region, zone].filter(Boolean).join('/') },
        { title: 'ROLES', cell: ({ roles }) => roles.join(',') },
        { title: 'RTT', cell: ({ rttMs }) => milliseconds(rttMs), align: 'right' },
        { title: 'WHY', cell: ({ why }) => why ?? '' },
      ],
      status.members,
      paint.dim,
    );
    const { tier, why } = status.datapath;
    return [
      `lattice ${status.lattice}  epoch ${status.epoch}`,
      members,
      `datapath: ${tier} (${why.join('; ')})`,
    ].join('\n');
  });
}

export async function ringOwners({ client, out }: Context, key: string): Promise<void> {
  const answer = await client.json<{ epoch: number; owners: string[] }>('/ring/owners', {
    query: { key },
  });
  out.result(answer, () => answer.owners.join('\n'));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '' : `${value.toFixed(1)} ms`;
}
