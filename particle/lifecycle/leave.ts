/**
 * A node's leave as a durable workflow of the node itself: others take over what it keeps and serves, and it is a member no more.
 *
 * L1. The lattice changes by one effect, a change of the epoch. Until a voter has made it the node is a member as before; from
 *     then on the others end it, with the node or without.
 * L2. So a node that is killed anywhere in between either comes back as a member, and goes on here; or its lattice tells it that
 *     it is out (ERR_RING_REMOVED), and nothing is left to be done.
 * L3. Before, its Particles are prepared where they will be served, as far as others answer (W2 of weigh.ts).
 */
import { type Workflow, workflow } from '../../engine/index.ts';
import { effectStep } from './effect-step.ts';
import { prepareElsewhere, type WeighPorts } from './weigh.ts';

export const LEAVE_WORKFLOW = 'aether.leave';

export interface LeaveOutcome {
  /** The node that has left. */
  left: string;
  /** Particles that others are prepared for, as `app/particle on node`. */
  moved: string[];
}

/** The workflow id, made of the intent: a node leaves once. */
export function leaveId(node: string): string {
  return `leave:${node}`;
}

export function leaveWorkflow(ports: WeighPorts): Workflow<undefined, LeaveOutcome> {
  return workflow<undefined, LeaveOutcome>(
    LEAVE_WORKFLOW,
    async (ctx) => {
      const { self } = ports;
      const moved = await prepareElsewhere(ctx, ports, self); // L3
      await effectStep(ctx, ports, `${ports.nodeName(self)} leaves`, self, { kind: 'leave' }); // L1
      return { left: self, moved };
    },
    { version: '1' },
  );
}
