/**
 * The removal of a node that is gone for good, as a durable workflow: the others take over what it held, and it never comes back.
 * What it served was passed over since it was taken for dead; so there is nothing else to be done.
 */
import { type Workflow, workflow } from '../../engine/index.ts';
import { effectStep, type EffectPorts } from './effect-step.ts';

export const REMOVE_WORKFLOW = 'aether.remove';

export interface RemoveIntent {
  node: string;
}

export interface RemovePorts extends EffectPorts {
  nodeName(node: string): string;
}

/** The workflow id, made of the intent. */
export function removeId({ node }: RemoveIntent, epoch: number): string {
  return `remove:${node}:${epoch}`;
}

export function removeWorkflow(ports: RemovePorts): Workflow<RemoveIntent, RemoveIntent> {
  return workflow<RemoveIntent, RemoveIntent>(
    REMOVE_WORKFLOW,
    async (ctx, { node }) => {
      const step = `remove ${ports.nodeName(node)}`;
      await effectStep(ctx, ports, step, ports.self, { kind: 'remove', node });
      return { node };
    },
    { version: '1' },
  );
}
