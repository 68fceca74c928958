export {
  type Identity,
  type Service,
  type Verdict,
  decide,
  identityText,
  serviceText,
} from './core/policy.ts';
export { type HostFacts, type Tier, type TierReport } from './core/tier.ts';
export { detectTier } from './io/detect.ts';
export {
  type Connection,
  type DatapathPorts,
  DeniedError,
  type Flow,
  NoBackendError,
  UserspaceDatapath,
  offer,
} from './userspace.ts';
