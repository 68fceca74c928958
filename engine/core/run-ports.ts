/** What a run and its shell are to each other. */
import type { AetherError } from '../../spec/error.ts';
import type { JournalEvent } from './event.ts';
import type { Operation } from './operation.ts';
import type { PayloadCodec } from './payload.ts';
import type { Run } from './run.ts';

export interface RunIdentity {
  readonly workflowId: string;
  readonly runId: string;
  readonly name: string;
  readonly version: string;
}

/** What a run needs of its shell. */
export interface RunPorts {
  /** Resolves when no microtask is left. */
  drain(): Promise<void>;
  /** SHA-256 of text, hex. */
  digest(text: string): string;
  readonly payloads: PayloadCodec;
  readonly historyEventsMax: number;
  newRunId(): string;
  /** Why the body is not called at all, e.g. since its code is not there. The run is stuck then. */
  refusal(): AetherError | undefined;
  /** Calls what belongs to the body; strict mode looks at what is asked for in there. */
  readonly enter?: <T>(run: Run, act: () => T) => T;
  /** Span that what begins now belongs to, as a W3C traceparent. */
  readonly trace?: () => string | undefined;
  /** The body went on by itself, outside of any delivery: the run is stuck now. */
  onStray?(): void;
}

/** What follows from an event. */
export interface Advance {
  /** To append as one entry; may be empty. */
  readonly events: JournalEvent[];
  /** Durable with the record, and not appended (P2 of progress.ts). */
  readonly kept?: readonly JournalEvent[];
  /** Operations to begin once the events are durable: call the step, set the timer. */
  readonly begun: Operation[];
  /** Steps in flight whose run no longer wants them. */
  readonly aborted: Operation[];
  /** Operations whose timer means nothing any more. */
  readonly ended: number[];
}
