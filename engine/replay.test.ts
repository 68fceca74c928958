import { type Test, test } from 'tap';
import {
  Engine,
  type History,
  type HistoryEvent,
  NondeterminismError,
  StepFailedError,
  TimeoutError,
  workflow,
  type Workflow,
  type WorkflowContext,
} from './index.ts';
import { MemoryStore, TestEngine, VirtualClock } from './testing.ts';

type Body = (ctx: WorkflowContext) => Promise<unknown>;

/** Engines one after another on one store, each with its own code, as a deploy does it. */
function deployments(t: Test): (body: Body | undefined, version?: string) => Promise<Engine> {
  const store = new MemoryStore();
  let current: Engine | undefined;
  t.teardown(() => current?.close());
  return async (body, version = '1') => {
    await current?.close();
    const workflows = body === undefined ? [] : [workflow('w', body, { version })];
    current = await Engine.open({ store, workflows });
    return current;
  };
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => void setImmediate(resolve));
}

async function stuckRun(engine: Engine): Promise<void> {
  await until(async () => (await engine.get('id').describe()).status === 'stuck');
}

test('a changed body is stuck with both operations named, grows nothing, and goes on once mended', async (t) => {
  const deploy = deployments(t);
  const calls: string[] = [];
  const call = (name: string, result: string) => (): string => {
    calls.push(name);
    return result;
  };
  const good: Body = async (ctx) => {
    const a = await ctx.step('reserve', call('reserve', 'A'));
    const go = await ctx.receive('go');
    const b = await ctx.step('charge', call('charge', 'B'));
    return [a, go, b];
  };
  const first = await deploy(good);
  await first.start('w', undefined, { id: 'id' });
  await until(async () => (await first.get('id').describe()).pending[0]?.kind === 'receive');
  const before = await first.get('id').history();

  const changed = await deploy(async (ctx) => {
    await ctx.step('refund', () => void calls.push('refund'));
  });
  await stuckRun(changed);
  const { pending } = await changed.get('id').describe();
  t.match(pending, [
    {
      kind: 'stuck',
      name: 'ERR_ENGINE_NONDETERMINISM',
      lastError:
        /operation 1: the journal has step "reserve", the body did step "refund".*replay\.test\.ts:\d+/,
    },
  ]);
  t.same(await changed.get('id').history(), before, 'the journal did not grow');
  await changed.get('id').signal('go', 1, { id: 'once' });
  await changed.get('id').signal('go', 1, { id: 'once' });

  const still = await deploy((ctx) => ctx.sleep('reserve', 1));
  await stuckRun(still);
  t.equal((await still.get('id').history()).events.length, before.events.length + 1);

  const mended = await deploy(good);
  t.same(await mended.get('id').result(), ['A', 1, 'B']);
  t.same(calls, ['reserve', 'charge'], 'no step of the changed body ran');
  const report = await Engine.replay(workflow('w', good), await mended.get('id').history());
  t.match(report, { ok: true });
});

for (const [name, changed] of Object.entries<Body>({
  'an input that changed': async (ctx) =>
    void (await ctx.step('a', () => 1, { input: { order: 2 } })),
  'another kind': (ctx) => ctx.sleep('a', 1),
  'a body that ends too early': async () => 'done',
  'an operation more': async (ctx) =>
    void (await Promise.all([
      ctx.step('a', () => 1, { input: { x: [1, 2], order: 1 } }),
      ctx.step('b', () => 1),
    ])),
  'an operation less': async (ctx) => {
    await ctx.step('a', () => 1, { input: { x: [1, 2], order: 1 } });
    await ctx.receive('go');
  },
})) {
  test(`refused on replay: ${name}`, async (t) => {
    const body: Body = async (ctx) => {
      await ctx.step('a', () => 1, { input: { order: 1, x: [1, 2] } });
      await ctx.step('b', () => 1);
      await ctx.receive('go');
    };
    const deploy = deployments(t);
    const engine = await deploy(body);
    const handle = await engine.start('w', undefined, { id: 'id' });
    await until(async () => (await handle.describe()).pending[0]?.kind === 'receive');
    const history = await handle.history();
    t.match(await Engine.replay(workflow('w', body), history), { ok: true });
    const report = await Engine.replay(workflow('w', changed), JSON.parse(JSON.stringify(history)));
    t.match(report, { ok: false, divergence: { recorded: String, actual: String } });
    await deploy(changed);
    await stuckRun(await deploy(changed));
  });
}

test('argsHash ignores the order of keys', async (t) => {
  const body =
    (input: object): Body =>
    async (ctx) =>
      void (await ctx.step('a', () => 1, { input }));
  const engine = await deployments(t)(body({ a: 1, b: { c: 2, d: 3 } }));
  const handle = await engine.start('w', undefined, { id: 'id' });
  await handle.result();
  const history = await handle.history();
  t.match(await Engine.replay(workflow('w', body({ b: { d: 3, c: 2 }, a: 1 })), history), {
    ok: true,
  });
  t.match(await Engine.replay(workflow('w', body({ b: { d: 3, c: 2 }, a: 2 })), history), {
    ok: false,
  });
});

test('a missing version is stuck and named; it goes on when it is listed again', async (t) => {
  const deploy = deployments(t);
  const body: Body = (ctx) => ctx.receive('go');
  const first = await deploy(body, 'old');
  await first.start('w', undefined, { id: 'id' });
  const second = await deploy(body, 'new');
  await second.get('id').signal('go', 'kept');
  await stuckRun(second);
  t.match((await second.get('id').describe()).pending, [
    { name: 'ERR_ENGINE_VERSION_MISSING', lastError: /"w" version "old"/ },
  ]);
  t.equal(await (await deploy(body, 'old')).get('id').result(), 'kept');
});

for (const how of ['missing', 'changed'] as const) {
  test(`a closed run whose code is ${how} stays as it ended`, async (t) => {
    const deploy = deployments(t);
    const first = await deploy((ctx) => ctx.step('a', () => 'result'));
    await first.start('w', undefined, { id: 'id' });
    t.equal(await first.get('id').result(), 'result');
    const history = await first.get('id').history();
    const second = await deploy(how === 'missing' ? undefined : (ctx) => ctx.sleep('b', 1));
    const handle = second.get('id');
    const notFound = { code: 'ERR_ENGINE_NOT_FOUND' };
    await t.rejects(handle.query('q'), { code: 'ERR_ENGINE_QUERY' });
    await t.rejects(handle.signal('s'), notFound);
    await t.rejects(handle.update('u'), notFound);
    await t.rejects(handle.cancel(), notFound);
    await t.rejects(handle.terminate(), notFound);
    t.equal(await handle.result(), 'result');
    t.same(await handle.history(), history);
  });
}

test('a run that is stuck keeps its attributes and its place in a queue', async (t) => {
  const store = new MemoryStore();
  const queues = { q: { concurrency: 1 } };
  const tagged = workflow('tagged', async (ctx) => {
    ctx.attributes({ stage: 'late' });
    return ctx.receive('go');
  });
  const first = await Engine.open({ store, workflows: [tagged], queues });
  await first.start(tagged, undefined, { id: 'a', queue: 'q', attributes: { size: 3 } });
  await until(async () => (await first.get('a').describe()).pending[0]?.kind === 'receive');
  await first.start(tagged, undefined, { id: 'b', queue: 'q' });
  await first.close();
  const second = await Engine.open({ store, workflows: [], queues });
  await until(async () => (await second.get('a').describe()).status === 'stuck');
  const found = [];
  for await (const run of second.list({ attributes: { size: 3, stage: 'late' } }))
    found.push(run.id);
  t.same(found, ['a']);
  await second.close();
  const third = await Engine.open({ store, workflows: [tagged], queues });
  t.teardown(() => third.close());
  t.match(await third.get('b').describe(), { pending: [{ kind: 'queue' }] });
  await third.get('a').signal('go', 1);
  t.equal(await third.get('a').result(), 1);
});

test('a run that was ended while it was stuck replays with the body it was for', async (t) => {
  const deploy = deployments(t);
  const body: Body = async (ctx) => {
    ctx.onSignal('s', () => ctx.step('handle', () => {}));
    await ctx.receive('never');
  };
  const first = await deploy(body);
  await first.start('w', undefined, { id: 'id' });
  const second = await deploy(undefined);
  await stuckRun(second);
  await second.get('id').signal('s');
  await second.get('id').terminate();
  const history = await second.get('id').history();
  t.match(await Engine.replay(workflow('w', body), history), { ok: true });
  t.equal((await (await deploy(body)).get('id').describe()).status, 'terminated');
});

test('a delayed run whose code is missing costs nothing, and begins once it is there', async (t) => {
  const store = new MemoryStore();
  const reads: string[] = [];
  const read = store.read.bind(store);
  store.read = (request) => {
    reads.push(request.runId);
    return read(request);
  };
  const gone = workflow('gone', async () => 'begun');
  const other = workflow('other', async () => 'other');
  // Its time stands still, so that the delay ends in the next engine and not before.
  const clock = new VirtualClock(0, false);
  const first = await Engine.open({ store, workflows: [gone], clock });
  const delayed = await first.start(gone, undefined, { id: 'id', delay: 1 });
  const { runId } = await delayed.describe();
  await first.close();
  const second = await Engine.open({ store, workflows: [other] });
  t.equal(await (await second.start(other, undefined, { delay: 30 })).result(), 'other');
  t.equal(await (await second.start(other, undefined, { delay: 30 })).result(), 'other');
  const loads = reads.filter((id) => id === runId).length;
  t.ok(loads <= 1, `loaded ${loads} times`);
  t.match(await second.get('id').describe(), {
    status: 'stuck',
    pending: [{ name: 'ERR_ENGINE_VERSION_MISSING' }],
  });
  await second.close();
  const third = await Engine.open({ store, workflows: [gone] });
  t.teardown(() => third.close());
  t.equal(await third.get('id').result(), 'begun');
});

test('a body that awaits something foreign is found and named', async (t) => {
  const deploy = deployments(t);
  const engine = await deploy(async (ctx) => {
    await ctx.step('a', () => 1);
    await new Promise((resolve) => void setTimeout(resolve, 1));
    await ctx.step('b', () => 2);
  });
  await engine.start('w', undefined, { id: 'id' });
  await stuckRun(engine);
  t.match((await engine.get('id').describe()).pending, [{ name: 'ERR_ENGINE_FOREIGN_AWAIT' }]);
  const { events } = await engine.get('id').history();
  t.equal(events.at(-1)?.kind, 'step-completed', 'the outcome of the step is kept');
  const mended = await deploy(async (ctx) => {
    await ctx.step('a', () => 1);
    return ctx.step('b', () => 2);
  });
  t.equal(await mended.get('id').result(), 2);
});

test('a body that awaits what never comes is found at once', async (t) => {
  const engine = await deployments(t)(() => new Promise(() => {}));
  await engine.start('w', undefined, { id: 'id' });
  await stuckRun(engine);
  t.match((await engine.get('id').describe()).pending, [
    { name: 'ERR_ENGINE_FOREIGN_AWAIT', lastError: /no operation of its ctx is open/ },
  ]);
});

test('a body that is woken by something foreign beside an operation is found too', async (t) => {
  const engine = await deployments(t)(async (ctx) => {
    await Promise.race([
      ctx.receive('never'),
      new Promise((resolve) => void setTimeout(resolve, 1)),
    ]);
    return ctx.step('after', () => 1);
  });
  await engine.start('w', undefined, { id: 'id' });
  await stuckRun(engine);
  t.match((await engine.get('id').describe()).pending, [{ name: 'ERR_ENGINE_FOREIGN_AWAIT' }]);
});

test('combinators settle in the recorded order, whatever runs first on replay', async (t) => {
  const gates = new Map(['x', 'y', 'z'].map((name) => [name, Promise.withResolvers<string>()]));
  const seen: string[][] = [];
  const body: Body = async (ctx) => {
    const order: string[] = [];
    const step = (name: string): Promise<string> =>
      ctx
        .step(name, () => (gates.get(name) as PromiseWithResolvers<string>).promise)
        .then((value) => {
          order.push(value);
          return value;
        });
    const all = [step('x'), step('y'), step('z')];
    const raced = await Promise.race(all);
    const any = await Promise.any(all.slice(0, 2));
    const settled = await Promise.allSettled(all);
    seen.push([...order, raced, any, ...settled.map((one) => one.status)]);
    await ctx.receive('go');
    return [...order, raced, any];
  };
  const deploy = deployments(t);
  const engine = await deploy(body);
  await engine.start('w', undefined, { id: 'id' });
  for (const name of ['z', 'y', 'x']) {
    const { events } = await engine.get('id').describe();
    gates.get(name)?.resolve(name);
    await until(async () => (await engine.get('id').describe()).events > events);
  }
  const again = await deploy(body);
  await again.get('id').signal('go');
  t.same(await again.get('id').result(), ['z', 'y', 'x', 'z', 'y']);
  t.ok(seen.length >= 2, 'it was replayed');
  t.equal(new Set(seen.map(String)).size, 1, 'every time the same');
});

test('an operation that fails before anyone looks does not end the process', async (t) => {
  const engine = await deployments(t)(async (ctx) => {
    const failing = ctx.step(
      'bad',
      () => {
        throw new Error('early');
      },
      { retry: { attempts: 1 } },
    );
    await ctx.receive('go');
    return failing.catch((error: Error) => error.message);
  });
  const handle = await engine.start('w', undefined, { id: 'id' });
  await until(async () => (await handle.describe()).pending.length === 1);
  await new Promise((resolve) => void setImmediate(resolve));
  await handle.signal('go');
  t.match(await handle.result(), /early/);
});

test('now, random and uuid are the same on replay, and cost no event', async (t) => {
  const seen: unknown[] = [];
  const body: Body = async (ctx) => {
    const values = [ctx.now(), ctx.random(), ctx.uuid(), ctx.uuid()];
    await ctx.step('a', () => 1);
    seen.push([...values, ctx.now()]);
    await ctx.receive('go');
    return ctx.uuid();
  };
  const deploy = deployments(t);
  const engine = await deploy(body);
  await engine.start('w', undefined, { id: 'id' });
  await until(async () => (await engine.get('id').describe()).pending[0]?.kind === 'receive');
  t.equal((await engine.get('id').describe()).events, 4);
  const again = await deploy(body);
  await again.get('id').signal('go');
  t.match(
    await again.get('id').result(),
    /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/,
  );
  t.same(seen[0], seen.at(-1));
  t.ok(seen.length >= 2);
});

test('version: old runs keep the old variant, new ones take the new', async (t) => {
  const deploy = deployments(t);
  const old: Body = async (ctx) => {
    await ctx.receive('go');
    return ctx.step('old way', () => 'old');
  };
  const both: Body = async (ctx) => {
    const way = ctx.version('way', { min: 1, max: 2 });
    await ctx.receive('go');
    return way === 1 ? ctx.step('old way', () => 'old') : ctx.step('new way', () => 'new');
  };
  const first = await deploy(old);
  await first.start('w', undefined, { id: 'before' });
  const second = await deploy(both);
  await second.start('w', undefined, { id: 'after' });
  const third = await deploy(both);
  for (const id of ['before', 'after']) await third.get(id).signal('go');
  t.equal(await third.get('before').result(), 'old');
  t.equal(await third.get('after').result(), 'new');
});

test('version: what was recorded below min is stuck', async (t) => {
  const deploy = deployments(t);
  const first = await deploy(async (ctx) => {
    ctx.version('way', { min: 0, max: 1 });
    await ctx.receive('go');
  });
  await first.start('w', undefined, { id: 'id' });
  const second = await deploy(async (ctx) => {
    ctx.version('way', { min: 2, max: 3 });
    await ctx.receive('go');
  });
  await second.get('id').signal('go');
  await stuckRun(second);
  t.match((await second.get('id').describe()).pending, [{ name: 'ERR_ENGINE_VERSION' }]);
});

test('a history is plain JSON, and replays without a store or effects', async (t) => {
  let calls = 0;
  const body: Body = async (ctx) => {
    try {
      await ctx.step(
        'bad',
        () => {
          calls++;
          throw new Error('no');
        },
        { retry: { attempts: 1 } },
      );
    } catch (error) {
      if (!(error instanceof StepFailedError)) throw error;
    }
    const late = await ctx.receive('never', { timeout: '1d' }).catch((error: Error) => error);
    return late instanceof TimeoutError;
  };
  const one: Workflow<unknown, unknown> = workflow('w', body);
  const engine = await TestEngine.open({ workflows: [one] });
  t.teardown(() => engine.close());
  const handle = await engine.start(one);
  t.equal(await handle.result(), true);
  const text = JSON.stringify(await handle.history());
  t.equal(calls, 1);
  t.same(await Engine.replay(one, JSON.parse(text)), {
    ok: true,
    events: JSON.parse(text).events.length,
  });
  t.equal(calls, 1);
  const forged = JSON.parse(text.replace('"message":"no"', '"message":"yes"'));
  await t.rejects(Engine.replay(one, forged), { code: 'ERR_ENGINE_STORE_CORRUPT' });
});

/** A finished run of one step, exported, and the workflow that it is of. */
async function recorded(
  t: Test,
  { version = '1', body = (ctx) => ctx.step('a', () => 1) }: { version?: string; body?: Body } = {},
): Promise<{ one: Workflow<unknown, unknown>; history: History }> {
  const one = workflow('w', body, { version });
  const engine = await TestEngine.open({ workflows: [one] });
  t.teardown(() => engine.close());
  const handle = await engine.start(one);
  await handle.result();
  return { one, history: JSON.parse(JSON.stringify(await handle.history())) as History };
}

test('a history of a later format, or of none, is refused by name', async (t) => {
  const { one, history } = await recorded(t);
  for (const format of [2, 0, '1', undefined]) {
    const other = { ...history, format } as History;
    await t.rejects(Engine.replay(one, other), {
      code: 'ERR_ENGINE_HISTORY_FORMAT',
      message: new RegExp(`${format}`),
      hint: String,
    });
  }
  for (const other of [null, 'text', {}, { ...history, events: undefined }, { format: 1 }]) {
    await t.rejects(Engine.replay(one, other as History), { code: 'ERR_ENGINE_HISTORY_FORMAT' });
  }
});

test('a history that was changed is refused, wherever it was', async (t) => {
  const { one, history } = await recorded(t);
  type Change = (events: HistoryEvent[]) => HistoryEvent[];
  const changes: Record<string, Change> = {
    'the last event is left out': (events) => events.slice(0, -1),
    'the first event is left out': (events) => events.slice(1),
    'an event is put at the end': (events) => [
      ...events,
      { seq: events.length + 1, at: 0, kind: 'signal-received', name: 'x', payload: 1 },
    ],
    'two events change places': ([a, b, ...rest]) => [b, a, ...rest] as HistoryEvent[],
    'a number is wrong': (events) => events.map((event) => ({ ...event, seq: event.seq + 1 })),
    'a number is missing': (events) =>
      events.map(({ seq: _seq, ...event }) => event as HistoryEvent),
    'a time is changed': (events) => events.map((event) => ({ ...event, at: event.at + 1 })),
    'the chain is cut': (events) => events.map(({ entry: _entry, ...event }) => event),
    'there are none': () => [],
    'one is no event': (events) => [...events, null as unknown as HistoryEvent],
  };
  t.match(await Engine.replay(one, history), { ok: true });
  for (const [name, change] of Object.entries(changes)) {
    const events = change(structuredClone(history.events));
    await t.rejects(
      Engine.replay(one, { ...history, events }),
      { code: 'ERR_ENGINE_STORE_CORRUPT' },
      name,
    );
  }
  const other = { ...history, runId: `${history.runId}x` };
  await t.rejects(Engine.replay(one, other), { code: 'ERR_ENGINE_STORE_CORRUPT' }, 'another run');
});

test('of a list of workflows the one is replayed that the run began with', async (t) => {
  const { one, history } = await recorded(t, { version: 'old' });
  const next = workflow('w', async () => 1, { version: 'new' });
  t.match(await Engine.replay([one, next], history), { ok: true });
  t.match(await Engine.replay(next, history), { ok: false }, "today's code, whatever its version");
  await t.rejects(Engine.replay([next], history), {
    code: 'ERR_ENGINE_VERSION_MISSING',
    message: /"w" version "old"/,
    hint: /registered: new$/,
  });
  await t.rejects(Engine.replay([], history), { code: 'ERR_ENGINE_VERSION_MISSING' });
});

test('a schedule replays beside any workflows', async (t) => {
  const { one } = await recorded(t);
  const engine = await TestEngine.open({ workflows: [one], skipTime: false, startAt: 0 });
  t.teardown(() => engine.close());
  await engine.schedules.create('s', { every: '1h', workflow: one });
  await engine.advance('2h');
  const history = await engine.get('aether.schedule/s').history();
  t.match(await Engine.replay([one], history), { ok: true, events: history.events.length });
});

test('the line of a divergence is one of the body, or there is none', async (t) => {
  const { history } = await recorded(t, {
    body: (ctx) => Promise.all([ctx.step('a', () => 1), ctx.step('b', () => 2)]),
  });
  const replay = async (body: Body) =>
    (await Engine.replay(workflow('w', body), history)).divergence;
  t.match(await replay((ctx) => ctx.step('c', () => 1)), {
    seq: 1,
    recorded: 'step "a"',
    actual: 'step "c"',
    at: /engine\/replay\.test\.ts:\d+:\d+$/,
  });
  const helper = async (ctx: WorkflowContext): Promise<void> => {
    await ctx.scope((inner) => inner.sleep('b', 1));
  };
  t.match(await replay(helper), { at: /engine\/replay\.test\.ts:\d+:\d+$/ });
  const silent: [Body, object][] = [
    [(ctx) => ctx.step('a', () => 1), { seq: 2, recorded: 'step "b"', actual: 'nothing' }],
    [() => new Promise(() => {}), { seq: 1, recorded: 'step "a"', actual: 'nothing but wait' }],
    [async () => 'early', { seq: 1, recorded: 'step "a"', actual: "the run's end (completed)" }],
  ];
  for (const [body, expected] of silent) t.same(await replay(body), expected);
});

test('NondeterminismError carries what a program needs', (t) => {
  const error = new NondeterminismError({ seq: 3, recorded: 'step "a"', actual: 'step "b"' });
  t.match(error, {
    code: 'ERR_ENGINE_NONDETERMINISM',
    seq: 3,
    recorded: 'step "a"',
    actual: 'step "b"',
  });
  t.end();
});
