/** What a step and its options must be, looked at where the step is called: later there is nobody to tell. */
import { durationMs } from '../../spec/duration.ts';
import { AetherError } from '../../spec/error.ts';
import { checkChoice } from './choice.ts';
import type { StepOptions } from './contract.ts';
import { checkRetryPolicy } from './retry.ts';

/** @throws AetherError ERR_ENGINE_STEP_OPTIONS, ERR_ENGINE_RETRY_POLICY, ERR_DURATION */
export function checkStep<T>(name: string, fn: unknown, options: StepOptions<T>): void {
  const { timeout, totalTimeout, heartbeatTimeout, retry, onCancel } = options;
  if (typeof name !== 'string' || typeof fn !== 'function') {
    throw new AetherError('a step has a name and a function', {
      code: 'ERR_ENGINE_STEP_OPTIONS',
      hint: "write ctx.step('name', () => …)",
    });
  }
  checkChoice('onCancel', onCancel, ['abandon', 'wait'], 'ERR_ENGINE_STEP_OPTIONS');
  if (timeout !== undefined) durationMs(timeout);
  if (totalTimeout !== undefined) durationMs(totalTimeout);
  if (heartbeatTimeout !== undefined) durationMs(heartbeatTimeout);
  if (retry !== undefined) checkRetryPolicy(retry);
}
