import { PAYLOAD, type Peer, STEPS } from '../subject.ts';
import { startPostgres } from '../postgres.ts';

interface Handle {
  readonly workflowID: string;
  getResult(): Promise<unknown>;
}

/** What is used of `@dbos-inc/dbos-sdk`. */
interface Sdk {
  readonly DBOS: {
    setConfig(config: object): void;
    launch(): Promise<void>;
    registerWorkflow<Args extends unknown[]>(
      body: (...args: Args) => Promise<unknown>,
      options: { name: string },
    ): (...args: Args) => Promise<unknown>;
    runStep<T>(body: () => Promise<T>, options: { name: string }): Promise<T>;
    startWorkflow<Args extends unknown[]>(
      workflow: (...args: Args) => Promise<unknown>,
      options?: { workflowID: string },
    ): (...args: Args) => Promise<Handle>;
    retrieveWorkflow(id: string): Handle;
    waitAll(handles: readonly Handle[], options: { pollingIntervalMs: number }): Promise<unknown>;
    recv(topic: string, timeoutSeconds: number): Promise<unknown>;
    send(id: string, message: unknown, topic: string): Promise<void>;
  };
}

/** What is used of `pg`. */
interface Postgres {
  readonly Client: new (url: string) => {
    connect(): Promise<void>;
    query(text: string): Promise<{ rows: Readonly<Record<string, string>>[] }>;
    end(): Promise<void>;
  };
}

const TOPIC = 'go';
/** As many as there are callers would only make them wait for one another inside the server. */
const CONNECTIONS = 20;
/** How soon another process sees a result; its default is a second. */
const POLL_MS = 10;

/** DBOS Transact on a PostgreSQL of its own. */
export const dbos: Peer = {
  name: 'dbos',
  package: '@dbos-inc/dbos-sdk',
  startBackend: ({ folder }) => startPostgres(folder),
  open: async ({ address, load, onStep }) => {
    const { DBOS } = load('@dbos-inc/dbos-sdk') as Sdk;
    const steps = async (onEach?: (step: number) => void): Promise<void> => {
      for (let i = 0; i < STEPS; i++) {
        const body = async (): Promise<typeof PAYLOAD> => {
          onEach?.(i);
          return PAYLOAD;
        };
        await DBOS.runStep(body, { name: `step${i}` });
      }
    };
    const steps10 = DBOS.registerWorkflow(() => steps(), { name: 'steps10' });
    const empty = DBOS.registerWorkflow(async () => {}, { name: 'empty' });
    const signalled = DBOS.registerWorkflow(() => DBOS.recv(TOPIC, 60), { name: 'signalled' });
    const mid = DBOS.registerWorkflow((run: number) => steps((step) => onStep(run, step)), {
      name: 'mid',
    });
    DBOS.setConfig({
      name: 'bench',
      systemDatabaseUrl: address,
      systemDatabasePoolSize: CONNECTIONS,
      notificationCoalesceMs: 1,
      logLevel: 'error',
      // Else it follows the code, and the runs of the process before wait for that one.
      applicationVersion: '1',
    });
    await DBOS.launch();
    return {
      durability: await durabilityOf(load('pg') as Postgres, address),
      steps10: async () => (await DBOS.startWorkflow(steps10)()).getResult(),
      empty: async () => (await DBOS.startWorkflow(empty)()).getResult(),
      signal: async () => {
        const handle = await DBOS.startWorkflow(signalled)();
        const result = handle.getResult();
        return async () => {
          await DBOS.send(handle.workflowID, PAYLOAD, TOPIC);
          await result;
        };
      },
      startMid: (run) => DBOS.startWorkflow(mid, { workflowID: `mid-${run}` })(run),
      midResults: async (runs) => {
        const handles = runs.map((run) => DBOS.retrieveWorkflow(`mid-${run}`));
        await DBOS.waitAll(handles, { pollingIntervalMs: POLL_MS });
        return runs;
      },
    };
  },
};

async function durabilityOf(
  { Client }: Postgres,
  address: string,
): Promise<{ text: string; full: boolean }> {
  const client = new Client(address);
  await client.connect();
  const show = async (name: string): Promise<string> =>
    (await client.query(`show ${name}`)).rows[0]?.[name] ?? '';
  const version = (await show('server_version')).split(' ')[0];
  const fsync = await show('fsync');
  const commit = await show('synchronous_commit');
  await client.end();
  return {
    text: `PostgreSQL ${version}, fsync=${fsync}, synchronous_commit=${commit}`,
    full: fsync === 'on' && commit === 'on',
  };
}
