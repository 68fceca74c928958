import { type Test, test } from 'tap';
import { SqliteStore } from './io/sqlite.ts';
import type { AnyWorkflow } from './core/contract.ts';
import { Engine, type EngineOptions, workflow, type WorkflowContext } from './index.ts';
import { MemoryStore } from './testing.ts';

type Body = (ctx: WorkflowContext) => Promise<unknown>;

const good = workflow('good', (ctx) => ctx.step('work', () => 'done'));

async function open(t: Test, ...workflows: AnyWorkflow[]): Promise<Engine> {
  const engine = await Engine.open({ store: new MemoryStore(), workflows });
  t.teardown(() => engine.close());
  return engine;
}

const refused: Record<string, { body: Body; code: string }> = {
  'the timeout of a step': {
    body: (ctx) => ctx.step('a', () => 1, { timeout: 'soon' }),
    code: 'ERR_DURATION',
  },
  'the total timeout of a step': {
    body: (ctx) => ctx.step('a', () => 1, { totalTimeout: -1 }),
    code: 'ERR_DURATION',
  },
  'the heartbeat timeout of a step': {
    body: (ctx) => ctx.step('a', () => 1, { heartbeatTimeout: Number.NaN }),
    code: 'ERR_DURATION',
  },
  'the retry policy of a step': {
    body: (ctx) => ctx.step('a', () => 1, { retry: { attempts: 0 } }),
    code: 'ERR_ENGINE_RETRY_POLICY',
  },
  'a step without a function': {
    body: (ctx) => ctx.step('a', undefined as never),
    code: 'ERR_ENGINE_STEP_OPTIONS',
  },
  'a step without a name': {
    body: (ctx) => ctx.step((() => 1) as never, undefined as never),
    code: 'ERR_ENGINE_STEP_OPTIONS',
  },
  'what a step does on cancel': {
    body: (ctx) => ctx.step('a', () => 1, { onCancel: 'drop' as 'wait' }),
    code: 'ERR_ENGINE_STEP_OPTIONS',
  },
  'what becomes of a child': {
    body: (ctx) => ctx.child(good, undefined, { onParentClose: 'kill' as 'cancel' }),
    code: 'ERR_ENGINE_START_OPTIONS',
  },
  'the options of a compensation': {
    body: async (ctx) => ctx.compensate('a', () => {}, { retry: { initial: 'soon' } }),
    code: 'ERR_DURATION',
  },
  'the end of a sleep': {
    body: (ctx) => ctx.sleepUntil('a', Number.NaN),
    code: 'ERR_ENGINE_TIME',
  },
  'an attribute that is a bigint': {
    body: async (ctx) => ctx.attributes({ a: 1n as unknown as number }),
    code: 'ERR_ENGINE_PAYLOAD_TYPE',
  },
  'an attribute named __proto__': {
    body: async (ctx) => ctx.attributes(JSON.parse('{"__proto__":"a"}') as object as {}),
    code: 'ERR_ENGINE_PAYLOAD_TYPE',
  },
  'attributes that are too large': {
    body: async (ctx) => ctx.attributes({ a: 'x'.repeat(3_000_000) }),
    code: 'ERR_ENGINE_PAYLOAD_TOO_LARGE',
  },
};

for (const [what, { body, code }] of Object.entries(refused)) {
  test(`refused where it is given: ${what}; others of the same commit go on`, async (t) => {
    const bad = workflow('bad', body);
    const engine = await open(t, bad, good);
    const [refusal, result] = await Promise.allSettled(
      (await Promise.all([engine.start(bad), engine.start(good)])).map((one) => one.result()),
    );
    t.match(refusal, { reason: { name: 'WorkflowFailedError', cause: { code } } });
    t.match(result, { value: 'done' });
  });
}

for (const [what, value] of Object.entries<unknown>({
  'a bigint': 1n,
  'a function': () => 1,
  'an object': {},
  'no number': Number.NaN,
  nothing: undefined,
})) {
  test(`refused at the start: an attribute that is ${what}`, async (t) => {
    const engine = await open(t, good);
    const attributes = { a: value } as Record<string, string>;
    await t.rejects(engine.start(good, undefined, { id: 'x', attributes }), {
      code: 'ERR_ENGINE_PAYLOAD_TYPE',
      message: /"a"/,
    });
    await t.rejects(engine.get('x').describe(), { code: 'ERR_ENGINE_NOT_FOUND' });
  });
}

test('an engine is refused that could not do its work', async (t) => {
  const store = new MemoryStore();
  const other = workflow('good', async () => 'other');
  const wrong: Record<string, object> = {
    'store is not a store': { workflows: [good] },
    'workflows is not a list': { store },
    'concurrency is 0': { store, workflows: [good], concurrency: 0 },
    'historyEvents is NaN': { store, workflows: [good], limits: { historyEvents: Number.NaN } },
    'a function in the list': { store, workflows: [async () => 1] },
    'workflow "good" version "1" is listed with two bodies': { store, workflows: [good, other] },
  };
  for (const [message, options] of Object.entries(wrong)) {
    await t.rejects(Engine.open(options as EngineOptions), {
      code: 'ERR_ENGINE_OPTIONS',
      message: new RegExp(message),
      hint: /./,
    });
  }
  await (await Engine.open({ store, workflows: [good, good] })).close();
});

test('a query that a stuck run has no handler for says why it is stuck', async (t) => {
  const foreign = workflow('foreign', () => new Promise(() => {}));
  const engine = await open(t, foreign);
  const handle = await engine.start(foreign);
  await t.rejects(handle.query('q'), {
    code: 'ERR_ENGINE_QUERY',
    message: /"q"; the run is stuck: /,
  });
});

test('an update without a handler is refused with those that there are', async (t) => {
  const waits = workflow('waits', async (ctx) => {
    ctx.onUpdate('raise', () => {});
    await ctx.receive('go');
  });
  const engine = await open(t, waits);
  await t.rejects((await engine.start(waits)).update('rise'), {
    code: 'ERR_ENGINE_UPDATE_REJECTED',
    hint: /raise/,
  });
});

test('a wait that was too long names its time with the unit', async (t) => {
  const waits = workflow('waits', (ctx) => ctx.receive('go'));
  const engine = await open(t, waits);
  const handle = await engine.start(waits);
  await t.rejects(handle.result({ timeout: 1 }), { message: 'no answer within 1 ms' });
});

test('a word that is none of those of an option is refused, and ends no run', async (t) => {
  const waits = workflow('waits', (ctx) => ctx.receive('go'));
  const engine = await open(t, waits, good);
  const existing = await engine.start(waits, undefined, { id: 'open' });
  const { runId } = await existing.describe();
  await (await engine.start(good, undefined, { id: 'closed' })).result();
  const onConflict = 'terminate' as 'fail';
  await t.rejects(engine.start(waits, undefined, { id: 'open', onConflict }), {
    code: 'ERR_ENGINE_START_OPTIONS',
    message: /onConflict.*"terminate"/,
    hint: /'terminate-existing'/,
  });
  const onClosed = 'again' as 'fail';
  await t.rejects(engine.start(good, undefined, { id: 'closed', onClosed }), {
    code: 'ERR_ENGINE_START_OPTIONS',
  });
  const overlap = 'replace' as 'skip';
  await t.rejects(engine.schedules.create('s', { every: '1h', workflow: good, overlap }), {
    code: 'ERR_ENGINE_SCHEDULE',
  });
  t.match(await engine.get('open').describe(), { runId, status: 'running' });
});

test('an id comes back from the disk as it was given, or is refused', async (t) => {
  const path = `${t.testdir({})}/engine.db`;
  const options = { workflows: [workflow('waits', (ctx) => ctx.receive('go'))] };
  const first = await Engine.open({ store: new SqliteStore(path), ...options });
  const ids = ['a\nb', 'a\0b', '', '__proto__', '"\'', '\u{1F600}', 'x'.repeat(10_000)];
  for (const id of ids) await first.start('waits', undefined, { id });
  for (const id of ['\uD800', 42 as unknown as string]) {
    await t.rejects(first.start('waits', undefined, { id }), { code: 'ERR_ENGINE_START_OPTIONS' });
  }
  await t.rejects(first.start('waits', undefined, { priority: Number.NaN }), {
    code: 'ERR_ENGINE_START_OPTIONS',
  });
  await first.close();
  const second = await Engine.open({ store: new SqliteStore(path), ...options });
  t.teardown(() => second.close());
  for (const id of ids) {
    await second.get(id).signal('go', id);
    t.equal(await second.get(id).result(), id);
  }
});

test('a retryIf that throws fails its step', async (t) => {
  const bad = workflow('bad', (ctx) =>
    ctx.step(
      'a',
      () => {
        throw new Error('first');
      },
      {
        retry: {
          retryIf: () => {
            throw new Error('in retryIf');
          },
        },
      },
    ),
  );
  const engine = await open(t, bad);
  await t.rejects((await engine.start(bad)).result(), { message: /in retryIf/ });
});

const revoked = Proxy.revocable({}, {});
revoked.revoke();
const hostile: Record<string, unknown> = {
  undefined: undefined,
  null: null,
  'a symbol': Symbol('s'),
  'a frozen error': Object.freeze(new Error('frozen')),
  'an object without a prototype': Object.create(null),
  'a getter that throws': {
    get message() {
      throw new Error('getter');
    },
  },
  'a proxy that throws': new Proxy(
    {},
    {
      get() {
        throw new Error('trap');
      },
    },
  ),
  'a revoked proxy': revoked.proxy,
};

for (const [what, value] of Object.entries(hostile)) {
  test(`thrown: ${what}`, async (t) => {
    const fail = (): never => {
      throw value;
    };
    const undone: string[] = [];
    const body = workflow('body', async (ctx) => {
      ctx.compensate('undo', () => void undone.push('body'));
      fail();
    });
    const step = workflow('step', (ctx) => ctx.step('a', fail, { retry: { attempts: 1 } }));
    const update = workflow('update', async (ctx) => {
      ctx.onUpdate('u', fail);
      await ctx.receive('never');
    });
    const engine = await open(t, body, step, update);
    await t.rejects((await engine.start(body)).result(), { code: 'ERR_ENGINE_WORKFLOW_FAILED' });
    t.same(undone, ['body']);
    await t.rejects((await engine.start(step)).result(), { code: 'ERR_ENGINE_WORKFLOW_FAILED' });
    await t.rejects((await engine.start(update)).update('u'), {
      code: 'ERR_ENGINE_UPDATE_REJECTED',
    });
  });
}

test('of a message that is very long the journal keeps a part', async (t) => {
  const bad = workflow('bad', async () => {
    throw new Error('x'.repeat(1_000_000));
  });
  const engine = await open(t, bad);
  const handle = await engine.start(bad);
  await t.rejects(handle.result(), { message: /x… \(1000000 characters\)$/ });
  t.ok(JSON.stringify(await handle.history()).length < 20_000);
});

test('a child, scope or shield that fails before anyone looks does not end the process', async (t) => {
  const taken = workflow('taken', async () => 1);
  const late = workflow('late', async (ctx) => {
    const all = [
      ctx.child(taken, undefined, { id: 'taken', onClosed: 'fail' }),
      ctx.scope(async (inner) => {
        inner.cancel();
        await inner.sleep('a', 1);
      }),
      ctx.shield(async () => {
        throw new Error('shielded');
      }),
    ];
    await ctx.sleep('meanwhile', 1);
    return (await Promise.allSettled(all)).map(({ status }) => status);
  });
  const engine = await open(t, taken, late);
  await (await engine.start(taken, undefined, { id: 'taken' })).result();
  t.same(await (await engine.start(late)).result(), ['rejected', 'rejected', 'rejected']);
});
