import { type Test, test } from 'tap';
import { Engine, FatalError, workflow } from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

test('a workflow is tried again as its policy says, over a crash, and the result follows', async (t) => {
  let runs = 0;
  const log: string[] = [];
  const flaky = workflow(
    'flaky',
    async (ctx, input: string) => {
      const at = await ctx.step('count', () => ++runs);
      ctx.compensate('undo', () => void log.push(`undo ${at}`));
      if (at < 3) throw new Error(`broken ${at}`);
      return `${input} ${at} ${await ctx.receive<string>('kept')}`;
    },
    { retry: { attempts: 5, initial: '1h', factor: 2, max: '1d', jitter: false } },
  );
  const engine = await open(t, { workflows: [flaky], startAt: 0, skipTime: false });
  const handle = await engine.start(flaky, 'in', { id: 'f', attributes: { a: 1 } });
  const first = (await handle.describe()).runId;
  await handle.signal('kept', 'signal').catch(() => engine.get('f').signal('kept', 'signal'));
  await engine.advance('59m');
  t.match(await engine.get('f').describe(), { status: 'sleeping', attributes: { a: 1 } });
  t.equal(runs, 1);
  const again = await engine.crash();
  t.teardown(() => again.close());
  await again.advance('1m');
  t.equal(runs, 2);
  await again.advance('1h');
  t.equal(runs, 2, 'the second wait is twice as long');
  await again.advance('1h');
  t.equal(await again.get('f', { runId: first }).result(), 'in 3 signal');
  t.equal(runs, 3);
  t.same(log, ['undo 1', 'undo 2'], 'a failed try undoes what it did');
  const failed = again.get('f', { runId: first });
  t.match(await failed.describe(), { status: 'failed' });
  t.match(await Engine.replay(flaky, await failed.history()), { ok: true });
});

test('the last try fails as it is; start options replace the policy of the workflow', async (t) => {
  let runs = 0;
  const fails = workflow(
    'fails',
    async (ctx) => {
      await ctx.step('count', () => ++runs);
      throw new Error('broken');
    },
    { retry: { attempts: 4 } },
  );
  const engine = await open(t, { workflows: [fails] });
  await t.rejects((await engine.start(fails)).result(), { name: 'WorkflowFailedError' });
  t.equal(runs, 4);
  const twice = await engine.start(fails, undefined, { retry: { attempts: 2 } });
  await t.rejects(twice.result(), { cause: { message: 'broken' } });
  t.equal(runs, 6);
  await t.rejects(engine.start(fails, undefined, { retry: { attempts: 0 } }), {
    code: 'ERR_ENGINE_RETRY_POLICY',
  });
  await t.rejects(engine.start(fails, undefined, { retry: { initial: 'soon' } }), {
    code: 'ERR_DURATION',
  });
});

for (const [why, error] of Object.entries({
  'a fatal error': () => new FatalError('no'),
  'a code that the policy names': () => Object.assign(new Error('no'), { code: 'E_NEVER' }),
})) {
  for (const where of ['body', 'step'] as const) {
    test(`not tried again: ${why} in a ${where}`, async (t) => {
      let runs = 0;
      const fails = workflow(
        'fails',
        async (ctx) => {
          runs++;
          if (where === 'body') throw error();
          const give = (): never => {
            throw error();
          };
          await ctx.step('give', give, { retry: { attempts: 1 } });
        },
        { retry: { attempts: 9, nonRetryable: ['E_NEVER'] } },
      );
      const engine = await open(t, { workflows: [fails] });
      await t.rejects((await engine.start(fails)).result());
      t.equal(runs, 1);
    });
  }
}

test('a cancelled or timed-out run is not tried again', async (t) => {
  const waits = workflow('waits', (ctx) => ctx.receive('never'), { retry: { attempts: 9 } });
  const engine = await open(t, { workflows: [waits] });
  const cancelled = await engine.start(waits, undefined, { id: 'c' });
  await cancelled.cancel();
  await t.rejects(cancelled.result(), { name: 'CancelledError' });
  const late = await engine.start(waits, undefined, { id: 'l', timeout: '1h' });
  await t.rejects(late.result(), { name: 'TimeoutError' });
});
