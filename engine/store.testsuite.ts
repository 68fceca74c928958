/** What every store keeps (engine/store.ts, T1..T3). Run it from the test of an implementation. */
import type { Test } from 'tap';
import { appendEntry, readEntries } from './core/journal.ts';
import type { RunRecord } from './core/record.ts';
import { sha256 } from './io/system.ts';
import type { Append, Entry, Store } from './store.ts';

export interface StoreUnderTest {
  /** A new, empty store. */
  readonly create: (t: Test) => Promise<Store>;
  /** The same data in a new instance, as after a restart; `store` was closed. */
  readonly reopen: (store: Store) => Promise<Store>;
}

function recordFor(runId: string, fields: Partial<RunRecord> = {}): RunRecord {
  return {
    runId,
    workflowId: `id-${runId}`,
    name: 'order',
    version: '1',
    status: 'running',
    startedAt: 1_000,
    wakeAt: 0,
    entries: 1,
    events: 1,
    attributes: {},
    ...fields,
  };
}

export function startOf(
  runId: string,
  ballot: string,
  fields: Partial<RunRecord> = {},
): Append & { entry: Entry } {
  const started = { kind: 'started', at: 1_000, payload: { run: runId } } as const;
  const entry = appendEntry(undefined, runId, ballot, [started], sha256);
  return { runId, ballot, entry, record: recordFor(runId, fields) };
}

function signalAfter(start: Append & { entry: Entry }, name: string): Append & { entry: Entry } {
  const { runId, ballot } = start;
  const event = { kind: 'signal-received', at: 2_000, name, payload: 'ü' } as const;
  return { runId, ballot, entry: appendEntry(start.entry, runId, ballot, [event], sha256) };
}

export function storeTestSuite(suite: Test, { create, reopen }: StoreUnderTest): void {
  void suite.test('an append is done only at the end of its run', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const start = startOf('r1', ballot);
    const second = signalAfter(start, 'a');
    const third = signalAfter(second, 'b');
    t.same(await store.append([third]), ['conflict'], 'a run without a start');
    t.same(await store.append([start]), ['done']);
    t.same(await store.append([start]), ['conflict'], 'the same index twice');
    t.same(await store.append([third]), ['conflict'], 'a gap');
    t.same(await store.append([second, third, startOf('r2', ballot)]), ['done', 'done', 'done']);
    const events = readEntries('r1', await store.read({ runId: 'r1' }), sha256);
    t.same(
      events.map((event) => event.kind),
      ['started', 'signal-received', 'signal-received'],
    );
    t.same(
      (await store.read({ runId: 'r1', from: 3 })).map((entry) => entry.index),
      [3],
    );
    t.same(await store.read({ runId: 'none' }), []);
  });

  void suite.test('a refused append leaves the rest of its batch alone', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const start = startOf('r1', ballot);
    t.same(await store.append([startOf('r0', ballot), signalAfter(start, 'a'), start]), [
      'done',
      'conflict',
      'done',
    ]);
    t.equal((await store.read({ runId: 'r1' })).length, 1);
  });

  void suite.test('a lower ballot is fenced', async (t) => {
    const store = await create(t);
    const first = await store.acquire();
    const start = startOf('r1', first);
    t.same(await store.append([start]), ['done']);
    const second = await store.acquire();
    t.ok(second > first, 'ballots grow as text');
    t.same(await store.append([signalAfter(start, 'a'), startOf('r2', first)]), [
      'fenced',
      'fenced',
    ]);
    t.same(await store.append([{ ...signalAfter(start, 'a'), ballot: second }]), ['done']);
    t.equal(await store.record('r2'), undefined);
  });

  void suite.test('a run and its successor are one act', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const start = startOf('r1', ballot, { workflowId: 'w' });
    await store.append([start]);
    const next = startOf('r2', ballot, { workflowId: 'w' });
    const move = {
      ...signalAfter(start, 'a'),
      record: recordFor('r1', { workflowId: 'w', status: 'continued', wakeAt: null, next: 'r2' }),
      next: { entry: next.entry, record: next.record as RunRecord },
    };
    t.same(await store.append([move]), ['done']);
    t.equal((await store.newest('w'))?.runId, 'r2');
    t.equal((await store.record('r1'))?.status, 'continued');
    t.equal((await store.read({ runId: 'r2' })).length, 1);
    t.same(await store.append([move]), ['conflict']);
  });

  void suite.test('everything is there after a restart', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const start = startOf('r1', ballot, { attributes: { city: 'Zürich' } });
    await store.append([start, signalAfter(start, 'a')]);
    await store.append([
      { runId: 'r1', ballot, record: recordFor('r1', { status: 'sleeping', wakeAt: 9 }) },
    ]);
    await store.close();
    const again = await reopen(store);
    t.match(await again.record('r1'), { status: 'sleeping', wakeAt: 9 });
    t.equal((await again.read({ runId: 'r1' })).length, 2);
    t.ok((await again.acquire()) > ballot);
  });

  void suite.test('open runs are paged in order of creation', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const ids = ['r1', 'r2', 'r3', 'r4', 'r5'];
    await store.append(ids.map((id, i) => startOf(id, ballot, { wakeAt: i === 0 ? null : i })));
    await store.append([
      { runId: 'r2', ballot, record: recordFor('r2', { status: 'completed', wakeAt: null }) },
      { runId: 'r4', ballot, record: recordFor('r4', { status: 'stuck' }) },
    ]);
    t.same(await store.openRuns({ limit: 2 }), [
      { runId: 'r1', wakeAt: null },
      { runId: 'r3', wakeAt: 2 },
    ]);
    t.same(
      (await store.openRuns({ after: 'r3', limit: 9 })).map((row) => row.runId),
      ['r4', 'r5'],
    );
  });

  void suite.test('records are found by name, status, time and attributes', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    await store.append([
      startOf('r1', ballot, { startedAt: 10, attributes: { 'a"b': 1, vip: true } }),
      startOf('r2', ballot, { startedAt: 20, status: 'completed', wakeAt: null, closedAt: 40 }),
      startOf('r3', ballot, { startedAt: 30, name: 'other', attributes: { vip: false } }),
    ]);
    const find = async (filter: object): Promise<string[]> =>
      (await store.list({ limit: 10, ...filter })).map((record) => record.runId);
    t.same(await find({}), ['r1', 'r2', 'r3']);
    t.same(await find({ newestFirst: true, limit: 2 }), ['r3', 'r2']);
    t.same(await find({ newestFirst: true, after: 'r3' }), ['r2', 'r1']);
    t.same(await find({ after: 'r1' }), ['r2', 'r3']);
    t.same(await find({ name: 'other' }), ['r3']);
    t.same(await find({ status: ['completed', 'failed'] }), ['r2']);
    t.same(await find({ startedAfter: 10, startedBefore: 30 }), ['r2']);
    t.same(await find({ closedAfter: 39 }), ['r2']);
    t.same(await find({ closedAfter: 40 }), []);
    t.same(await find({ attributes: { vip: true } }), ['r1']);
    t.same(await find({ attributes: { 'a"b': 1 } }), ['r1']);
    t.same(await find({ attributes: { vip: 1 } }), [], 'true is not 1');
    t.same(await find({ attributes: { 'a"b': true } }), []);
    t.same(await find({ attributes: { 'a"b': '1' } }), []);
    t.same(await find({ name: `x' or 1=1 --` }), []);
  });

  void suite.test('closed runs are forgotten, those that closed first first', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const closed = (runId: string, closedAt: number): Append =>
      startOf(runId, ballot, { status: 'completed', wakeAt: null, closedAt, workflowId: 'w' });
    await store.append([
      closed('r1', 30),
      closed('r2', 10),
      closed('r3', 20),
      startOf('r4', ballot, { status: 'stuck' }),
      startOf('r5', ballot),
    ]);
    const left = async (): Promise<string[]> =>
      (await store.list({ limit: 9 })).map((record) => record.runId);
    t.equal(await store.prune({ closedBefore: 30, limit: 1 }), 1);
    t.same(await left(), ['r1', 'r3', 'r4', 'r5']);
    t.equal(await store.prune({ closedBefore: 30, limit: 9 }), 1, 'closedBefore is exclusive');
    t.same(await left(), ['r1', 'r4', 'r5']);
    t.same(await store.read({ runId: 'r2' }), []);
    t.equal(await store.record('r2'), undefined);
    t.equal((await store.newest('w'))?.runId, 'r1');
    t.equal(await store.prune({ closedBefore: Infinity, limit: 9 }), 1);
    t.equal(await store.newest('w'), undefined, 'the id is free again');
    t.equal((await store.read({ runId: 'r5' })).length, 1, 'open runs stay');
    t.same(await store.append([closed('r2', 40)]), ['done']);
  });

  void suite.test('children are not forgotten before their parent has closed', async (t) => {
    const store = await create(t);
    const ballot = await store.acquire();
    const ended = { status: 'completed', wakeAt: null, closedAt: 10 } as const;
    await store.append([
      startOf('r1', ballot),
      startOf('r2', ballot, { ...ended, closedAt: 5, parent: 'r1', parentOp: 1 }),
      startOf('r3', ballot, { ...ended, parent: 'forgotten', parentOp: 1 }),
    ]);
    t.equal(await store.prune({ closedBefore: 20, limit: 1 }), 1);
    t.equal(await store.prune({ closedBefore: 20, limit: 9 }), 0);
    t.ok(await store.record('r2'));
    const { record } = startOf('r1', ballot, ended);
    await store.append([{ runId: 'r1', ballot, record: record as RunRecord }]);
    t.equal(await store.prune({ closedBefore: 20, limit: 9 }), 2);
  });

  suite.end();
}
