import { type Test, test } from 'tap';
import { Engine, workflow } from './index.ts';
import { MemoryStore, TestEngine, type TestEngineOptions } from './testing.ts';

const MINUTE_MS = 60_000;

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open({ skipTime: false, ...options });
  t.teardown(() => engine.close());
  return engine;
}

async function crashed(t: Test, engine: TestEngine): Promise<TestEngine> {
  const again = await engine.crash();
  t.teardown(() => again.close());
  return again;
}

const EVERY_MINUTE = { initial: '1m', factor: 1, max: '1m', jitter: false } as const;

test('however often a step is tried, its journal stays short, and no try is lost over a crash', async (t) => {
  const tries: number[] = [];
  const reported: unknown[] = [];
  const flaky = workflow('flaky', (ctx) =>
    ctx.step(
      'call',
      (step): number => {
        tries.push(step.attempt);
        reported.push(step.lastHeartbeat);
        step.heartbeat(step.attempt);
        throw new Error(`down ${step.attempt}`);
      },
      { retry: { ...EVERY_MINUTE, attempts: 600 } },
    ),
  );
  let engine = await open(t, { workflows: [flaky], limits: { historyEvents: 100 } });
  const { id } = await engine.start(flaky);
  for (let round = 0; round < 5; round++) {
    await engine.advance(99 * MINUTE_MS);
    engine = await crashed(t, engine);
    t.match(await engine.get(id).describe(), {
      status: 'running',
      pending: [
        {
          name: 'call',
          attempt: tries.length + 1,
          lastError: `down ${tries.length}`,
          nextAttemptAt: engine.clock.now() + MINUTE_MS,
        },
      ],
    });
    await engine.advance('1m');
  }
  await engine.advance(99 * MINUTE_MS);
  await t.rejects(engine.get(id).result(), { message: /failed after 600 attempts: down 600/ });
  const each = Array.from({ length: 600 }, (_, i) => i + 1);
  t.same(tries, each);
  t.same(reported, [undefined, ...each.slice(0, -1)]);
  const history = await engine.get(id).history();
  t.ok(history.events.length < 30, `${history.events.length} events`);
  t.match(await Engine.replay(flaky, history), { ok: true });
});

test('a run that was stuck meanwhile goes on with the try that was next', async (t) => {
  const tries: number[] = [];
  let mended = true;
  const flaky = workflow('flaky', async (ctx) => {
    if (!mended) await ctx.sleep('something else', 1);
    return ctx.step(
      'call',
      ({ attempt }) => {
        tries.push(attempt);
        if (attempt <= 50) throw new Error('down');
        return attempt;
      },
      { retry: EVERY_MINUTE },
    );
  });
  const first = await open(t, { workflows: [flaky] });
  const { id } = await first.start(flaky);
  await first.advance(39 * MINUTE_MS);
  mended = false;
  const stuck = await crashed(t, await crashed(t, first));
  await stuck.advance('1h');
  t.equal((await stuck.get(id).describe()).status, 'stuck');
  mended = true;
  const last = await crashed(t, stuck);
  await last.advance('20m');
  t.equal(await last.get(id).result(), 51);
  t.same(
    tries,
    Array.from({ length: 51 }, (_, i) => i + 1),
  );
});

test('a try that could not be recorded is made again', async (t) => {
  class Failing extends MemoryStore {
    failing = false;
    override append(
      ...batch: Parameters<MemoryStore['append']>
    ): ReturnType<MemoryStore['append']> {
      return this.failing ? Promise.reject(new Error('ENOSPC')) : super.append(...batch);
    }
  }
  const store = new Failing();
  const tries: number[] = [];
  const flaky = workflow('flaky', (ctx) =>
    ctx.step(
      'call',
      ({ attempt }) => {
        tries.push(attempt);
        store.failing = attempt === 30 && tries.length === 30;
        if (attempt < 40) throw new Error('down');
        return attempt;
      },
      { retry: { initial: 0, max: 0 } },
    ),
  );
  const { promise: failed, resolve } = Promise.withResolvers<void>();
  const ignore = (): void => {};
  const log = { debug: ignore, info: ignore, warn: ignore, error: () => resolve() };
  const engine = await Engine.open({ store, workflows: [flaky], log });
  t.teardown(() => engine.close());
  const handle = await engine.start(flaky);
  await failed;
  store.failing = false;
  t.equal(await handle.result(), 40);
  t.same(tries.slice(28, 32), [29, 30, 30, 31]);
});
