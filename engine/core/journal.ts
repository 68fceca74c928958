/**
 * A run's journal as rows: what one activation of the body appended is one entry, chained to the one before.
 *
 * J1. An entry is all or nothing: an outside event and every command that the body made of it, together.
 * J2. `hash` covers the entry before, the run, the index, the ballot and the body, so a row that was changed, moved
 *     or left out in the middle is found when it is read. (SQLite itself does not notice a flipped bit.)
 */
import { StoreCorruptError } from './errors.ts';
import type { JournalEvent } from './event.ts';

/** Format of entries and of exported histories; later releases read every earlier one. */
export const HISTORY_FORMAT = 1;

export interface Entry {
  /** From 1, without gaps. */
  readonly index: number;
  readonly ballot: string;
  /** 32 hex digits: SHA-256, cut to 128 bits. */
  readonly hash: string;
  /** The events, as JSON. */
  readonly body: string;
}

/** SHA-256 of UTF-8 text in hex, handed in by the shell. */
export type Digest = (text: string) => string;

/** Hash before the first entry. */
const GENESIS: string = '0'.repeat(32);

function chainHash(
  previous: string,
  runId: string,
  entry: Omit<Entry, 'hash'>,
  digest: Digest,
): string {
  return digest(`${previous} ${runId} ${entry.index} ${entry.ballot}\n${entry.body}`).slice(0, 32);
}

/** The next entry of a run. */
export function appendEntry(
  last: Pick<Entry, 'index' | 'hash'> | undefined,
  runId: string,
  ballot: string,
  events: readonly JournalEvent[],
  digest: Digest,
): Entry {
  const entry = { index: (last?.index ?? 0) + 1, ballot, body: JSON.stringify(events) };
  return { ...entry, hash: chainHash(last?.hash ?? GENESIS, runId, entry, digest) };
}

/** An event as it is exported; the last one of each entry carries the entry's chain. */
export type ExportedEvent = JournalEvent & { seq: number; entry?: Pick<Entry, 'ballot' | 'hash'> };

/** The events of entries that were checked, so that who gets them can check them again. */
export function exportEntries(entries: readonly Entry[]): ExportedEvent[] {
  const exported: ExportedEvent[] = [];
  for (const { body, ballot, hash } of entries) {
    for (const event of JSON.parse(body) as JournalEvent[]) {
      exported.push(Object.assign({ seq: exported.length + 1 }, event));
    }
    Object.assign(exported.at(-1) as ExportedEvent, { entry: { ballot, hash } });
  }
  return exported;
}

/**
 * The entries behind exported events.
 *
 * @throws StoreCorruptError when events are missing, not in their place or beyond the last entry
 */
export function importEntries(runId: string, exported: readonly ExportedEvent[]): Entry[] {
  const entries: Entry[] = [];
  let events: object[] = [];
  for (const [i, one] of exported.entries()) {
    const { seq, entry, ...event } = (one ?? {}) as Partial<ExportedEvent>;
    if (seq !== i + 1) throw damaged(runId, `event ${i + 1} is not in its place`, i + 1);
    events.push(event);
    if (entry === undefined) continue;
    entries.push({ index: entries.length + 1, ...entry, body: JSON.stringify(events) });
    events = [];
  }
  if (events.length > 0 || entries.length === 0) {
    throw damaged(runId, 'the end of the history is missing', exported.length);
  }
  return entries;
}

/**
 * The events of a whole journal.
 *
 * @throws StoreCorruptError at the first entry that is not what was written.
 */
export function readEntries(
  runId: string,
  entries: readonly Entry[],
  digest: Digest,
): JournalEvent[] {
  const events: JournalEvent[] = [];
  let previous = GENESIS;
  for (const [i, entry] of entries.entries()) {
    const intact =
      entry.index === i + 1 && chainHash(previous, runId, entry, digest) === entry.hash; // J2
    if (!intact) {
      throw damaged(runId, `journal entry ${i + 1} is damaged`, i + 1);
    }
    events.push(...(JSON.parse(entry.body) as JournalEvent[]));
    previous = entry.hash;
  }
  return events;
}

function damaged(runId: string, what: string, index: number): StoreCorruptError {
  return new StoreCorruptError(`run ${runId}: ${what}`, {
    hint: 'restore it from a backup; other runs are not affected',
    details: { runId, index },
  });
}
