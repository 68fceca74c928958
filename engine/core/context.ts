// oxlint-disable typescript/no-unnecessary-type-parameters -- the caller says what a signal, query or update carries
/** What a body sees of its run: the operations, each bound to the scope that it is called in. */
import { AetherError } from '../../spec/error.ts';
import { type Duration, durationMs } from '../../spec/duration.ts';
import type {
  ChildHandle,
  StepContext,
  StepOptions,
  Workflow,
  StartOptions,
  WaitOptions,
  WorkflowContext,
} from './contract.ts';
import { checkedAttributes } from './attributes.ts';
import { checkChoice } from './choice.ts';
import { CancelledError, TimeoutError } from './errors.ts';
import type { Attributes, ParentLink } from './event.ts';
import type { Operation } from './operation.ts';
import { argsHash } from './payload.ts';
import { Continuation, type Run } from './run.ts';
import type { Scope } from './scope.ts';
import { checkStep } from './step-options.ts';

/** What a body's operations reach outside of its run; called from steps only. */
export interface Outside {
  signal(workflowId: string, name: string, payload: unknown, id: string): Promise<void>;
  cancel(workflowId: string, reason: string): Promise<void>;
  /** The same operation of the same parent starts one child. */
  startChild(child: ChildStart): Promise<{ id: string; runId: string }>;
}

export interface ChildStart {
  readonly workflow: string;
  readonly input: unknown;
  readonly options: StartOptions;
  readonly parent: ParentLink;
  /** Trace of the parent, as a W3C traceparent. */
  readonly trace?: string;
}

const ON_PARENT_CLOSE = ['cancel', 'terminate', 'abandon'];

/** Every other error may pass: the start is tried again. */
const START_REFUSED = [
  'ERR_ENGINE_NOT_FOUND',
  'ERR_ENGINE_ALREADY_EXISTS',
  'ERR_ENGINE_QUEUE_UNKNOWN',
  'ERR_ENGINE_RETRY_POLICY',
  'ERR_ENGINE_START_OPTIONS',
  'ERR_DURATION',
];

export class RunContext<I> implements WorkflowContext<I> {
  readonly #run: Run;
  readonly #scope: Scope;
  readonly #outside: Outside;
  readonly #digest = (text: string): string => this.#run.ports.digest(text);

  constructor(run: Run, scope: Scope, outside: Outside) {
    this.#run = run;
    this.#scope = scope;
    this.#outside = outside;
  }

  get workflowId(): string {
    return this.#run.identity.workflowId;
  }
  get runId(): string {
    return this.#run.identity.runId;
  }
  get replaying(): boolean {
    return this.#run.replaying;
  }

  step<T>(
    name: string,
    fn: (step: StepContext) => T | Promise<T>,
    options: StepOptions<T> = {},
  ): Promise<T> {
    checkStep(name, fn, options);
    const hash = argsHash(options.input, `input of step "${name}"`, this.#digest);
    const step = { fn, options: options as StepOptions<unknown>, attempt: 1 };
    return this.#run.schedule(this.#scope, 'step', name, { hash, step }) as Promise<T>;
  }

  sleep(name: string, duration: Duration): Promise<void> {
    const fireAt = this.#deadline(duration);
    return this.#run.schedule(this.#scope, 'sleep', name, { fireAt }) as Promise<void>;
  }

  sleepUntil(name: string, epochMs: number): Promise<void> {
    checkTime(epochMs, `sleep "${name}"`);
    return this.#run.schedule(this.#scope, 'sleep', name, {
      fireAt: epochMs,
      byWallClock: true,
    }) as Promise<void>;
  }

  receive<T>(name: string, options: { timeout?: Duration } = {}): Promise<T> {
    this.#run.signals.claim(name);
    return this.#run.schedule(this.#scope, 'receive', name, {
      fireAt: this.#deadline(options.timeout),
      onScheduled: (operation) =>
        this.#run.signals.receive(name, {
          op: operation.op,
          accept: (value) => this.#run.settle(operation, { value }),
        }),
    }) as Promise<T>;
  }

  condition(
    predicate: () => boolean,
    { timeout, until }: { timeout?: Duration; until?: number } = {},
  ): Promise<boolean> {
    if (until !== undefined) checkTime(until, 'a condition');
    return this.#run.schedule(this.#scope, 'condition', 'condition', {
      fireAt: until ?? this.#deadline(timeout),
      byWallClock: until !== undefined,
      predicate,
    }) as Promise<boolean>;
  }

  onSignal<T>(name: string, handler: (payload: T) => void | Promise<void>): void {
    this.#run.onSignal(name, (payload) => handler(payload as T));
  }

  onQuery<A, R>(name: string, handler: (argument: A) => R): void {
    this.#run.handlers.onQuery(name, (argument) => handler(argument as A));
  }

  onUpdate<A, R>(
    name: string,
    handler: (argument: A) => R | Promise<R>,
    options: { validate?: (argument: A) => void } = {},
  ): void {
    this.#run.handlers.onUpdate(name, {
      run: (argument) => handler(argument as A),
      validate: (argument) => options.validate?.(argument as A),
    });
  }

  child<CI, CO>(
    workflow: Workflow<CI, CO>,
    input: CI,
    options: StartOptions & { onParentClose?: ParentLink['onClose'] } = {},
  ): Promise<ChildHandle<CO>> {
    return lookedAtLate(this.#child(workflow, input, options));
  }

  async #child<CI, CO>(
    workflow: Workflow<CI, CO>,
    input: CI,
    options: StartOptions & { onParentClose?: ParentLink['onClose'] },
  ): Promise<ChildHandle<CO>> {
    const { onParentClose: onClose = 'cancel', ...startOptions } = options;
    checkChoice('onParentClose', onClose, ON_PARENT_CLOSE, 'ERR_ENGINE_START_OPTIONS');
    const { name } = workflow;
    const { workflowId, runId } = this;
    const { trace } = this.#run.started;
    const fn = ({ idempotencyKey: id }: StepContext): Promise<{ id: string; runId: string }> =>
      this.#outside.startChild({
        workflow: name,
        input,
        options: { onConflict: 'fail', id, ...startOptions },
        parent: { workflowId, runId, op: Number(id.slice(runId.length + 1)), onClose },
        ...(trace === undefined ? {} : { trace }),
      });
    const child = (await this.#run.schedule(this.#scope, 'child', name, {
      hash: argsHash(input, `input of child "${name}"`, this.#digest),
      step: { fn, options: { retry: { nonRetryable: START_REFUSED } }, attempt: 1 },
      onScheduled: ({ op }) => void this.#run.children.set(options.id ?? `${runId}/${op}`, onClose),
    })) as { id: string; runId: string };
    return {
      id: child.id,
      result: (wait) => this.#childResult(child, wait) as Promise<CO>,
      signal: (signal, payload) => this.signal(child.id, signal, payload),
      cancel: (reason = '') => this.#cancel(child.id, reason),
    };
  }

  #childResult(
    { id, runId }: { id: string; runId: string },
    { timeout, signal }: WaitOptions = {},
  ): Promise<unknown> {
    const abandon = (operation: Operation): void =>
      this.#run.settle(operation, {
        error: new CancelledError(`the wait for child "${id}" was abandoned`),
      });
    return this.#run.schedule(this.#scope, 'child-result', id, {
      fireAt: this.#deadline(timeout),
      awaits: runId,
      onScheduled: (operation) => {
        if (signal?.aborted === true) abandon(operation);
        else signal?.addEventListener('abort', () => abandon(operation), { once: true });
      },
    });
  }

  #cancel(workflowId: string, reason: string): Promise<void> {
    const fn = (): Promise<void> => this.#outside.cancel(workflowId, reason);
    const retry = { nonRetryable: ['ERR_ENGINE_NOT_FOUND'] };
    const step = { fn, options: { retry }, attempt: 1 };
    return this.#run.schedule(this.#scope, 'cancel', workflowId, { step }) as Promise<void>;
  }

  signal(
    workflowId: string,
    name: string,
    payload?: unknown,
    options: { id?: string } = {},
  ): Promise<void> {
    const fn = (step: StepContext): Promise<void> =>
      this.#outside.signal(workflowId, name, payload, options.id ?? step.idempotencyKey);
    const retry = { nonRetryable: ['ERR_ENGINE_NOT_FOUND'] };
    return this.#run.schedule(this.#scope, 'signal', `${name} to ${workflowId}`, {
      hash: argsHash(payload, `payload of signal "${name}"`, this.#digest),
      step: { fn, options: { retry }, attempt: 1 },
    }) as Promise<void>;
  }

  continueAsNew(input: I): never {
    throw new Continuation(this.#run.ports.payloads.encode(input, 'input of the next run'));
  }

  compensate(
    name: string,
    undo: (step: StepContext) => void | Promise<void>,
    options: StepOptions<void> = {},
  ): void {
    checkStep(name, undo, options);
    this.#run.saga.add({ name, fn: undo, options });
  }

  scope<T>(
    body: (ctx: WorkflowContext & { cancel(reason?: string): void }) => Promise<T>,
    options: { timeout?: Duration } = {},
  ): Promise<T> {
    return lookedAtLate(this.#inScope(body, options));
  }

  async #inScope<T>(
    body: (ctx: WorkflowContext & { cancel(reason?: string): void }) => Promise<T>,
    options: { timeout?: Duration },
  ): Promise<T> {
    const scope = this.#scope.inner(false);
    const inner = new ScopeContext(this.#run, scope, this.#outside);
    if (options.timeout === undefined) return body(inner);
    let timer: Operation | undefined;
    let late = false;
    const fired = this.#run.schedule(this.#scope, 'sleep', 'timeout of a scope', {
      fireAt: this.#deadline(options.timeout),
      onScheduled: (operation) => void (timer = operation),
    });
    const expire = async (): Promise<void> => {
      await fired;
      late = true;
      inner.cancel('the scope took too long');
    };
    // When the outer scope is cancelled first, the timer is too, and the inner scope with it.
    expire().catch(() => {});
    try {
      return await body(inner);
    } catch (error) {
      if (late && error instanceof CancelledError) {
        throw new TimeoutError('the scope took too long', { cause: error });
      }
      throw error;
    } finally {
      if (timer !== undefined) this.#run.settle(timer);
    }
  }

  shield<T>(body: (ctx: WorkflowContext) => Promise<T>): Promise<T> {
    const inner = new RunContext(this.#run, this.#scope.inner(true), this.#outside);
    const shielded = async (): Promise<T> => body(inner);
    return lookedAtLate(shielded());
  }

  version(changeId: string, range: { min: number; max: number }): number {
    const run = this.#run;
    const known = run.versions.get(changeId) ?? this.#recordedVersion(changeId, range);
    run.versions.set(changeId, known);
    if (known < range.min) {
      run.refuse(
        new AetherError(`"${changeId}" was recorded at version ${known}, below ${range.min}`, {
          code: 'ERR_ENGINE_VERSION',
          hint: `deploy a body that still has version ${known} of "${changeId}"`,
        }),
      );
    }
    return known;
  }

  /** A marker is written where the body is past its journal; an old journal without one means `min`. */
  #recordedVersion(changeId: string, range: { min: number; max: number }): number {
    const next = this.#run.peek();
    const marked = next?.kind === 'version-marked' && next.name === changeId;
    if (next !== undefined && !marked) return range.min;
    const at = this.#run.nowMs;
    const marker = { kind: 'version-marked', at, name: changeId, version: range.max } as const;
    return (
      this.#run.command<{ kind: 'version-marked'; at: number; name: string; version: number }>(
        marker,
      )?.version ?? range.max
    );
  }

  now(): number {
    return this.#run.nowMs;
  }

  random(): number {
    return this.#run.random.next();
  }

  uuid(): string {
    const hex = Array.from({ length: 32 }, () => Math.floor(this.random() * 16).toString(16));
    hex[12] = '4';
    hex[16] = '89ab'[Math.floor(this.random() * 4)] as string;
    const text = hex.join('');
    return [
      text.slice(0, 8),
      text.slice(8, 12),
      text.slice(12, 16),
      text.slice(16, 20),
      text.slice(20),
    ].join('-');
  }

  attributes(values: Attributes): void {
    const at = this.#run.nowMs;
    const checked = checkedAttributes(values, this.#run.ports.payloads.bytesMax);
    if (this.#run.command({ kind: 'attributes-set', at, values: checked }) !== undefined) {
      Object.assign(this.#run.attributes, checked);
    }
  }

  #deadline(timeout: Duration | undefined): number | undefined {
    return timeout === undefined ? undefined : this.#run.deadline(durationMs(timeout));
  }
}

/** A body may look at what failed late or never; that must not end the process. */
function lookedAtLate<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** @throws AetherError ERR_ENGINE_TIME */
function checkTime(epochMs: number, what: string): void {
  if (Number.isFinite(epochMs)) return;
  throw new AetherError(`${what} until ${epochMs}, which is no time`, {
    code: 'ERR_ENGINE_TIME',
    hint: 'give Unix milliseconds; to wait for ever, receive a signal',
  });
}

class ScopeContext extends RunContext<unknown> {
  readonly #cancel: (reason: string) => void;

  constructor(run: Run, scope: Scope, outside: Outside) {
    super(run, scope, outside);
    this.#cancel = (reason) => run.cancelScope(scope, reason);
  }

  cancel(reason: string = ''): void {
    this.#cancel(reason);
  }
}
