export { bucketOf } from './core/bucket.ts';
export {
  COMPONENT_BYTES_MAX,
  type ComponentNames,
  CoreModuleError,
  NotAComponentError,
} from './core/component.ts';
export { UngrantedImportError, UnknownImportError } from './core/grants.ts';
export { BODY_BYTES_MAX } from './core/limits.ts';
export { MemoryLimitError, UncappableModuleError } from './core/memory-cap.ts';
export { type InstanceView, type LogLine, ParticleHost, type ParticleHostOptions } from './host.ts';
export { type ComponentInfo, checkGrants, inspectComponent } from './inspect.ts';
export { type Dial, type HostKeyValue } from './io/host-calls.ts';
export { TranspileError } from './io/transpile-cache.ts';
export { BuildError, type BuildOptions, type Built, buildComponent } from './io/build.ts';
export { Gateway } from './io/gateway.ts';
export { readBody } from './io/read-body.ts';
export { DEPLOY_WORKFLOW } from './lifecycle/deploy.ts';
export { UNREACHED } from './lifecycle/effect-step.ts';
export { Lifecycle, type PlacedInstance } from './lifecycle/lifecycle.ts';
export {
  LEAVE_WORKFLOW,
  leaveId,
  type LeaveOutcome,
  type leaveWorkflow,
} from './lifecycle/leave.ts';
export type { EffectRow } from './lifecycle/sink.ts';
export { type Bundle, type Submitted, submitDeploy } from './lifecycle/submit.ts';
export { WEIGH_WORKFLOW, weighId, type WeighIntent } from './lifecycle/weigh.ts';
export { REMOVE_WORKFLOW, removeId, type RemoveIntent } from './lifecycle/removal.ts';
