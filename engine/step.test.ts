import { type Test, test } from 'tap';
import {
  FatalError,
  RetryAfterError,
  type StepContext,
  StepFailedError,
  workflow,
} from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

test('a step is tried again by its policy, on the clock of the policy', async (t) => {
  const tries: { attempt: number; at: number; key: string }[] = [];
  const flaky = workflow('flaky', (ctx) =>
    ctx.step(
      'call',
      ({ attempt, idempotencyKey }) => {
        tries.push({ attempt, at: engine.clock.now(), key: idempotencyKey });
        if (attempt < 4) throw new Error(`try ${attempt}`);
        return 'done';
      },
      { retry: { initial: '1s', factor: 3, max: '5s', jitter: false } },
    ),
  );
  const engine = await open(t, { workflows: [flaky], startAt: 0 });
  t.equal(await (await engine.start(flaky)).result(), 'done');
  t.same(
    tries.map(({ attempt, at }) => [attempt, at]),
    [
      [1, 0],
      [2, 1_000],
      [3, 4_000],
      [4, 9_000],
    ],
  );
  t.equal(new Set(tries.map(({ key }) => key)).size, 1, 'one idempotency key for all tries');
});

test('attempts, nonRetryable, retryIf and FatalError end a step', async (t) => {
  let calls = 0;
  const cases: Record<string, () => [() => never, object]> = {
    attempts: () => [fail(new Error('no')), { attempts: 3, initial: 1 }],
    code: () => [
      fail(Object.assign(new Error('no'), { code: 'E_CARD' })),
      { nonRetryable: ['E_CARD'] },
    ],
    retryIf: () => [fail(new Error('no')), { retryIf: (error: Error) => error.message !== 'no' }],
    fatal: () => [fail(new FatalError('no')), {}],
  };
  const fail = (error: Error) => (): never => {
    calls++;
    throw error;
  };
  const giveUp = workflow('give-up', async (ctx, name: string) => {
    const [fn, retry] = (cases[name] as () => [() => never, object])();
    try {
      await ctx.step('call', fn, { retry });
    } catch (error) {
      if (!(error instanceof StepFailedError)) throw error;
      return { attempts: error.attempts, cause: error.cause };
    }
    return undefined;
  });
  const engine = await open(t, { workflows: [giveUp] });
  for (const [name, attempts] of [
    ['attempts', 3],
    ['code', 1],
    ['retryIf', 1],
    ['fatal', 1],
  ] as const) {
    calls = 0;
    const result = await (await engine.start(giveUp, name)).result();
    t.match(result, { attempts, cause: { message: 'no' } }, name);
    t.equal(calls, attempts, name);
  }
});

test('the cause is plain, and carries code and details', async (t) => {
  class CardError extends Error {
    override name = 'CardError';
    code = 'E_CARD';
    details = { last4: '4242', at: new Date(5) };
  }
  const pay = workflow('pay', async (ctx) => {
    const error = await ctx
      .step(
        'charge',
        () => {
          throw new CardError('declined');
        },
        { retry: { attempts: 1 } },
      )
      .catch((caught: unknown) => caught as StepFailedError);
    return { name: error.name, cause: error.cause };
  });
  const engine = await open(t, { workflows: [pay] });
  t.same(await (await engine.start(pay)).result(), {
    name: 'StepFailedError',
    cause: {
      name: 'CardError',
      message: 'declined',
      code: 'E_CARD',
      details: { last4: '4242', at: new Date(5) },
    },
  });
});

test('RetryAfterError sets the delay', async (t) => {
  const at: number[] = [];
  const polite = workflow('polite', (ctx) =>
    ctx.step('call', ({ attempt }) => {
      at.push(engine.clock.now());
      if (attempt === 1) throw new RetryAfterError('busy', '90s');
    }),
  );
  const engine = await open(t, { workflows: [polite], startAt: 0 });
  await (await engine.start(polite)).result();
  t.same(at, [0, 90_000]);
});

test('one attempt and all attempts have deadlines', async (t) => {
  const aborted: unknown[] = [];
  const hang = ({ signal }: StepContext): Promise<void> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        aborted.push((signal.reason as Error).name);
        reject(new Error('aborted'));
      });
    });
  const slow = workflow('slow', async (ctx) => {
    const one = await ctx
      .step('one', hang, { timeout: '1s', retry: { attempts: 1 } })
      .catch((error: StepFailedError) => error);
    const all = await ctx
      .step('all', hang, { timeout: '10s', totalTimeout: '25s', retry: { initial: 1, max: 1 } })
      .catch((error: StepFailedError) => error);
    return [one?.attempts, all?.attempts, all?.message];
  });
  const engine = await open(t, { workflows: [slow], startAt: 0 });
  const handle = await engine.start(slow);
  await engine.advance('1s');
  await engine.advance('10s');
  await engine.advance('10s');
  await engine.advance('10s');
  t.match(await handle.result(), [1, 3, /longer than 25s in all/]);
  t.same(aborted, ['TimeoutError', 'TimeoutError', 'TimeoutError', 'TimeoutError']);
});

test('a result that does not round-trip fails the step, and is not tried again', async (t) => {
  let calls = 0;
  const odd = workflow('odd', (ctx) =>
    ctx.step('make', () => {
      calls++;
      return { when: { fn: () => 1 } };
    }),
  );
  const engine = await open(t, { workflows: [odd] });
  await t.rejects((await engine.start(odd)).result(), {
    message: /result of step "make"\.when\.fn is a function/,
    cause: { name: 'StepFailedError', code: 'ERR_ENGINE_STEP_FAILED' },
  });
  t.equal(calls, 1);
});

test('the body gets its own copy of what was recorded', async (t) => {
  const shared = { list: [1, 2], at: new Date(7), big: 10n, bytes: new Uint8Array([1]) };
  const copy = workflow('copy', async (ctx) => {
    const got = await ctx.step('make', () => shared);
    const same = got === shared;
    got.list.push(3);
    return { same, got };
  });
  const engine = await open(t, { workflows: [copy] });
  const handle = await engine.start(copy);
  t.same(await handle.result(), {
    same: false,
    got: { list: [1, 2, 3], at: new Date(7), big: 10n, bytes: new Uint8Array([1]) },
  });
  const recorded = (await handle.history()).events.find((event) => event.kind === 'step-completed');
  t.match(recorded?.['payload'], { list: [1, 2] });
  t.same(shared.list, [1, 2]);
});

test('a heartbeat is found by the next attempt', async (t) => {
  const seen: unknown[] = [];
  const long = workflow('long', (ctx) =>
    ctx.step(
      'copy',
      async (step) => {
        seen.push(step.lastHeartbeat);
        step.heartbeat({ row: step.attempt * 10 });
        if (step.attempt < 3) throw new Error('again');
      },
      { retry: { initial: 1 } },
    ),
  );
  const engine = await open(t, { workflows: [long] });
  await (await engine.start(long)).result();
  t.same(seen, [undefined, { row: 10 }, { row: 20 }]);
});

test('no more runs have steps in flight than allowed; larger priorities go first', async (t) => {
  const order: number[] = [];
  let running = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  const queued = workflow('queued', (ctx, priority: number) =>
    ctx.step('work', async () => {
      order.push(priority);
      most = Math.max(most, ++running);
      await gate.promise;
      running--;
    }),
  );
  const engine = await open(t, { workflows: [queued], concurrency: 2 });
  const handles = [];
  for (const priority of [0, 0, 1, 5, 3]) {
    handles.push(await engine.start(queued, priority, { priority }));
  }
  gate.resolve();
  await Promise.all(handles.map((handle) => handle.result()));
  t.equal(most, 2);
  t.same(order, [0, 0, 5, 3, 1]);
});

test('describe names the steps that wait, with attempt, error and time', async (t) => {
  const flaky = workflow('flaky', (ctx) =>
    ctx.step(
      'call',
      () => {
        throw new Error('down');
      },
      { retry: { initial: '1h', max: '1h', jitter: false } },
    ),
  );
  const engine = await open(t, { workflows: [flaky], startAt: 0, skipTime: false });
  const handle = await engine.start(flaky);
  await engine.advance(0);
  t.match(await handle.describe(), {
    status: 'running',
    pending: [
      { kind: 'step', name: 'call', attempt: 2, nextAttemptAt: 3_600_000, lastError: 'down' },
    ],
  });
  const again = await engine.crash();
  t.teardown(() => again.close());
  t.match(
    await again.get(handle.id).describe(),
    { pending: [{ attempt: 2 }] },
    'kept over a crash',
  );
});

test('of a flood of heartbeats a few are recorded, and the next attempt finds the newest', async (t) => {
  const seen: unknown[] = [];
  const floods = workflow('floods', (ctx) =>
    ctx.step(
      'copy',
      (step) => {
        seen.push(step.lastHeartbeat);
        for (let row = 0; row < 10_000; row++) step.heartbeat(row);
        if (step.attempt < 3) throw new Error('again');
      },
      { retry: { initial: 1 } },
    ),
  );
  const engine = await open(t, { workflows: [floods] });
  const handle = await engine.start(floods);
  await handle.result();
  t.same(seen, [undefined, 9_999, 9_999]);
  t.ok((await handle.describe()).events < 100);
});

test('what a step reports is found after a crash, however long it goes on', async (t) => {
  let now: StepContext | undefined;
  const long = workflow('long', (ctx) =>
    ctx.step('copy', (step) => {
      now = step;
      return step.attempt === 1 && step.lastHeartbeat === undefined
        ? new Promise(() => {})
        : step.lastHeartbeat;
    }),
  );
  const engine = await open(t, { workflows: [long], skipTime: false });
  const handle = await engine.start(long);
  await engine.advance(0);
  for (let second = 0; second < 3_600; second++) {
    now?.heartbeat(second);
    await engine.advance('1s');
  }
  const { events } = await handle.describe();
  t.ok(events < 30, `${events} events`);
  const again = await engine.crash();
  t.teardown(() => again.close());
  const found = await again.get<number>(handle.id).result();
  t.ok(found > 3_500, `${found}`);
});

test('a step that is abandoned hears why', async (t) => {
  const reasons: unknown[] = [];
  const leaves = workflow('leaves', (ctx) =>
    ctx.step(
      'work',
      ({ signal }) =>
        new Promise<void>(() => {
          signal.addEventListener('abort', () => reasons.push(signal.reason));
        }),
      { onCancel: 'abandon' },
    ),
  );
  const engine = await open(t, { workflows: [leaves] });
  const handle = await engine.start(leaves);
  await engine.advance(0);
  await handle.cancel('enough');
  await t.rejects(handle.result(), { name: 'CancelledError' });
  t.match(reasons, [{ name: 'CancelledError', message: /enough/ }]);
});
