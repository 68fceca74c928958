/**
 * The Particles of one node: checks and prepares components, wakes instances when requests come, and lets them go.
 */
import { mkdir } from 'node:fs/promises';
import type { Particle } from '../spec/aetherfile/app.ts';
import type { Clock } from '../spec/clock.ts';
import { AetherError, NotAvailableError, errorBody } from '../spec/error.ts';
import type { HttpRequest, HttpResponse } from '../spec/http.ts';
import type { Log } from '../spec/log.ts';
import { readComponent } from './core/component.ts';
import { HeadError, checkedRequest, checkedResponse } from './core/head.ts';
import { splitName } from './core/interfaces.ts';
import { guestLimits } from './core/limits.ts';
import { capMemories } from './core/memory-cap.ts';
import { type ComponentInfo, HTTP_HANDLER, checkGrants, inspectComponent } from './inspect.ts';
import { GuestPool, outcomeError } from './io/guest-pool.ts';
import { type Dial, HostCalls, type HostKeyValue } from './io/host-calls.ts';
import type { GuestOutcome, GuestProgram } from './io/protocol.ts';
import { TranspileCache, type Transpiled } from './io/transpile-cache.ts';
import { type LogStream, Revision } from './revision.ts';

export interface ParticleHostOptions {
  /** Folder of transpiled components, made when it is missing. */
  cache: string;
  /** Threads that guests share; default 2. */
  workers?: number;
  keyValue: HostKeyValue;
  /** Outgoing HTTP of a Particle that its grants allow; `http://NAME.aether/` is a Particle of the same app. */
  dial: Dial;
  clock: Clock;
  log: Log;
  /** An instance without a request for this long goes; default 60,000. */
  idleMs?: number;
}

/** One revision of a Particle on this node. */
export interface InstanceView {
  app: string;
  particle: string;
  version: string;
  digest: string;
  /** `prepared`: takes no requests yet; `idle`: the next request wakes it. */
  state: 'prepared' | 'idle' | 'waking' | 'warm' | 'draining' | 'failed';
  why: string;
  instances: number;
  /** Requests that wait for an instance. */
  waiting: number;
  requests: number;
  failures: number;
  /** Unix milliseconds; undefined before the first request. */
  lastUsedMs: number | undefined;
}

export interface LogLine {
  atMs: number;
  app: string;
  particle: string;
  version: string;
  stream: LogStream;
  line: string;
}

/**
 * The event loop in its components (0.23) ends too early from the second request on, so each serves one; the next
 * instance is woken ahead.
 */
const SINGLE_USE_TOOL = 'ComponentizeJS';
const DEFAULT_WORKERS = 2;
const DEFAULT_IDLE_MS = 60_000;
/** Of each Particle, so that none can push out the words of another. */
const LOG_LINES_KEPT = 1_000;
/** Failures to wake that say nothing of the component. */
const NOT_ITS_FAULT: ReadonlySet<string> = new Set([
  'ERR_PARTICLE_CLOSED',
  'ERR_PARTICLE_TIMEOUT',
  'ERR_PARTICLE_WORKER_LOST',
]);
const NAME = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/;

export class ParticleHost {
  readonly #pool: GuestPool;
  readonly #cache: TranspileCache;
  readonly #clock: Clock;
  readonly #idleMs: number;
  /** By `app/particle`, then by version. */
  readonly #revisions = new Map<string, Map<string, Revision>>();
  readonly #active = new Map<string, Revision>();
  /** By digest and memory limit. */
  readonly #compiled = new Map<string, Promise<GuestProgram['modules']>>();
  /** By `app/particle`, oldest first. */
  readonly #lines = new Map<string, LogLine[]>();
  readonly #listeners = new Set<(line: LogLine) => void>();
  #nextRevision = 1;

  private constructor(pool: GuestPool, cache: TranspileCache, clock: Clock, idleMs: number) {
    this.#pool = pool;
    this.#cache = cache;
    this.#clock = clock;
    this.#idleMs = idleMs;
  }

  static async open(options: ParticleHostOptions): Promise<ParticleHost> {
    const { clock, log } = options;
    await mkdir(options.cache, { recursive: true, mode: 0o700 });
    const calls = new HostCalls(options.keyValue, options.dial, clock);
    const pool = await GuestPool.open(options.workers ?? DEFAULT_WORKERS, calls, clock, log);
    const cache = new TranspileCache(options.cache);
    return new ParticleHost(pool, cache, clock, options.idleMs ?? DEFAULT_IDLE_MS);
  }

  /** Components that had to be transpiled since the host opened; the others came from the cache. */
  get transpiled(): number {
    return this.#cache.transpiled;
  }

  /**
   * Makes a revision ready: checks, transpiles (once per component), compiles, and instantiates once. Idempotent.
   *
   * @param version text that names the revision within its Particle.
   * @throws NotAComponentError, CoreModuleError, UngrantedImportError, UnknownImportError, NotAvailableError,
   *   TranspileError, MemoryLimitError, UncappableModuleError; AetherError ERR_PARTICLE_NAME, ERR_PARTICLE_WORLD, ERR_PARTICLE_LIMIT,
   *   ERR_PARTICLE_VERSION_TAKEN, ERR_PARTICLE_WAKE; ERR_PARTICLE_TIMEOUT, ERR_PARTICLE_WORKER_LOST,
   *   ERR_PARTICLE_CLOSED, which another try may not meet. After any of them the revision does not exist.
   */
  async prepare(
    app: string,
    version: string,
    particle: Particle,
    bytes: Uint8Array,
  ): Promise<ComponentInfo> {
    checkNames(app, particle.name, version);
    const info = await inspectComponent(bytes);
    checkGrants(info, particle);
    const limits = guestLimits(particle);
    const key = `${app}/${particle.name}`;
    const known = this.#revisions.get(key)?.get(version);
    if (known !== undefined) return sameContent(known, info, particle);

    const transpiled = await this.#cache.get(info.digest, bytes);
    const revision = new Revision({
      id: this.#nextRevision++,
      app,
      version,
      particle,
      info,
      limits,
      program: {
        glue: transpiled.glue,
        modules: await this.#compile(info.digest, transpiled, limits.memoryPages),
        imports: info.imports.map((name) => {
          const { interface: plain, version: at } = splitName(name);
          return { interface: plain, version: at ?? '' };
        }),
        functions: transpiled.functions,
        env: particle.env,
        config: particle.config,
        outbound: limits.outbound,
        buckets: particle.grants.flatMap((grant) => (grant.kind === 'kv' ? [grant.bucket] : [])),
      },
      idleMs: this.#idleMs,
      isReused: !readComponent(bytes).processedBy.includes(SINGLE_USE_TOOL),
      clock: this.#clock,
      tell: (stream, line) => {
        this.#record({ atMs: 0, app, particle: particle.name, version, stream, line });
      },
    });
    const woken = await this.#pool.run(revision, { kind: 'wake' });
    if (woken.kind === 'failed') {
      await this.#discard(revision);
      if (NOT_ITS_FAULT.has(woken.code)) throw outcomeError(woken);
      throw new AetherError(woken.message, {
        code: 'ERR_PARTICLE_WAKE',
        hint: '`aether logs` shows what it said',
        details: { cause: woken.code },
      });
    }
    const revisions = this.#revisions.get(key) ?? new Map<string, Revision>();
    this.#revisions.set(key, revisions);
    const raced = revisions.get(version);
    if (raced !== undefined) {
      await this.#discard(revision);
      return sameContent(raced, info, particle);
    }
    revisions.set(version, revision);
    return info;
  }

  /**
   * Sends the Particle's requests to a prepared revision from now on; those prepared before it end their requests and go,
   * also one that never was active.
   *
   * @throws AetherError ERR_PARTICLE_NOT_PREPARED; the active revision stays.
   */
  activate(app: string, particle: string, version: string): void {
    const key = `${app}/${particle}`;
    const revision = this.#revisions.get(key)?.get(version);
    if (revision === undefined) {
      throw new AetherError(`${key} has no revision ${version} here`, {
        code: 'ERR_PARTICLE_NOT_PREPARED',
        hint: 'prepare it first',
      });
    }
    this.#active.set(key, revision);
    for (const other of this.#revisions.get(key)?.values() ?? []) {
      if (other.id < revision.id) void this.#remove(other);
    }
  }

  /** Ends a Particle: its requests under way are answered, then nothing of it is left but its cached code. */
  async retire(app: string, particle: string): Promise<void> {
    const key = `${app}/${particle}`;
    this.#active.delete(key);
    const revisions = [...(this.#revisions.get(key)?.values() ?? [])];
    await Promise.all(revisions.map((revision) => this.#remove(revision)));
  }

  /**
   * Answers one request, waking an instance when there is none.
   *
   * What goes wrong in the Particle is an answer too: its body is `{"error": {code, message}}` and its header
   * `aether-error` the code. 400 and 413 for a request that breaks the rules, 500 ERR_PARTICLE_TRAP,
   * ERR_PARTICLE_WAKE or ERR_PARTICLE_CRASH, 502 ERR_PARTICLE_RESPONSE, 503 ERR_PARTICLE_BUSY or
   * ERR_PARTICLE_WORKER_LOST, 504 ERR_PARTICLE_TIMEOUT.
   *
   * @throws AetherError ERR_PARTICLE_NOT_ACTIVE when no revision takes requests here; nothing was run.
   */
  async handle(app: string, particle: string, request: HttpRequest): Promise<HttpResponse> {
    const revision = this.#activeOf(app, particle);
    if (!revision.info.exports.some((name) => name.startsWith(HTTP_HANDLER))) {
      return errorResponse('ERR_PARTICLE_WORLD', `${app}/${particle} does not serve HTTP`);
    }
    let checked: HttpRequest;
    try {
      checked = checkedRequest(request);
    } catch (error) {
      const { code, message } = errorBody(error);
      return errorResponse(code, message);
    }
    const outcome = await this.#run(revision, { kind: 'http', request: checked });
    if (outcome.kind === 'failed') return errorResponse(outcome.code, outcome.message);
    try {
      return checkedResponse((outcome as Extract<GuestOutcome, { kind: 'response' }>).response);
    } catch (error) {
      if (!(error instanceof HeadError)) throw error;
      revision.note(error.message);
      return errorResponse('ERR_PARTICLE_RESPONSE', error.message);
    }
  }

  /**
   * Calls an exported function: `name`, or `ns:package/interface@version#name`.
   *
   * Arguments and result are JSON values. 64-bit integers are strings on the way out, and strings or numbers on the way
   * in (as parameters; not inside records or lists); `list<u8>` is an array of numbers.
   *
   * @throws AetherError ERR_PARTICLE_NOT_ACTIVE, ERR_PARTICLE_NO_EXPORT (nothing was run); ERR_PARTICLE_RESULT when the
   *   function answers with the error of its `result`, in `details`; or a code of `handle`.
   */
  async invoke(app: string, particle: string, name: string, args: unknown[]): Promise<unknown> {
    const revision = this.#activeOf(app, particle);
    const functions = Object.keys(revision.program.functions);
    if (!functions.includes(name)) {
      throw new AetherError(`${app}/${particle} exports no function ${name}`, {
        code: 'ERR_PARTICLE_NO_EXPORT',
        hint: functions.length === 0 ? 'it exports none' : `it exports ${functions.join(', ')}`,
      });
    }
    if (name.startsWith(HTTP_HANDLER)) {
      throw new NotAvailableError(`${name} takes resources`, { hint: 'send it an HTTP request' });
    }
    const outcome = await this.#run(revision, { kind: 'invoke', name, args });
    if (outcome.kind === 'failed') throw outcomeError(outcome);
    return (outcome as Extract<GuestOutcome, { kind: 'value' }>).value;
  }

  list(): InstanceView[] {
    return this.#all().map((revision) => this.#view(revision));
  }

  /** The newest lines, oldest first. */
  logs(filter: { app?: string; particle?: string } = {}): LogLine[] {
    return [...this.#lines.values()]
      .flat()
      .filter(
        ({ app, particle }) =>
          (filter.app ?? app) === app && (filter.particle ?? particle) === particle,
      )
      .toSorted((a, b) => a.atMs - b.atMs);
  }

  /** @returns ends the subscription. */
  onLog(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends all workers; requests under way are answered with ERR_PARTICLE_CLOSED. */
  async close(): Promise<void> {
    this.#cache.close();
    await this.#pool.close();
  }

  async #run(revision: Revision, call: Parameters<GuestPool['run']>[1]): Promise<GuestOutcome> {
    revision.requests++;
    revision.lastUsedMs = this.#clock.nowMs();
    const outcome = await this.#pool.run(revision, call);
    const { idle, waiting } = revision.residency;
    if (!revision.isReused && idle + waiting === 0) {
      void this.#pool.run(revision, { kind: 'wake' });
    }
    if (outcome.kind === 'failed' && outcome.code !== 'ERR_PARTICLE_RESULT') {
      revision.failures++;
      revision.failure = `${outcome.code}: ${outcome.message}`;
      revision.note(revision.failure);
    } else {
      revision.failure = undefined;
    }
    return outcome;
  }

  #activeOf(app: string, particle: string): Revision {
    const revision = this.#active.get(`${app}/${particle}`);
    if (revision !== undefined) return revision;
    throw new AetherError(`${app}/${particle} takes no requests on this node`, {
      code: 'ERR_PARTICLE_NOT_ACTIVE',
      hint: '`aether ps` shows where it runs',
    });
  }

  #compile(
    digest: string,
    { modules }: Transpiled,
    pagesMax: number,
  ): Promise<GuestProgram['modules']> {
    const key = compiledKey(digest, pagesMax);
    let compiled = this.#compiled.get(key);
    if (compiled === undefined) {
      compiled = compileCapped(modules, pagesMax);
      this.#compiled.set(key, compiled);
      compiled.catch(() => this.#compiled.delete(key));
    }
    return compiled;
  }

  async #remove(revision: Revision): Promise<void> {
    await this.#pool.retire(revision);
    const key = `${revision.app}/${revision.particle.name}`;
    this.#revisions.get(key)?.delete(revision.version);
    if (this.#revisions.get(key)?.size === 0) this.#revisions.delete(key);
    this.#forgetCode(revision);
  }

  async #discard(revision: Revision): Promise<void> {
    await this.#pool.retire(revision);
    this.#forgetCode(revision);
  }

  /** Drops compiled modules that no revision has any more. */
  #forgetCode(revision: Revision): void {
    const compiled = compiledKey(revision.info.digest, revision.limits.memoryPages);
    const isShared = this.#all().some(
      ({ info, limits }) => compiledKey(info.digest, limits.memoryPages) === compiled,
    );
    if (!isShared) this.#compiled.delete(compiled);
  }

  #all(): Revision[] {
    return [...this.#revisions.values()].flatMap((byVersion) => Array.from(byVersion.values()));
  }

  #view(revision: Revision): InstanceView {
    const { residency, failure } = revision;
    const { state, why } = this.#stateOf(revision);
    return {
      app: revision.app,
      particle: revision.particle.name,
      version: revision.version,
      digest: revision.info.digest,
      state,
      why: failure === undefined ? why : `${why}; last request: ${failure}`,
      instances: residency.instances,
      waiting: residency.waiting,
      requests: revision.requests,
      failures: revision.failures,
      lastUsedMs: revision.lastUsedMs,
    };
  }

  #stateOf(revision: Revision): Pick<InstanceView, 'state' | 'why'> {
    const { residency } = revision;
    if (residency.state === 'draining') return { state: 'draining', why: 'it was replaced' };
    if (this.#active.get(`${revision.app}/${revision.particle.name}`) !== revision) {
      return { state: 'prepared', why: 'it is not the active revision' };
    }
    if (revision.failure?.startsWith('ERR_PARTICLE_WAKE') === true) {
      return { state: 'failed', why: 'it does not start' };
    }
    if (residency.state === 'cold') {
      return { state: 'idle', why: 'no request for a while; the next one wakes it' };
    }
    return {
      state: residency.state,
      why: `${residency.instances} of ${revision.limits.instances} instances`,
    };
  }

  #record(line: LogLine): void {
    const stamped = { ...line, atMs: this.#clock.nowMs() };
    const key = `${line.app}/${line.particle}`;
    const lines = this.#lines.get(key) ?? [];
    this.#lines.set(key, lines);
    lines.push(stamped);
    if (lines.length > LOG_LINES_KEPT) lines.shift();
    for (const listener of this.#listeners) listener(stamped);
  }
}

function checkNames(app: string, particle: string, version: string): void {
  const broken = [
    ['app', app, NAME],
    ['particle', particle, NAME],
    ['version', version, VERSION],
  ].find(([, text, form]) => !(form as RegExp).test(text as string));
  if (broken === undefined) return;
  throw new AetherError(`not a name for a ${broken[0]}: ${JSON.stringify(broken[1])}`, {
    code: 'ERR_PARTICLE_NAME',
    hint: 'use lower-case letters, digits and dashes; a version may have dots, + and _ as well',
  });
}

function sameContent(known: Revision, info: ComponentInfo, particle: Particle): ComponentInfo {
  const isSame =
    known.info.digest === info.digest &&
    JSON.stringify(known.particle) === JSON.stringify(particle);
  if (isSame) return known.info;
  throw new AetherError(
    `${known.app}/${particle.name} ${known.version} is prepared with other content`,
    {
      code: 'ERR_PARTICLE_VERSION_TAKEN',
      hint: 'give the new content a new version',
    },
  );
}

function compiledKey(digest: string, pagesMax: number): string {
  return `${digest}/${pagesMax}`;
}

async function compileCapped(
  modules: Transpiled['modules'],
  pagesMax: number,
): Promise<GuestProgram['modules']> {
  const names = Object.keys(modules);
  const capped = capMemories(Object.values(modules), pagesMax);
  const compiled = await Promise.all(capped.map((bytes) => WebAssembly.compile(bytes)));
  return Object.fromEntries(
    names.map((name, index) => [name, compiled[index] as WebAssembly.Module]),
  );
}

const STATUS: Readonly<Record<string, number>> = {
  ERR_PARTICLE_HTTP: 400,
  ERR_PARTICLE_BODY_TOO_LARGE: 413,
  ERR_PARTICLE_WORLD: 501,
  ERR_PARTICLE_RESPONSE: 502,
  ERR_PARTICLE_BUSY: 503,
  ERR_PARTICLE_CLOSED: 503,
  ERR_PARTICLE_DRAINING: 503,
  ERR_PARTICLE_WORKER_LOST: 503,
  ERR_PARTICLE_TIMEOUT: 504,
};

function errorResponse(code: string, message: string): HttpResponse {
  return {
    status: STATUS[code] ?? 500,
    headers: [
      ['content-type', 'application/json'],
      ['aether-error', code],
    ],
    body: new TextEncoder().encode(`${JSON.stringify({ error: { code, message } })}\n`),
  };
}
