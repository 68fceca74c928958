/** Histories that releases recorded (`histories/record.ts`): this one reads them all, and finds what was changed. */
import { globSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import {
  type CommandEvent,
  isClosing,
  isCommand,
  type JournalEvent,
  type StartedEvent,
} from './core/event.ts';
import { appendEntry, type ExportedEvent, exportEntries, importEntries } from './core/journal.ts';
import workflows, { waits } from './histories/workflows.ts';
import {
  Engine,
  type History,
  type HistoryEvent,
  workflow,
  type WorkflowContext,
} from './index.ts';
import { sha256 } from './io/system.ts';

const FOLDER = `${import.meta.dirname}/histories`;
const { version: THIS_RELEASE } = JSON.parse(
  readFileSync(`${import.meta.dirname}/../package.json`, 'utf8'),
) as { version: string };

const histories = new Map<string, History>();
for (const file of globSync('*/*.json', { cwd: FOLDER }).toSorted()) {
  histories.set(file, JSON.parse(readFileSync(`${FOLDER}/${file}`, 'utf8')) as History);
}
const eventsOf = (history: History): ExportedEvent[] =>
  history.events as unknown as ExportedEvent[];

test('every history of every release replays', async (t) => {
  t.ok(histories.size > 0);
  for (const [file, history] of histories) {
    const report = await Engine.replay(workflows, history);
    t.same(report, { ok: true, events: history.events.length }, file);
  }
});

/** By type every kind that a journal knows: a new one does not compile until it is here. */
const KINDS: Record<JournalEvent['kind'], true> = {
  'attributes-set': true,
  begun: true,
  'cancel-requested': true,
  'cancel-scheduled': true,
  cancelled: true,
  'child-closed': true,
  'child-result-scheduled': true,
  'child-scheduled': true,
  completed: true,
  'condition-scheduled': true,
  continued: true,
  failed: true,
  'receive-scheduled': true,
  'signal-received': true,
  'signal-scheduled': true,
  'sleep-scheduled': true,
  started: true,
  'step-completed': true,
  'step-failed': true,
  'step-progressed': true,
  'step-retried': true,
  'step-scheduled': true,
  terminated: true,
  'timed-out': true,
  'timer-fired': true,
  'update-accepted': true,
  'update-completed': true,
  'version-marked': true,
};

/** What a start may say. */
const STARTED: Record<keyof StartedEvent, true> = {
  at: true,
  attempt: true,
  attributes: true,
  begunAt: true,
  deadline: true,
  first: true,
  kind: true,
  notBefore: true,
  parent: true,
  payload: true,
  priority: true,
  queue: true,
  retry: true,
  signalIds: true,
  timeoutMs: true,
  trace: true,
  updates: true,
};

test('the histories of this release have every kind of event, and every part of a start', (t) => {
  const events = [...histories]
    .filter(([file]) => file.startsWith(`${THIS_RELEASE}/`))
    .flatMap(([, history]) => eventsOf(history));
  t.ok(events.length > 0, 'record them: node engine/histories/record.ts');
  t.strictSame(new Set(events.map(({ kind }) => kind)), new Set(Object.keys(KINDS)));
  const parts = events.filter(({ kind }) => kind === 'started').flatMap((one) => Object.keys(one));
  t.strictSame(new Set(parts), new Set([...Object.keys(STARTED), 'seq', 'entry']));
  t.ok(
    events.some((event) => 'kept' in event),
    'and what was kept while a run was stuck',
  );
  t.end();
});

/** The journal of another body: one event is another, and all are chained as they would have been. */
function rewritten(history: History, seq: number, change: (event: object) => object): History {
  const entries: ReturnType<typeof importEntries> = [];
  let count = 0;
  for (const { body, ballot } of importEntries(history.runId, eventsOf(history))) {
    const events = (JSON.parse(body) as JournalEvent[]).map((event) =>
      ++count === seq ? change(event) : event,
    ) as JournalEvent[];
    entries.push(appendEntry(entries.at(-1), history.runId, ballot, events, sha256));
  }
  return { ...history, events: exportEntries(entries) as unknown as HistoryEvent[] };
}

/** What another body may have recorded in place of a command. */
function others(command: CommandEvent): object[] {
  if (isClosing(command)) {
    const { at, kind } = command;
    return [
      kind === 'cancelled'
        ? { kind: 'completed', at, payload: 1 }
        : { kind: 'cancelled', at, reason: '' },
    ];
  }
  if (command.kind === 'attributes-set')
    return [{ ...command, kind: 'sleep-scheduled', op: 1, name: 'x' }];
  if (command.kind === 'update-completed') return [{ ...command, id: 'other' }];
  const { name } = command;
  if (command.kind === 'version-marked') return [{ ...command, name: `${name} other` }];
  const kind = command.kind === 'step-scheduled' ? 'sleep-scheduled' : 'step-scheduled';
  return [
    { ...command, name: `${name} other` },
    { ...command, kind },
    { ...command, hash: 'other' },
  ];
}

test('whatever a body does otherwise than one that was recorded is refused, by name', async (t) => {
  const missed: string[] = [];
  let tried = 0;
  for (const [file, history] of histories) {
    for (const event of eventsOf(history)) {
      if (!isCommand(event)) continue;
      const { seq, entry: _entry, ...command } = event;
      for (const other of others(command)) {
        tried++;
        const { divergence } = await Engine.replay(
          workflows,
          rewritten(history, seq, () => other),
        );
        const isNamed =
          divergence !== undefined &&
          divergence.recorded !== divergence.actual &&
          (!('op' in command) || divergence.seq === command.op);
        if (!isNamed) missed.push(`${file}: ${seq} ${JSON.stringify(other)}`);
      }
    }
  }
  t.ok(tried > histories.size);
  t.same(missed, []);
});

test('a history that was tampered with is refused, at whichever event', async (t) => {
  for (const [file, history] of histories) {
    t.match(
      await Engine.replay(
        workflows,
        rewritten(history, 0, (event) => event),
      ),
      { ok: true },
    );
    for (const { seq } of history.events) {
      const events = history.events.map((one) =>
        one.seq === seq ? { ...one, at: one.at + 1 } : one,
      );
      await t.rejects(
        Engine.replay(workflows, { ...history, events }),
        { code: 'ERR_ENGINE_STORE_CORRUPT' },
        `${file}: ${seq}`,
      );
    }
  }
});

test('a body that changed is told what it does, what was recorded, and where', async (t) => {
  const file = [...histories].find(([, { name }]) => name === waits.name) as [string, History];
  const changed = workflow('waits', async (ctx: WorkflowContext) => {
    ctx.attributes({ phase: 'asks' });
    return ctx.receive('stop');
  });
  t.match(await Engine.replay(changed, file[1]), {
    ok: false,
    divergence: {
      seq: 1,
      recorded: 'receive "go"',
      actual: 'receive "stop"',
      at: /histories\.test\.ts:\d+:\d+$/,
    },
  });
});
