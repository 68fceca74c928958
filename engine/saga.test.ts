import { type Test, test } from 'tap';
import { FatalError, type StepContext, workflow, type WorkflowContext } from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

for (const end of ['fails beside it', 'is cancelled'] as const) {
  test(`a step in flight while its run ${end} is undone once it has done it`, async (t) => {
    const log: string[] = [];
    const doing = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const books = workflow('books', async (ctx) => {
      const flight = ctx.step(
        'flight',
        async ({ signal }: StepContext) => {
          doing.resolve();
          await gate.promise;
          log.push(`booked, ${signal.aborted ? 'though told to stop' : 'not told'}`);
          return 'f1';
        },
        { compensate: (result) => void log.push(`undone ${result}`) },
      );
      const beside =
        end === 'is cancelled'
          ? ctx.receive('never')
          : ctx.step('hotel', async () => {
              await doing.promise;
              throw new FatalError('no room');
            });
      await Promise.all([flight, beside]);
    });
    const engine = await open(t, { workflows: [books], skipTime: false });
    const handle = await engine.start(books);
    await doing.promise;
    if (end === 'is cancelled') await handle.cancel();
    const result = handle.result();
    result.catch(() => {});
    await engine.advance(0);
    gate.resolve();
    const name = end === 'is cancelled' ? 'CancelledError' : 'WorkflowFailedError';
    await t.rejects(result, { name });
    t.same(log, ['booked, though told to stop', 'undone f1']);
  });
}

test('a run that was cancelled is not tried again, whatever its body throws', async (t) => {
  let runs = 0;
  const wraps = workflow(
    'wraps',
    async (ctx) => {
      runs++;
      await ctx.receive('never').catch((error: Error) => {
        throw new Error(`wrapped: ${error.message}`);
      });
    },
    { retry: { attempts: 3, initial: 1 } },
  );
  const engine = await open(t, { workflows: [wraps] });
  const handle = await engine.start(wraps);
  await handle.cancel('enough');
  await t.rejects(handle.result(), { message: /wrapped: cancelled: enough/ });
  t.equal(runs, 1);
});

const cleans = async (ctx: WorkflowContext, log: string[]): Promise<string> => {
  ctx.onSignal('work', () => ctx.sleep('long', '1d'));
  try {
    return await ctx.receive<string>('never');
  } catch {
    await ctx.shield((inner) => inner.sleep('a while', '1h'));
    await ctx.shield((inner) => inner.step('clean', () => void log.push('cleaned')));
    return 'clean';
  }
};

for (const working of [false, true]) {
  test(`a cancelled body cleans up, ${working ? 'also' : 'not'} beside a handler`, async (t) => {
    const log: string[] = [];
    const tidy = workflow('tidy', (ctx) => cleans(ctx, log));
    const engine = await open(t, { workflows: [tidy] });
    const handle = await engine.start(tidy);
    if (working) await handle.signal('work');
    await handle.cancel();
    if (working) await t.rejects(handle.result(), { name: 'CancelledError' });
    else t.equal(await handle.result(), 'clean');
    t.same(log, ['cleaned']);
  });
}

test('an update may continue the run as new: it is done, and the next run begins', async (t) => {
  const turns = workflow('turns', async (ctx, round: number): Promise<unknown> => {
    ctx.onUpdate('turn', () => ctx.continueAsNew(round + 1));
    await ctx.receive('go');
    return round;
  });
  const engine = await open(t, { workflows: [turns] });
  const handle = await engine.start(turns, 0);
  t.equal(await handle.update('turn'), undefined);
  await handle.signal('go');
  t.equal(await handle.result(), 1);
});
