import { join } from 'node:path';
import { PAYLOAD, type Peer, STEPS } from '../subject.ts';

interface Step {
  run<T>(options: { name: string }, body: () => T): Promise<T>;
  waitForSignal(options: { signal: string; timeout: string }): Promise<unknown>;
}

interface Definition<Input> {
  run(
    input: Input,
    options?: { idempotencyKey: string },
  ): Promise<{ readonly workflowRun: { readonly id: string } }>;
}

/** What is used of `openworkflow`. */
interface Sdk {
  readonly OpenWorkflow: new (options: { backend: Backend }) => {
    defineWorkflow<Input>(
      spec: { name: string },
      body: (context: { input: Input; step: Step }) => unknown,
    ): Definition<Input>;
    newWorker(options: { concurrency: number }): { start(): Promise<void> };
    sendSignal(options: { signal: string; data: unknown }): Promise<{ workflowRunIds: string[] }>;
  };
}

interface Row {
  readonly [column: string]: string | number | null;
}

interface Backend {
  readonly db: {
    exec(sql: string): void;
    prepare(sql: string): { get(...values: (string | number)[]): Row | undefined };
  };
}

/** What is used of `openworkflow/sqlite`. */
interface SqliteModule {
  readonly BackendSqlite: { connect(path: string): Backend };
}

/** One for each caller of the fullest case: a free slot costs a transaction at each poll. */
const CONCURRENCY = 64;
const LOOK_MS = 1;
const SYNCHRONOUS = ['OFF', 'NORMAL', 'FULL', 'EXTRA'];

/** OpenWorkflow on its SQLite backend. */
export const openworkflow: Peer = {
  name: 'openworkflow',
  package: 'openworkflow',
  open: async ({ folder, load, onStep }) => {
    const { BackendSqlite } = load('openworkflow/sqlite') as SqliteModule;
    const { OpenWorkflow } = load('openworkflow') as Sdk;
    const backend = BackendSqlite.connect(join(folder, 'openworkflow.db'));
    const { db } = backend;
    db.exec('pragma synchronous = FULL');
    const client = new OpenWorkflow({ backend });
    const steps = async (step: Step, onEach?: (i: number) => void): Promise<void> => {
      for (let i = 0; i < STEPS; i++) {
        await step.run({ name: `step${i}` }, () => {
          onEach?.(i);
          return PAYLOAD;
        });
      }
    };
    const steps10 = client.defineWorkflow<null>({ name: 'steps10' }, ({ step }) => steps(step));
    const empty = client.defineWorkflow<null>({ name: 'empty' }, () => {});
    const signalled = client.defineWorkflow<string>({ name: 'signalled' }, ({ input, step }) =>
      step.waitForSignal({ signal: input, timeout: '60s' }),
    );
    const mid = client.defineWorkflow<number>({ name: 'mid' }, ({ input, step }) =>
      steps(step, (i) => onStep(input, i)),
    );
    await client.newWorker({ concurrency: CONCURRENCY }).start();

    // Its own handle looks once a second, which would be all that is measured.
    const until = (isSo: () => boolean): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          try {
            if (isSo()) resolve();
            else setTimeout(look, LOOK_MS);
          } catch (error) {
            reject(error);
          }
        };
        look();
      });
    const status = db.prepare('select status from workflow_runs where id = ?');
    const isDone = (id: string): boolean => {
      const now = status.get(id)?.['status'];
      if (now === 'failed' || now === 'canceled') throw new Error(`the run ${now}`);
      return now === 'completed' || now === 'succeeded';
    };
    const parked = db.prepare(
      `select 1 from workflow_runs where id = ? and worker_id is null and exists (
        select 1 from step_attempts where workflow_run_id = workflow_runs.id and kind = 'signal-wait')`,
    );
    const result = async <Input>(definition: Definition<Input>, input: Input): Promise<void> => {
      const { workflowRun } = await definition.run(input);
      await until(() => isDone(workflowRun.id));
    };
    const left = db.prepare(
      `select count(*) as runs from workflow_runs where workflow_name = 'mid'
        and idempotency_key in (select value from json_each(?)) and status not in ('completed', 'succeeded')`,
    );
    let signals = 0;
    const pragma = (name: string): string | number =>
      db.prepare(`pragma ${name}`).get()?.[name] ?? '';
    const synchronous = SYNCHRONOUS[Number(pragma('synchronous'))] ?? 'unknown';
    return {
      durability: {
        text: `SQLite ${String(pragma('journal_mode')).toUpperCase()}, synchronous=${synchronous}`,
        full: synchronous === 'FULL',
      },
      steps10: () => result(steps10, null),
      empty: () => result(empty, null),
      signal: async () => {
        const signal = `go-${++signals}`;
        const { workflowRun } = await signalled.run(signal);
        // A signal that nobody waits for is dropped.
        await until(() => parked.get(workflowRun.id) !== undefined);
        return async () => {
          await client.sendSignal({ signal, data: PAYLOAD });
          await until(() => isDone(workflowRun.id));
        };
      },
      startMid: (run) => mid.run(run, { idempotencyKey: `mid-${run}` }),
      midResults: async (runs) => {
        const keys = JSON.stringify(runs.map((run) => `mid-${run}`));
        await until(() => left.get(keys)?.['runs'] === 0);
        return runs;
      },
    };
  },
};
