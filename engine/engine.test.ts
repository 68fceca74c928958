import { type Test, test } from 'tap';
import {
  AlreadyExistsError,
  CancelledError,
  Engine,
  NotFoundError,
  PayloadTypeError,
  type StandardSchema,
  type StepContext,
  TimeoutError,
  workflow,
} from './index.ts';
import { MemoryStore, TestEngine, type TestEngineOptions, VirtualClock } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

const echo = workflow('echo', async (_ctx, input: unknown) => input);
const waits = workflow('waits', (ctx) => ctx.receive<unknown>('go'));
const fails = workflow('fails', async () => {
  throw Object.assign(new Error('broken'), { code: 'E_BROKEN' });
});

test('payloads round-trip, or are refused by name before anything is recorded', async (t) => {
  const engine = await open(t, { workflows: [echo] });
  const value = {
    text: 'ü\u{1F300}\uD800',
    numbers: [0, -0, Number.NaN, Infinity, 1e300],
    big: 2n ** 80n,
    at: new Date(1),
    bytes: new Uint8Array([0, 255]),
    map: new Map<unknown, unknown>([[{ k: 1 }, new Set([1, 'a'])]]),
    nothing: undefined,
    nul: null,
    $: 'a key of the codec',
    nested: { $: 'date', v: 5 },
  };
  const result = await (await engine.start(echo, value)).result();
  t.strictSame(result, value);
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  class Money {
    cents = 1;
  }
  for (const [bad, why] of [
    [() => 1, /is a function/],
    [{ a: [Symbol('x')] }, /input of workflow "echo"\.a\[0\] is a symbol/],
    [cycle, /\.self is a cycle/],
    [new Money(), /an instance of Money/],
    [JSON.parse('{"__proto__":1}'), /__proto__/],
  ] as const) {
    await t.rejects(engine.start(echo, bad, { id: 'bad' }), {
      code: 'ERR_ENGINE_PAYLOAD_TYPE',
      message: why,
    });
  }
  await t.rejects(engine.get('bad').describe(), NotFoundError);
});

test('limits refuse before anything is stored', async (t) => {
  const engine = await open(t, { workflows: [echo], limits: { payloadBytes: 100 } });
  await t.rejects(engine.start(echo, 'ü'.repeat(50), { id: 'big' }), {
    code: 'ERR_ENGINE_PAYLOAD_TOO_LARGE',
    details: { bytes: 102, limit: 100 },
  });
  await t.rejects(engine.get('big').describe(), NotFoundError);
  t.equal(await (await engine.start(echo, 'x'.repeat(98))).result(), 'x'.repeat(98));
});

test('a run that grows over the limit fails with a clear error', async (t) => {
  const loop = workflow('loop', async (ctx) => {
    for (;;) await ctx.step('again', () => 1);
  });
  const engine = await open(t, { workflows: [loop], limits: { historyEvents: 20 } });
  const handle = await engine.start(loop);
  await t.rejects(handle.result(), { cause: { code: 'ERR_ENGINE_HISTORY_LIMIT' } });
  t.ok((await handle.describe()).events <= 22);
});

test('a codec sees every payload, and none is stored without it', async (t) => {
  const store = new MemoryStore();
  const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0x55);
  const secret = workflow('secret', async (ctx, input: string) => {
    const a = await ctx.step('a', () => `${input}-result`);
    return [a, await ctx.receive<string>('go')];
  });
  const engine = await Engine.open({
    store,
    workflows: [secret],
    codec: { encode: flip, decode: flip },
  });
  const handle = await engine.start(secret, 'hidden');
  await handle.signal('go', 'hidden too');
  t.same(await handle.result(), ['hidden-result', 'hidden too']);
  const { runId } = await handle.describe();
  const stored = (await store.read({ runId })).map((entry) => entry.body).join('');
  t.notMatch(stored, /hidden/);
  await engine.close();
});

test('an input schema refuses before anything is recorded', async (t) => {
  const positive: StandardSchema<number> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        typeof value === 'number' && value > 0
          ? { value: value + 1 }
          : { issues: [{ message: 'not positive' }] },
    },
  };
  const checked = workflow('checked', async (_ctx, input: number) => input, { input: positive });
  const engine = await open(t, { workflows: [checked] });
  t.equal(await (await engine.start(checked, 1)).result(), 2, 'what the schema made of it');
  await t.rejects(engine.start(checked, -1, { id: 'bad' }), PayloadTypeError);
  await t.rejects(engine.get('bad').describe(), NotFoundError);
});

test('one id: asking twice is asking once', async (t) => {
  const engine = await open(t, { workflows: [waits, fails] });
  const start = (options: object) => engine.start(waits, undefined, { id: 'a', ...options });
  const runId = async (): Promise<string> => (await engine.get('a').describe()).runId;
  await Promise.all([start({}), start({}), start({})]);
  const first = await runId();
  await t.rejects(start({ onConflict: 'fail' }), AlreadyExistsError);
  const replaced = await start({ onConflict: 'terminate-existing' });
  t.not(await runId(), first);
  await t.rejects(engine.get('a', { runId: first }).result(), { code: 'ERR_ENGINE_TERMINATED' });
  await replaced.signal('go', 7);
  t.equal(await replaced.result(), 7);
  t.equal(await (await start({})).result(), 7, 'closed: use the existing result');
  t.equal(await (await start({ onClosed: 'restart-if-failed' })).result(), 7);
  await t.rejects(start({ onClosed: 'fail' }), AlreadyExistsError);
  t.match(await (await start({ onClosed: 'restart' })).describe(), { status: 'running' });

  await t.rejects((await engine.start(fails, undefined, { id: 'f' })).result());
  const failed = (await engine.get('f').describe()).runId;
  const again = await engine.start(fails, undefined, { id: 'f', onClosed: 'restart-if-failed' });
  t.not((await again.describe()).runId, failed);
});

test('a run that fails says why', async (t) => {
  const engine = await open(t, { workflows: [fails] });
  const handle = await engine.start(fails);
  await t.rejects(handle.result(), {
    name: 'WorkflowFailedError',
    code: 'ERR_ENGINE_WORKFLOW_FAILED',
    cause: { name: 'Error', message: 'broken', code: 'E_BROKEN' },
  });
  t.match(await handle.describe(), { status: 'failed', closedAt: Number });
});

test('signals: before anyone waits, in order, once per id', async (t) => {
  const takes = workflow('takes', async (ctx) => {
    await ctx.sleep('first', '1h');
    return [await ctx.receive('go'), await ctx.receive('go'), await ctx.receive('other')];
  });
  const engine = await open(t, { workflows: [takes], skipTime: false });
  const handle = await engine.start(takes);
  await handle.signal('go', 1, { id: 'x' });
  await handle.signal('go', 1, { id: 'x' });
  await handle.signal('other', 3);
  const again = await engine.crash();
  t.teardown(() => again.close());
  const same = again.get(handle.id);
  await same.signal('go', 1, { id: 'x' });
  await same.signal('go', 2);
  await again.advance('1h');
  t.same(await same.result(), [1, 2, 3]);
  await t.rejects(same.signal('go', 4), NotFoundError);
  await t.rejects(again.get('nobody').signal('go'), NotFoundError);
});

test('a start may bring its first signal', async (t) => {
  const engine = await open(t, { workflows: [waits] });
  const options = { id: 'a', signal: { name: 'go', payload: 'with it' } };
  t.equal(await (await engine.start(waits, undefined, options)).result(), 'with it');
});

test('receive times out; a late signal is kept for the next receive', async (t) => {
  const patient = workflow('patient', async (ctx) => {
    const late = await ctx.receive('go', { timeout: '1d' }).catch((error: Error) => error);
    return [late instanceof TimeoutError, ctx.now(), await ctx.receive('go')];
  });
  const engine = await open(t, { workflows: [patient], startAt: 0, skipTime: false });
  const handle = await engine.start(patient);
  await engine.advance('1d');
  await handle.signal('go', 'late');
  t.same(await handle.result(), [true, 86_400_000, 'late']);
});

test('handlers, queries, updates and conditions', async (t) => {
  const cart = workflow('cart', async (ctx) => {
    const items: string[] = [];
    let taking = true;
    ctx.onSignal<string>('add', async (item) => {
      await ctx.step('check', () => item);
      items.push(item);
    });
    ctx.onQuery('items', () => items.length);
    ctx.onUpdate(
      'remove',
      async (item: string) => {
        await ctx.step('log', () => item);
        return items.splice(items.indexOf(item), 1);
      },
      {
        validate: (item) => {
          if (!items.includes(item)) throw new Error(`no ${item}`);
        },
      },
    );
    ctx.onSignal('close', () => void (taking = false));
    t.equal(await ctx.condition(() => items.length > 99, { timeout: '1s' }), false);
    t.equal(await ctx.condition(() => !taking), true);
    return items;
  });
  const engine = await open(t, { workflows: [cart] });
  const handle = await engine.start(cart);
  for (const item of ['a', 'b', 'c']) await handle.signal('add', item);
  while ((await handle.query('items')) !== 3)
    await new Promise((resolve) => void setImmediate(resolve));
  const { events } = await handle.history();
  await t.rejects(handle.update('remove', 'z'), {
    code: 'ERR_ENGINE_UPDATE_REJECTED',
    cause: { message: 'no z' },
  });
  await t.rejects(handle.update('nothing'), { code: 'ERR_ENGINE_UPDATE_REJECTED' });
  t.equal(
    (await handle.history()).events.length,
    events.length,
    'a rejected update leaves no history',
  );
  t.same(await handle.update('remove', 'b', { id: 'u' }), ['b']);
  t.same(await handle.update('remove', 'b', { id: 'u' }), ['b'], 'the same id counts once');
  await t.rejects(handle.query('nothing'), { code: 'ERR_ENGINE_QUERY' });
  await handle.signal('close');
  t.same(await handle.result(), ['a', 'c']);
  t.equal(await handle.query('items'), 2, 'a closed run answers too');
});

test('two consumers of a signal are refused', async (t) => {
  const twice = workflow('twice', async (ctx) => {
    ctx.onSignal('go', () => {});
    await ctx.receive('go');
  });
  const engine = await open(t, { workflows: [twice] });
  await t.rejects((await engine.start(twice)).result(), {
    cause: { code: 'ERR_ENGINE_DUPLICATE_CONSUMER' },
  });
});

test('cancel: open and later operations reject; catching it and returning is completed', async (t) => {
  const steps: string[] = [];
  const job = workflow('job', async (ctx, how: 'escape' | 'catch') => {
    try {
      await ctx.step(
        'work',
        ({ signal }: StepContext) =>
          new Promise<void>((_, reject) => {
            steps.push('begun');
            signal.addEventListener('abort', () => {
              steps.push('aborted');
              reject(new Error('stopped'));
            });
          }),
      );
    } catch (error) {
      if (how === 'escape') throw error;
      const later = await ctx.sleep('later', 1).catch((caught: Error) => caught.name);
      const shielded = await ctx.shield((inner) => inner.step('tidy', () => 'tidied'));
      return [(error as Error).name, later, shielded];
    }
    return undefined;
  });
  const engine = await open(t, { workflows: [job] });
  const begin = async (how: 'escape' | 'catch') => {
    const handle = await engine.start(job, how);
    while (steps.at(-1) !== 'begun') await new Promise((resolve) => void setImmediate(resolve));
    await Promise.all([handle.cancel('no longer wanted'), handle.cancel('twice is once')]);
    return handle;
  };
  t.same(await (await begin('catch')).result(), ['CancelledError', 'CancelledError', 'tidied']);
  const escaped = await begin('escape');
  await t.rejects(escaped.result(), { name: 'CancelledError', message: /no longer wanted/ });
  t.equal((await escaped.describe()).status, 'cancelled');
  t.same(steps, ['begun', 'aborted', 'begun', 'aborted']);
  await t.rejects(escaped.cancel(), NotFoundError);
});

test('terminate ends a run without asking it', async (t) => {
  const engine = await open(t, { workflows: [waits] });
  const handle = await engine.start(waits);
  await handle.terminate('enough');
  await t.rejects(handle.result(), { name: 'TerminatedError', message: /enough/ });
  t.equal((await handle.describe()).status, 'terminated');
});

test('a run has a deadline; a start may be delayed', async (t) => {
  const engine = await open(t, { workflows: [waits, echo], startAt: 0, skipTime: false });
  const limited = await engine.start(waits, undefined, { timeout: '1h' });
  const delayed = await engine.start(echo, 'x', { delay: '30m' });
  t.equal((await delayed.describe()).status, 'sleeping');
  const again = await engine.crash();
  t.teardown(() => again.close());
  await again.advance('29m');
  t.equal((await again.get(delayed.id).describe()).status, 'sleeping');
  await again.advance('1m');
  t.equal(await again.get(delayed.id).result(), 'x');
  await again.advance('30m');
  await t.rejects(again.get(limited.id).result(), TimeoutError);
  t.equal((await again.get(limited.id).describe()).status, 'timed-out');
});

test('scopes are cancelled together, by hand or by their timeout', async (t) => {
  const scoped = workflow('scoped', async (ctx) => {
    const late = await ctx
      .scope((inner) => inner.receive('never'), { timeout: '1m' })
      .catch((error: Error) => error.name);
    const byHand = await ctx
      .scope(async (inner) => {
        const waiting = inner.receive('never');
        inner.cancel('enough');
        await waiting;
      })
      .catch((error: Error) => error.name);
    const inTime = await ctx.scope((inner) => inner.step('quick', () => 'in time'), {
      timeout: '1m',
    });
    return [late, byHand, inTime, await ctx.step('outside', () => 'goes on')];
  });
  const engine = await open(t, { workflows: [scoped] });
  const handle = await engine.start(scoped);
  t.same(await handle.result(), ['TimeoutError', 'CancelledError', 'in time', 'goes on']);
  t.match(await Engine.replay(scoped, await handle.history()), { ok: true });
});

test('a saga undoes in reverse order, also when cancelled, over a crash', async (t) => {
  const log: string[] = [];
  const trip = workflow('trip', async (ctx, end: 'fail' | 'wait') => {
    await ctx.step('hotel', () => 'h1', {
      compensate: (hotel) => void log.push(`cancel ${hotel}`),
    });
    await ctx.step('flight', () => 'f1', {
      compensate: (flight) => void log.push(`cancel ${flight}`),
    });
    ctx.compensate('notify', () => void log.push('notify'));
    if (end === 'wait') await ctx.receive('never');
    throw new Error('no car');
  });
  const engine = await open(t, { workflows: [trip] });
  await t.rejects((await engine.start(trip, 'fail')).result(), { cause: { message: 'no car' } });
  t.same(log.splice(0), ['notify', 'cancel f1', 'cancel h1']);
  const handle = await engine.start(trip, 'wait');
  while ((await handle.describe()).pending[0]?.kind !== 'receive') continue;
  const again = await engine.crash();
  t.teardown(() => again.close());
  await again.get(handle.id).cancel();
  await t.rejects(again.get(handle.id).result(), CancelledError);
  t.same(log, ['notify', 'cancel f1', 'cancel h1']);
});

test('a compensation that fails is named, with what was not undone', async (t) => {
  const trip = workflow('trip', async (ctx) => {
    ctx.compensate('first', () => {});
    ctx.compensate(
      'second',
      () => {
        throw new Error('stays booked');
      },
      { retry: { attempts: 1 } },
    );
    throw new Error('no car');
  });
  const engine = await open(t, { workflows: [trip] });
  await t.rejects((await engine.start(trip)).result(), {
    cause: { code: 'ERR_ENGINE_COMPENSATION_FAILED', details: { notUndone: ['second', 'first'] } },
  });
});

test('continueAsNew goes on under the same id, with the signals that nobody took', async (t) => {
  const counter = workflow('counter', async (ctx, left: number): Promise<string> => {
    if (left > 0) {
      await ctx.sleep('round', '1h');
      ctx.continueAsNew(left - 1);
    }
    return `${await ctx.receive<string>('name')} is done`;
  });
  const engine = await open(t, { workflows: [counter], skipTime: false });
  const handle = await engine.start(counter, 3, { id: 'c' });
  const first = (await handle.describe()).runId;
  await handle.signal('name', 'Ada');
  const result = handle.result();
  await engine.advance('3h');
  t.equal(await result, 'Ada is done');
  const runs = [];
  for await (const run of engine.list({ name: 'counter' })) runs.push([run.id, run.status]);
  t.same(runs, [
    ['c', 'continued'],
    ['c', 'continued'],
    ['c', 'continued'],
    ['c', 'completed'],
  ]);
  t.equal(
    await engine.get('c', { runId: first }).result(),
    'Ada is done',
    'followed from the first',
  );
});

test('a workflow signals another, once, over a crash', async (t) => {
  const pings = workflow('pings', async (ctx) => {
    await ctx.signal('target', 'go', 'hello');
    await ctx.receive('end');
  });
  const misses = workflow('misses', (ctx) => ctx.signal('nobody', 'go'));
  const engine = await open(t, { workflows: [pings, waits, misses] });
  const target = await engine.start(waits, undefined, { id: 'target' });
  await engine.start(pings);
  t.equal(await target.result(), 'hello');
  await t.rejects((await engine.start(misses)).result(), { cause: { name: 'NotFoundError' } });
});

test('attributes are searchable, and survive a crash', async (t) => {
  const tagged = workflow('tagged', async (ctx) => {
    ctx.attributes({ stage: 'late', size: null });
    await ctx.receive('go');
  });
  const engine = await open(t, { workflows: [tagged, waits] });
  await engine.start(tagged, undefined, { id: 'a', attributes: { stage: 'early', size: 3 } });
  await engine.start(waits, undefined, { id: 'b' });
  const again = await engine.crash();
  t.teardown(() => again.close());
  const found = async (filter: object): Promise<string[]> => {
    const ids = [];
    for await (const run of again.list(filter)) ids.push(run.id);
    return ids;
  };
  t.same(await found({ attributes: { stage: 'late' } }), ['a']);
  t.same(await found({ attributes: { stage: 'early' } }), []);
  t.same(await found({ status: ['running'] }), ['a', 'b']);
  t.same(await found({ newestFirst: true, limit: 1 }), ['b']);
});

test('a long sleep survives a crash, fires once, and its run leaves memory', async (t) => {
  let wakes = 0;
  const sleeper = workflow('sleeper', async (ctx) => {
    await ctx.sleep('long', '7d');
    await ctx.step('wake', () => void wakes++);
    return ctx.now();
  });
  const engine = await open(t, { workflows: [sleeper], startAt: 0, skipTime: false });
  const handles = [];
  for (let i = 0; i < 50; i++) handles.push(await engine.start(sleeper));
  t.equal((await handles[0]?.describe())?.status, 'sleeping');
  t.equal(engine.runsInMemory, 0);
  await engine.advance('3d');
  const again = await engine.crash();
  t.teardown(() => again.close());
  await again.advance('3d');
  t.equal(wakes, 0);
  await again.advance('1d');
  t.equal(wakes, 50);
  await again.advance('30d');
  t.equal(wakes, 50);
  t.equal(await again.get(handles[0]?.id ?? '').result(), 7 * 86_400_000);
});

test('a wait may be given up; the run goes on', async (t) => {
  const engine = await open(t, { workflows: [waits] });
  const handle = await engine.start(waits);
  await t.rejects(handle.result({ timeout: 1 }), TimeoutError);
  const abort = new AbortController();
  const waiting = handle.result({ signal: abort.signal });
  abort.abort(new Error('gone'));
  await t.rejects(waiting, { message: 'gone' });
  await handle.signal('go', 1);
  t.equal(await handle.result(), 1);
});

test('a closed engine refuses everything, and wakes who waits', async (t) => {
  const engine = await TestEngine.open({ workflows: [waits] });
  const handle = await engine.start(waits);
  const waiting = handle.result();
  const rejected = t.rejects(waiting, { code: 'ERR_ENGINE_CLOSED' });
  await engine.close();
  await rejected;
  await t.rejects(engine.start(waits), { code: 'ERR_ENGINE_CLOSED' });
  await t.rejects(handle.signal('go'), { code: 'ERR_ENGINE_CLOSED' });
  await t.rejects(handle.history(), { code: 'ERR_ENGINE_CLOSED' });
  await t.rejects(engine.list()[Symbol.asyncIterator]().next(), { code: 'ERR_ENGINE_CLOSED' });
});

test('to close twice is to wait for the same end', async (t) => {
  const { promise: appended, resolve: finish } = Promise.withResolvers<void>();
  const store = new MemoryStore();
  const append = store.append.bind(store);
  let closed = 0;
  store.close = async () => void closed++;
  const engine = await Engine.open({ store, workflows: [waits] });
  await engine.start(waits);
  store.append = async (batch) => appended.then(() => append(batch));
  const sent = engine.start(waits).catch(() => {});
  await new Promise((resolve) => void setImmediate(resolve));
  const [first, second] = [engine.close(), engine.close()];
  await new Promise((resolve) => void setImmediate(resolve));
  t.equal(closed, 0, 'what is being recorded is waited for');
  finish();
  await Promise.all([first, second, sent]);
  t.equal(closed, 1);
});

test('a closed engine leaves no deadline of a step behind', async (t) => {
  const clock = new VirtualClock(0, false);
  let deadlines = 0;
  const after = clock.after.bind(clock);
  clock.after = (delayMs, wake) => {
    deadlines++;
    const cancel = after(delayMs, wake);
    return () => (deadlines--, cancel());
  };
  const hangs = workflow('hangs', (ctx) =>
    ctx.step('hang', () => new Promise(() => {}), { timeout: '1h', heartbeatTimeout: '1m' }),
  );
  const engine = await Engine.open({ store: new MemoryStore(), workflows: [hangs], clock });
  await engine.start(hangs);
  await new Promise((resolve) => void setImmediate(resolve));
  t.equal(deadlines, 2);
  await engine.close();
  t.equal(deadlines, 0);
});

test('signals of several names reach the next run as they came', async (t) => {
  const order = workflow('order', async (ctx, round: number): Promise<string[]> => {
    if (round === 0) {
      await ctx.receive('go');
      ctx.continueAsNew(1);
    }
    const seen: string[] = [];
    for (const name of ['b', 'a']) ctx.onSignal<string>(name, (one) => void seen.push(one));
    await ctx.condition(() => seen.length === 3);
    return seen;
  });
  const engine = await open(t, { workflows: [order] });
  const handle = await engine.start(order, 0, { id: 'o' });
  await handle.signal('a', '1');
  await handle.signal('b', '2');
  await handle.signal('a', '3');
  await handle.signal('go');
  await handle.result();
  const { events } = await engine.get('o').history();
  t.same(
    events
      .filter(({ kind }) => kind === 'signal-received')
      .map(({ name, payload }) => [name, payload]),
    [
      ['a', '1'],
      ['b', '2'],
      ['a', '3'],
    ],
  );
});

test('what was done is undone, however full the history is', async (t) => {
  const undone: number[] = [];
  const loop = workflow('loop', async (ctx) => {
    for (let i = 0; ; i++) {
      const compensate = (): void => void undone.push(i);
      await ctx.step('work', () => i, i % 3 === 0 ? { compensate } : {});
    }
  });
  const engine = await open(t, { workflows: [loop], limits: { historyEvents: 20 } });
  await t.rejects((await engine.start(loop)).result(), {
    cause: { code: 'ERR_ENGINE_HISTORY_LIMIT' },
  });
  t.same(undone, [9, 6, 3, 0]);
});

test('a history that is full takes no signal and no update, but a step is tried on', async (t) => {
  const fills = workflow('fills', async (ctx) => {
    ctx.onUpdate('u', () => 1);
    await ctx.receive('go');
  });
  const retries = workflow('retries', (ctx) =>
    ctx.step(
      'bad',
      () => {
        throw new Error('down');
      },
      { retry: { initial: 0, max: 0, attempts: 2_000 } },
    ),
  );
  const engine = await open(t, { workflows: [fills, retries], limits: { historyEvents: 20 } });
  const handle = await engine.start(fills);
  for (let i = 2; i < 20; i++) await handle.signal('other');
  const full = { code: 'ERR_ENGINE_HISTORY_LIMIT' };
  await t.rejects(handle.signal('other'), full);
  await t.rejects(handle.update('u'), full);
  t.equal((await handle.history()).events.length, 20);
  await handle.cancel();
  await t.rejects(handle.result(), CancelledError);
  const retried = await engine.start(retries);
  await t.rejects(retried.result(), { message: /step "bad" failed after 2000 attempts: down/ });
  t.equal((await retried.describe()).events, 22, 'the last outcome and the end are recorded still');
});

test('what is not there says so', async (t) => {
  const engine = await open(t, { workflows: [echo] });
  await t.rejects(engine.start('unknown'), NotFoundError);
});

test('the timer of a wait that has ended is gone', async (t) => {
  const patient = workflow('patient', async (ctx) => {
    const first = await ctx.receive('go', { timeout: '30d' });
    await ctx.condition(() => first === 1, { timeout: '30d' });
    await ctx.scope((inner) => inner.receive('go', { timeout: '7d' }), { timeout: '30d' });
    await ctx.receive('never', { timeout: '30d' });
  });
  const engine = await open(t, { workflows: [patient], skipTime: false });
  const handles = await Promise.all(
    Array.from({ length: 10 }, () => engine.start(patient, undefined, { timeout: '365d' })),
  );
  const settled = (): Promise<unknown> => Promise.all(handles.map((handle) => handle.describe()));
  await settled();
  t.equal(engine.timersSet, 20, 'a wait and a deadline each');
  for (const handle of handles) await handle.signal('go', 1);
  await settled();
  t.equal(engine.timersSet, 30, 'the next wait, its scope, the deadline');
  for (const handle of handles) await handle.signal('go', 2);
  await settled();
  t.equal(engine.timersSet, 20);
  for (const handle of handles) await handle.terminate();
  t.equal(engine.timersSet, 0);
});
