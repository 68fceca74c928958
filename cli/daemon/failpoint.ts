/**
 * Ends this process with SIGKILL at one exact place of a deploy, a drain or a leave, so that a proof can cut it off there.
 *
 * `AETHER_FAILPOINT=after-commit:N` ends it once step N of the workflow is durable and before the next effect begins;
 * `AETHER_FAILPOINT=after-effect:N` once the effect of step N was applied and before that is recorded. N counts from 0.
 */
import type { EngineProbe } from '../../engine/index.ts';
import { DEPLOY_WORKFLOW, LEAVE_WORKFLOW, WEIGH_WORKFLOW } from '../../particle/index.ts';
import { AetherError } from '../../spec/error.ts';

export const FAILPOINT_VARIABLE = 'AETHER_FAILPOINT';
const WORKFLOWS: ReadonlySet<string> = new Set([DEPLOY_WORKFLOW, LEAVE_WORKFLOW, WEIGH_WORKFLOW]);

/**
 * @param setting the variable's value.
 * @param kill ends the process; it does not return.
 * @throws AetherError ERR_FAILPOINT when the setting is not of the form above.
 */
export function failpointProbe(setting: string, kill: () => void): EngineProbe {
  const [, place, index] = /^(after-commit|after-effect):(\d+)$/.exec(setting) ?? [];
  if (place === undefined) {
    throw new AetherError(`${FAILPOINT_VARIABLE}=${setting} names no place`, {
      code: 'ERR_FAILPOINT',
      hint: 'after-commit:N or after-effect:N',
    });
  }
  let left = Number(index);
  const count = (event: { name: string; step?: string }): void => {
    if (WORKFLOWS.has(event.name) && event.step !== undefined && left-- === 0) kill();
  };
  return place === 'after-commit' ? { committed: count } : { effectDone: count };
}
