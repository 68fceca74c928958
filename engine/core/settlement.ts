/** What an event from outside means to the operation that it settles. */
import { TimeoutError } from './errors.ts';
import type { ClosingEvent, JournalEvent } from './event.ts';
import { ownError, stepFailed } from './failure.ts';
import type { Operation } from './operation.ts';
import { outcomeOf } from './outcome.ts';
import type { PayloadCodec } from './payload.ts';

export type Settlement = { readonly value: unknown } | { readonly error: Error };

/** An event that an operation waits for. */
export type SettlingEvent = Extract<
  JournalEvent,
  { kind: 'step-completed' | 'step-failed' | 'timer-fired' | 'child-closed' }
>;

/** A value is decoded anew at each call. */
export function settlementOf(
  { kind, name, cancelled }: Operation,
  event: SettlingEvent,
  payloads: PayloadCodec,
): Settlement {
  switch (event.kind) {
    case 'step-completed':
      return cancelled === undefined
        ? { value: payloads.decode(event.payload) }
        : { error: cancelled };
    case 'step-failed': {
      const error =
        kind === 'step'
          ? stepFailed(name, event.error, event.attempts, payloads)
          : ownError(event.error);
      return { error: cancelled ?? error };
    }
    case 'timer-fired':
      return timerFired(kind, name);
    case 'child-closed':
      return childClosed(name, event.end, payloads);
    default:
      throw new Error(`operation "${name}" is settled by an unknown event`);
  }
}

function childClosed(id: string, end: ClosingEvent, payloads: PayloadCodec): Settlement {
  try {
    return { value: outcomeOf(id, end, payloads) };
  } catch (error) {
    return { error: error as Error };
  }
}

function timerFired(kind: Operation['kind'], name: string): Settlement {
  if (kind === 'child-result') {
    return { error: new TimeoutError(`child "${name}" did not end in time`) };
  }
  if (kind === 'receive') {
    return { error: new TimeoutError(`no signal "${name}" came in time`) };
  }
  return { value: kind === 'condition' ? false : undefined };
}
