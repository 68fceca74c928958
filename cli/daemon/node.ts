/** The composition root: one node of a lattice, with all its modules wired. */
import { type Server, createServer } from 'node:http';
import { join } from 'node:path';
import { pino } from 'pino';
import { type TierReport, detectTier } from '../../datapath/index.ts';
import {
  Engine,
  type EngineOptions,
  type EngineProbe,
  type WorkflowHandle,
} from '../../engine/index.ts';
import { SqliteStore } from '../../engine/io/sqlite.ts';
import {
  DEPLOY_WORKFLOW,
  Gateway,
  LEAVE_WORKFLOW,
  leaveId,
  type LeaveOutcome,
  type leaveWorkflow,
  Lifecycle,
} from '../../particle/index.ts';
import {
  type KeyValueStore,
  type MemberView,
  type OwnCertificate,
  type PendingChange,
  Ring,
  type VoterStanding,
} from '../../ring/index.ts';
import type { Clock } from '../../spec/clock.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { systemRandom } from '../../spec/system-random.ts';
import { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { apiRoutes, statusOf } from './api.ts';
import { socketPath } from '../io/socket-path.ts';
import { type Address, parseAddress, removeSocket, textAddress } from './address.ts';
import { watchLoad } from './load.ts';
import { Metrics } from './metrics.ts';
import { isLoopback, refuseForeignOrigin } from './origin.ts';
import { Router } from './router.ts';

export interface NodeOptions {
  /** Folder of this node's key, journal and caches; created 0700. A second process on it is refused. */
  data: string;
  /** Name for people. Default: the first letters of the id. */
  name?: string;
  /** Peers' address, 'host:port', or 'none': reached through relays. Default '127.0.0.1:0'. */
  listen?: string;
  /** HTTP ingress for Particles, 'host:port'; none by default. */
  ingress?: string;
  /** Control API: loopback 'host:port', or a unix socket path (the default, `api.sock` in `data`, 0600). */
  api?: string;
  /**
   * Where peers are: `host:port`, `dns:NAME`, `dns:NAME:PORT`, `mdns:` or `mdns:LATTICE`. None = a lattice of one, that others
   * may join.
   */
  join?: string[];
  /** Lets this node be found by `mdns:` on the local network that it listens on. Default false. */
  mdns?: boolean;
  /** Join capability (text form). */
  token?: string;
  zone?: string;
  region?: string;
  roles?: ('voter' | 'storage' | 'compute' | 'relay')[];
  /** Share of the ring relative to other nodes; 0 = compute only. Default 1, or 0 when others cannot dial it. */
  weight?: number;
  /**
   * The operator's word that the data folder is what this node wrote last, and no copy put back: then a voter votes at once
   * after a restart of the machine. False of an older folder, it breaks the lattice. Default false.
   */
  trustDisk?: boolean;
  /** How long the certificates are good for that this node gives while it is a voter. Default 24 h, from 1 min to 7 d. */
  certificateLifeMs?: number;
  /** Workflow types whose code this process has. */
  workflows?: EngineOptions['workflows'];
  /** Where the node says what it does. Default: warnings and errors on stderr. */
  log?: Log;
  /** Folder of transpiled components, which nodes of one machine may share. Default: `particles` in `data`. */
  cache?: string;
  /** Called at each commit and effect of the engine, for fault injection. */
  probe?: EngineProbe;
}

export interface LatticeStatus {
  lattice: string;
  /** What tokens call it. */
  latticeTag: string;
  self: string;
  epoch: number;
  /** What the epoch waits for; none: it is settled. */
  pending?: PendingChange;
  /** Ids of the nodes that may change the epoch, and how many of them may fail. */
  voters: string[];
  tolerates: number;
  /** Whether the vote of this node counts now; none: it is no voter. */
  standing?: VoterStanding;
  /** What this node shows of itself; none: it is yet to be given one. */
  certificate?: OwnCertificate;
  members: MemberView[];
  datapath: TierReport;
}

/** A deploy's step was recorded on this node. */
export interface DeployEvent {
  workflow: string;
  step: string;
}

/** Whoever follows the leave of a node reads its end from the node. */
const LEFT_CLOSE_MS = 2_000;

/**
 * Starts a node: founds a lattice, joins one, or comes back to the one of its data folder.
 *
 * Resolves when it serves. @throws AetherError: ERR_DATA_LOCKED, ERR_LATTICE_MISMATCH, ERR_PORT_IN_USE, ERR_RING_*,
 * ERR_ADDRESS; everything that was opened is closed again, and the data folder is as a stopped node leaves it.
 */
export async function startNode(options: NodeOptions): Promise<LatticeNode> {
  const opened: Close[] = [];
  try {
    return await open(options, opened);
  } catch (error) {
    await closeAll(opened).catch(() => {});
    throw error;
  }
}

type Close = () => Promise<void> | void;

/** Closes what was opened, last first, each whatever became of the others. @throws the first error */
async function closeAll(opened: readonly Close[]): Promise<void> {
  const errors: unknown[] = [];
  for (const close of opened.toReversed()) {
    try {
      await close();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

async function open(options: NodeOptions, opened: Close[]): Promise<LatticeNode> {
  const ingress = options.ingress === undefined ? undefined : tcp(options.ingress, 'ingress');
  const api = parseAddress(options.api ?? join(options.data, 'api.sock'));
  if ('host' in api && !isLoopback(api.host)) {
    throw new AetherError(`the control API on ${textAddress(api)} would be open to the network`, {
      code: 'ERR_ADDRESS',
      hint: 'use a loopback address or a unix socket; TLS with capabilities is not in this release',
    });
  }
  const log = options.log ?? pino({ level: 'warn' }, pino.destination({ fd: 2, sync: true }));
  const clock = systemClock;
  const tier = detectTier();

  const {
    name,
    listen,
    join: peers,
    mdns,
    token,
    zone,
    region,
    roles,
    weight,
    trustDisk,
    certificateLifeMs,
  } = options;
  const ring = await Ring.open({
    data: options.data,
    ...defined({ name, listen, join: peers, mdns, token, zone, region, roles, weight }),
    ...defined({ trustDisk, certificateLifeMs }),
    clock,
    log,
  });
  opened.push(() => ring.close());

  const lifecycle = await Lifecycle.open({
    data: options.data,
    ...defined({ cache: options.cache }),
    ring,
    clock,
    log,
  });
  opened.push(() => lifecycle.close());

  const deployListeners = new Set<(event: DeployEvent) => void>();
  const left = Promise.withResolvers<void>();
  const workflows = [...lifecycle.workflows, ...(options.workflows ?? [])];
  const engine = await Engine.open({
    store: new SqliteStore(join(options.data, 'engine.db')),
    workflows,
    log,
    probe: {
      effectDone: (event) => options.probe?.effectDone?.(event),
      committed: (event) => {
        options.probe?.committed?.(event);
        if (event.name === LEAVE_WORKFLOW && event.kind === 'completed') left.resolve();
        if (event.name !== DEPLOY_WORKFLOW || event.step === undefined) return;
        for (const listener of deployListeners) {
          listener({ workflow: event.workflowId, step: event.step });
        }
      },
    },
  });
  opened.push(() => engine.close());
  ring.describe({ tier: tier.tier, types: workflows.map(({ name: type }) => type) });
  opened.push(watchLoad(clock, (load) => ring.describe({ load })));

  let ingressAddress: string | undefined;
  if (ingress !== undefined) {
    const gateway = new Gateway({
      route: (method, authority, path) => lifecycle.directory.route(method, authority, path),
      refresh: () => lifecycle.refresh(),
      exchange: (identity, service, request) => lifecycle.exchange(identity, service, request),
      nodeName: (id) => lifecycle.nodeName(id),
      clock,
      random: systemRandom,
      log,
    });
    ingressAddress = await gateway
      .listen(ingress.host, ingress.port)
      .catch((error: unknown) => refuseListen(error, ingress));
    opened.push(() => gateway.close());
  }

  const metrics = new Metrics({
    members: () => Object.fromEntries(tally(ring.members().map(({ state }) => state))),
    epoch: () => ring.epoch().number,
    transport: () => ring.transport(),
    instances: () => Object.fromEntries(tally(lifecycle.host.list().map(({ state }) => state))),
    engine: () => engine.metrics(),
  });
  opened.push(lifecycle.datapath.onFlow((flow) => metrics.observe(flow)));

  const parts = { ring, engine, lifecycle, metrics, tier, deployListeners, opened };
  const node = new LatticeNode(parts, clock, left.promise);
  const server = createServer();
  const apiAddress = await listenApi(server, api);
  opened.push(() => closeServer(server));
  const guard = 'host' in api ? refuseForeignOrigin : undefined;
  const router = new Router(apiRoutes(node), statusOf, systemRandom, guard);
  server.on('request', (req, res) => void router.answer(req, res));
  node.addresses = {
    listen: ring.address,
    api: apiAddress,
    ...(ingressAddress === undefined ? {} : { ingress: ingressAddress }),
  };
  return node;
}

interface NodeParts {
  ring: Ring;
  engine: Engine;
  lifecycle: Lifecycle;
  metrics: Metrics;
  tier: TierReport;
  deployListeners: Set<(event: DeployEvent) => void>;
  opened: Close[];
}

/** A running node. */
export class LatticeNode {
  readonly ring: Ring;
  readonly engine: Engine;
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  /** Where it listens; the ingress is there when it has one. */
  addresses: { listen: string; api: string; ingress?: string } = { listen: '', api: '' };
  readonly #tier: TierReport;
  readonly #deployListeners: Set<(event: DeployEvent) => void>;
  readonly #opened: Close[];
  readonly #closed = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;
  #hasLeft = false;
  #refusal: Error | undefined;

  /** @param left fulfilled once this node is no member any more, by its own leave. */
  constructor(parts: NodeParts, clock: Clock, left: Promise<void>) {
    this.ring = parts.ring;
    this.engine = parts.engine;
    this.lifecycle = parts.lifecycle;
    this.metrics = parts.metrics;
    this.#tier = parts.tier;
    this.#deployListeners = parts.deployListeners;
    this.#opened = parts.opened;
    this.closed = this.#closed.promise;
    // The ring has closed itself.
    this.ring.onChange((change) => {
      if (change.kind !== 'refused') return;
      this.#refusal = change.error;
      void this.close();
    });
    void this.#closeOnce(left, clock);
  }

  async #closeOnce(left: Promise<void>, clock: Clock): Promise<void> {
    await left;
    this.#hasLeft = true;
    this.#opened.push(clock.after(LEFT_CLOSE_MS, () => void this.close()));
  }

  /** Why the lattice has refused this node while it ran; then it closes. */
  get refusal(): Error | undefined {
    return this.#refusal;
  }

  get id(): string {
    return this.ring.id;
  }

  get address(): string {
    return this.ring.address;
  }

  get kv(): KeyValueStore {
    return this.ring.kv;
  }

  status(): Promise<LatticeStatus> {
    const { number: epoch } = this.ring.epoch();
    const { nodes: voters, tolerated } = this.ring.voters();
    const pending = this.ring.pending();
    const standing = this.ring.standing();
    const certificate = this.ring.certificate();
    return Promise.resolve({
      lattice: this.ring.lattice,
      latticeTag: this.ring.latticeTag,
      self: this.ring.id,
      epoch,
      ...defined({ pending }),
      voters,
      tolerates: tolerated,
      ...defined({ standing, certificate }),
      members: this.ring.members(),
      datapath: this.#tier,
    });
  }

  /** @returns ends the subscription. */
  onDeploy(listener: (event: DeployEvent) => void): () => void {
    this.#deployListeners.add(listener);
    return () => this.#deployListeners.delete(listener);
  }

  /** Fulfilled once this node is closed, whatever closed it. */
  readonly closed: Promise<void>;

  /** A leave that was begun is not over yet. */
  async isLeaving(): Promise<boolean> {
    const run = await this.engine
      .get(leaveId(this.id))
      .describe()
      .catch(() => undefined);
    return run !== undefined && run.closedAt === undefined;
  }

  /** It has left the lattice, and closes. */
  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /**
   * Begins to hand over what this node holds, and to leave the lattice for good. That is a workflow: a node that is stopped
   * meanwhile goes on with it when it is started again. The node closes itself once it has left; when the workflow fails, as with
   * ERR_RING_CHANGE_REFUSED, it goes on as a member. Asking again is asking once.
   *
   * @throws EpochChangeError ERR_RING_LAST_VOTER: nothing was begun.
   */
  async beginLeave(): Promise<WorkflowHandle<LeaveOutcome>> {
    this.ring.checkLeave();
    return this.engine.start<ReturnType<typeof leaveWorkflow>>(LEAVE_WORKFLOW, undefined, {
      id: leaveId(this.id),
      onConflict: 'use-existing',
      onClosed: 'restart-if-failed',
    });
  }

  /**
   * As `beginLeave`, and over once this node is closed.
   *
   * @throws EpochChangeError ERR_RING_LAST_VOTER; WorkflowFailedError: nothing was changed, and the node goes on.
   */
  async leave(): Promise<void> {
    const leaving = await this.beginLeave();
    await leaving.result();
    await this.close();
  }

  /** Stops in order without leaving, as a restart does. */
  close(): Promise<void> {
    this.#closing ??= closeAll(this.#opened).finally(() => this.#closed.resolve());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Drops what is undefined, so that defaults apply. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as never;
}

function tally(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

function tcp(text: string, what: string): { host: string; port: number } {
  const address = parseAddress(text);
  if ('host' in address) return address;
  throw new AetherError(`${what} ${text} is not host:port`, {
    code: 'ERR_ADDRESS',
    hint: '127.0.0.1:8080, or port 0 for a free one',
  });
}

async function listenApi(server: Server, address: Address): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).once('listening', resolve);
  if ('host' in address) {
    server.listen(address.port, address.host);
  } else {
    const path = socketPath(address.path, process.cwd());
    await removeSocket(path);
    // Nobody else may connect, not even between the binding and a chmod.
    const umask = process.umask(0o177);
    server.listen(path);
    process.umask(umask);
  }
  await promise.catch((error: unknown) => refuseListen(error, address));
  const bound = server.address();
  return typeof bound === 'object' && bound !== null && 'host' in address
    ? textAddress({ host: address.host, port: bound.port })
    : textAddress(address);
}

function refuseListen(error: unknown, address: Address): never {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    throw new AetherError(`${textAddress(address)} is in use by another process`, {
      code: 'ERR_PORT_IN_USE',
      hint: 'choose another port, or port 0 for a free one',
      cause: error,
    });
  }
  throw new AetherError(`cannot listen on ${textAddress(address)}: ${code}`, {
    code: 'ERR_ADDRESS',
    hint: 'name an address of this machine',
    cause: error,
  });
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
