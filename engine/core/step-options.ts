/** What the options of a step must be, looked at where the step is called: later there is nobody to tell. */
import { durationMs } from '../../spec/duration.ts';
import type { StepOptions } from './contract.ts';
import { checkRetryPolicy } from './retry.ts';

/** @throws AetherError ERR_ENGINE_RETRY_POLICY, ERR_DURATION */
export function checkStepOptions<T>(options: StepOptions<T>): void {
  const { timeout, totalTimeout, heartbeatTimeout, retry } = options;
  if (timeout !== undefined) durationMs(timeout);
  if (totalTimeout !== undefined) durationMs(totalTimeout);
  if (heartbeatTimeout !== undefined) durationMs(heartbeatTimeout);
  if (retry !== undefined) checkRetryPolicy(retry);
}
