/**
 * Runs that belong to other runs: started by them once, waited for by them, and told when they end.
 *
 * K1. A child is started at most once per operation of its parent: its record names that operation.
 * K2. A parent that waits for a child is loaded on open, since its record says so (`wakeAt` 0); it then asks for the end
 *     again. So an end between two processes is not missed, and nothing is kept for it while the parent is out of memory.
 * K3. A child that its parent's end concerns is loaded on open too, and looks whether the parent still goes on. So the
 *     close policy is carried out also when the process died right after the parent's end.
 */
import type { Clock } from '../../spec/clock.ts';
import type { Log } from '../../spec/log.ts';
import type { ChildStart, Outside } from '../core/context.ts';
import { EngineClosedError, NotFoundError } from '../core/errors.ts';
import type { ClosingEvent, ParentLink } from '../core/event.ts';
import { failureOf } from '../core/failure.ts';
import type { Operation } from '../core/operation.ts';
import type { PayloadCodec } from '../core/payload.ts';
import { isOpen, type RunRecord } from '../core/record.ts';
import type { Run } from '../core/run.ts';
import type { Arrivals } from './arrivals.ts';
import type { Endings } from './endings.ts';
import type { Executor } from './executor.ts';
import type { Store } from '../store.ts';
import type { Starter, StartedRun } from './starter.ts';

const PAGE = 1_000;

export interface ChildrenOptions {
  readonly executor: Executor;
  readonly store: Store;
  readonly arrivals: Arrivals;
  readonly starter: Starter;
  readonly endings: Endings;
  readonly payloads: PayloadCodec;
  readonly clock: Clock;
  readonly log: Log;
}

export class Children implements Outside {
  readonly #options: ChildrenOptions;
  /** Operations whose child's end is waited for. */
  readonly #watched = new Set<string>();

  constructor(options: ChildrenOptions) {
    this.#options = options;
  }

  /** Sends a signal to the newest run of an id. @throws NotFoundError */
  async signal(workflowId: string, name: string, payload: unknown, id?: string): Promise<void> {
    const { executor, endings, arrivals } = this.#options;
    const arrival = arrivals.signal(name, payload, id);
    await endings.act(workflowId, undefined, (record) => executor.send(record, arrival));
  }

  /** Asks the newest run of an id to end. Asked twice is asked once. @throws NotFoundError */
  async cancel(whom: string | RunRecord, reason: string): Promise<void> {
    const { executor, endings, arrivals } = this.#options;
    const cancel = (record: RunRecord): Promise<void> =>
      executor.send(record, arrivals.cancel(reason));
    await (typeof whom === 'string' ? endings.act(whom, undefined, cancel) : cancel(whom));
  }

  /** @throws NotFoundError, AlreadyExistsError, PayloadTypeError, PayloadTooLargeError */
  async startChild({ workflow, input, options, parent, trace }: ChildStart): Promise<StartedRun> {
    const { starter, executor } = this.#options;
    const from = { parent, ...(trace === undefined ? {} : { trace }) };
    const child = await starter.start(workflow, input, options, from); // K1
    // The parent may have ended while this was on its way.
    await this.#closeAfter(parent, await executor.recordOf(child.runId));
    return child;
  }

  /** An operation waits for the end of a child. Twice is once. */
  watch(run: Run, { op, name, awaits }: Operation): void {
    const { runId } = run.identity;
    const key = `${runId}/${op}`;
    if (awaits === undefined || this.#watched.has(key)) return;
    this.#watched.add(key);
    void this.#tell(run, op, name, awaits)
      .catch((error: unknown) => this.#ignore(error, { runId, op, child: name }))
      .finally(() => this.#watched.delete(key));
  }

  /** A run was loaded: its parent may have ended meanwhile (K3). */
  loaded(run: Run): void {
    const { parent } = run.started;
    if (parent === undefined || parent.onClose === 'abandon' || run.closing !== undefined) return;
    const { runId } = run.identity;
    void this.#options.executor
      .recordOf(runId)
      .then((record) => this.#closeAfter(parent, record))
      .catch((error: unknown) => this.#ignore(error, { runId, parent: parent.runId }));
  }

  /** A run has ended for good or goes on as another: its children are told. */
  closed(run: Run): void {
    const { runId } = run.identity;
    if (run.stuck !== undefined) {
      this.#closeAllOf(runId).catch((error: unknown) => this.#ignore(error, { runId }));
    }
    for (const [id, onClose] of run.children) {
      if (onClose === 'abandon') continue;
      void this.#options.executor
        .newest(id)
        .then((record) => (record?.parent === runId ? this.#close(record, onClose) : undefined))
        .catch((error: unknown) => this.#ignore(error, { runId, child: id }));
    }
  }

  /** Closes the children of a run whose body was not there to say which it has: they name it. */
  async #closeAllOf(runId: string): Promise<void> {
    const { executor, store } = this.#options;
    let after: string | undefined;
    for (;;) {
      const page = await store.list({
        status: ['running', 'sleeping', 'stuck'],
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      for (const record of page) {
        if (record.parent !== runId) continue;
        const link = await executor.visit(record, (child) => child.started.parent);
        if (link !== undefined) await this.#closeAfter(link, record);
      }
      after = page.at(-1)?.runId;
      if (page.length < PAGE) return;
    }
  }

  async #tell(run: Run, op: number, id: string, awaits: string): Promise<void> {
    const { executor, clock } = this.#options;
    const end = await this.#endOf(id, awaits);
    await executor.send(run.identity, {
      event: { kind: 'child-closed', at: clock.nowMs(), op, name: id, end },
      wanted: (now) => now.operation(op)?.kind === 'child-result',
    });
  }

  async #endOf(id: string, runId: string): Promise<ClosingEvent> {
    const { endings, clock, payloads } = this.#options;
    try {
      return await endings.last(id, runId);
    } catch (error) {
      if (error instanceof EngineClosedError) throw error;
      return { kind: 'failed', at: clock.nowMs(), error: failureOf(error, payloads) };
    }
  }

  async #closeAfter(parent: ParentLink, child: RunRecord | undefined): Promise<void> {
    if (child === undefined || parent.onClose === 'abandon') return;
    const record = await this.#options.executor.recordOf(parent.runId);
    if (record !== undefined && isOpen(record.status)) return;
    if (child.parent === parent.runId && isOpen(child.status)) {
      await this.#close(child, parent.onClose);
    }
  }

  async #close(child: RunRecord, how: 'cancel' | 'terminate'): Promise<void> {
    const reason = 'its parent has ended';
    if (how === 'terminate') await this.#options.starter.terminate(child, reason);
    else await this.cancel(child, reason);
  }

  /** Who is not there any more needs not be told; anything else is done again when the run is loaded. */
  #ignore(error: unknown, fields: object): void {
    if (error instanceof NotFoundError || error instanceof EngineClosedError) return;
    this.#options.log.error(
      { ...fields, err: error },
      'a run could not be told of the end of another',
    );
  }
}
