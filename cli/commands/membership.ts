/** `aether node leave` and `aether cap mint join`: going out of a lattice, and letting others in. */
import { mintJoinToken } from '../../ring/index.ts';
import { durationMs } from '../../spec/duration.ts';
import type { Context } from '../context.ts';

export async function leave({ client, out }: Context): Promise<void> {
  const answer = await client.json<{ left: string }>('/node/leave', { method: 'POST' });
  out.result(answer, () => answer.left);
}

export interface JoinTokenOptions {
  data: string;
  uses?: number;
  expires: string;
  role?: string[];
  zone?: string;
}

/** Prints a join token; works from the data folder, also while no node runs there. */
export function mintJoin({ out }: Context, options: JoinTokenOptions): void {
  const { data, uses, expires, role, zone } = options;
  const token = mintJoinToken(data, {
    expiresMs: durationMs(expires),
    ...(uses === undefined ? {} : { uses }),
    ...(role === undefined ? {} : { roles: role }),
    ...(zone === undefined ? {} : { zone }),
  });
  out.result({ token }, () => token);
}
