import { join } from 'node:path';
import { PAYLOAD, type Peer, STEPS } from '../subject.ts';

/** An effect, a layer or a schema: opaque here. */
interface Value extends Iterable<unknown> {
  pipe(...operators: readonly Value[]): Value;
}
type Body = () => Generator<unknown, unknown, never>;

interface Definition {
  toLayer(body: (payload: { readonly id: string }, executionId: string) => Value): Value;
  execute(payload: { id: string }, options?: { discard: true }): Value;
}

/** What is used of `effect`. */
interface Core {
  readonly Effect: {
    gen(body: Body): Value;
    sync(body: () => unknown): Value;
    succeed(value: unknown): Value;
  };
  readonly Layer: {
    mergeAll(...layers: Value[]): Value;
    provide(layer: Value): Value;
    provideMerge(layer: Value): Value;
  };
  readonly Logger: { minimumLogLevel(level: Value): Value };
  readonly LogLevel: { readonly Error: Value };
  readonly ManagedRuntime: { make(layer: Value): { runPromise(effect: Value): Promise<unknown> } };
  readonly Schema: {
    readonly String: Value;
    readonly Void: Value;
    Struct(fields: Readonly<Record<string, Value>>): Value;
  };
}

/** What is used of `@effect/workflow`. */
interface Workflows {
  readonly Activity: { make(options: { name: string; success: Value; execute: Value }): Value };
  readonly DurableDeferred: {
    make(name: string, options: { success: Value }): Value;
    await(deferred: Value): Value;
    tokenFromExecutionId(
      deferred: Value,
      options: { workflow: Definition; executionId: string },
    ): string;
    succeed(deferred: Value, options: { token: string; value: unknown }): Value;
  };
  readonly Workflow: {
    make(options: {
      name: string;
      payload: Readonly<Record<string, Value>>;
      idempotencyKey: (payload: { id: string }) => string;
    }): Definition;
  };
}

/** What is used of `@effect/cluster`. */
interface Cluster {
  readonly ClusterWorkflowEngine: { readonly layer: Value };
  readonly SingleRunner: { layer(options: { runnerStorage: 'memory' | 'sql' }): Value };
}

/** What is used of `@effect/sql` and `@effect/sql-sqlite-node`. */
interface Sql {
  readonly SqlClient: { readonly SqlClient: Value };
}
interface SqliteSql {
  readonly SqliteClient: { layer(options: { filename: string }): Value };
}

/** Effect's workflows on its cluster's single runner, with SQLite. */
export const effect: Peer = {
  name: 'effect',
  package: '@effect/workflow',
  open: async ({ folder, load, onStep }) => {
    const { Effect, Layer, Logger, LogLevel, ManagedRuntime, Schema } = load('effect') as Core;
    const { Activity, DurableDeferred, Workflow } = load('@effect/workflow') as Workflows;
    const { ClusterWorkflowEngine, SingleRunner } = load('@effect/cluster') as Cluster;
    const { SqlClient } = (load('@effect/sql') as Sql).SqlClient;
    const { SqliteClient } = load('@effect/sql-sqlite-node') as SqliteSql;

    const payload = Schema.Struct({ id: Schema.String, note: Schema.String });
    const define = (name: string): Definition =>
      Workflow.make({ name, payload: { id: Schema.String }, idempotencyKey: ({ id }) => id });
    const steps = (onEach?: (step: number) => void): Value =>
      Effect.gen(function* () {
        for (let i = 0; i < STEPS; i++) {
          const execute = Effect.sync(() => {
            onEach?.(i);
            return PAYLOAD;
          });
          yield* Activity.make({ name: `step${i}`, success: payload, execute });
        }
        return undefined;
      });
    const steps10 = define('steps10');
    const empty = define('empty');
    const signalled = define('signalled');
    const mid = define('mid');
    const go = DurableDeferred.make('go', { success: payload });
    const workflows = Layer.mergeAll(
      steps10.toLayer(() => steps()),
      empty.toLayer(() => Effect.succeed(undefined)),
      signalled.toLayer(() =>
        Effect.gen(function* () {
          yield* DurableDeferred.await(go);
          return undefined;
        }),
      ),
      mid.toLayer(({ id }) => steps((step) => onStep(Number(id), step))),
    );
    const engine = ClusterWorkflowEngine.layer.pipe(
      Layer.provideMerge(SingleRunner.layer({ runnerStorage: 'memory' })),
      Layer.provideMerge(SqliteClient.layer({ filename: join(folder, 'effect.db') })),
    );
    const runtime = ManagedRuntime.make(
      workflows.pipe(
        Layer.provideMerge(engine),
        Layer.provide(Logger.minimumLogLevel(LogLevel.Error)),
      ),
    );
    const run = (one: Value): Promise<unknown> => runtime.runPromise(one);
    const pragma = (text: string): Promise<unknown> =>
      run(
        Effect.gen(function* () {
          const sql = (yield* SqlClient) as unknown as { unsafe(text: string): Value };
          return yield* sql.unsafe(`pragma ${text}`);
        }),
      );
    // Its driver opens a WAL file at NORMAL.
    await pragma('synchronous = FULL');
    const [{ synchronous }] = (await pragma('synchronous')) as [{ synchronous: number }];
    let last = 0;
    const fresh = (): { id: string } => ({ id: `${process.pid}-${++last}` });
    return {
      durability: {
        text: `SQLite WAL, synchronous=${synchronous === 2 ? 'FULL' : synchronous}`,
        full: synchronous === 2,
      },
      steps10: () => run(steps10.execute(fresh())),
      empty: () => run(empty.execute(fresh())),
      signal: async () => {
        const input = fresh();
        const executionId = (await run(signalled.execute(input, { discard: true }))) as string;
        const options = { workflow: signalled, executionId };
        const token = DurableDeferred.tokenFromExecutionId(go, options);
        return async () => {
          await run(DurableDeferred.succeed(go, { token, value: PAYLOAD }));
          // The same key is the same run.
          await run(signalled.execute(input));
        };
      },
      startMid: (id) => run(mid.execute({ id: String(id) }, { discard: true })),
      midResults: async (runs) => {
        await Promise.all(runs.map((id) => run(mid.execute({ id: String(id) }))));
        return runs;
      },
    };
  },
};
