/** The engine as programs see it: start, find, talk to and replay workflows. */
import type { Clock } from '../spec/clock.ts';
import { durationMs } from '../spec/duration.ts';
import { AetherError } from '../spec/error.ts';
import { silentLog } from '../spec/log.ts';
import type { AnyWorkflow, InputOf, OutputOf, StartOptions, WaitOptions } from './core/contract.ts';
import { UpdateRejectedError } from './core/errors.ts';
import { plainCause } from './core/failure.ts';
import { HISTORY_FORMAT } from './core/journal.ts';
import { outcomeOf } from './core/outcome.ts';
import { PayloadCodec } from './core/payload.ts';
import { isOpen, type RunRecord } from './core/record.ts';
import type { Run } from './core/run.ts';
import { recordOf } from './core/status.ts';
import { type WorkflowHandle, wait } from './handle.ts';
import { Arrivals, type Sent } from './io/arrivals.ts';
import { Children } from './io/children.ts';
import { Endings } from './io/endings.ts';
import { Executor } from './io/executor.ts';
import { systemClock } from './io/machine-clock.ts';
import { EngineMetrics } from './io/metrics.ts';
import { Queues } from './io/queues.ts';
import { RunLog } from './io/run-log.ts';
import { exemptCodec } from './io/strict.ts';
import { Starter } from './io/starter.ts';
import { systemRandom, turn } from './io/system.ts';
import { Tracing } from './io/tracing.ts';
import type {
  EngineOptions,
  History,
  HistoryEvent,
  ListFilter,
  PendingOperation,
  ReplayReport,
  WorkflowSummary,
} from './options.ts';
import { replay } from './replay.ts';
import { type Schedules, scheduleWorkflow, WorkflowSchedules } from './schedules.ts';
import type { Store } from './store.ts';
import { Registry } from './workflow.ts';

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
  readonly schedules: Schedules;
  readonly #options: EngineOptions;
  readonly #registry: Registry;
  readonly #payloads: PayloadCodec;
  readonly #metrics: EngineMetrics;
  readonly #clock: Clock;
  readonly #arrivals: Arrivals;
  readonly #executor: Executor;
  readonly #queues: Queues;
  readonly #starter: Starter;
  #closing: Promise<void> | undefined;
  readonly #endings: Endings;
  readonly #children: Children;

  /** Use `Engine.open`. */
  protected constructor(options: EngineOptions) {
    checkOptions(options);
    this.#options = options;
    this.#registry = new Registry([...options.workflows, scheduleWorkflow]);
    const metrics = new EngineMetrics({
      runsInMemory: () => this.runsInMemory,
      timers: () => this.timersSet,
      stuck: () => this.#executor.stuck,
      quarantined: () => this.#executor.quarantined,
      queues: () => this.#queues.counts,
    });
    this.#metrics = metrics;
    this.#payloads = new PayloadCodec({
      codec: options.codec && exemptCodec(options.codec),
      bytesMax: options.limits?.payloadBytes ?? PAYLOAD_BYTES_MAX,
      encoded: (plain) => metrics.encoded(Buffer.byteLength(plain)),
    });
    this.#clock = options.clock ?? systemClock;
    const { store, log = silentLog } = options;
    const historyEventsMax = options.limits?.historyEvents ?? HISTORY_EVENTS_MAX;
    const shared = { payloads: this.#payloads, clock: this.#clock, log, tracing: new Tracing() };
    this.#arrivals = new Arrivals(shared);
    const common = { ...shared, registry: this.#registry, arrivals: this.#arrivals };
    const executor = new Executor({
      ...common,
      store,
      random: options.random ?? systemRandom,
      metrics,
      runLog: new RunLog(log, historyEventsMax),
      historyEventsMax,
      concurrency: options.concurrency ?? 1_000,
      retentionMs: retentionMs(options),
      probe: options.probe ?? {},
      strict: options.strict ?? false,
      ports: {
        outside: () => this.#children,
        owned: () => this.#queues.open(),
        waits: (run, operation) => this.#children.watch(run, operation),
        loaded: (run) => this.#children.loaded(run),
        ready: (run) => this.#queues.ready(run),
        closed: (run) => {
          this.#queues.closed(run);
          this.#children.closed(run);
        },
      },
    });
    this.#executor = executor;
    this.#queues = new Queues(options.queues ?? {}, {
      clock: this.#clock,
      store,
      begin: (run) => executor.begin(run),
    });
    this.#starter = new Starter({ ...common, executor, queues: this.#queues });
    this.#endings = new Endings(executor, store);
    this.#children = new Children({
      ...common,
      executor,
      store,
      starter: this.#starter,
      endings: this.#endings,
    });
    this.schedules = new WorkflowSchedules({
      ...common,
      starter: this.#starter,
      handle: (id) => this.handle(id, undefined, true),
      runs: (filter) => this.list(filter),
    });
  }

  /** Opens the store and goes on with every open run. @throws StoreLockedError, StoreCorruptError, AetherError ERR_ENGINE_OPTIONS */
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
      this.#executor.kill();
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

  /** Timers that are set: of waits, deadlines, delays and next attempts. */
  get timersSet(): number {
    return this.#executor.timers;
  }

  /** What this engine has counted since it was opened, in Prometheus' text exposition format 0.0.4. */
  metrics(): string {
    return this.#metrics.render();
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
    const name = typeof workflow === 'string' ? workflow : workflow.name;
    const { id, runId } = await this.#starter.start(name, input, options);
    return this.handle<OutputOf<W>>(id, runId, true);
  }

  /** Without `runId`: the newest run of the id; with it that run only, except for `result`, which follows. */
  get<O = unknown>(workflowId: string, options: { runId?: string } = {}): WorkflowHandle<O> {
    return this.handle<O>(workflowId, options.runId, options.runId === undefined);
  }

  /** Runs in order of their start; schedules are runs too, and left out unless their name is asked for. */
  async *list(filter: ListFilter = {}): AsyncIterable<WorkflowSummary> {
    const { limit = Infinity, status, ...rest } = filter;
    const statuses = typeof status === 'string' ? [status] : status;
    const where = { ...rest, ...(statuses === undefined ? {} : { status: statuses }) };
    const size = Math.min(limit, LIST_PAGE);
    let left = limit;
    let after: string | undefined;
    await turn();
    await this.#executor.flushed();
    while (left > 0) {
      const page = await this.#options.store.list({
        ...where,
        limit: size,
        ...(after === undefined ? {} : { after }),
      });
      for (const record of page) {
        if (record.name === scheduleWorkflow.name && filter.name === undefined) continue;
        if (left-- <= 0) return;
        yield summaryOf(record, pendingWhy(record), record.events);
      }
      after = page.at(-1)?.runId;
      if (page.length < size) return;
    }
  }

  /**
   * Runs a recorded history against today's code, with no side effect and no store.
   *
   * @param workflows the code, whatever its version; or a list, of which the run's own name and version is taken
   * @param options the codec that the history was recorded through
   * @throws AetherError ERR_ENGINE_HISTORY_FORMAT, ERR_ENGINE_VERSION_MISSING, StoreCorruptError when the history is not
   *   what was recorded
   */
  static replay(
    workflows: AnyWorkflow | readonly AnyWorkflow[],
    history: History,
    options: Pick<EngineOptions, 'codec'> = {},
  ): Promise<ReplayReport> {
    return replay(workflows, history, options);
  }

  /** Stops taking work, aborts step signals, waits for what is being recorded. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#queues.close();
    await this.#executor.close();
    await this.#options.store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What timeouts of waits go by. */
  protected get waitClock(): Clock {
    return this.#clock;
  }

  // ---- handles ---------------------------------------------------------------------------------

  /** @param follows what goes on for the run is meant too, not only the run itself. */
  protected handle<O>(id: string, runId: string | undefined, follows: boolean): WorkflowHandle<O> {
    const act = async <T>(on: (record: RunRecord) => Promise<T>): Promise<T> =>
      follows ? this.#endings.act(id, runId, on) : on(await this.#endings.record(id, runId));
    return {
      id,
      result: (options) =>
        wait(this.waitClock, options, async (over) => {
          const end = await this.#endings.end(id, { runId, over });
          return outcomeOf(id, end, this.#payloads);
        }) as Promise<O>,
      describe: () => act((record) => this.#describe(record)),
      history: () => act((record) => this.#history(record)),
      signal: async (name, payload, options = {}) => {
        const arrival = this.#arrivals.signal(name, payload, options.id);
        await act((record) => this.#executor.send(record, arrival));
      },
      query: <R>(name: string, argument?: unknown, options?: WaitOptions) =>
        wait(this.waitClock, options, () =>
          act((record) => this.#query(record, name, argument)),
        ) as Promise<R>,
      update: <R>(
        name: string,
        argument?: unknown,
        options: WaitOptions & { id?: string; waitFor?: 'completed' | 'accepted' } = {},
      ) =>
        wait(this.waitClock, options, (over) => {
          const arrival = this.#arrivals.update(name, argument, options.id);
          const { waitFor = 'completed' } = options;
          return act((record) => this.#update(record, arrival, { name, waitFor, over }));
        }) as Promise<R>,
      cancel: (reason = '') => act((record) => this.#children.cancel(record, reason)),
      terminate: (reason = '') => act((record) => this.#starter.terminate(record, reason)),
    };
  }

  async #describe(record: RunRecord): Promise<WorkflowSummary> {
    await turn();
    if (!isOpen(record.status) || record.status === 'quarantined') {
      return summaryOf(record, pendingWhy(record), record.events);
    }
    return this.#executor.visit(record, (run, historyBytes) => {
      const now = recordOf(run, record.entries, historyBytes);
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

  async #query(record: RunRecord, name: string, argument: unknown): Promise<unknown> {
    await turn();
    const copy = (value: unknown, what: string): unknown =>
      this.#payloads.copy(value, `${what} of query "${name}"`);
    const own = copy(argument, 'argument');
    return this.#executor.visit(record, (run) =>
      copy(run.handlers.query(name, own, run.stuck), 'result'),
    );
  }

  async #update(
    record: RunRecord,
    arrival: Sent & { id: string },
    {
      name,
      waitFor,
      over,
    }: { name: string; waitFor: 'completed' | 'accepted'; over: AbortSignal | undefined },
  ): Promise<unknown> {
    await this.#executor.send(record, arrival);
    if (waitFor === 'accepted') return undefined;
    const done = await this.#executor.updated(record, arrival.id, over);
    if (done.error === undefined) return this.#payloads.decode(done.payload ?? null);
    throw new UpdateRejectedError(`update "${name}" failed: ${done.error.message}`, {
      cause: plainCause(done.error, this.#payloads),
    });
  }
}

/** @throws AetherError ERR_ENGINE_OPTIONS */
function checkOptions({ store, workflows, concurrency, limits = {} }: EngineOptions): void {
  // Programs in JavaScript leave out what the types ask for.
  if (typeof (store as Store | undefined)?.open !== 'function')
    throw refusal('store is not a store', "pass one, such as new SqliteStore('engine.db')");
  if (!Array.isArray(workflows))
    throw refusal('workflows is not a list', 'pass what workflow() gave: workflows: [order]');
  for (const [name, value] of Object.entries({ concurrency, ...limits })) {
    if (value === undefined || value >= 1) continue;
    throw refusal(`${name} is ${value}`, 'it is a number from 1; leave it out for the default');
  }
}

/** @throws AetherError ERR_ENGINE_OPTIONS, ERR_DURATION */
function retentionMs({ retention, queues = {} }: EngineOptions): number | undefined {
  if (retention === undefined) return undefined;
  const ms = durationMs(retention);
  if (ms < RETENTION_MS_MIN)
    throw refusal(`retention is ${retention}`, "it is at least '1m'; leave it out to keep all");
  for (const [name, { rate }] of Object.entries(queues)) {
    // After a restart, what counts for a rate is read from the store.
    if (rate === undefined || ms >= durationMs(rate.per)) continue;
    throw refusal(
      `retention ${retention} is shorter than the rate of queue "${name}"`,
      `keep runs for at least ${rate.per}`,
    );
  }
  return ms;
}

function refusal(why: string, hint: string): AetherError {
  return new AetherError(`not the options of an engine: ${why}`, {
    code: 'ERR_ENGINE_OPTIONS',
    hint,
  });
}

function pendingOf(run: Run): PendingOperation[] {
  if (run.delayed && run.queued) {
    return [{ kind: 'queue', name: run.started.queue?.name ?? '', attempt: 1 }];
  }
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
    historyBytes,
    parent,
    queue,
  } = record;
  return {
    id,
    runId,
    name,
    version,
    status,
    startedAt,
    ...(closedAt === undefined ? {} : { closedAt }),
    attributes: { ...attributes },
    pending,
    events,
    ...(historyBytes === undefined ? {} : { historyBytes }),
    ...(parent === undefined ? {} : { parent }),
    ...(queue === undefined ? {} : { queue: queue.name }),
  };
}
