/** The public API as programs use it; what its declarations are is held by `contract.testchild.ts`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import {
  AetherError,
  AlreadyExistsError,
  CancelledError,
  type ChildHandle,
  type Duration,
  type DurableRetryPolicy,
  Engine,
  EngineClosedError,
  type EngineOptions,
  FatalError,
  FencedError,
  type History,
  type HistoryEvent,
  type InputOf,
  type ListFilter,
  NondeterminismError,
  NotFoundError,
  type OutputOf,
  PayloadTooLargeError,
  PayloadTypeError,
  QueryError,
  type ReplayReport,
  RetryAfterError,
  type RetryPolicy,
  type Schedules,
  type StandardSchema,
  type StartArgs,
  type StartOptions,
  type Status,
  StepFailedError,
  type StepContext,
  type StepOptions,
  type Store,
  StoreCorruptError,
  StoreLockedError,
  TerminatedError,
  TimeoutError,
  UpdateRejectedError,
  type WaitOptions,
  workflow,
  type Workflow,
  type WorkflowContext,
  WorkflowFailedError,
  type WorkflowHandle,
  type WorkflowSummary,
} from './index.ts';
import { SqliteStore } from './io/sqlite.ts';
import { TestEngine } from './testing.ts';

interface Order {
  id: string;
  cents: number;
}

// oxlint-disable typescript/no-unnecessary-type-parameters -- equality of types is that of such functions
type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function typed<T extends true>(_holds?: T): void {}

const order = workflow(
  'order',
  async (ctx, input: Order) => {
    const charge = await ctx.step(
      'charge',
      async (step: StepContext) => ({ key: step.idempotencyKey, cents: input.cents }),
      { input, retry: { attempts: 3, initial: '10ms' }, timeout: '5s', onCancel: 'abandon' },
    );
    typed<Equal<typeof charge, { key: string; cents: number }>>();
    const paid = await ctx.receive<boolean>('paid', { timeout: '7d' });
    typed<Equal<typeof paid, boolean>>();
    return { charged: charge.cents, paid };
  },
  { version: '2', timeout: '30d' },
);
const nullary = workflow('nullary', async (ctx: WorkflowContext<void>) => ctx.now());

typed<Equal<InputOf<typeof order>, Order>>();
typed<Equal<OutputOf<typeof order>, { charged: number; paid: boolean }>>();
typed<Equal<StartArgs<Order>, [input: Order, options?: StartOptions]>>();
typed<Equal<StartArgs<unknown>, [input?: unknown, options?: StartOptions]>>();

test('a program against the contract', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-contract-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const store: Store = new SqliteStore(join(folder, 'e.db'), { durability: 'full' });
  const options: EngineOptions = { store, workflows: [order, nullary], concurrency: 10 };
  await using engine: Engine = await Engine.open(options);
  const handle: WorkflowHandle<{ charged: number; paid: boolean }> = await engine.start(
    order,
    { id: 'o1', cents: 5 },
    { id: 'o1', onConflict: 'fail', onClosed: 'use-existing', attributes: { customer: 'c1' } },
  );
  // @ts-expect-error -- an order needs its input
  const refused = (): unknown => engine.start(order);
  t.type(refused, 'function');
  const byName = await engine.start<typeof order>('order', { id: 'o1', cents: 5 }, { id: 'o1' });
  await byName.signal('paid', true, { id: 'once' });
  t.same(await handle.result({ timeout: '10s' }), { charged: 5, paid: true });
  t.type(await (await engine.start(nullary)).result(), 'number');
  const summary: WorkflowSummary = await handle.describe();
  const status: Status = summary.status;
  t.equal(status, 'completed');
  const filter: ListFilter = {
    name: 'order',
    status: 'completed',
    attributes: { customer: 'c1' },
    limit: 5,
  };
  for await (const run of engine.list(filter)) t.equal(run.id, 'o1');
  const history: History = await handle.history();
  const events: HistoryEvent[] = history.events;
  t.same(
    events.map((event) => event.seq),
    events.map((_, i) => i + 1),
  );
  const report: ReplayReport = await Engine.replay(order, history);
  t.ok(report.ok);
  await t.rejects(engine.get('none').result(), NotFoundError);
});

test('the errors of the contract, their names and codes', (t) => {
  const codes: [new (message: string) => AetherError, string][] = [
    [WorkflowFailedError, 'ERR_ENGINE_WORKFLOW_FAILED'],
    [CancelledError, 'ERR_ENGINE_CANCELLED'],
    [TerminatedError, 'ERR_ENGINE_TERMINATED'],
    [TimeoutError, 'ERR_ENGINE_TIMEOUT'],
    [NotFoundError, 'ERR_ENGINE_NOT_FOUND'],
    [AlreadyExistsError, 'ERR_ENGINE_ALREADY_EXISTS'],
    [QueryError, 'ERR_ENGINE_QUERY'],
    [UpdateRejectedError, 'ERR_ENGINE_UPDATE_REJECTED'],
    [PayloadTooLargeError, 'ERR_ENGINE_PAYLOAD_TOO_LARGE'],
    [PayloadTypeError, 'ERR_ENGINE_PAYLOAD_TYPE'],
    [FencedError, 'ERR_ENGINE_FENCED'],
    [StoreLockedError, 'ERR_ENGINE_STORE_LOCKED'],
    [StoreCorruptError, 'ERR_ENGINE_STORE_CORRUPT'],
    [EngineClosedError, 'ERR_ENGINE_CLOSED'],
    [FatalError, 'ERR_ENGINE_FATAL'],
  ];
  for (const [Class, code] of codes) {
    const error = new Class('why');
    t.match(error, { name: Class.name, code, message: 'why' });
    t.ok(AetherError.is(error));
  }
  t.match(new RetryAfterError('why', '1s'), { code: 'ERR_ENGINE_RETRY_AFTER', afterMs: 1_000 });
  t.match(new StepFailedError('why', { attempts: 2 }), {
    code: 'ERR_ENGINE_STEP_FAILED',
    attempts: 2,
  });
  t.match(new NondeterminismError({ seq: 1, recorded: 'a', actual: 'b' }), {
    code: 'ERR_ENGINE_NONDETERMINISM',
  });
  t.end();
});

test('the testing engine', async (t) => {
  const engine: TestEngine = await TestEngine.open({
    workflows: [order],
    seed: 7,
    startAt: 1_000,
    skipTime: false,
  });
  t.equal(engine.clock.now(), 1_000);
  await engine.start(order, { id: 'x', cents: 1 }, { id: 'x' });
  await engine.advance('1d');
  t.equal(engine.clock.now(), 86_401_000);
  const again: TestEngine = await engine.crash();
  await again.get('x').signal('paid', false);
  t.same(await again.get('x').result(), { charged: 1, paid: false });
  await again.close();
});

/** Shapes that programs name; never called. */
export interface Named {
  child: ChildHandle<number>;
  duration: Duration;
  durable: DurableRetryPolicy;
  retry: RetryPolicy;
  schedules: Schedules;
  schema: StandardSchema<number>;
  step: StepOptions<number>;
  wait: WaitOptions;
  workflow: Workflow<number, string>;
}
