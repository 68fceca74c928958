/** Begins runs: their input checked, their id theirs alone, what a start fixes written down. */
import { durationMs } from '../../spec/duration.ts';
import { AetherError } from '../../spec/error.ts';
import type { Clock } from '../../spec/clock.ts';
import { checkedAttributes } from '../core/attributes.ts';
import { checkChoice } from '../core/choice.ts';
import type { StartOptions } from '../core/contract.ts';
import { AlreadyExistsError, NotFoundError, PayloadTypeError } from '../core/errors.ts';
import type { OutsideEvent, ParentLink, StartedEvent } from '../core/event.ts';
import type { PayloadCodec } from '../core/payload.ts';
import { isOpen, type RunRecord } from '../core/record.ts';
import { checkRetryPolicy } from '../core/retry.ts';
import type { Definition, Registry } from '../workflow.ts';
import type { Arrivals } from './arrivals.ts';
import type { Executor } from './executor.ts';
import type { Queues } from './queues.ts';
import type { Tracing } from './tracing.ts';

export interface StarterOptions {
  readonly executor: Executor;
  readonly arrivals: Arrivals;
  readonly registry: Registry;
  readonly payloads: PayloadCodec;
  readonly clock: Clock;
  readonly queues: Queues;
  readonly tracing: Tracing;
}

export interface StartedRun {
  readonly id: string;
  readonly runId: string;
}

/** What a run is started by, other than a program. */
export interface StartedFrom {
  readonly parent?: ParentLink;
  /** Where no span is active, the trace that it belongs to. */
  readonly trace?: string;
  /** It is to go on for ever: each of its activations is a trace of its own. */
  readonly isEndless?: boolean;
}

export class Starter {
  readonly #options: StarterOptions;
  /** Starts of one id go one after another, so that each sees what the one before did. */
  readonly #starting = new Map<string, Promise<unknown>>();

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /**
   * Resolves once the start is durable. With a parent, the same operation of it starts once.
   *
   * @throws NotFoundError, PayloadTypeError, PayloadTooLargeError, AlreadyExistsError
   */
  async start(
    name: string,
    input: unknown,
    options: StartOptions,
    from: StartedFrom = {},
  ): Promise<StartedRun> {
    const definition = this.#options.registry.latest(name);
    checkOptions(options);
    const { parent, trace, isEndless = false } = from;
    return this.#options.tracing.start(name, trace, (own) =>
      this.#start(definition, input, options, {
        ...(own === undefined || isEndless ? {} : { trace: own }),
        ...(parent === undefined ? {} : { parent }),
      }),
    );
  }

  async #start(
    definition: Definition<unknown, unknown>,
    input: unknown,
    options: StartOptions,
    from: Pick<StartedEvent, 'parent' | 'trace'>,
  ): Promise<StartedRun> {
    const { executor } = this.#options;
    const event = await this.#startedEvent(definition, input, options, from);
    if (options.id === undefined) {
      const id = executor.newId();
      return { id, runId: await executor.start(definition, id, event, this.#signalOf(options)) };
    }
    const { id } = options;
    const runId = await this.#oneAtATime(id, () => this.#startOnce(definition, id, event, options));
    return { id, runId };
  }

  async terminate(record: RunRecord, reason: string): Promise<void> {
    const { executor, arrivals } = this.#options;
    await executor.send(record, arrivals.terminate(reason));
  }

  async #startedEvent(
    definition: Definition<unknown, unknown>,
    input: unknown,
    options: StartOptions,
    from: Pick<StartedEvent, 'parent' | 'trace'>,
  ): Promise<StartedEvent> {
    const { name } = definition;
    const value = await checked(definition, input);
    const at = this.#options.clock.nowMs();
    const timeout = options.timeout ?? definition.options.timeout;
    const timeoutMs = timeout === undefined ? undefined : durationMs(timeout);
    const delayMs = options.delay === undefined ? 0 : durationMs(options.delay);
    const retry = options.retry ?? definition.options.retry;
    if (retry !== undefined) checkRetryPolicy(retry);
    if (options.queue !== undefined) this.#options.queues.check(options.queue);
    return {
      kind: 'started',
      at,
      payload: this.#options.payloads.encode(value, `input of workflow "${name}"`),
      ...attributesOf(options, this.#options.payloads.bytesMax),
      ...(timeoutMs === undefined ? {} : { timeoutMs, deadline: at + delayMs + timeoutMs }),
      ...(delayMs === 0 ? {} : { notBefore: at + delayMs }),
      ...(options.priority === undefined ? {} : { priority: options.priority }),
      ...(retry === undefined ? {} : { retry }),
      ...queueOf(options),
      ...from,
    };
  }

  #signalOf({ signal }: StartOptions): OutsideEvent[] {
    if (signal === undefined) return [];
    return [this.#options.arrivals.signal(signal.name, signal.payload).event];
  }

  async #startOnce(
    definition: Definition<unknown, unknown>,
    id: string,
    event: StartedEvent,
    options: StartOptions,
  ): Promise<string> {
    const { executor } = this.#options;
    const existing = await executor.newest(id);
    if (existing !== undefined && isChildOf(existing, event.parent)) return existing.runId;
    if (existing !== undefined && isOpen(existing.status)) {
      const { onConflict = 'use-existing' } = options;
      if (onConflict === 'fail') throw alreadyExists(existing);
      try {
        if (onConflict === 'use-existing') return await this.#signalled(existing, options);
        await this.terminate(existing, 'started anew');
      } catch (error) {
        // It has ended meanwhile, and perhaps another goes on for it.
        if (error instanceof NotFoundError) return this.#startOnce(definition, id, event, options);
        throw error;
      }
    } else if (existing !== undefined) {
      const { onClosed = 'use-existing' } = options;
      if (onClosed === 'fail') throw alreadyExists(existing);
      const restart =
        onClosed === 'restart' ||
        (onClosed === 'restart-if-failed' && existing.status !== 'completed');
      if (!restart) return existing.runId;
    }
    return executor.start(definition, id, event, this.#signalOf(options));
  }

  async #signalled(existing: RunRecord, { signal }: StartOptions): Promise<string> {
    const { executor, arrivals } = this.#options;
    if (signal !== undefined) {
      await executor.send(existing, arrivals.signal(signal.name, signal.payload));
    }
    return existing.runId;
  }

  async #oneAtATime<T>(id: string, act: () => Promise<T>): Promise<T> {
    const before = this.#starting.get(id) ?? Promise.resolve();
    const mine = before.then(act, act);
    this.#starting.set(id, mine);
    try {
      return await mine;
    } finally {
      if (this.#starting.get(id) === mine) this.#starting.delete(id);
    }
  }
}

const ON_CONFLICT = ['use-existing', 'fail', 'terminate-existing'];
const ON_CLOSED = ['use-existing', 'restart-if-failed', 'restart', 'fail'];

/** @throws AetherError ERR_ENGINE_START_OPTIONS */
function checkOptions({ id, priority = 0, onConflict, onClosed }: StartOptions): void {
  checkChoice('onConflict', onConflict, ON_CONFLICT, 'ERR_ENGINE_START_OPTIONS');
  checkChoice('onClosed', onClosed, ON_CLOSED, 'ERR_ENGINE_START_OPTIONS');
  // A store keeps text as UTF-8: half of a surrogate pair would come back as another id.
  const isText = id === undefined || (typeof id === 'string' && id.isWellFormed());
  if (isText && Number.isFinite(priority)) return;
  const what = isText ? `priority ${priority}` : `id ${JSON.stringify(id)}`;
  throw new AetherError(`a run cannot have ${what}`, {
    code: 'ERR_ENGINE_START_OPTIONS',
    hint: 'an id is well-formed text, a priority a finite number',
  });
}

/** @throws PayloadTypeError, PayloadTooLargeError */
function attributesOf(
  { attributes }: StartOptions,
  bytesMax: number,
): Pick<StartedEvent, 'attributes'> {
  return attributes === undefined ? {} : { attributes: checkedAttributes(attributes, bytesMax) };
}

function queueOf({ queue: name, fairnessKey }: StartOptions): Pick<StartedEvent, 'queue'> {
  if (name === undefined) return {};
  return { queue: fairnessKey === undefined ? { name } : { name, fairnessKey } };
}

/** The input as its schema gives it back. @throws PayloadTypeError */
async function checked(
  { name, options }: Definition<unknown, unknown>,
  input: unknown,
): Promise<unknown> {
  if (options.input === undefined) return input;
  const result = (await options.input['~standard'].validate(input)) as {
    value?: unknown;
    issues?: readonly { message: string; path?: readonly unknown[] }[];
  };
  if (result.issues === undefined) return result.value;
  const why = result.issues.map((issue) => issue.message).join('; ');
  throw new PayloadTypeError(`input of workflow "${name}" is refused by its schema: ${why}`, {
    details: { issues: result.issues.map((issue) => issue.message) },
  });
}

function isChildOf(record: RunRecord, parent: ParentLink | undefined): boolean {
  return parent !== undefined && record.parent === parent.runId && record.parentOp === parent.op;
}

function alreadyExists(record: RunRecord): AlreadyExistsError {
  return new AlreadyExistsError(`workflow id "${record.workflowId}" has a run (${record.status})`, {
    hint: 'take the existing run, or choose another id',
    details: { runId: record.runId, status: record.status },
  });
}
