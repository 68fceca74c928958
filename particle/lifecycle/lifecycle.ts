/**
 * The Particles of one node in its lattice: takes effects from workflows, knows the current apps, serves exchanges and
 * forwards them.
 *
 * Calls between nodes (ring RPC): `particle.effect`, `particle.exchange`, `particle.invoke`, `particle.list`,
 * `particle.logs`, `particle.effects`.
 */
import { join } from 'node:path';
import {
  type Identity,
  type Service,
  UserspaceDatapath,
  offer,
  serviceText,
} from '../../datapath/index.ts';
import type { EngineOptions } from '../../engine/index.ts';
import type { KeyValueStore, MemberState, MemberView, Ring } from '../../ring/index.ts';
import type { Particle } from '../../spec/aetherfile/app.ts';
import type { Clock } from '../../spec/clock.ts';
import { durationMs } from '../../spec/duration.ts';
import { AetherError, NotAvailableError } from '../../spec/error.ts';
import type { HttpRequest, HttpResponse } from '../../spec/http.ts';
import type { Log } from '../../spec/log.ts';
import { type InstanceView, type LogLine, ParticleHost } from '../host.ts';
import type { HostKeyValue } from '../io/host-calls.ts';
import { type AppRecord, Catalog } from './catalog.ts';
import { type DeployPorts, deployWorkflow } from './deploy.ts';
import { Directory } from './directory.ts';
import type { Effect, Fence } from './effect.ts';
import { leaveWorkflow } from './leave.ts';
import { Performer } from './performer.ts';
import { type Candidates, candidatesOf, candidatesUnderLoad } from './placement.ts';
import { removeWorkflow } from './removal.ts';
import type { Revision } from './revision.ts';
import { Serving, particleOf } from './serving.ts';
import { type EffectRow, EffectSink } from './sink.ts';
import { Staging } from './staging.ts';
import { Turns } from './turns.ts';
import { type Move, type WeighPorts, weighWorkflow } from './weigh.ts';

export interface LifecycleOptions {
  /** The node's data folder. */
  data: string;
  /** Folder of transpiled components, which nodes of one machine may share. Default: `particles` in `data`. */
  cache?: string;
  ring: Ring;
  clock: Clock;
  log: Log;
}

/** A Particle on one node, or the reason why it is not there. */
export interface PlacedInstance extends Omit<InstanceView, 'state'> {
  /** Id of the node; empty when there is none. */
  node: string;
  /** Its name for people. */
  nodeName: string;
  /** `unknown`: the node does not answer; `unplaced`: no node may serve it. */
  state: InstanceView['state'] | 'unknown' | 'unplaced';
}

/** Nodes that are prepared for a Particle at least, if there are as many. */
const CANDIDATES_MIN = 3;
/** A deploy's step on another node: transpiling a large component takes seconds. */
const EFFECT_TIMEOUT_MS = 120_000;
/** Beyond a Particle's own time limit. */
const EXCHANGE_MARGIN_MS = 5_000;
const LIST_TIMEOUT_MS = 2_000;
/** Nodes say how busy they are every few seconds. */
const LOADS_TRUSTED_MS = 1_000;

export class Lifecycle {
  readonly catalog: Catalog;
  readonly directory: Directory;
  readonly staging: Staging;
  /** Submissions of one app, one at a time. */
  readonly submissions: Turns = new Turns();
  readonly datapath: UserspaceDatapath;
  readonly host: ParticleHost;
  /** What the node's engine has to run. */
  readonly workflows: EngineOptions['workflows'];
  readonly #ring: Ring;
  readonly #sink: EffectSink;
  readonly #serving: Serving;
  readonly #unsubscribe: () => void;
  /** What each request asks of the ring, until the ring or the apps change, or loads may have. */
  readonly #backendsOf = new Map<string, { nodes: string[]; untilMs: number }>();
  readonly #names = new Map<string, string>();
  readonly #clock: Clock;
  #reading: Promise<void> | undefined;
  #readingNext: Promise<void> | undefined;

  /** Resolves when this node takes effects and exchanges. */
  static async open(options: LifecycleOptions): Promise<Lifecycle> {
    const { data, cache = join(data, 'particles'), ring, clock, log } = options;
    let lifecycle: Lifecycle | undefined;
    const host = await ParticleHost.open({
      cache,
      keyValue: hostKeyValue(ring.kv),
      dial: async (from, request) => {
        if (lifecycle === undefined) throw new Error('a particle ran before its node was open');
        return lifecycle.dialFromParticle(from, request);
      },
      clock,
      log,
    });
    try {
      lifecycle = new Lifecycle(options, host);
    } catch (error) {
      await host.close();
      throw error;
    }
    // Without a quorum there is nothing to read; the first change of the ring reads again.
    await lifecycle.refresh().catch((error: unknown) => {
      log.info({ err: error }, 'apps are not known yet');
    });
    return lifecycle;
  }

  private constructor({ data, ring, clock, log }: LifecycleOptions, host: ParticleHost) {
    this.#ring = ring;
    this.host = host;
    this.catalog = new Catalog(ring.kv);
    this.staging = new Staging(join(data, 'staging'));
    this.#clock = clock;
    this.#sink = new EffectSink(join(data, 'effects.db'), clock);
    this.directory = new Directory((record, before) => {
      this.#backendsOf.clear();
      this.#serving.replaced(record, before);
    });
    this.#serving = new Serving({
      host,
      directory: this.directory,
      component: (digest) => ring.kv.blobs.get(digest),
      log,
    });
    this.datapath = new UserspaceDatapath({
      clock,
      app: (name) => this.directory.app(name),
      backends: (service) => this.#backends(service),
      carry: (node, service, request) => this.#carry(node, service, request),
    });
    this.workflows = [
      deployWorkflow(this.#deployPorts()),
      weighWorkflow(this.#weighPorts()),
      removeWorkflow(this.#weighPorts()),
      leaveWorkflow(this.#weighPorts()),
    ];
    this.#answerPeers();
    this.#unsubscribe = ring.onChange(() => {
      this.#backendsOf.clear();
      this.#names.clear();
      this.refresh().catch((error: unknown) => {
        log.info({ err: error }, 'apps could not be read; the next change of the ring reads again');
      });
    });
  }

  /** One exchange with a Particle, through the datapath. */
  exchange(
    identity: Identity,
    service: Service,
    request: HttpRequest,
  ): Promise<{ node: string; response: HttpResponse }> {
    return this.datapath.dial(identity, service).exchange(request);
  }

  /** What a Particle sends out: `http://NAME.aether/` is a Particle of its own app. */
  async dialFromParticle(
    from: { app: string; particle: string },
    request: HttpRequest,
  ): Promise<HttpResponse> {
    const name = /^([a-z0-9-]+)\.aether(?::\d+)?$/i.exec(request.authority)?.[1]?.toLowerCase();
    if (name === undefined) {
      throw new NotAvailableError(`outgoing HTTP to ${request.authority} is not in this release`, {
        hint: 'a Particle can call another one of its app: http://NAME.aether/',
      });
    }
    const identity: Identity = { kind: 'particle', ...from };
    return (await this.exchange(identity, { app: from.app, particle: name }, request)).response;
  }

  /** Calls an export of a Particle on the node that serves it. */
  async invoke(
    service: Service,
    name: string,
    args: unknown[],
  ): Promise<{ node: string; result: unknown }> {
    const record = await this.#record(service.app);
    particleOf(record.app, service.particle);
    const { node, answer } = await offer(service, this.#backends(service), (backend) =>
      this.#callServing(backend, record, service, 'particle.invoke', { name, args }),
    );
    return { node, result: answer };
  }

  /** Every Particle on every node, with the reason for each that does not run. */
  async instances(): Promise<PlacedInstance[]> {
    const answers = await this.#gather('particle.list', {});
    const placed = answers.flatMap(({ node, answer }) =>
      ((answer ?? []) as InstanceView[]).map((view): PlacedInstance =>
        Object.assign(view, { node, nodeName: this.nodeName(node) }),
      ),
    );
    const silent = new Set(
      answers.filter(({ answer }) => answer === undefined).map(({ node }) => node),
    );
    for (const record of this.directory.records()) {
      for (const particle of Object.values(record.app.particles)) {
        const isSeen = placed.some(
          (each) => each.app === record.app.name && each.particle === particle.name,
        );
        placed.push(...this.#absent(record, particle, silent, isSeen));
      }
    }
    return placed;
  }

  /** The effect log of every node that answers. */
  async effects(workflow?: string): Promise<(EffectRow & { node: string })[]> {
    const answers = await this.#gather(
      'particle.effects',
      workflow === undefined ? {} : { workflow },
    );
    return answers.flatMap(({ node, answer }) =>
      ((answer ?? []) as EffectRow[]).map((row) => Object.assign(row, { node })),
    );
  }

  /** What Particles wrote on every node that answers, the oldest first. */
  async logs(filter: {
    app?: string;
    particle?: string;
  }): Promise<(LogLine & { nodeName: string })[]> {
    const answers = await this.#gather('particle.logs', filter);
    return answers
      .flatMap(({ node, answer }) =>
        ((answer ?? []) as LogLine[]).map((line) =>
          Object.assign(line, { nodeName: this.nodeName(node) }),
        ),
      )
      .toSorted((a, b) => a.atMs - b.atMs);
  }

  /** Reads the current apps at quorum, from now on: a read that has begun may miss what the caller has heard of. */
  refresh(): Promise<void> {
    if (this.#reading === undefined) {
      this.#reading = this.#readCatalog().finally(() => {
        this.#reading = undefined;
      });
      return this.#reading;
    }
    const again = (): Promise<void> => {
      this.#readingNext = undefined;
      return this.refresh();
    };
    return (this.#readingNext ??= this.#reading.then(again, again));
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.host.close();
    this.#sink.close();
  }

  async #readCatalog(): Promise<void> {
    for (const record of (await this.catalog.current()).values()) this.directory.offer(record);
  }

  #answerPeers(): void {
    const { rpc, kv } = this.#ring;
    const performer = new Performer({
      catalog: this.catalog,
      directory: this.directory,
      serving: this.#serving,
      staging: this.staging,
      keyValue: kv,
      weigh: (node, weight) => this.#ring.setWeight(node, weight),
      remove: async (node) => {
        if (this.#member(node) !== undefined) await this.#ring.remove(node);
      },
      leave: () => this.#ring.resign(),
    });
    rpc.serve('particle.effect', (body) => {
      const { fence, effect } = body as { fence: Fence; effect: Effect };
      return this.#sink.apply(fence, effect, () => performer.perform(effect));
    });
    rpc.serve('particle.exchange', async (body) => {
      const { revision, service, request } = body as ServingCall & { request: HttpRequest };
      await this.#ready(revision, service);
      return this.host.handle(service.app, service.particle, request);
    });
    rpc.serve('particle.invoke', async (body) => {
      const { revision, service, name, args } = body as ServingCall & {
        name: string;
        args: unknown[];
      };
      await this.#ready(revision, service);
      return this.host.invoke(service.app, service.particle, name, args);
    });
    rpc.serve('particle.list', () => this.host.list());
    rpc.serve('particle.logs', (body) => this.host.logs(body as { app?: string }));
    rpc.serve('particle.effects', (body) =>
      this.#sink.log((body as { workflow?: string }).workflow),
    );
  }

  /** Asks every member that has not stopped; one that does not answer in time has no answer. */
  #gather(method: string, body: object): Promise<{ node: string; answer: unknown }[]> {
    const { rpc } = this.#ring;
    const ask = (node: string): Promise<unknown> =>
      rpc.call(node, method, body, { timeoutMs: LIST_TIMEOUT_MS }).catch(() => undefined);
    return Promise.all(
      this.#ring.members().map(async ({ id, state }) => ({
        node: id,
        answer: state === 'left' ? undefined : await ask(id),
      })),
    );
  }

  #deployPorts(): DeployPorts {
    const ring = this.#ring;
    return {
      self: ring.id,
      nodeName: (node) => this.nodeName(node),
      candidates: (record, particle) => {
        const spec = particleOf(record.app, particle);
        const { nodes, rejected } = this.#candidates(record.app.name, spec);
        return { nodes: nodes.slice(0, Math.max(CANDIDATES_MIN, spec.scale.min)), rejected };
      },
      nodes: () =>
        ring
          .members()
          .filter(({ state }) => state === 'alive')
          .map(({ id }) => id),
      apply: (node, fence, effect) => this.#apply(node, fence, effect),
    };
  }

  #weighPorts(): WeighPorts {
    return {
      self: this.#ring.id,
      nodeName: (node) => this.nodeName(node),
      moves: (node) => this.#moves(node),
      apply: (to, fence, effect) => this.#apply(to, fence, effect),
    };
  }

  #apply(node: string, fence: Fence, effect: Effect): Promise<unknown> {
    const timeoutMs = EFFECT_TIMEOUT_MS;
    return this.#ring.rpc.call(node, 'particle.effect', { fence, effect }, { timeoutMs });
  }

  /** The Particles for which a node is asked first, and who comes after it. */
  #moves(node: string): Move[] {
    return this.directory.records().flatMap((record) =>
      Object.values(record.app.particles).flatMap((particle) => {
        const [first, next] = this.#candidates(record.app.name, particle).nodes;
        return first !== node || next === undefined
          ? []
          : [{ record, particle: particle.name, to: next, toName: this.nodeName(next) }];
      }),
    );
  }

  #member(node: string): MemberView | undefined {
    return this.#ring.members().find(({ id }) => id === node);
  }

  /** A node's name for people. */
  nodeName(node: string): string {
    let name = this.#names.get(node);
    if (name === undefined) {
      name = this.#member(node)?.name ?? node.slice(0, 9);
      this.#names.set(node, name);
    }
    return name;
  }

  #members(): Map<string, MemberView> {
    return new Map(this.#ring.members().map((member) => [member.id, member]));
  }

  #candidates(app: string, particle: Particle, members = this.#members()): Candidates {
    const order = this.#ring.owners(`particle:${app}/${particle.name}`, members.size);
    return candidatesOf(order, members, particle.placement);
  }

  #backends(service: Service): string[] {
    const key = serviceText(service);
    const nowMs = this.#clock.monotonicMs();
    const known = this.#backendsOf.get(key);
    if (known !== undefined && nowMs < known.untilMs) return known.nodes;
    const spec = this.directory.app(service.app)?.particles[service.particle];
    const members = this.#members();
    const nodes =
      spec === undefined
        ? []
        : candidatesUnderLoad(this.#candidates(service.app, spec, members).nodes, members);
    this.#backendsOf.set(key, { nodes, untilMs: nowMs + LOADS_TRUSTED_MS });
    return nodes;
  }

  async #carry(node: string, service: Service, request: HttpRequest): Promise<HttpResponse> {
    const record = await this.#record(service.app);
    const answer = await this.#callServing(node, record, service, 'particle.exchange', { request });
    return answer as HttpResponse;
  }

  #callServing(
    node: string,
    { app, generation, claimant }: AppRecord,
    service: Service,
    method: string,
    rest: object,
  ): Promise<unknown> {
    const limitMs = durationMs(particleOf(app, service.particle).limits.time);
    const body: ServingCall = { revision: { generation, claimant }, service, ...rest };
    return this.#ring.rpc.call(node, method, body, { timeoutMs: limitMs + EXCHANGE_MARGIN_MS });
  }

  /** Brings this node to the caller's revision or a higher one, ready to serve. */
  async #ready(revision: Revision, { app, particle }: Service): Promise<void> {
    if (this.directory.isBehind(app, revision)) await this.refresh();
    particleOf((await this.#record(app)).app, particle);
    await this.#serving.ensure(app, particle);
  }

  async #record(app: string): Promise<AppRecord> {
    if (this.directory.record(app) === undefined) await this.refresh();
    const record = this.directory.record(app);
    if (record !== undefined) return record;
    throw new AetherError(`no app ${app} is deployed`, {
      code: 'ERR_APP_NOT_FOUND',
      hint: '`aether ps` lists what is',
    });
  }

  /** Lines for nodes that should tell of a Particle and do not, or for a Particle that no node may serve. */
  #absent(
    { app, components }: AppRecord,
    particle: Particle,
    silent: ReadonlySet<string>,
    isSeen: boolean,
  ): PlacedInstance[] {
    const { nodes, rejected } = this.#candidates(app.name, particle);
    const line = (node: string, state: PlacedInstance['state'], why: string): PlacedInstance => ({
      node,
      nodeName: node === '' ? '' : this.nodeName(node),
      app: app.name,
      particle: particle.name,
      version: app.version,
      digest: components[particle.name] ?? '',
      state,
      why,
      instances: 0,
      waiting: 0,
      requests: 0,
      failures: 0,
      lastUsedMs: undefined,
    });
    if (nodes.length === 0) {
      const reasons = rejected.map(({ node, why }) => `${this.nodeName(node)}: ${why}`);
      return [line('', 'unplaced', `no node may serve it (${reasons.join(', ')})`)];
    }
    const unknown = [...nodes, ...rejected.map(({ node }) => node)]
      .filter((node) => silent.has(node))
      .map((node) => line(node, 'unknown', silence(this.#member(node)?.state)));
    const [first = ''] = nodes;
    return isSeen || silent.has(first)
      ? unknown
      : [line(first, 'idle', 'no request yet; the first one wakes it'), ...unknown];
  }
}

/** Why a node has told nothing. */
function silence(state: MemberState | undefined): string {
  return state === 'left' ? 'the node has stopped' : `the node does not answer (it is ${state})`;
}

/** A call to the node that serves, with the revision that the caller knows. */
interface ServingCall {
  revision: Revision;
  service: Service;
}

/** Buckets of the ring as the host of Particles reaches them. */
function hostKeyValue(keyValue: KeyValueStore): HostKeyValue {
  return {
    get: async (bucket, key) => (await keyValue.bucket(bucket).get(key))?.value,
    set: async (bucket, key, value) => {
      await keyValue.bucket(bucket).put(key, value);
    },
    delete: (bucket, key) => keyValue.bucket(bucket).delete(key),
    async list(bucket, prefix, after, limit) {
      const keys: string[] = [];
      const listing = keyValue.bucket(bucket).list({
        ...(prefix === undefined ? {} : { prefix }),
        ...(after === undefined ? {} : { after }),
        ...(limit === undefined ? {} : { limit }),
      });
      for await (const { key } of listing) keys.push(key);
      return keys;
    },
  };
}
