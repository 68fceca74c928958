/** The ring: identity, peers, membership, epoch, placement and replicated storage of a lattice. */
export { LatticeError, type RingOptions } from './assembly.ts';
export type { Authority } from './authority.ts';
export { BlobError, type BlobStore } from './blob.ts';
export type { Epoch, EpochMember } from './core/epoch.ts';
export { type Load, preferenceUnderLoad } from './core/hash-ring-load.ts';
export type { VoterStanding } from './changes.ts';
export type { Consistency } from './core/kv-placement.ts';
export { isGone, type MemberState } from './core/swim-message.ts';
export type { SwimOptions } from './core/swim-options.ts';
export type { TransportLimits } from './core/transport-limits.ts';
export type { TransportCounts } from './io/transport-counts.ts';
export {
  type Bucket,
  type BucketOptions,
  type DeleteOptions,
  type KeyValue,
  KeyValueStore,
  type ListOptions,
  type PutOptions,
} from './kv.ts';
export {
  ConflictError,
  KeyValueError,
  UnavailableError,
  UnknownOutcomeError,
} from './kv-errors.ts';
export { mintJoinToken, type MintOptions } from './mint.ts';
export type { MemberTrail, MemberView } from './member-view.ts';
export { type PendingChange, Ring, type RingChange } from './ring.ts';
export type { OwnCertificate } from './renewal.ts';
export { exportRoot, nextRoot, rootText } from './root-file.ts';
export { inspectToken, type TokenSummary } from './token-summary.ts';
export { type CallOptions, type Rpc, RpcError, type RpcHandler } from './rpc.ts';
