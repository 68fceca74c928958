/** Spans as an OpenTelemetry SDK sees them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { context, createContextKey, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { test } from 'tap';
import { Engine, FatalError, type History, workflow, type WorkflowContext } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';
import { TestEngine, VirtualClock } from './testing.ts';

interface Watched {
  /** Ended spans, in order of their end. */
  spans(): ReadableSpan[];
  named(name: string): ReadableSpan[];
  one(name: string): ReadableSpan;
  readonly stop: () => void;
}

function watch(): Watched {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const named = (name: string): ReadableSpan[] =>
    exporter.getFinishedSpans().filter((span) => span.name === name);
  return {
    spans: () => exporter.getFinishedSpans(),
    named,
    one: (name) => {
      const [span, ...others] = named(name);
      if (span === undefined || others.length > 0) {
        const all = exporter.getFinishedSpans().map((other) => other.name);
        throw new Error(`one span "${name}" was expected in ${JSON.stringify(all)}`);
      }
      return span;
    },
    stop: () => {
      trace.disable();
      context.disable();
    },
  };
}

const traceOf = (span: ReadableSpan): string => span.spanContext().traceId;
const idOf = (span: ReadableSpan): string => span.spanContext().spanId;
const linksOf = (span: ReadableSpan): string[] => span.links.map((link) => link.context.spanId);

/** Calls something within a span of the program's own. */
async function inSpan<T>(name: string, act: () => Promise<T>): Promise<T> {
  return trace.getTracer('test').startActiveSpan(name, async (span) => {
    try {
      return await act();
    } finally {
      span.end();
    }
  });
}

const tracesIn = ({ events }: History): unknown[] =>
  events.map((event) => event['trace']).filter((one) => one !== undefined);

test('without a provider nothing is made, and nothing is written', async (t) => {
  const nap = workflow('nap', async (ctx) => {
    await ctx.step('look', () => t.equal(trace.getActiveSpan(), undefined));
    await ctx.sleep('nap', '1h');
  });
  const engine = await TestEngine.open({ workflows: [nap] });
  const handle = await engine.start(nap);
  await handle.result();
  const history = await handle.history();
  t.same(tracesIn(history), []);
  await engine.close();
  const seen = watch();
  t.teardown(seen.stop);
  t.equal((await Engine.replay(nap, history)).ok, true, 'a journal without traces is whole');
  t.same(seen.spans(), [], 'and its replay makes no span');
});

test('start, run and attempts are one trace', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const order = workflow('order', async (ctx) =>
    ctx.step('charge', ({ attempt }) => {
      if (attempt === 1) throw new Error('no answer');
      return attempt;
    }),
  );
  const engine = await TestEngine.open({ workflows: [order] });
  const handle = await inSpan('request', () => engine.start(order, undefined, { id: 'o1' }));
  t.equal(await handle.result(), 2);
  const { runId, version } = await handle.describe();
  await engine.close();

  const start = seen.one('start order');
  t.equal(start.parentSpanContext?.spanId, idOf(seen.one('request')));
  t.equal(start.kind, SpanKind.PRODUCER);
  t.match(start.attributes, { 'aether.workflow.id': 'o1', 'aether.workflow.run_id': runId });
  const runs = seen.named('run order');
  t.equal(runs.length, 2, 'it was activated by its start, and by the time of the second attempt');
  t.ok(runs.every((run) => run.parentSpanContext?.spanId === idOf(start)));
  t.equal(runs[1]?.attributes['aether.run.status'], 'completed');
  const [first, second] = seen.named('step charge') as [ReadableSpan, ReadableSpan];
  t.match(first.attributes, {
    'aether.workflow.id': 'o1',
    'aether.workflow.run_id': runId,
    'aether.workflow.name': 'order',
    'aether.workflow.version': version,
    'aether.step.name': 'charge',
    'aether.step.attempt': 1,
  });
  t.equal(first.parentSpanContext?.spanId, idOf(runs[0] as ReadableSpan));
  t.equal(first.status.code, SpanStatusCode.ERROR);
  t.equal(first.events[0]?.attributes?.['exception.message'], 'no answer');
  t.equal(second.attributes['aether.step.attempt'], 2);
  t.equal(second.status.code, SpanStatusCode.UNSET);
  t.same(linksOf(second), [idOf(first)], 'an attempt is linked to the one before');
  t.same(new Set(seen.spans().map(traceOf)).size, 1);
});

test('in a step its attempt is the active span, and nothing else is', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const secret = createContextKey('secret of a request');
  const fetching = workflow('fetching', async (ctx) =>
    ctx.step('fetch', async () => {
      t.equal(context.active().getValue(secret), undefined);
      await inSpan('GET', async () => {});
      await new Promise((resolve) => void setImmediate(resolve));
      return trace.getActiveSpan()?.spanContext().spanId;
    }),
  );
  const engine = await TestEngine.open({ workflows: [fetching] });
  const handle = await context.with(context.active().setValue(secret, 'x'), () =>
    inSpan('request', () => engine.start(fetching)),
  );
  const active = await handle.result();
  await engine.close();
  const step = seen.one('step fetch');
  t.equal(active, idOf(step), 'also after it has waited');
  t.equal(seen.one('GET').parentSpanContext?.spanId, idOf(step));
});

test('a body sees its own trace, live and on replay', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const inBody: (string | undefined)[] = [];
  const long = workflow('long', async (ctx) => {
    inBody.push(trace.getActiveSpan()?.spanContext().spanId);
    await ctx.receive('go');
  });
  const engine = await TestEngine.open({ workflows: [long] });
  const handle = await inSpan('request', () => engine.start(long, undefined, { id: 'l1' }));
  const again = await engine.crash();
  await again.get('l1').describe();
  await again.close();
  t.same(inBody, [idOf(seen.one('run long')), idOf(seen.one('start long'))]);
  t.equal(handle.id, 'l1');
});

test('what is replayed makes no span', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const long = workflow('long', async (ctx) => {
    ctx.onQuery('where', () => 'here');
    await ctx.step('one', () => 1);
    await ctx.step('two', () => 2);
    await ctx.receive('go');
  });
  const engine = await TestEngine.open({ workflows: [long] });
  const handle = await engine.start(long, undefined, { id: 'l1' });
  t.equal(await handle.query('where'), 'here');
  const again = await engine.crash();
  const before = seen.spans().length;
  t.equal(await again.get('l1').query('where'), 'here', 'it was replayed to be asked');
  const history = await again.get('l1').history();
  t.equal((await Engine.replay(long, history)).ok, true, 'traces are part of the chain');
  t.equal(seen.spans().length, before);
  await again.get('l1').signal('go');
  await again.get('l1').result();
  await again.close();
  t.same(
    seen
      .spans()
      .slice(before)
      .map((span) => span.name),
    ['signal go', 'run long'],
    'only what happened is spanned',
  );
});

test('signals and updates are linked to who sent them', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const waits = workflow('waits', async (ctx) => {
    ctx.onUpdate('rename', (name: string) => name);
    await ctx.receive('go');
  });
  const engine = await TestEngine.open({ workflows: [waits] });
  const handle = await inSpan('request', () => engine.start(waits));
  await inSpan('client', () => handle.update('rename', 'x', { id: 'u1' }));
  await inSpan('sender', () => handle.signal('go', undefined, { id: 's1' }));
  await handle.result();
  await engine.close();
  for (const [name, from, id] of [
    ['update rename', 'client', { 'aether.update.id': 'u1' }],
    ['signal go', 'sender', { 'aether.signal.id': 's1' }],
  ] as const) {
    const delivery = seen.one(name);
    t.equal(delivery.kind, SpanKind.CONSUMER);
    t.same(linksOf(delivery), [idOf(seen.one(from))]);
    t.match(delivery.attributes, id);
    t.equal(traceOf(delivery), traceOf(seen.one('request')), 'it belongs to the trace of the run');
  }
});

test('a refused update ends its span too', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const waits = workflow('waits', async (ctx) => {
    ctx.onUpdate('rename', (name: string) => name, {
      validate: () => {
        throw new Error('not now');
      },
    });
    await ctx.receive('go');
  });
  const engine = await TestEngine.open({ workflows: [waits] });
  const handle = await engine.start(waits);
  await t.rejects(handle.update('rename', 'x'), { code: 'ERR_ENGINE_UPDATE_REJECTED' });
  await handle.signal('go');
  await handle.result();
  await engine.close();
  t.same(seen.named('update rename'), [], 'nothing was delivered');
});

test('children and runs that go on belong to the trace of the first', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const child = workflow('leaf', async (ctx) => ctx.step('work', () => 1));
  const parent = workflow('root', async (ctx: WorkflowContext<number>, left: number) => {
    await (await ctx.child(child, undefined)).result();
    if (left > 0) ctx.continueAsNew(left - 1);
  });
  const engine = await TestEngine.open({ workflows: [parent, child] });
  const handle = await inSpan('request', () => engine.start(parent, 1));
  await handle.result();
  await engine.close();
  const attempts = seen.named('child leaf');
  t.equal(attempts.length, 2);
  t.same(
    seen.named('start leaf').map((span) => span.parentSpanContext?.spanId),
    attempts.map(idOf),
  );
  t.equal(seen.named('step work').length, 2);
  t.equal(new Set(seen.spans().map(traceOf)).size, 1);
});

test('a schedule is not one trace for ever: each run that it starts is', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const tick = workflow('tick', async (ctx) => ctx.step('work', () => 1));
  const engine = await TestEngine.open({ workflows: [tick], skipTime: false });
  await inSpan('request', () => engine.schedules.create('hourly', { every: '1h', workflow: tick }));
  await engine.advance('2h');
  await engine.close();
  const work = seen.named('step work').map(traceOf);
  t.equal(work.length, 2);
  t.equal(new Set([...work, traceOf(seen.one('request'))]).size, 3);
  t.same(seen.named('start tick').map(traceOf), work);
});

test('a run that fails says so in its span', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const fails = workflow('fails', async (ctx) => {
    await ctx.step('pay', () => {
      throw new FatalError('card refused');
    });
  });
  const engine = await TestEngine.open({ workflows: [fails] });
  const handle = await engine.start(fails);
  await t.rejects(handle.result(), { code: 'ERR_ENGINE_WORKFLOW_FAILED' });
  await engine.close();
  const run = seen.one('run fails');
  t.equal(run.status.code, SpanStatusCode.ERROR);
  t.match(run.status.message, /card refused/);
  t.equal(run.attributes['aether.run.status'], 'failed');
});

test('a trace goes on after a crash', async (t) => {
  const seen = watch();
  t.teardown(seen.stop);
  const { promise: isCalled, resolve: called } = Promise.withResolvers<void>();
  let calls = 0;
  const works = workflow('works', async (ctx) =>
    ctx.step('work', () => {
      if (++calls > 1) return 'done';
      called();
      return new Promise<string>(() => {});
    }),
  );
  const engine = await TestEngine.open({ workflows: [works] });
  await inSpan('request', () => engine.start(works, undefined, { id: 'w1' }));
  await isCalled;
  const again = await engine.crash();
  t.equal(await again.get('w1').result(), 'done');
  await again.close();
  const step = seen.one('step work');
  t.equal(traceOf(step), traceOf(seen.one('request')), 'the attempt that the crash cut never ends');
  const [, after] = seen.named('run works') as [ReadableSpan, ReadableSpan];
  t.equal(step.parentSpanContext?.spanId, idOf(after));
});

test('a trace goes on over a week and another process', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-tracing-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const nap = workflow('nap', async (ctx) => {
    await ctx.sleep('nap', '7d');
    await ctx.step('wake', () => 1);
  });
  const clock = new VirtualClock(Date.UTC(2030, 0, 1), false);
  const open = (): Promise<Engine> =>
    Engine.open({ store: new SqliteStore(join(folder, 'e.db')), workflows: [nap], clock });

  const before = watch();
  const engine = await open();
  await inSpan('request', () => engine.start(nap, undefined, { id: 'n1' }));
  await engine.close();
  before.stop();

  const after = watch();
  t.teardown(after.stop);
  const again = await open();
  await clock.advance(7 * 86_400_000);
  await again.get('n1').result();
  await again.close();
  const own = traceOf(before.one('request'));
  t.same(
    after.spans().map(traceOf),
    after.spans().map(() => own),
  );
  t.same(
    after.spans().map((span) => span.name),
    ['step wake', 'run nap'],
  );
  const run = after.one('run nap');
  t.equal(run.parentSpanContext?.spanId, idOf(before.one('start nap')));
  t.equal(run.attributes['aether.woken_by'], 'timer-fired');
  t.same(linksOf(run), [idOf(before.one('run nap'))], 'the timer names who set it');
});

test('a provider may be registered late, and go', async (t) => {
  const pair = workflow('pair', async (ctx) => {
    await ctx.receive('first');
    await ctx.step('work', () => 1);
    await ctx.receive('second');
  });
  const engine = await TestEngine.open({ workflows: [pair] });
  const handle = await engine.start(pair);
  const seen = watch();
  t.teardown(seen.stop);
  await handle.signal('first');
  await handle.describe();
  await engine.advance(0);
  t.equal(seen.named('step work').length, 1);
  seen.stop();
  const ended = seen.spans().length;
  await handle.signal('second');
  await handle.result();
  await engine.close();
  t.equal(seen.spans().length, ended);
});
