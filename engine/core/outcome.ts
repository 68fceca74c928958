/** What the end of a run means to those who wait for its result. */
import { AetherError } from '../../spec/error.ts';
import { CancelledError, TerminatedError, TimeoutError, WorkflowFailedError } from './errors.ts';
import type { ClosingEvent } from './event.ts';
import { plainCause } from './failure.ts';
import type { PayloadCodec } from './payload.ts';

/** @throws WorkflowFailedError, CancelledError, TerminatedError, TimeoutError */
export function outcomeOf(id: string, event: ClosingEvent, payloads: PayloadCodec): unknown {
  switch (event.kind) {
    case 'completed':
    case 'continued':
      return payloads.decode(event.payload);
    case 'failed':
      throw new WorkflowFailedError(`workflow "${id}" failed: ${event.error.message}`, {
        cause: plainCause(event.error, payloads),
      });
    case 'cancelled':
      throw new CancelledError(`workflow "${id}" was ${event.reason}`);
    case 'terminated':
      throw new TerminatedError(
        `workflow "${id}" was terminated: ${event.reason || 'no reason given'}`,
      );
    case 'timed-out':
      throw new TimeoutError(`workflow "${id}" did not end in time`);
    default:
      throw new AetherError(`workflow "${id}" ended in an unknown way`);
  }
}
