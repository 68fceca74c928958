/** `aether node` and `aether cap mint join`: who keeps how much, who goes, and who may come in. */
import { mintJoinToken } from '../../ring/index.ts';
import { durationMs } from '../../spec/duration.ts';
import type { Context } from '../context.ts';
import { ApiUnreachableError, segment } from '../io/control-client.ts';
import { changeAwaits } from './ring.ts';
import { showProgress } from './run-progress.ts';

/** Has the asked node leave. @returns the exit code: 8 when that goes on by itself */
export async function leave(
  context: Context,
  { detach = false }: { detach?: boolean },
): Promise<number> {
  const submitted = await context.client.json<{ workflow: string }>('/node/leave', {
    method: 'POST',
  });
  context.out.say(`submitted: ${submitted.workflow}`);
  try {
    return await showProgress(context, submitted, {
      what: 'leave',
      detach,
      unreached: 'and the others go on without it',
      awaits: () => changeAwaits(context),
      done: (_run, tookSeconds) =>
        `left the lattice in ${tookSeconds} s; the node ends, and its data folder is of no more use`,
    });
  } catch (error) {
    if (!(error instanceof ApiUnreachableError)) throw error;
    throw new ApiUnreachableError('the node ended before it said whether it has left', {
      hint: 'start it again: it goes on with its leave, or says that it is out (ERR_RING_REMOVED); aether ring status at another node shows whether it is a member still',
      cause: error,
    });
  }
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
    awaits: () => changeAwaits(context),
    done: (_run, tookSeconds) =>
      weight === 0
        ? `drained ${node} in ${tookSeconds} s; aether node weigh ${node} WEIGHT gives it a share again`
        : `${node} has weight ${weight} after ${tookSeconds} s`,
  });
}

/** Takes a dead node out. @returns the exit code: 8 when that goes on by itself */
export async function remove(
  context: Context,
  node: string,
  { detach = false }: { detach?: boolean },
): Promise<number> {
  const path = `/ring/nodes/${segment(node)}/remove`;
  const submitted = await context.client.json<{ workflow: string }>(path, { method: 'POST' });
  context.out.say(`submitted: ${submitted.workflow}`);
  return showProgress(context, submitted, {
    what: 'removal',
    detach,
    unreached: 'and the others go on without it',
    awaits: () => changeAwaits(context),
    done: (_run, tookSeconds) => `removed ${node} in ${tookSeconds} s`,
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
