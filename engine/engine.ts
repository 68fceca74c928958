/** The engine as programs see it: start, find, talk to and replay workflows. */
import { randomUUID } from 'node:crypto';
import { AetherError, NotAvailableError } from '../spec/error.ts';
import { type Duration, durationMs } from '../spec/duration.ts';
import { silentLog } from '../spec/log.ts';
import type { AnyWorkflow, InputOf, OutputOf, StartOptions, WaitOptions } from './core/contract.ts';
import { RunContext } from './core/context.ts';
import {
  AlreadyExistsError,
  CancelledError,
  NondeterminismError,
  NotFoundError,
  PayloadTypeError,
  StoreCorruptError,
  TerminatedError,
  TimeoutError,
  UpdateRejectedError,
  WorkflowFailedError,
} from './core/errors.ts';
import type { ClosingEvent, JournalEvent, OutsideEvent, StartedEvent } from './core/event.ts';
import { plainCause } from './core/failure.ts';
import { type ExportedEvent, HISTORY_FORMAT, importEntries, readEntries } from './core/journal.ts';
import { PayloadCodec } from './core/payload.ts';
import { isOpen, type RunRecord } from './core/record.ts';
import { Run } from './core/run.ts';
import { recordOf } from './core/status.ts';
import { type WorkflowHandle, wait } from './handle.ts';
import { type Ending, Executor } from './io/executor.ts';
import { drainMicrotasks, sha256, systemClock, systemRandom, turn } from './io/system.ts';
import type {
  EngineOptions,
  History,
  HistoryEvent,
  ListFilter,
  PendingOperation,
  ReplayReport,
  WorkflowSummary,
} from './options.ts';
import { type Schedules, unavailableSchedules } from './schedules.ts';
import { type Definition, Registry } from './workflow.ts';

export type StartArgs<I> = unknown extends I
  ? [input?: I, options?: StartOptions]
  : undefined extends I
    ? [input?: I, options?: StartOptions]
    : [input: I, options?: StartOptions];

const PAYLOAD_BYTES_MAX = 2 * 1024 * 1024;
const HISTORY_EVENTS_MAX = 100_000;
const LIST_PAGE = 200;
const RETENTION_MS_MIN = 60_000;

export class Engine {
  readonly schedules: Schedules = unavailableSchedules;
  readonly #options: EngineOptions;
  readonly #registry: Registry;
  readonly #payloads: PayloadCodec;
  readonly #executor: Executor;
  /** Starts of one id go one after another, so that each sees what the one before did. */
  readonly #starting = new Map<string, Promise<unknown>>();

  /** Use `Engine.open`. */
  protected constructor(options: EngineOptions) {
    if (options.queues !== undefined) throw new NotAvailableError('queues are not available yet');
    if (options.strict === true) throw new NotAvailableError('strict mode is not available yet');
    this.#options = options;
    this.#registry = new Registry(options.workflows);
    this.#payloads = new PayloadCodec({
      codec: options.codec,
      bytesMax: options.limits?.payloadBytes ?? PAYLOAD_BYTES_MAX,
    });
    this.#executor = new Executor({
      store: options.store,
      registry: this.#registry,
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
      payloads: this.#payloads,
      historyEventsMax: options.limits?.historyEvents ?? HISTORY_EVENTS_MAX,
      concurrency: options.concurrency ?? 1_000,
      log: options.log ?? silentLog,
      retentionMs: retentionMs(options.retention),
      probe: options.probe ?? {},
    });
  }

  /** Opens the store and goes on with every open run. @throws StoreLockedError, StoreCorruptError */
  static async open(options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options);
    await engine.begin();
    return engine;
  }

  protected async begin(): Promise<void> {
    await this.#options.store.open();
    try {
      await this.#executor.open();
    } catch (error) {
      await this.#options.store.close();
      throw error;
    }
  }

  protected get executor(): Executor {
    return this.#executor;
  }

  /** Batches that were handed to the store: with group commit, far fewer than events. */
  get commits(): number {
    return this.#executor.commits;
  }

  /** Runs in memory now; sleeping and finished ones are not. */
  get runsInMemory(): number {
    return this.#executor.runsInMemory;
  }

  /**
   * Resolves once the start is durable. By name with types: `engine.start<typeof order>('order', …)`.
   *
   * @throws NotFoundError, PayloadTypeError, PayloadTooLargeError, AlreadyExistsError
   */
  async start<W extends AnyWorkflow>(
    workflow: W | string,
    ...[input, options = {}]: StartArgs<InputOf<W>>
  ): Promise<WorkflowHandle<OutputOf<W>>> {
    const definition = this.#registry.latest(
      typeof workflow === 'string' ? workflow : workflow.name,
    );
    if (options.queue !== undefined || options.fairnessKey !== undefined) {
      throw new NotAvailableError('queues and fairness keys are not available yet');
    }
    const event = await this.#startedEvent(definition, input, options);
    if (options.id === undefined) {
      const id = this.#executor.newId();
      const runId = await this.#executor.start(definition, id, event, this.#signalOf(options));
      return this.#handle<OutputOf<W>>(id, runId);
    }
    const { id } = options;
    const runId = await this.#oneAtATime(id, () => this.#startOnce(definition, id, event, options));
    return this.#handle<OutputOf<W>>(id, runId);
  }

  /** Without `runId`: the newest run of the id. */
  get<O = unknown>(workflowId: string, options: { runId?: string } = {}): WorkflowHandle<O> {
    return this.#handle<O>(workflowId, options.runId);
  }

  /** Runs in order of their start. */
  async *list(filter: ListFilter = {}): AsyncIterable<WorkflowSummary> {
    const { limit = Infinity, status, ...rest } = filter;
    const statuses = typeof status === 'string' ? [status] : status;
    const where = { ...rest, ...(statuses === undefined ? {} : { status: statuses }) };
    let left = limit;
    let after: string | undefined;
    await turn();
    await this.#executor.flushed();
    while (left > 0) {
      const page = await this.#options.store.list({
        ...where,
        limit: Math.min(left, LIST_PAGE),
        ...(after === undefined ? {} : { after }),
      });
      for (const record of page) yield summaryOf(record, pendingWhy(record), record.events);
      left -= page.length;
      after = page.at(-1)?.runId;
      if (page.length < LIST_PAGE) return;
    }
  }

  /**
   * Runs a recorded history against today's code, with no side effect and no store.
   *
   * @throws StoreCorruptError when the history is not what was recorded
   */
  static async replay(workflow: AnyWorkflow, history: History): Promise<ReplayReport> {
    const definition = new Registry([workflow]).latest(workflow.name);
    const { workflowId, runId, name, version } = history;
    const exported = history.events as unknown as ExportedEvent[];
    const events = readEntries(runId, importEntries(exported), sha256);
    const run = new Run(
      { workflowId, runId, name, version },
      async (one, scope, input) => definition.body(new RunContext(one, scope, NOWHERE), input),
      {
        drain: drainMicrotasks,
        digest: sha256,
        payloads: new PayloadCodec({ bytesMax: Infinity }),
        historyEventsMax: Infinity,
        newRunId: () => '',
        refusal: () => undefined,
      },
    );
    await run.recover(events, events.at(-1)?.at ?? 0);
    const { stuck } = run;
    if (stuck === undefined) return { ok: true, events: events.length };
    const divergence =
      stuck instanceof NondeterminismError
        ? (stuck.details as NonNullable<ReplayReport['divergence']>)
        : { seq: 0, recorded: 'the history', actual: stuck.message };
    return { ok: false, events: events.length, divergence };
  }

  /** Stops taking work, aborts step signals, waits for what is being recorded. */
  async close(): Promise<void> {
    await this.#executor.close();
    await this.#options.store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- start -----------------------------------------------------------------------------------

  async #startedEvent(
    definition: Definition<unknown, unknown>,
    input: unknown,
    options: StartOptions,
  ): Promise<StartedEvent> {
    const { name } = definition;
    const value = await checked(definition, input);
    const at = this.#clock.nowMs();
    const timeout = options.timeout ?? definition.options.timeout;
    const timeoutMs = timeout === undefined ? undefined : durationMs(timeout);
    const delayMs = options.delay === undefined ? 0 : durationMs(options.delay);
    if ((options.retry ?? definition.options.retry) !== undefined) {
      throw new NotAvailableError('retries of a whole workflow are not available yet', {
        hint: 'give its steps a retry policy',
      });
    }
    return {
      kind: 'started',
      at,
      payload: this.#payloads.encode(value, `input of workflow "${name}"`),
      ...(options.attributes === undefined ? {} : { attributes: { ...options.attributes } }),
      ...(timeoutMs === undefined ? {} : { timeoutMs, deadline: at + delayMs + timeoutMs }),
      ...(delayMs === 0 ? {} : { notBefore: at + delayMs }),
      ...(options.priority === undefined ? {} : { priority: options.priority }),
    };
  }

  #signalOf({ signal }: StartOptions): OutsideEvent[] {
    if (signal === undefined) return [];
    return [this.#executor.signalArrival(signal.name, signal.payload).event];
  }

  async #startOnce(
    definition: Definition<unknown, unknown>,
    id: string,
    event: StartedEvent,
    options: StartOptions,
  ): Promise<string> {
    const existing = await this.#executor.newest(id);
    if (existing !== undefined && isOpen(existing.status)) {
      const { onConflict = 'use-existing' } = options;
      if (onConflict === 'fail') throw alreadyExists(existing);
      if (onConflict === 'terminate-existing') await this.#terminate(existing, 'started anew');
      else {
        const { signal } = options;
        if (signal !== undefined) {
          await this.#executor.send(
            existing,
            this.#executor.signalArrival(signal.name, signal.payload),
          );
        }
        return existing.runId;
      }
    } else if (existing !== undefined) {
      const { onClosed = 'use-existing' } = options;
      if (onClosed === 'fail') throw alreadyExists(existing);
      const restart =
        onClosed === 'restart' ||
        (onClosed === 'restart-if-failed' && existing.status !== 'completed');
      if (!restart) return existing.runId;
    }
    return this.#executor.start(definition, id, event, this.#signalOf(options));
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

  // ---- handles ---------------------------------------------------------------------------------

  #handle<O>(id: string, runId: string | undefined): WorkflowHandle<O> {
    const record = (): Promise<RunRecord> => this.#record(id, runId);
    return {
      id,
      result: (options) => wait(this.#result(id, runId), options) as Promise<O>,
      describe: async () => this.#describe(await record()),
      history: async () => this.#history(await record()),
      signal: async (name, payload, options = {}) => {
        const arrival = this.#executor.signalArrival(name, payload, options.id);
        await this.#executor.send(await record(), arrival);
      },
      query: <R>(name: string, argument?: unknown, options?: WaitOptions) =>
        wait(this.#query(record, name, argument) as Promise<R>, options),
      update: <R>(
        name: string,
        argument?: unknown,
        options: WaitOptions & { id?: string; waitFor?: 'completed' | 'accepted' } = {},
      ) => wait(this.#update(record, name, argument, options) as Promise<R>, options),
      cancel: async (reason = '') => {
        const event: OutsideEvent = { kind: 'cancel-requested', at: this.#clock.nowMs(), reason };
        const wanted = (run: Run): boolean => run.root.cancelled === undefined;
        await this.#executor.send(await record(), { event, wanted });
      },
      terminate: async (reason = '') => this.#terminate(await record(), reason),
    };
  }

  /** @throws NotFoundError */
  async #record(id: string, runId: string | undefined): Promise<RunRecord> {
    const record =
      runId === undefined ? await this.#executor.newest(id) : await this.#executor.recordOf(runId);
    if (record !== undefined && record.workflowId === id) return record;
    throw new NotFoundError(`no workflow run with id "${id}"`);
  }

  async #terminate(record: RunRecord, reason: string): Promise<void> {
    const event: OutsideEvent = { kind: 'terminated', at: this.#clock.nowMs(), reason };
    await this.#executor.send(record, { event });
  }

  async #result(id: string, runId: string | undefined): Promise<unknown> {
    let current = runId ?? (await this.#record(id, undefined)).runId;
    for (;;) {
      const ending = await this.#ending(id, current);
      if ('error' in ending) throw ending.error;
      const { event } = ending;
      if (!('next' in event) || event.next === undefined) return outcome(id, event, this.#payloads);
      current = event.next.runId;
    }
  }

  /** The end of a run: from the store if it is closed, else when it comes. */
  async #ending(id: string, runId: string): Promise<Ending> {
    const { promise, resolve } = Promise.withResolvers<Ending>();
    // Listened for before the store is read, so that an end in between is not missed.
    const forget = this.#executor.ending(runId, resolve);
    try {
      return (await this.#stored(id, runId)) ?? (await promise);
    } finally {
      forget();
    }
  }

  async #stored(id: string, runId: string): Promise<Ending | undefined> {
    const record = await this.#record(id, runId);
    if (record.status === 'quarantined') return { error: quarantined(record) };
    if (isOpen(record.status)) return undefined;
    await this.#executor.flushed();
    const [entry] = await this.#options.store.read({ runId, from: record.entries });
    if (entry === undefined) return { error: quarantined(record) };
    const events = JSON.parse(entry.body) as JournalEvent[];
    return { event: events.at(-1) as ClosingEvent };
  }

  async #describe(record: RunRecord): Promise<WorkflowSummary> {
    await turn();
    if (!isOpen(record.status) || record.status === 'quarantined') {
      return summaryOf(record, pendingWhy(record), record.events);
    }
    return this.#executor.visit(record, (run) => {
      const now = recordOf(run, record.entries);
      return summaryOf(now, [...pendingOf(run), ...pendingWhy(now)], now.events);
    });
  }

  async #history({ workflowId, runId, name, version }: RunRecord): Promise<History> {
    const events = await this.#executor.history(runId);
    return {
      format: HISTORY_FORMAT,
      workflowId,
      runId,
      name,
      version,
      events: events as unknown as HistoryEvent[],
    };
  }

  async #query(
    record: () => Promise<RunRecord>,
    name: string,
    argument: unknown,
  ): Promise<unknown> {
    await turn();
    return this.#executor.visit(await record(), (run) => run.query(name, argument));
  }

  async #update(
    record: () => Promise<RunRecord>,
    name: string,
    argument: unknown,
    {
      id = randomUUID(),
      waitFor = 'completed',
    }: { id?: string; waitFor?: 'completed' | 'accepted' },
  ): Promise<unknown> {
    const found = await record();
    const payload = this.#payloads.encode(argument, `argument of update "${name}"`);
    const event: OutsideEvent = {
      kind: 'update-accepted',
      at: this.#clock.nowMs(),
      name,
      payload,
      id,
    };
    await this.#executor.send(found, {
      event,
      wanted: (run) => {
        if (run.updates.has(id)) return false;
        run.validateUpdate(name, argument);
        return true;
      },
    });
    if (waitFor === 'accepted') return undefined;
    const done = await this.#executor.updated(found, id);
    if (done.error === undefined) return this.#payloads.decode(done.payload ?? null);
    throw new UpdateRejectedError(`update "${name}" failed: ${done.error.message}`, {
      cause: plainCause(done.error, this.#payloads),
    });
  }

  get #clock(): NonNullable<EngineOptions['clock']> {
    return this.#options.clock ?? systemClock;
  }
}

/** @throws RangeError */
function retentionMs(retention: Duration | undefined): number | undefined {
  if (retention === undefined) return undefined;
  const ms = durationMs(retention);
  if (ms < RETENTION_MS_MIN)
    throw new RangeError(`retention is at least a minute, not ${retention}`);
  return ms;
}

const NOWHERE = {
  signal: (): Promise<void> => Promise.reject(new Error('a replay reaches nothing outside')),
};

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

function alreadyExists(record: RunRecord): AlreadyExistsError {
  return new AlreadyExistsError(`workflow id "${record.workflowId}" has a run (${record.status})`, {
    hint: 'take the existing run, or choose another id',
    details: { runId: record.runId, status: record.status },
  });
}

function quarantined(record: RunRecord): StoreCorruptError {
  return new StoreCorruptError(record.why?.message ?? `run ${record.runId} is damaged`, {
    hint: 'restore the store from a backup; other runs are not affected',
  });
}

function pendingOf(run: Run): PendingOperation[] {
  return Array.from(run.operations, ({ kind, name, step, fireAt }) => {
    const pending: PendingOperation = { kind, name, attempt: step?.attempt ?? 1 };
    const nextAttemptAt = step?.retryAt ?? fireAt;
    if (nextAttemptAt !== undefined) pending.nextAttemptAt = nextAttemptAt;
    if (step?.lastError !== undefined) pending.lastError = step.lastError;
    return pending;
  });
}

function pendingWhy({ why }: RunRecord): PendingOperation[] {
  if (why === undefined) return [];
  return [{ kind: 'stuck', name: why.code, attempt: 0, lastError: why.message }];
}

function summaryOf(
  record: RunRecord,
  pending: PendingOperation[],
  events: number,
): WorkflowSummary {
  const {
    workflowId: id,
    runId,
    name,
    version,
    status,
    startedAt,
    closedAt,
    attributes,
    parent,
  } = record;
  return {
    id,
    runId,
    name,
    version,
    status,
    startedAt,
    ...(closedAt === undefined ? {} : { closedAt }),
    attributes,
    pending,
    events,
    ...(parent === undefined ? {} : { parent }),
  };
}

/** What `result()` gives for a run that has ended. */
function outcome(id: string, event: ClosingEvent, payloads: PayloadCodec): unknown {
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
