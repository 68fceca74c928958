/** A store in memory: for tests and simulation. It outlives the engine that uses it, as a disk does. */
import type {
  Append,
  AppendResult,
  Entry,
  OpenRun,
  RecordFilter,
  RunRecord,
  Store,
} from '../store.ts';
import { isOpen } from '../core/record.ts';

interface StoredRun {
  record: RunRecord;
  readonly entries: Entry[];
}

export class MemoryStore implements Store {
  readonly #runs = new Map<string, StoredRun>();
  readonly #newest = new Map<string, string>();
  #boot = 0;

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  acquire(): Promise<string> {
    this.#boot++;
    return Promise.resolve(ballotText(this.#boot));
  }

  append(batch: readonly Append[]): Promise<AppendResult[]> {
    return Promise.resolve(batch.map((append) => this.#append(append)));
  }

  read(request: { runId: string; from?: number }): Promise<Entry[]> {
    const entries = this.#runs.get(request.runId)?.entries ?? [];
    return Promise.resolve(entries.slice((request.from ?? 1) - 1));
  }

  record(runId: string): Promise<RunRecord | undefined> {
    return Promise.resolve(this.#runs.get(runId)?.record);
  }

  newest(workflowId: string): Promise<RunRecord | undefined> {
    return this.record(this.#newest.get(workflowId) ?? '');
  }

  list(filter: RecordFilter): Promise<RunRecord[]> {
    const { after, newestFirst } = filter;
    const ids = [...this.#runs.keys()].toSorted();
    if (newestFirst === true) ids.reverse();
    const page = ids
      .filter((id) => after === undefined || (newestFirst === true ? id < after : id > after))
      .map((id) => (this.#runs.get(id) as StoredRun).record)
      .filter((record) => matches(record, filter));
    return Promise.resolve(page.slice(0, filter.limit));
  }

  openRuns(request: { after?: string; limit: number }): Promise<OpenRun[]> {
    const open = [...this.#runs.values()]
      .map(({ record }) => record)
      .filter((record) => isOpen(record.status) && record.runId > (request.after ?? ''))
      .toSorted((a, b) => (a.runId < b.runId ? -1 : 1));
    const page = open.slice(0, request.limit);
    return Promise.resolve(page.map(({ runId, wakeAt }) => ({ runId, wakeAt })));
  }

  prune(request: { closedBefore: number; limit: number }): Promise<number> {
    const closed = [...this.#runs.values()]
      .map(({ record }) => record)
      .filter(
        ({ status, closedAt = Infinity, parent = '' }) =>
          !isOpen(status) && closedAt < request.closedBefore && !this.#isOpen(parent),
      )
      .toSorted((a, b) => (a.closedAt as number) - (b.closedAt as number))
      .slice(0, request.limit);
    for (const { runId, workflowId } of closed) {
      this.#runs.delete(runId);
      if (this.#newest.get(workflowId) !== runId) continue;
      this.#newest.delete(workflowId);
      for (const { record } of this.#runs.values()) {
        if (record.workflowId === workflowId) this.#newest.set(workflowId, record.runId);
      }
    }
    return Promise.resolve(closed.length);
  }

  #isOpen(runId: string): boolean {
    const run = this.#runs.get(runId);
    return run !== undefined && isOpen(run.record.status);
  }

  #append(append: Append): AppendResult {
    if (append.ballot < ballotText(this.#boot)) return 'fenced';
    const run = this.#runs.get(append.runId);
    const last = run?.entries.length ?? 0;
    if (append.entry !== undefined && append.entry.index !== last + 1) return 'conflict';
    if (run === undefined && (append.entry === undefined || append.record === undefined)) {
      return 'conflict';
    }
    if (append.next !== undefined && this.#runs.has(append.next.record.runId)) return 'conflict';
    this.#put(append.runId, append.entry, append.record);
    if (append.next !== undefined) {
      this.#put(append.next.record.runId, append.next.entry, append.next.record);
    }
    return 'done';
  }

  #put(runId: string, entry: Entry | undefined, record: RunRecord | undefined): void {
    const run = this.#runs.get(runId);
    if (run === undefined) {
      this.#runs.set(runId, { record: record as RunRecord, entries: [entry as Entry] });
      this.#newest.set((record as RunRecord).workflowId, runId);
      return;
    }
    if (entry !== undefined) run.entries.push(entry);
    if (record !== undefined) run.record = record;
  }
}

/** A ballot as text that orders as its number does. */
export function ballotText(boot: number): string {
  return String(boot).padStart(12, '0');
}

function matches(record: RunRecord, filter: RecordFilter): boolean {
  return (
    (filter.name === undefined || record.name === filter.name) &&
    (filter.status === undefined || filter.status.includes(record.status)) &&
    (filter.startedAfter === undefined || record.startedAt > filter.startedAfter) &&
    (filter.startedBefore === undefined || record.startedAt < filter.startedBefore) &&
    (filter.closedAfter === undefined || (record.closedAt ?? 0) > filter.closedAfter) &&
    Object.entries(filter.attributes ?? {}).every(
      ([key, value]) => record.attributes[key] === value,
    )
  );
}
