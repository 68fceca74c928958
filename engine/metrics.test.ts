/** What an engine counts, as Prometheus would read it. */
import { test } from 'tap';
import type { Clock } from '../spec/clock.ts';
import type { AnyWorkflow } from './core/contract.ts';
import { exposition, Counter, Gauge, Histogram } from './core/exposition.ts';
import { Engine, type Entry, FatalError, RetryAfterError, workflow } from './index.ts';
import { EngineMetrics, type MetricSources } from './io/metrics.ts';
import { MemoryStore, TestEngine } from './testing.ts';

const NOTHING: MetricSources = {
  runsInMemory: () => 0,
  timers: () => 0,
  stuck: () => 0,
  quarantined: () => 0,
  queues: () => [],
};

const NAME = /^[a-z_]+$/;
const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\S+)$/;

/** Reads the text form; fails on a line that is none of it. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  let family = '';
  for (const line of text.trimEnd().split('\n')) {
    const [, about, name = ''] = /^# (HELP|TYPE) (\S+) /.exec(line) ?? [];
    if (about !== undefined) {
      if (!NAME.test(name) || (about === 'TYPE' && name !== family)) throw new Error(line);
      family = name;
      continue;
    }
    const [, sample = '', labels = '', value] = SAMPLE.exec(line) ?? [];
    if (!sample.startsWith(family) || Number.isNaN(Number(value))) throw new Error(line);
    samples.set(labels === '' ? sample : `${sample}{${labels}}`, Number(value));
  }
  return samples;
}

function read(engine: Engine): (series: string) => number | undefined {
  const samples = parse(engine.metrics());
  return (series) => samples.get(`aether_engine_${series}`);
}

test('runs and attempts are counted by name, state and outcome', async (t) => {
  const order = workflow('order', async (ctx, fails: boolean) => {
    await ctx.step('charge', ({ attempt }) => {
      if (fails) throw new FatalError('refused');
      if (attempt < 3) throw new RetryAfterError('later', '2s');
    });
  });
  const engine = await TestEngine.open({ workflows: [order] });
  await (await engine.start(order, false)).result();
  await (await engine.start(order, true)).result().catch(() => {});
  const cancelled = await engine.start(order, false, { delay: '1h' });
  await cancelled.cancel();
  await cancelled.result().catch(() => {});
  const at = read(engine);
  t.equal(at('runs_started_total{workflow="order"}'), 3);
  t.equal(at('runs_closed_total{workflow="order",status="completed"}'), 1);
  t.equal(at('runs_closed_total{workflow="order",status="failed"}'), 1);
  t.equal(at('runs_closed_total{workflow="order",status="cancelled"}'), 1);
  t.equal(at('step_attempts_total{workflow="order",outcome="completed"}'), 1);
  t.equal(at('step_attempts_total{workflow="order",outcome="retried"}'), 2);
  t.equal(at('step_attempts_total{workflow="order",outcome="failed"}'), 1);
  t.equal(at('step_duration_seconds_count{workflow="order"}'), 4);
  t.equal(at('step_schedule_to_start_seconds_bucket{workflow="order",le="0.001"}'), 4);
  await engine.close();
});

test('runs that go on under the same id are counted, and what goes on after a crash is not again', async (t) => {
  const twice = workflow('twice', async (ctx, left: number) => {
    await ctx.sleep('nap', '1m');
    if (left > 0) ctx.continueAsNew(left - 1);
  });
  const engine = await TestEngine.open({ workflows: [twice], skipTime: false });
  await engine.start(twice, 1, { id: 't1' });
  await engine.advance('1m');
  t.equal(read(engine)('runs_started_total{workflow="twice"}'), 2);
  t.equal(read(engine)('runs_closed_total{workflow="twice",status="continued"}'), 1);
  const again = await engine.crash();
  await again.advance('1m');
  await again.get('t1').result();
  t.equal(read(again)('runs_closed_total{workflow="twice",status="completed"}'), 1);
  t.equal(read(again)('runs_started_total{workflow="twice"}'), undefined);
  await again.close();
});

test('what waits is seen: timers, runs in memory, queues', async (t) => {
  const waits = workflow('waits', async (ctx) => {
    await ctx.receive('go', { timeout: '1h' });
  });
  const engine = await TestEngine.open({
    workflows: [waits],
    queues: { mail: { concurrency: 2 } },
    skipTime: false,
  });
  for (let i = 0; i < 5; i++) await engine.start(waits, undefined, { queue: 'mail', id: `w${i}` });
  await engine.advance(0);
  const at = read(engine);
  t.equal(at('queue_in_flight{queue="mail"}'), 2);
  t.equal(at('queue_waiting{queue="mail"}'), 3);
  t.equal(at('timers'), engine.timersSet);
  t.ok(engine.timersSet >= 2);
  t.equal(at('runs_in_memory'), engine.runsInMemory);
  await engine.close();
});

test('a timer that fires late says how late, time without an engine included', async (t) => {
  const nap = workflow('nap', async (ctx) => ctx.sleep('nap', '1m'));
  const store = new MemoryStore();
  const first = await Engine.open({ store, workflows: [nap], clock: clockAt(0) });
  await first.start(nap, undefined, { id: 'late' });
  await first.close();
  const later = await Engine.open({ store, workflows: [nap], clock: clockAt(90_000) });
  await later.get('late').result();
  t.equal(read(later)('timer_lateness_seconds_sum'), 30);
  t.equal(read(later)('timer_lateness_seconds_count'), 1);
  await later.close();
});

test('sizes and commits are counted', async (t) => {
  const size = workflow('size', async (ctx, text: string) => ctx.step('echo', () => text));
  const engine = await TestEngine.open({ workflows: [size] });
  const handle = await engine.start(size, 'é'.repeat(1_000));
  await handle.result();
  const at = read(engine);
  t.equal(at('payload_bytes_count'), 3, 'input, result of the step, result');
  t.equal(at('payload_bytes_sum'), 3 * 2_002, 'in bytes, not characters');
  t.equal(at('payload_bytes_bucket{le="1024"}'), 0);
  t.equal(at('payload_bytes_bucket{le="4096"}'), 3);
  const { historyBytes } = await handle.describe();
  t.equal(at('history_bytes_total'), historyBytes);
  t.ok((historyBytes ?? 0) > 6_000);
  t.equal(at('commit_appends_count'), engine.commits);
  t.equal(at('commit_duration_seconds_count'), engine.commits);
  await engine.close();
});

test('the size of a history is exact, open or closed, and after a restart', async (t) => {
  const grows = workflow('grows', async (ctx) => {
    await ctx.step('one', () => 'x'.repeat(100));
    await ctx.receive('go');
  });
  const store = new MemoryStore();
  const engine = await Engine.open({ store, workflows: [grows] });
  const { runId } = await (await engine.start(grows, undefined, { id: 'g1' })).describe();
  const stored = async (): Promise<number> => {
    const entries = await store.read({ runId });
    return entries.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
  };
  while ((await engine.get('g1').describe()).pending[0]?.kind !== 'receive');
  t.equal((await engine.get('g1').describe()).historyBytes, await stored());
  await engine.close();
  const again = await Engine.open({ store, workflows: [grows] });
  t.equal((await again.get('g1').describe()).historyBytes, await stored());
  await again.get('g1').signal('go');
  await again.get('g1').result();
  t.equal((await again.get('g1').describe()).historyBytes, await stored());
  await again.close();
});

class RottingStore extends MemoryStore {
  /** Run whose entries are not what was written. */
  rotten = '';

  override async read(request: { runId: string; from?: number }): Promise<Entry[]> {
    const entries = await super.read(request);
    if (request.runId !== this.rotten) return entries;
    return entries.map(({ index, ballot, body }) => ({ index, ballot, body, hash: 'rotten' }));
  }
}

test('what does not go on by itself is seen: stuck and quarantined', async (t) => {
  const waits = (name: string): AnyWorkflow =>
    workflow('changed', async (ctx) => {
      await ctx.receive(name);
    });
  const store = new RottingStore();
  const engine = await Engine.open({ store, workflows: [waits('one')] });
  for (const id of ['c1', 'c2']) await engine.start('changed', undefined, { id });
  const { runId } = await engine.get('c2').describe();
  await engine.close();
  store.rotten = runId;
  const changed = await Engine.open({ store, workflows: [waits('other')] });
  t.equal(read(changed)('runs_stuck'), 0);
  t.equal((await changed.get('c1').describe()).status, 'stuck');
  await t.rejects(changed.get('c2').query('any'), { code: 'ERR_ENGINE_STORE_CORRUPT' });
  t.equal(read(changed)('runs_stuck'), 1);
  t.equal(read(changed)('runs_quarantined'), 1);
  await changed.get('c1').terminate();
  t.equal(read(changed)('runs_stuck'), 0);
  await changed.close();
});

test('no label is an id', async (t) => {
  const named = workflow('named', async (ctx) =>
    ctx.step(`step of ${ctx.workflowId}`, () => 'secret'),
  );
  const engine = await TestEngine.open({ workflows: [named] });
  const handle = await engine.start(named, undefined, { id: 'customer-4711' });
  await handle.result();
  const { runId } = await handle.describe();
  const text = engine.metrics();
  t.notMatch(text, 'customer-4711');
  t.notMatch(text, runId);
  t.notMatch(text, 'secret');
  await engine.close();
});

test('the text form escapes labels, and its buckets add up', (t) => {
  const counter = new Counter('a_total', 'A', ['label']);
  counter.of('a"b\\c\nd').value = 2;
  const histogram = new Histogram('b', 'B', [1, 2]);
  for (const value of [1, 1.5, 2, 3]) histogram.of().observe(value);
  const gauge = new Gauge('c', 'C', () => [[{}, 7]]);
  t.equal(
    exposition([counter, histogram, gauge]),
    [
      '# HELP a_total A',
      '# TYPE a_total counter',
      'a_total{label="a\\"b\\\\c\\nd"} 2',
      '# HELP b B',
      '# TYPE b histogram',
      'b_bucket{le="1"} 1',
      'b_bucket{le="2"} 3',
      'b_bucket{le="+Inf"} 4',
      'b_sum 7.5',
      'b_count 4',
      '# HELP c C',
      '# TYPE c gauge',
      'c 7',
      '',
    ].join('\n'),
  );
  t.end();
});

test('times are in seconds, and nothing began before it was due', (t) => {
  const metrics = new EngineMetrics(NOTHING);
  metrics.attemptBegan('w', 250);
  metrics.attemptBegan('w', -1);
  metrics.attemptEnded('w', 'completed', 1_500);
  metrics.committed(3, 2);
  metrics.timerFired(-1);
  const samples = parse(metrics.render());
  const at = (series: string): number | undefined => samples.get(`aether_engine_${series}`);
  t.equal(at('step_schedule_to_start_seconds_sum{workflow="w"}'), 0.25);
  t.equal(at('step_duration_seconds_sum{workflow="w"}'), 1.5);
  t.equal(at('commit_duration_seconds_sum'), 0.002);
  t.equal(at('commit_appends_sum'), 3);
  t.equal(at('timer_lateness_seconds_sum'), 0);
  t.end();
});

test('an engine that did nothing reads too', (t) => {
  const metrics = new EngineMetrics(NOTHING);
  t.equal(parse(metrics.render()).get('aether_engine_runs_in_memory'), 0);
  t.end();
});

/** Time that stands still, with timers that fire at once when they are due. */
function clockAt(nowMs: number): Clock {
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    after: (delayMs, wake) => {
      if (delayMs > 0) return () => {};
      const immediate = setImmediate(wake);
      return () => clearImmediate(immediate);
    },
  };
}
