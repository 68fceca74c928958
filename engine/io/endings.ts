/** Waits for the end of a run and of those that go on for it. */
import { NotFoundError, StoreCorruptError } from '../core/errors.ts';
import type { ClosingEvent, JournalEvent } from '../core/event.ts';
import { isOpen, type RunRecord } from '../core/record.ts';
import type { Store } from '../store.ts';
import type { Executor } from './executor.ts';
import type { Ending } from './waiters.ts';

export class Endings {
  readonly #executor: Executor;
  readonly #store: Store;

  constructor(executor: Executor, store: Store) {
    this.#executor = executor;
    this.#store = store;
  }

  /** Without `runId`: the newest run of the id. @throws NotFoundError */
  async record(id: string, runId?: string): Promise<RunRecord> {
    const record =
      runId === undefined ? await this.#executor.newest(id) : await this.#executor.recordOf(runId);
    if (record !== undefined && record.workflowId === id) return record;
    throw new NotFoundError(`no workflow run with id "${id}"`);
  }

  /** The end that a handle's result tells of. @throws as `last` */
  async end(
    id: string,
    { runId, over }: { runId?: string | undefined; over?: AbortSignal | undefined },
  ): Promise<ClosingEvent> {
    if (runId === undefined) return this.last(id, (await this.record(id)).runId, over);
    try {
      return await this.last(id, runId, over);
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      return this.last(id, (await this.#descendant(id, runId)).runId, over);
    }
  }

  /**
   * The newest run of an id, if it goes on for a run that is forgotten. Chains of one id follow one another, and run ids
   * order by start: what is not before the first run of the last chain belongs to it.
   *
   * @throws NotFoundError
   */
  async #descendant(id: string, runId: string): Promise<RunRecord> {
    const newest = await this.record(id);
    if ((newest.first ?? newest.runId) <= runId && runId <= newest.runId) return newest;
    throw new NotFoundError(`no run ${runId} of "${id}", and none that goes on for it`);
  }

  /** The run that goes on for this one: itself, or after continueAsNew or a retry the last of its chain. @throws NotFoundError */
  async current(id: string, runId?: string): Promise<RunRecord> {
    if (runId === undefined) return this.record(id);
    // What was first in a chain may be forgotten while the last one runs.
    let record = (await this.#executor.recordOf(runId)) ?? (await this.#descendant(id, runId));
    for (;;) {
      if (record.next === undefined) return record;
      await this.#executor.flushed();
      const next = await this.#executor.recordOf(record.next);
      if (next === undefined) return record;
      record = next;
    }
  }

  /**
   * Acts on the run that goes on for this one, and again if it ends meanwhile and another goes on for it.
   *
   * @throws NotFoundError, and what `act` throws
   */
  async act<T>(
    id: string,
    runId: string | undefined,
    act: (record: RunRecord) => Promise<T>,
  ): Promise<T> {
    let record = await this.current(id, runId);
    for (;;) {
      try {
        return await act(record);
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error;
        const now = await this.current(id, runId);
        if (now.runId === record.runId) throw error;
        record = now;
      }
    }
  }

  /**
   * The end of the last run of a chain that begins with this one.
   *
   * @param over aborted: nobody waits for it any more.
   * @throws NotFoundError, StoreCorruptError
   */
  async last(id: string, runId: string, over?: AbortSignal): Promise<ClosingEvent> {
    let current = runId;
    for (;;) {
      const ending = await this.#ending(id, current, over);
      if ('error' in ending) throw ending.error;
      const { event } = ending;
      if (!('next' in event) || event.next === undefined) return event;
      current = event.next.runId;
    }
  }

  /** The end of one run: from the store if it is closed, else when it comes. */
  async #ending(id: string, runId: string, over: AbortSignal | undefined): Promise<Ending> {
    const { promise, resolve } = Promise.withResolvers<Ending>();
    // Listened for before the store is read, so that an end in between is not missed.
    const forget = this.#executor.ending(runId, resolve);
    over?.addEventListener('abort', () => resolve({ error: over.reason as Error }), { once: true });
    try {
      return (await this.#stored(id, runId)) ?? (await promise);
    } finally {
      forget();
    }
  }

  async #stored(id: string, runId: string): Promise<Ending | undefined> {
    const record = await this.record(id, runId);
    if (record.status === 'quarantined') return { error: quarantined(record) };
    if (isOpen(record.status)) return undefined;
    await this.#executor.flushed();
    const [entry] = await this.#store.read({ runId, from: record.entries });
    if (entry === undefined) return { error: quarantined(await this.record(id, runId)) };
    const events = JSON.parse(entry.body) as JournalEvent[];
    return { event: events.at(-1) as ClosingEvent };
  }
}

function quarantined(record: RunRecord): StoreCorruptError {
  return new StoreCorruptError(record.why?.message ?? `run ${record.runId} is damaged`, {
    hint: 'restore the store from a backup; other runs are not affected',
  });
}
