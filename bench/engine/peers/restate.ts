import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Keeper } from '../keeper.ts';
import { type Backend, type BackendOptions, PAYLOAD, type Peer, STEPS } from '../subject.ts';
import { readTail } from '../tail.ts';

interface Context {
  run<T>(name: string, body: () => T): Promise<T>;
}
interface WorkflowContext extends Context {
  readonly key: string;
  promise(name: string): PromiseLike<unknown> & { resolve(value: unknown): Promise<void> };
}
type Definition = object;

/** What is used of `@restatedev/restate-sdk`. */
interface Sdk {
  service(options: {
    name: string;
    handlers: Readonly<Record<string, (ctx: Context) => Promise<unknown>>>;
  }): Definition;
  workflow(options: {
    name: string;
    handlers: Readonly<Record<string, (ctx: WorkflowContext, input: unknown) => Promise<unknown>>>;
  }): Definition;
  createEndpointHandler(options: {
    services: readonly Definition[];
    logger: () => void;
  }): (request: Http2ServerRequest, response: Http2ServerResponse) => void;
}

interface WorkflowClient {
  workflowSubmit(input: unknown): Promise<unknown>;
  workflowAttach(): Promise<unknown>;
  go(input: unknown): Promise<unknown>;
}

/** What is used of `@restatedev/restate-sdk-clients`. */
interface Clients {
  connect(options: { url: string }): {
    serviceClient(of: { name: string }): {
      steps10(): Promise<unknown>;
      empty(): Promise<unknown>;
    };
    workflowClient(of: { name: string }, key: string): WorkflowClient;
  };
}

/** Of the server, and of the service that it calls. */
interface Ports {
  readonly ingress: number;
  readonly admin: number;
  readonly node: number;
  readonly service: number;
}

const HOST = '127.0.0.1';
/** Its 24 are for several nodes: fewer share more of each fsync, and on few cores are faster. */
const PARTITIONS = 2 * availableParallelism();
const START_MS = 60_000;

/** Restate's server, one node, and a service of the TypeScript SDK that it calls over HTTP/2. */
export const restate: Peer = {
  name: 'restate',
  package: '@restatedev/restate-server',
  startBackend,
  open: async ({ address, again, load, onStep }) => {
    const ports = JSON.parse(address) as Ports;
    const sdk = load('@restatedev/restate-sdk') as Sdk;
    const steps = async (ctx: Context, onEach?: (step: number) => void): Promise<void> => {
      for (let i = 0; i < STEPS; i++) {
        await ctx.run(`step${i}`, () => {
          onEach?.(i);
          return PAYLOAD;
        });
      }
    };
    const plain = sdk.service({
      name: 'plain',
      handlers: { steps10: (ctx) => steps(ctx), empty: async () => {} },
    });
    const signalled = sdk.workflow({
      name: 'signalled',
      handlers: {
        run: async (ctx) => ctx.promise('go'),
        go: (ctx, input) => ctx.promise('go').resolve(input),
      },
    });
    const mid = sdk.workflow({
      name: 'mid',
      handlers: { run: (ctx) => steps(ctx, (step) => onStep(Number(ctx.key), step)) },
    });
    const services = [plain, signalled, mid];
    const endpoint = createHttp2Server(sdk.createEndpointHandler({ services, logger: () => {} }));
    await new Promise<void>((resolve) => void endpoint.listen(ports.service, HOST, resolve));
    if (!again) await register(ports);

    const client = (load('@restatedev/restate-sdk-clients') as Clients).connect({
      url: `http://${HOST}:${ports.ingress}`,
    });
    const calls = client.serviceClient({ name: 'plain' });
    let last = 0;
    return {
      durability: { text: 'RocksDB WAL, fsync, group commit (its default)', full: true },
      steps10: () => calls.steps10(),
      empty: () => calls.empty(),
      signal: async () => {
        const run = client.workflowClient({ name: 'signalled' }, `${process.pid}-${++last}`);
        await run.workflowSubmit(null);
        const result = run.workflowAttach();
        return async () => {
          await run.go(PAYLOAD);
          await result;
        };
      },
      startMid: (run) => client.workflowClient({ name: 'mid' }, String(run)).workflowSubmit(null),
      midResults: async (runs) => {
        await Promise.all(
          runs.map((run) => client.workflowClient({ name: 'mid' }, String(run)).workflowAttach()),
        );
        return runs;
      },
    };
  },
};

/** Both are killed in a crash: the server is where the engine is. */
async function startBackend({ folder, packages }: BackendOptions): Promise<Backend> {
  const require = createRequire(join(packages, 'package.json'));
  const platform = `${process.platform}-${process.arch}`;
  const program = require.resolve(`@restatedev/restate-server-${platform}/bin/restate-server`);
  const [ingress = 0, admin = 0, node = 0, service = 0] = await freePorts(4);
  const log = join(folder, 'restate.log');
  const start = async (): Promise<Keeper> => {
    const keeper = new Keeper(
      {
        program,
        args: ['--base-dir', join(folder, 'restate'), '--node-name', 'bench'],
        folder,
        env: {
          ...process.env,
          RESTATE_LISTEN_MODE: 'tcp',
          RESTATE_BIND_IP: HOST,
          RESTATE_BIND_ADDRESS: `${HOST}:${node}`,
          RESTATE_INGRESS__BIND_ADDRESS: `${HOST}:${ingress}`,
          RESTATE_ADMIN__BIND_ADDRESS: `${HOST}:${admin}`,
          RESTATE_DISABLE_TELEMETRY: 'true',
          RESTATE_DEFAULT_NUM_PARTITIONS: String(PARTITIONS),
          RESTATE_LOG_FILTER: 'warn',
        },
        endSignal: 'SIGKILL',
      },
      log,
    );
    let ended: string | undefined;
    void keeper.ended.then((why) => (ended = why));
    const untilMs = performance.now() + START_MS;
    while (
      !(await isHealthy(`http://${HOST}:${admin}/health`)) ||
      !(await isHealthy(`http://${HOST}:${ingress}/restate/health`))
    ) {
      if (ended !== undefined) throw new Error(`restate-server ended: ${ended}`);
      if (performance.now() > untilMs) {
        await keeper.stop();
        throw new Error(`restate-server did not start: ${readTail(log)}`);
      }
      await new Promise((resolve) => void setTimeout(resolve, 20));
    }
    return keeper;
  };
  let keeper = await start();
  return {
    address: JSON.stringify({ ingress, admin, node, service } satisfies Ports),
    crash: {
      kill: () => keeper.kill(),
      restart: async () => {
        keeper = await start();
      },
    },
    stop: () => keeper.stop(),
  };
}

async function register(ports: Ports): Promise<void> {
  const { ok, status, text } = await post(`http://${HOST}:${ports.admin}/deployments`, {
    uri: `http://${HOST}:${ports.service}`,
  });
  if (!ok) throw new Error(`the service was not registered: ${status} ${text}`);
}

async function post(
  url: string,
  body: object,
): Promise<{ ok: boolean; status: number; text: string }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  return { ok: response.ok, status: response.status, text: await response.text() };
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => void server.listen(0, HOST, resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
