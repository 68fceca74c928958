/** `aether up`: one node in the foreground, until a signal ends it. */
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';
import type { EngineOptions } from '../../engine/index.ts';
import { AetherError } from '../../spec/error.ts';
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
  process.stdout.write(`ready ${JSON.stringify({ id: node.id, ...node.addresses })}\n`);
  await Promise.race([signalled(), node.closed]);
  return closeOrExit(node);
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

async function loadWorkflows(path: string): Promise<EngineOptions['workflows']> {
  const module: { default?: unknown } = await import(pathToFileURL(resolve(path)).href).catch(
    (error: unknown) => {
      throw new AetherError(`${path} cannot be imported: ${(error as Error).message}`, {
        code: 'ERR_WORKFLOWS_MODULE',
        hint: 'name a JavaScript or TypeScript module',
        cause: error,
      });
    },
  );
  if (!Array.isArray(module.default)) {
    throw new AetherError(`${path} has no list of workflows as its default export`, {
      code: 'ERR_WORKFLOWS_MODULE',
      hint: 'export default [workflow(…), …]',
    });
  }
  return module.default;
}
