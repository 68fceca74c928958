/**
 * Programs at random, under everything that happens to programs: crashes, code that is missing for a while, signals,
 * updates, cancellations. Each run must end, and each history must replay to the same end. A seed names its program.
 */
import { type Test, test } from 'tap';
import type { AetherError } from '../spec/error.ts';
import { type Random, randomInt, seededRandom } from '../spec/random.ts';
import type { AnyWorkflow } from './core/contract.ts';
import { Engine, FatalError, type StepContext, workflow, type WorkflowContext } from './index.ts';
import { TestEngine, type TestEngineOptions } from './testing.ts';

const SEEDS = 60;
const RUNS = 4;
const ACTS = 50;

type Context = WorkflowContext;
type Operation = (ctx: Context, state: { count: number }) => Promise<unknown>;

interface Input {
  seed: number;
  depth: number;
  /** How often it continues as new. */
  rounds: number;
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const nameOf = (error: unknown): string => (error as Error).name;

function leaf(random: Random): Operation {
  const n = randomInt(random, 1_000);
  const name = 'abc'[n % 3] as string;
  const leaves: readonly Operation[] = [
    (ctx) => ctx.sleep('sleep', n % 50),
    (ctx) => ctx.receive(name, { timeout: n % 40 }).catch(rethrowUnless('TimeoutError')),
    (ctx, state) => ctx.condition(() => state.count >= n % 4, { timeout: n % 40 }),
    async (ctx) => [ctx.now() > 0, ctx.uuid(), ctx.random()],
    async (ctx) => ctx.version(`change ${n % 3}`, { min: 0, max: 2 }),
    async (ctx) => ctx.attributes({ n }),
    (ctx) => ctx.signal(ctx.workflowId, name, n),
  ];
  return randomInt(random, 3) === 0 ? step(n) : (leaves[randomInt(random, 7)] as Operation);
}

function step(n: number): Operation {
  const fn = async (attempt: StepContext): Promise<unknown> => {
    for (let i = 0; i < n % 3; i++) await turn();
    if (n % 5 === 0) for (let i = 0; i < 30; i++) attempt.heartbeat(i);
    if (n % 11 === 0) throw new FatalError('fatal');
    if (attempt.attempt <= n % 4) throw new Error('again');
    return [n, attempt.lastHeartbeat];
  };
  const options = {
    input: { n },
    retry: { initial: 5, attempts: 3 },
    ...(n % 3 === 0 ? { compensate: turn } : {}),
    ...(n % 7 === 0 ? { onCancel: 'abandon' as const } : {}),
  };
  return (ctx) => ctx.step(`step ${n}`, fn, options);
}

function rethrowUnless(name: string): (error: unknown) => string {
  return (error) => {
    if (nameOf(error) !== name) throw error;
    return name;
  };
}

function operation(random: Random, depth: number): Operation {
  if (depth === 0 || randomInt(random, 2) === 0) return leaf(random);
  const n = randomInt(random, 1_000);
  const parts = Array.from({ length: 1 + (n % 3) }, () => operation(random, depth - 1));
  const inTurn: Operation = async (ctx, state) => {
    const results = [];
    for (const part of parts) results.push(await part(ctx, state));
    return results;
  };
  const atOnce = (ctx: Context, state: { count: number }): Promise<unknown>[] =>
    parts.map((part) => part(ctx, state));
  const kinds: readonly Operation[] = [
    inTurn,
    (ctx, state) => Promise.all(atOnce(ctx, state)),
    (ctx, state) => Promise.race(atOnce(ctx, state)),
    (ctx, state) => Promise.any(atOnce(ctx, state)).catch(rethrowUnless('AggregateError')),
    async (ctx, state) => (await Promise.allSettled(atOnce(ctx, state))).map((one) => one.status),
    (ctx, state) => ctx.scope((inner) => inTurn(inner, state), { timeout: n % 60 }),
    (ctx, state) =>
      ctx.scope(async (inner) => {
        const running = inTurn(inner, state);
        running.catch(() => {});
        await ctx.sleep('before the cancel', n % 5);
        inner.cancel('by hand');
        return running;
      }),
    (ctx, state) => ctx.shield((inner) => inTurn(inner, state)),
    (ctx, state) => inTurn(ctx, state).catch(nameOf),
    (ctx) => child(ctx, n),
    async (ctx, state) => {
      inTurn(ctx, state).catch(() => {});
      return 'not waited for';
    },
  ];
  return kinds[n % kinds.length] as Operation;
}

async function child(ctx: Context, n: number): Promise<unknown> {
  const onParentClose = (['cancel', 'terminate', 'abandon'] as const)[n % 3] ?? 'cancel';
  const input: Input = { seed: n, depth: 1, rounds: 0 };
  const started = await ctx.child(n % 2 === 0 ? even : odd, input, { onParentClose });
  return n % 4 === 0 ? 'started' : started.result({ timeout: 300 }).catch(nameOf);
}

async function program(ctx: WorkflowContext<Input>, input: Input): Promise<unknown> {
  const random = seededRandom(input.seed);
  const state = { count: 0 };
  ctx.onSignal('count', async () => {
    if (++state.count % 2 === 1) await ctx.step('counted', () => 1);
  });
  ctx.onUpdate('add', async (by: number) => {
    state.count += by;
    await ctx.sleep('added', 3);
    return state.count;
  });
  const results = [];
  for (let i = randomInt(random, 5); i >= 0; i--) {
    results.push(await operation(random, input.depth)(ctx, state));
  }
  if (input.rounds > 0) {
    ctx.continueAsNew({ ...input, seed: input.seed + 1, rounds: input.rounds - 1 });
  }
  if (randomInt(random, 5) === 0) throw new Error('at the end');
  return results;
}

const RETRY = { retry: { attempts: 2, initial: 10 } };
const even = workflow('even', program, RETRY);
const odd = workflow('odd', program, RETRY);
const DEPLOYS: readonly AnyWorkflow[][] = [[even, odd], [even], [odd], []];

/** What a run may answer when it has just ended, or is stuck. */
const EXPECTED = new Set([
  'ERR_ENGINE_NOT_FOUND',
  'ERR_ENGINE_UPDATE_REJECTED',
  'ERR_ENGINE_CLOSED',
]);

async function drive(t: Test, seed: number): Promise<TestEngine> {
  const random = seededRandom(seed);
  const options: TestEngineOptions = {
    workflows: [even, odd],
    queues: { q: { concurrency: 1, fairness: true, rate: { limit: 2, per: 40 } } },
    skipTime: false,
    seed,
  };
  let engine = await TestEngine.open(options);
  for (let i = 0; i < RUNS; i++) {
    const input: Input = { seed: seed * 100 + i, depth: 3, rounds: i % 2 };
    await engine.start(even, input, {
      id: `${i}`,
      ...(randomInt(random, 3) === 0 ? { queue: 'q', priority: i, fairnessKey: `${i % 2}` } : {}),
      ...(randomInt(random, 3) === 0 ? { delay: randomInt(random, 30) } : {}),
      ...(randomInt(random, 5) === 0 ? { timeout: 50 + randomInt(random, 500) } : {}),
    });
  }
  const expect = (asked: Promise<unknown>): Promise<unknown> =>
    asked.catch((error: AetherError) => t.ok(EXPECTED.has(error.code), error.message));
  for (let i = 0; i < ACTS; i++) {
    const handle = engine.get(`${randomInt(random, RUNS)}`);
    const act = randomInt(random, 20);
    if (act < 4) await expect(handle.signal('abc'[i % 3] as string, i));
    else if (act < 7) await expect(handle.signal('count', undefined, { id: `${i % 7}` }));
    else if (act < 9) void expect(handle.update('add', 1, { id: `${i % 5}` }));
    else if (act === 9) await expect(handle.cancel('at random'));
    else if (act < 13) {
      options.workflows = DEPLOYS[act < 12 ? randomInt(random, DEPLOYS.length) : 0] ?? [];
      engine = await engine.crash();
    } else await engine.advance(randomInt(random, 20));
  }
  options.workflows = [even, odd];
  engine = await engine.crash();
  await engine.advance('10s');
  return engine;
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`programs of seed ${seed}: each run ends, and replays to its end`, async (t) => {
    const engine = await drive(t, seed);
    t.teardown(() => engine.close());
    for await (const { id, runId, name, status, closedAt } of engine.list()) {
      t.not(closedAt, undefined, `run ${runId} of "${id}" has ended: ${status}`);
      const history = await engine.get(id, { runId }).history();
      t.match(await Engine.replay(name === 'even' ? even : odd, history), { ok: true });
    }
  });
}
