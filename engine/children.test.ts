import { type Test, test } from 'tap';
import {
  type ChildHandle,
  Engine,
  type StepContext,
  workflow,
  type WorkflowContext,
} from './index.ts';
import { MemoryStore, TestEngine, type TestEngineOptions } from './testing.ts';

async function open(t: Test, options: TestEngineOptions): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  t.teardown(() => engine.close());
  return engine;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => void setImmediate(resolve));
}

const double = workflow('double', async (ctx, input: number) => {
  await ctx.sleep('think', '1h');
  return ctx.step('double', () => input * 2);
});
const waits = workflow('waits', (ctx) => ctx.receive<string>('go'));
const fails = workflow('fails', async () => {
  throw Object.assign(new Error('broken'), { code: 'E_BROKEN' });
});

test('children run side by side, and give their results', async (t) => {
  const sum = workflow('sum', async (ctx, numbers: number[]) => {
    const children = await Promise.all(numbers.map((n) => ctx.child(double, n)));
    const results = await Promise.all(children.map((child) => child.result()));
    return { ids: children.map(({ id }) => id), sum: results.reduce((a, b) => a + b) };
  });
  const engine = await open(t, { workflows: [double, sum] });
  const handle = await engine.start(sum, [1, 2, 3]);
  const { runId } = await handle.describe();
  t.same(await handle.result(), { ids: [1, 2, 3].map((seq) => `${runId}/${seq}`), sum: 12 });
  t.match(await engine.get(`${runId}/1`).describe(), { parent: runId, status: 'completed' });
  t.match(await Engine.replay(sum, await handle.history()), { ok: true });
});

test('a parent sees how a child ended, as who waits for it outside does', async (t) => {
  const parent = workflow('parent', async (ctx) => {
    const failing = await ctx.child(fails, undefined);
    const failed = await failing.result().catch((error: Error) => error);
    const waiting = await ctx.child(waits, undefined, { id: 'w' });
    const late = await waiting.result({ timeout: '1m' }).catch((error: Error) => error.name);
    const taken = await ctx
      .child(waits, undefined, { id: 'w' })
      .catch((error: { code?: string }) => error.code);
    await waiting.signal('go', 'hello');
    const told = await waiting.result();
    const other = await ctx.child(waits, undefined);
    await other.cancel('enough');
    const cancelled = await other
      .result()
      .catch((error: Error) => `${error.name} ${error.message}`);
    const again = await other.cancel().catch((error: Error) => error.name);
    const { name, cause } = failed;
    return { failed: [name, cause], late, taken, told, cancelled, again };
  });
  const engine = await open(t, { workflows: [parent, waits, fails] });
  const handle = await engine.start(parent);
  t.match(await handle.result(), {
    failed: ['WorkflowFailedError', { name: 'Error', message: 'broken', code: 'E_BROKEN' }],
    late: 'TimeoutError',
    taken: 'ERR_ENGINE_ALREADY_EXISTS',
    told: 'hello',
    cancelled: /^CancelledError .*enough/,
    again: 'NotFoundError',
  });
  t.match(await Engine.replay(parent, await handle.history()), { ok: true });
});

test('the result follows what goes on for a child', async (t) => {
  const counts = workflow('counts', async (ctx, input: number): Promise<number> => {
    if (input < 3) ctx.continueAsNew(input + 1);
    return input;
  });
  const parent = workflow('parent', async (ctx) => (await ctx.child(counts, 0)).result());
  const engine = await open(t, { workflows: [counts, parent] });
  t.equal(await (await engine.start(parent)).result(), 3);
});

for (const [how, status] of [
  ['cancel', 'cancelled'],
  ['terminate', 'terminated'],
  ['abandon', 'running'],
] as const) {
  test(`the end of a parent: ${how}`, async (t) => {
    const parent = workflow('parent', async (ctx) => {
      await ctx.child(waits, undefined, { id: 'child', onParentClose: how });
      await ctx.receive('end');
    });
    const engine = await open(t, { workflows: [parent, waits] });
    const child = engine.get<string>('child');
    const handle = await engine.start(parent);
    await until(async () => (await handle.describe()).pending[0]?.kind === 'receive');
    await handle.signal('end');
    await handle.result();
    if (how === 'abandon') {
      t.equal((await child.describe()).status, 'running');
      await child.signal('go', 'alone');
      t.equal(await child.result(), 'alone');
      return;
    }
    await t.rejects(child.result(), { message: /its parent has ended/ });
    t.equal((await child.describe()).status, status);
  });
}

test('children of a parent whose code is missing are told of its end too', async (t) => {
  const store = new MemoryStore();
  const parent = workflow('parent', async (ctx) => {
    await ctx.child(waits, undefined, { id: 'cancelled' });
    await ctx.child(waits, undefined, { id: 'left', onParentClose: 'abandon' });
    await ctx.receive('end');
  });
  const first = await Engine.open({ store, workflows: [parent, waits] });
  const handle = await first.start(parent, undefined, { id: 'parent' });
  await until(async () => (await handle.describe()).pending[0]?.kind === 'receive');
  await first.close();
  const second = await Engine.open({ store, workflows: [waits] });
  t.teardown(() => second.close());
  // It has looked already whether its parent goes on.
  t.equal((await second.get('cancelled').describe()).status, 'running');
  await until(async () => (await second.get('parent').describe()).status === 'stuck');
  await second.get('parent').terminate();
  await t.rejects(second.get('cancelled').result(), { message: /its parent has ended/ });
  t.equal((await second.get('left').describe()).status, 'running');
});

test('a child whose parent was terminated is told, also when the process died in between', async (t) => {
  class Late extends MemoryStore {
    /** Everything of the child is lost from now on, as if the process had died before. */
    deaf = false;
    override append(
      batch: Parameters<MemoryStore['append']>[0],
    ): ReturnType<MemoryStore['append']> {
      if (!this.deaf) return super.append(batch);
      const [first] = batch;
      if (first?.record?.status === 'terminated') return super.append(batch);
      return new Promise(() => {});
    }
  }
  const parent = workflow('parent', async (ctx) => {
    await ctx.child(waits, undefined, { id: 'child' });
    await ctx.receive('end');
  });
  const store = new Late();
  const first = await Engine.open({ store, workflows: [parent, waits] });
  const handle = await first.start(parent, undefined, { id: 'parent' });
  await until(async () => (await handle.describe()).pending[0]?.kind === 'receive');
  store.deaf = true;
  await handle.terminate('enough');
  t.equal((await store.newest('child'))?.status, 'running', 'it heard nothing');
  store.deaf = false;
  const second = await Engine.open({ store, workflows: [parent, waits] });
  t.teardown(() => second.close());
  await t.rejects(second.get('child').result(), { name: 'CancelledError' });
});

test('over crashes a child starts once, and its end is not missed', async (t) => {
  const ended: string[] = [];
  const child = workflow('child', async (ctx, input: string) => {
    const word = await ctx.receive<string>('go');
    await ctx.step('end', ({ idempotencyKey }: StepContext) => void ended.push(idempotencyKey));
    return input + word;
  });
  const parent = workflow('parent', async (ctx: WorkflowContext): Promise<string> => {
    const handle: ChildHandle<string> = await ctx.child(child, 'a', { id: 'child' });
    return handle.result();
  });
  let engine = await open(t, { workflows: [parent, child] });
  await engine.start(parent, undefined, { id: 'parent' });
  const runs = new Set<string>();
  for (let crash = 0; crash < 3; crash++) {
    engine = await engine.crash();
    await until(
      async () => (await engine.get('parent').describe()).pending[0]?.kind === 'child-result',
    );
    runs.add((await engine.get('child').describe()).runId);
  }
  t.equal(runs.size, 1);
  await engine.get('child').signal('go', 'b');
  t.equal(await engine.get('child').result(), 'ab');
  // Whether or not the parent has heard of it by now.
  engine = await engine.crash();
  t.teardown(() => engine.close());
  t.equal(await engine.get('parent').result(), 'ab');
  t.equal(ended.length, 1);
});

test('a parent that waits leaves memory, and a changed child is found on replay', async (t) => {
  const body = (name: 'waits' | 'double', input?: number) =>
    workflow('parent', async (ctx) =>
      (await ctx.child({ name, version: '1' }, input, { id: 'child' })).result(),
    );
  const engine = await open(t, { workflows: [body('waits', 1), waits], skipTime: false });
  const handle = await engine.start('parent');
  await until(async () => (await handle.describe()).pending[0]?.kind === 'child-result');
  await engine.get('child').signal('go', 'x');
  t.equal(await handle.result(), 'x');
  const history = await handle.history();
  t.match(await Engine.replay(body('waits', 1), history), { ok: true });
  t.match(await Engine.replay(body('double', 1), history), {
    divergence: { recorded: /^child "waits"/, actual: /^child "double"/ },
  });
  t.match(await Engine.replay(body('waits', 2), history), { ok: false });
});

test('killed at each commit in turn: each child starts once, the parent hears of each once', async (t) => {
  const started: string[] = [];
  const child = workflow('child', async (ctx, input: string) => {
    await ctx.step('note', ({ idempotencyKey }) => void started.push(`${input} ${idempotencyKey}`));
    return input;
  });
  const parent = workflow('parent', async (ctx) => {
    const own = await ctx.child(child, 'own', { id: 'own' });
    const other = await ctx.child(child, 'other');
    return [await own.result(), await other.result()];
  });
  for (let boundary = 1; ; boundary++) {
    started.length = 0;
    let left = boundary;
    let again: Promise<TestEngine> | undefined;
    const killed = await TestEngine.open({
      workflows: [parent, child],
      probe: {
        committed: () => {
          if (--left === 0) again = killed.crash();
        },
      },
    });
    const first = killed.start(parent, undefined, { id: 'parent' });
    let over = false;
    const ended = (): void => void (over = true);
    first.then((handle) => handle.result()).then(ended, ended);
    await until(() => Promise.resolve(over || again !== undefined));
    const engine = (await again) ?? killed;
    await engine.start(parent, undefined, { id: 'parent' });
    t.same(await engine.get('parent').result(), ['own', 'other'], `boundary ${boundary}`);
    t.equal(new Set(started).size, 2, started.join());
    const runs = [];
    for await (const run of engine.list()) runs.push(run.name);
    t.same(runs.toSorted(), ['child', 'child', 'parent']);
    await engine.close();
    if (again === undefined) {
      t.ok(boundary > 10, `${boundary} boundaries`);
      return;
    }
  }
});

test('a wait for a child can be abandoned, never the child', async (t) => {
  const parent = workflow('parent', async (ctx) => {
    const child = await ctx.child(waits, undefined, { id: 'child' });
    const stop = new AbortController();
    const waiting = child.result({ signal: stop.signal }).catch((error: Error) => error.name);
    await ctx.step('meanwhile', () => 1);
    stop.abort();
    const early = await child.result({ signal: stop.signal }).catch((error: Error) => error.name);
    await child.signal('go', 'on');
    return [await waiting, early, await child.result()];
  });
  const engine = await open(t, { workflows: [parent, waits] });
  const handle = await engine.start(parent);
  t.same(await handle.result(), ['CancelledError', 'CancelledError', 'on']);
  t.match(await Engine.replay(parent, await handle.history()), { ok: true });
});
