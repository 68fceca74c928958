/**
 * The loop between store, clock, steps and runs.
 *
 * What comes for a run goes through its inbox (delivery.ts), which has it loaded (run-loader.ts, live-runs.ts); what its
 * body does is committed here, and only then carried out: steps (step-runner.ts), timers (run-timers.ts), who waits.
 *
 * E1. A step begins, a waiter hears, a timer is set only after what led to it is durable.
 * E2. The body of a run goes ahead of the disk: what it does next shares the commit of the event that woke it. So one
 *     commit holds a step's outcome and the next step's beginning, and the last outcome and the run's end.
 * E3. When a commit fails, the run's state in memory is worth nothing: it is dropped and loaded again.
 * E4. A run that waits leaves memory (L2 of live-runs.ts); nothing here polls.
 */
import type { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import type { AnyWorkflow } from '../core/contract.ts';
import type { Outside } from '../core/context.ts';
import type { Operation } from '../core/operation.ts';
import {
  EngineClosedError,
  FencedError,
  NotFoundError,
  StoreCorruptError,
  UpdateRejectedError,
} from '../core/errors.ts';
import {
  type ClosingEvent,
  isClosing,
  type JournalEvent,
  type OutsideEvent,
  type StartedEvent,
} from '../core/event.ts';
import { appendEntry, type ExportedEvent, exportEntries, readEntries } from '../core/journal.ts';
import { isOpen, type RunRecord } from '../core/record.ts';
import { backoffMs } from '../core/retry.ts';
import type { Run } from '../core/run.ts';
import type { Advance, RunIdentity } from '../core/run-ports.ts';
import { differs, recordOf, whyOf } from '../core/status.ts';
import { isFollowed, successorOf } from '../core/successor.ts';
import type { Append, AppendResult } from '../store.ts';
import type { Arrivals, Sent } from './arrivals.ts';
import { Committer } from './committer.ts';
import { Delivery } from './delivery.ts';
import { type Arrival, type Inbound, isResting, type LiveRun } from './live-run.ts';
import { LiveRuns } from './live-runs.ts';
import { probeEvent } from './probe.ts';
import { Retention } from './retention.ts';
import { type RunHooks, RunLoader, type RunLoaderOptions } from './run-loader.ts';
import type { RunLog } from './run-log.ts';
import { RunTimers } from './run-timers.ts';
import { StepRunner, type StepRunnerOptions } from './step-runner.ts';
import { sha256, SortedIds } from './system.ts';
import { type Ending, type UpdateCompleted, Waiters } from './waiters.ts';

/** What stands beside the loop and hears of runs; everything it is told of is durable. */
export interface ExecutorPorts {
  /** What bodies reach through their steps. */
  outside(): Outside;
  /** The store is this engine's, and no run was resumed yet. */
  owned(): Promise<void>;
  /** An operation waits for the end of another run. */
  waits(run: Run, operation: Operation): void;
  loaded(run: Run): void;
  /** A run waits for its place in a queue. Told again when it is loaded. */
  ready(run: Run): void;
  closed(run: Run): void;
}

export interface ExecutorOptions extends StepRunnerOptions, RunLoaderOptions {
  readonly ports: ExecutorPorts;
  readonly arrivals: Arrivals;
  readonly log: Log;
  readonly runLog: RunLog;
  /** How long closed runs are kept; undefined: for ever. */
  readonly retentionMs?: number | undefined;
}

const RELOAD_RETRY = { initial: 200, max: 10_000 };

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #committer: Committer;
  readonly #timers: RunTimers;
  readonly #delivery: Delivery;
  readonly #steps: StepRunner;
  readonly #loader: RunLoader;
  readonly #retention: Retention | undefined;
  readonly #ids = new SortedIds();
  readonly #live = new LiveRuns();
  readonly #waiters = new Waiters();
  readonly #reloads = new Map<string, number>();
  readonly #quarantined = new Set<string>();
  #ballot = '';
  #closed = false;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { clock, metrics, tracing, retentionMs: keepMs } = options;
    this.#committer = new Committer({
      ...options,
      committed: (appends, durationMs) => metrics.committed(appends, durationMs),
    });
    this.#retention = keepMs === undefined ? undefined : new Retention({ ...options, keepMs });
    this.#delivery = new Delivery({
      tracing,
      load: (live) => this.#load(live),
      commit: (...advance) => this.#commit(...advance),
      flushed: () => this.#committer.flushed(),
      begins: (live) => this.#live.busy(live),
      ends: (live) => this.#rest(live),
      fails: (live, error) => this.#lose(live, error),
    });
    this.#loader = new RunLoader(options, {
      outside: () => options.ports.outside(),
      newRunId: () => this.newId(),
    });
    this.#timers = new RunTimers({
      clock,
      late: (lateMs) => metrics.timerFired(lateMs),
      ready: (run) => options.ports.ready(run),
      fired: (runId, arrival) => this.#fired(runId, arrival),
      retry: (runId, operation) => this.#steps.begin(this.#live.attach(runId, ''), operation),
    });
    this.#steps = new StepRunner(options, {
      ballot: () => this.#ballot,
      arrived: (live, arrival) => this.#delivery.deliver(live, arrival),
    });
  }

  get commits(): number {
    return this.#committer.commits;
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Runs in memory; the others wait in the store. */
  get runsInMemory(): number {
    return this.#live.size;
  }

  /** Runs found unfit or damaged since the engine was opened, which reads them all. */
  get stuck(): number {
    return this.#loader.unfitCount;
  }
  get quarantined(): number {
    return this.#quarantined.size;
  }

  /** What goes on: events or commits in the works, only steps, or nothing before a timer fires. */
  get activity(): 'busy' | 'steps' | 'none' {
    const live = [...this.#live];
    const busy = live.some((one) => one.pumping || one.inbox.length > 0 || one.uncommitted > 0);
    if (busy || !this.#committer.idle) return 'busy';
    return live.every(isResting) ? 'none' : 'steps';
  }

  /** Takes ownership and goes on with every open run. */
  async open(): Promise<void> {
    const { store, ports, runLog } = this.#options;
    this.#loader.open();
    this.#ballot = await store.acquire();
    const [newest] = await store.list({ limit: 1, newestFirst: true });
    if (newest !== undefined) this.#ids.after(newest.runId);
    await ports.owned();
    const limit = 1_000;
    let after: string | undefined;
    let [open, now] = [0, 0];
    for (;;) {
      const page = await store.openRuns(after === undefined ? { limit } : { after, limit });
      for (const { runId, wakeAt } of page) {
        this.#resume(runId, wakeAt);
        if (wakeAt === 0) now++;
      }
      open += page.length;
      after = page.at(-1)?.runId;
      if (page.length < limit) break;
    }
    runLog.opened({ open, now });
    this.#retention?.due();
  }

  /** Stops taking work, aborts steps, waits for what is being recorded. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#retention?.close();
    const error = new EngineClosedError('the engine is closed');
    this.#timers.clear();
    for (const live of this.#live) for (const one of live.attempts.values()) one.abort(error);
    await this.#committer.flushed();
    this.kill();
  }

  /** Drops everything that is not durable, as a crash does. */
  kill(): void {
    this.#closed = true;
    this.#retention?.close();
    const error = new EngineClosedError('the engine is closed');
    this.#timers.clear();
    this.#committer.close();
    this.#loader.close();
    for (const live of this.#live) {
      for (const attempt of live.attempts.values()) attempt.stop();
      for (const inbound of live.inbox.splice(0)) inbound.settled?.(error);
      this.#options.tracing.rest(live);
    }
    this.#live.clear();
    this.#waiters.allEnded({ error });
  }

  /** Resolves when everything recorded so far is durable. @throws EngineClosedError */
  async flushed(): Promise<void> {
    this.#checkOpen();
    return this.#committer.flushed();
  }

  /** The record of a run as far as it is known here: in memory, else stored. */
  async recordOf(runId: string): Promise<RunRecord | undefined> {
    this.#checkOpen();
    return this.#live.get(runId)?.record ?? this.#options.store.record(runId);
  }

  async newest(workflowId: string): Promise<RunRecord | undefined> {
    await this.flushed();
    const record = await this.#options.store.newest(workflowId);
    return record === undefined ? undefined : (this.#live.get(record.runId)?.record ?? record);
  }

  newId(): string {
    return this.#ids.next(Math.floor(this.#options.clock.nowMs()));
  }

  /** Resolves once the start is durable. @returns the run id */
  start(
    workflow: AnyWorkflow,
    workflowId: string,
    event: StartedEvent,
    also: readonly OutsideEvent[] = [],
  ): Promise<string> {
    this.#checkOpen();
    const runId = this.newId();
    const live = this.#live.attach(runId, workflowId);
    const { name, version } = workflow;
    const identity = { workflowId, runId, name, version };
    live.run = this.#loader.create(identity, this.#hooks(live));
    return new Promise((resolve, reject) => {
      const settled = (error?: Error): void =>
        error === undefined ? resolve(runId) : reject(error);
      const events = [event, ...also];
      for (const one of events)
        live.inbox.push(one === events.at(-1) ? { event: one, settled } : { event: one });
      this.#delivery.pump(live);
    });
  }

  /** Hands something to an open run. Resolves once it is durable. @throws NotFoundError when the run is closed */
  send(record: Pick<RunRecord, 'runId' | 'workflowId'>, arrival: Sent): Promise<void> {
    return this.#enqueue(record, (settled) => ({ ...arrival, settled }));
  }

  /** Begins a run that waited for its place. Twice is once; what fails is begun again when the run is loaded. */
  begin(record: Pick<RunRecord, 'runId' | 'workflowId'>): void {
    if (this.#closed) return;
    this.send(record, this.#options.arrivals.begin()).catch(() => {});
  }

  /** Looks at a run, open or closed, between two events; what it sees is durable. */
  async visit<T>(
    record: Pick<RunRecord, 'runId' | 'workflowId'>,
    look: (run: Run, historyBytes: number) => T,
  ): Promise<T> {
    let seen: T | undefined;
    await this.#enqueue(record, (settled) => ({
      visit: (run, historyBytes) => void (seen = look(run, historyBytes)),
      settled,
    }));
    return seen as T;
  }

  /** The end of a run, once it is durable. `forget` is called with what stops the wait. */
  ending(runId: string, heard: (ending: Ending) => void): () => void {
    return this.#waiters.ending(runId, heard);
  }

  /**
   * The outcome of an update that was accepted, once it is durable.
   *
   * @param over aborted: nobody waits for it any more.
   * @throws UpdateRejectedError when the run ends before
   */
  async updated(
    record: Pick<RunRecord, 'runId' | 'workflowId'>,
    id: string,
    over?: AbortSignal,
  ): Promise<UpdateCompleted> {
    const { promise, resolve, reject } = Promise.withResolvers<UpdateCompleted>();
    const unfinished = (): void =>
      reject(new UpdateRejectedError(`the run ended before update ${id} was done`));
    const forgets = [
      this.#waiters.update(record.runId, id, resolve),
      this.ending(record.runId, unfinished),
    ];
    over?.addEventListener('abort', () => reject(over.reason as Error), { once: true });
    promise.catch(() => {}); // It may be over while the run is still looked at.
    try {
      const { state, closing } = await this.visit(record, (run) => ({
        state: run.updates.get(id),
        closing: run.closing,
      }));
      if (typeof state === 'object') resolve(state);
      // It may have ended in the very commit that accepted the update, before anybody listened.
      else if (closing !== undefined) unfinished();
      return await promise;
    } finally {
      for (const forget of forgets) forget();
    }
  }

  /** @throws StoreCorruptError */
  async history(runId: string): Promise<ExportedEvent[]> {
    this.#checkOpen();
    await this.#committer.flushed();
    const entries = await this.#options.store.read({ runId });
    readEntries(runId, entries, sha256);
    return exportEntries(entries);
  }

  // ---- inbox -----------------------------------------------------------------------------------

  #enqueue(
    { runId, workflowId }: Pick<RunRecord, 'runId' | 'workflowId'>,
    make: (settled: (error?: Error) => void) => Inbound,
  ): Promise<void> {
    this.#checkOpen();
    const live = this.#live.attach(runId, workflowId);
    return new Promise((resolve, reject) => {
      const settled = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      this.#delivery.deliver(live, make(settled));
    });
  }

  /** It leaves memory if it only waits (E4). */
  #rest(live: LiveRun): void {
    if (live.gone || !isResting(live)) return;
    this.#options.tracing.rest(live);
    this.#live.rest(live, this.#options.clock.nowMs());
  }

  // ---- load and leave --------------------------------------------------------------------------

  #resume(runId: string, wakeAt: number | null): void {
    if (wakeAt === null || this.#live.get(runId) !== undefined) return;
    this.#timers.load(runId, wakeAt);
  }

  async #load(live: LiveRun): Promise<Run | undefined> {
    const { store, clock, ports, runLog, tracing } = this.#options;
    const record = await store.record(live.runId);
    if (record === undefined) throw new NotFoundError(`no run ${live.runId}`);
    live.record = record;
    try {
      const loaded = await this.#loader.load(record, this.#hooks(live));
      const { run, recorded } = loaded;
      live.last = loaded.last;
      live.historyBytes = loaded.historyBytes;
      const advance = await tracing.withinReplay(recorded, () =>
        run.recover(recorded, clock.nowMs(), record.steps),
      );
      live.run = run;
      if (isOpen(record.status)) {
        this.#commit(live, run, advance);
        this.#setRunTimers(live, run);
      }
      this.#timers.loaded(live.runId);
      this.#quarantined.delete(live.runId);
      ports.loaded(run);
      if (this.#reloads.has(live.runId)) this.#tellAgain(live, run, recorded);
      return run;
    } catch (error) {
      if (!(error instanceof StoreCorruptError)) throw error;
      if (!this.#quarantined.has(live.runId)) runLog.quarantined(record, error);
      this.#quarantine(live, record, error);
      throw error;
    }
  }

  /** A commit that was reported as failed may have been done (T4): who waits for what it held hears of it now. */
  #tellAgain(live: LiveRun, run: Run, recorded: readonly JournalEvent[]): void {
    for (const event of recorded) {
      if (event.kind === 'update-completed') this.#waiters.updated(live.runId, event);
      if (isClosing(event)) this.#end(live, run, event);
    }
  }

  #hooks(live: LiveRun): RunHooks {
    return {
      strayed: () => this.#strayed(live),
      trace: () => this.#options.tracing.of(live),
    };
  }

  /** The body went on by itself: nothing it did is recorded, its record says so. */
  #strayed(live: LiveRun): void {
    if (live.run !== undefined && !live.gone) this.#commit(live, live.run, EMPTY);
  }

  #quarantine(live: LiveRun, record: RunRecord, error: StoreCorruptError): void {
    this.#quarantined.add(live.runId);
    this.#waiters.ended(live.runId, { error });
    if (record.status === 'quarantined') return;
    const quarantined: RunRecord = {
      ...record,
      status: 'quarantined',
      wakeAt: 0,
      why: whyOf(error),
    };
    live.record = quarantined;
    const { runId } = live;
    this.#committer.append({ runId, ballot: this.#ballot, record: quarantined }, () => {});
  }

  /** What was not committed is void (E3). */
  #lose(live: LiveRun, error: Error): void {
    if (live.gone) return;
    const { random, runLog, tracing } = this.#options;
    this.#live.evict(live);
    for (const attempt of live.attempts.values()) attempt.abort(error);
    this.#steps.leave(live);
    tracing.lose(live, error);
    for (const inbound of live.inbox.splice(0)) inbound.settled?.(error);
    const final =
      this.#closed ||
      error instanceof FencedError ||
      error instanceof NotFoundError ||
      error instanceof StoreCorruptError;
    if (final) return;
    const tries = (this.#reloads.get(live.runId) ?? 0) + 1;
    this.#reloads.set(live.runId, tries);
    const delayMs = backoffMs(RELOAD_RETRY, tries, random);
    runLog.lost(live.runId, error, delayMs);
    this.#timers.loadAfter(live.runId, delayMs);
  }

  // ---- commit ----------------------------------------------------------------------------------

  #commit(live: LiveRun, run: Run, advance: Advance, settled?: (error?: Error) => void): void {
    const { events } = advance;
    const entry =
      events.length === 0
        ? undefined
        : appendEntry(live.last, live.runId, this.#ballot, events, sha256);
    const grownBytes = entry === undefined ? 0 : Buffer.byteLength(entry.body);
    live.historyBytes += grownBytes;
    if (entry !== undefined) live.last = { index: entry.index, hash: entry.hash };
    if (run.stuck !== undefined && this.#loader.unfit(live.runId, run.stuck)) {
      this.#options.runLog.stuck(run.identity, run.stuck);
    }
    const record = recordOf(run, live.last?.index ?? 0, live.historyBytes);
    const changed = differs(live.record, record);
    if (changed) live.record = record;
    if (entry === undefined && !changed) {
      this.#begin(live, run, advance);
      return this.#delivery.whenDurable(live, settled);
    }
    const append: Append = {
      runId: live.runId,
      ballot: this.#ballot,
      ...(entry === undefined ? {} : { entry }),
      ...(changed ? { record } : {}),
      ...this.#successor(run, advance),
    };
    const first = run.length - events.length + 1;
    live.uncommitted++;
    this.#committer.append(append, (outcome) => {
      live.uncommitted--;
      if (outcome !== 'done') {
        const error = failureOfCommit(live.runId, outcome);
        settled?.(error);
        return this.#lose(live, error);
      }
      this.#reloads.delete(live.runId);
      this.#options.metrics.historyGrew(grownBytes);
      try {
        this.#durable(live, run, advance, first, settled);
      } catch (failed) {
        // Others of the same commit wait to hear of it.
        this.#lose(live, failed as Error);
      }
    });
  }

  /** The run that goes on under the same id, begun in the same act. */
  #successor(run: Run, { events }: Advance): Pick<Append, 'next'> {
    const last = events.at(-1);
    if (!isFollowed(last)) return {};
    const { version } = this.#options.registry.latest(run.identity.name);
    const nowMs = this.#options.clock.nowMs();
    const { entry, record } = successorOf(run, last, { version, nowMs, ballot: this.#ballot });
    return { next: { entry, record: { ...record, historyBytes: Buffer.byteLength(entry.body) } } };
  }

  /** Everything that waited for a commit (E1). */
  #durable(
    live: LiveRun,
    run: Run,
    advance: Advance,
    first: number,
    settled: ((error?: Error) => void) | undefined,
  ): void {
    const { probe, runLog } = this.#options;
    if (probe.committed !== undefined) {
      for (const [i, event] of advance.events.entries()) {
        probe.committed(probeEvent(run, first + i, event));
      }
    }
    settled?.();
    if (live.gone && !run.closing) return;
    runLog.grown(run, advance.events.length);
    for (const event of [...advance.events, ...(advance.kept ?? [])]) {
      if (event.kind === 'started') {
        this.#started(run.identity);
      } else if (event.kind === 'update-completed') {
        this.#waiters.updated(live.runId, event);
      } else if (event.kind === 'step-retried') {
        runLog.retried(run, event);
        this.#timers.setForRetry(live.runId, event.op, event.nextAt - event.at);
      }
    }
    for (const op of advance.ended) this.#timers.delete(live.runId, op);
    this.#begin(live, run, advance);
    const last = advance.events.at(-1);
    if (last !== undefined && isClosing(last)) this.#end(live, run, last);
    this.#rest(live);
  }

  #end(live: LiveRun, run: Run, event: ClosingEvent): void {
    this.#loader.forget(live.runId);
    this.#reloads.delete(live.runId);
    this.#timers.deleteForRun(live.runId);
    const { metrics, registry, runLog, tracing } = this.#options;
    metrics.closed(run.identity.name, event.kind);
    runLog.closed(run, event);
    tracing.closed(live, event);
    if (isFollowed(event)) {
      const { runId, notBefore = 0 } = event.next;
      const { version } = registry.latest(run.identity.name);
      this.#started({ ...run.identity, runId, version });
      this.#resume(runId, notBefore);
    }
    this.#waiters.ended(run.identity.runId, { event });
    this.#options.ports.closed(run);
    this.#retention?.due();
  }

  #started(run: RunIdentity): void {
    this.#options.metrics.started(run.name);
    this.#options.runLog.started(run);
  }

  // ---- effects ---------------------------------------------------------------------------------

  #begin(live: LiveRun, run: Run, advance: Advance): void {
    for (const { op, cancelled } of advance.aborted) this.#abort(live, op, cancelled);
    if (this.#closed || live.gone || run.closing !== undefined) return;
    const nowMs = this.#options.clock.nowMs();
    if (advance.events[0]?.kind === 'started') this.#setRunTimers(live, run);
    for (const operation of advance.begun) {
      if (run.operation(operation.op) !== operation) continue;
      this.#timers.setForOperation(live.runId, operation);
      if (operation.awaits !== undefined) this.#options.ports.waits(run, operation);
      if (operation.step === undefined) continue;
      const waitMs = (operation.step.retryAt ?? 0) - nowMs;
      if (waitMs > 0) this.#timers.setForRetry(live.runId, operation.op, waitMs);
      else this.#steps.begin(live, operation);
    }
  }

  #setRunTimers(live: LiveRun, run: Run): void {
    if (!live.gone) this.#timers.setForRun(run);
  }

  #fired(runId: string, arrival: Arrival | undefined): void {
    const live = this.#live.attach(runId, '');
    if (arrival === undefined) this.#delivery.pump(live);
    else this.#delivery.deliver(live, arrival);
  }

  #abort(live: LiveRun, op: number, reason: AetherError | undefined): void {
    const operation = live.run?.operation(op);
    if (this.#steps.abort(live, op, reason)) return;
    // It waited for its next attempt: there is nothing to wait for.
    this.#timers.delete(live.runId, op);
    if (operation !== undefined && reason !== undefined) this.#steps.fail(live, operation, reason);
  }

  #checkOpen(): void {
    if (this.#closed) throw new EngineClosedError('the engine is closed');
  }
}

const EMPTY: Advance = { events: [], begun: [], aborted: [], ended: [] };

function failureOfCommit(runId: string, outcome: Exclude<AppendResult, 'done'> | Error): Error {
  if (outcome instanceof Error) return outcome;
  return new FencedError(`run ${runId}: the append was refused (${outcome})`, {
    hint: 'another owner has taken over; this one must not go on',
  });
}
