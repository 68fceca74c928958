/** `aether node` and `aether cap mint join`: who keeps how much, who goes, and who may come in. */
import { mintJoinToken } from '../../ring/index.ts';
import { durationMs } from '../../spec/duration.ts';
import type { Context } from '../context.ts';
import { segment } from '../io/control-client.ts';
import { showProgress } from './run-progress.ts';

export async function leave({ client, out }: Context): Promise<void> {
  const answer = await client.json<{ left: string }>('/node/leave', { method: 'POST' });
  out.result(answer, () => answer.left);
}

export async function remove({ client, out }: Context, node: string): Promise<void> {
  const path = `/ring/nodes/${segment(node)}/remove`;
  const answer = await client.json<{ removed: string }>(path, { method: 'POST' });
  out.result(answer, () => answer.removed);
}

/**
 * Gives a node another share of the ring; 0 drains it.
 *
 * @returns the exit code: 8 when that goes on by itself
 */
export async function weigh(
  context: Context,
  node: string,
  weight: number,
  { detach = false }: { detach?: boolean },
): Promise<number> {
  const [what, json] = weight === 0 ? ['drain', undefined] : ['weigh', { weight }];
  const submitted = await context.client.json<{ workflow: string }>(
    `/ring/nodes/${segment(node)}/${what}`,
    { method: 'POST', json },
  );
  context.out.say(`submitted: ${submitted.workflow}`);
  return showProgress(context, submitted, {
    what,
    detach,
    unreached: 'and the others go on without it',
    done: (_run, tookSeconds) =>
      weight === 0
        ? `drained ${node} in ${tookSeconds} s; aether node weigh ${node} WEIGHT gives it a share again`
        : `${node} has weight ${weight} after ${tookSeconds} s`,
  });
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
