/** `aether up`: one node in the foreground, until a signal ends it. */
import { loadWorkflows } from '../io/workflows-module.ts';
import { FAILPOINT_VARIABLE, failpointProbe } from './failpoint.ts';
import { type LatticeNode, type NodeOptions, startNode } from './node.ts';

export interface UpOptions extends Omit<NodeOptions, 'workflows' | 'probe'> {
  /** Path of a module whose default export is a list of workflows. */
  workflows?: string;
}

/**
 * Runs a node; prints `ready {"id":…}` on stdout when it serves.
 *
 * SIGTERM and SIGINT hand over and stop in order without leaving; a second one stops at once. A node that has left ends.
 * @returns the exit code.
 * @throws AetherError why it cannot start, or why the lattice has refused it since.
 */
export async function runNode(options: UpOptions): Promise<number> {
  const failpoint = process.env[FAILPOINT_VARIABLE];
  const { workflows, ...rest } = options;
  const node = await startNode({
    ...rest,
    ...(workflows === undefined ? {} : { workflows: await loadWorkflows(workflows) }),
    ...(failpoint === undefined
      ? {}
      : { probe: failpointProbe(failpoint, () => process.kill(process.pid, 'SIGKILL')) }),
  });
  if (await node.isLeaving()) process.stderr.write('this node goes on to leave the lattice\n');
  process.stdout.write(`ready ${JSON.stringify({ id: node.id, ...node.addresses })}\n`);
  await Promise.race([signalled(), node.closed]);
  if (node.hasLeft)
    process.stderr.write('this node has left the lattice; its data folder is of no more use\n');
  const code = await closeOrExit(node);
  if (node.refusal !== undefined) throw node.refusal;
  return code;
}

function signalled(): Promise<void> {
  return new Promise((done) => {
    process.once('SIGTERM', () => done());
    process.once('SIGINT', () => done());
    // A parent that opened a channel wants the node to end with it, however the parent ends.
    process.once('disconnect', () => done());
  });
}

async function closeOrExit(node: LatticeNode): Promise<number> {
  process.once('SIGTERM', () => process.exit(1));
  process.once('SIGINT', () => process.exit(130));
  await node.close();
  // The parent's channel would keep this process alive.
  process.disconnect?.();
  return 0;
}
