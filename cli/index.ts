/** The public face of `aether`: a node of a lattice inside a Node service. */
export {
  startNode,
  type LatticeNode,
  type LatticeStatus,
  type NodeOptions,
} from './daemon/node.ts';
export { AetherError, NotAvailableError } from '../spec/error.ts';
export type { Bucket, Consistency, KeyValue } from '../ring/index.ts';
