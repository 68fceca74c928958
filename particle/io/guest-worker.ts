/**
 * The thread in which guests run: many instances of many Particles. It knows no grants and no deadlines; it runs what
 * the host hands it and asks the host for everything outside.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { BODY_BYTES_MAX } from '../core/limits.ts';
import { LogGate } from '../core/log-gate.ts';
import { serve } from './guest/http.ts';
import { makeImports } from './guest/imports.ts';
import { type Allowance, limitCopies, useAllowance } from './guest/allowance.ts';
import { type GuestContext, HostRefusal } from './guest/resource.ts';
import {
  type FromWorker,
  type GuestCall,
  type GuestOutcome,
  type GuestProgram,
  type HostCall,
  type HostReply,
  type ToWorker,
  type WorkerBoot,
  begin,
} from './protocol.ts';

/** Timers of one request at the same time. */
const TIMERS_MAX = 1_024;
/** Characters, bytes or values of a function's result. */
const RESULT_VALUES_MAX = BODY_BYTES_MAX;
/** The longest delay that a timer takes; whoever wants more is woken to wait again. */
const SLEEP_MS_MAX = 2 ** 31 - 1;
/** Bodies, headers and handles of one instance together. */
const HELD_BYTES_MAX = 4 * BODY_BYTES_MAX;

const port = parentPort as NonNullable<typeof parentPort>;
const entered = new Int32Array((workerData as WorkerBoot).entered);
const say = (message: FromWorker): void => port.postMessage(message);

type Exports = Record<string, unknown>;

interface Glue {
  instantiate(
    getCoreModule: (name: string) => WebAssembly.Module,
    imports: object,
    instantiateCore: (module: WebAssembly.Module, imports?: WebAssembly.Imports) => object,
  ): Exports | Promise<Exports>;
}

/** One request being worked on, and all that it waits for. */
class Task {
  readonly request: number;
  readonly #allowance: Allowance;
  readonly #waits = new Set<(why: Error) => void>();
  #isCancelled = false;

  constructor(request: number, allowance: Allowance) {
    this.request = request;
    this.#allowance = allowance;
  }

  /** Says that this request's guest runs from now on. */
  enter(): void {
    entered[0] = this.request;
    useAllowance(this.#allowance);
  }

  /** Ends every wait; a guest that still waits for it traps. */
  cancel(): void {
    this.#isCancelled = true;
    for (const reject of this.#waits) reject(new Error('cancelled'));
    this.#waits.clear();
  }

  /** @param begin starts the wait and returns what undoes it. */
  wait<T>(
    start: (resolve: (value: T) => void, reject: (why: Error) => void) => () => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#isCancelled) throw new Error('cancelled');
      if (this.#waits.size >= TIMERS_MAX) throw new Error('too many waits at once');
      const end = (act: () => void): void => {
        this.#waits.delete(abort);
        undo();
        // The guest goes on right after this.
        this.enter();
        act();
      };
      const abort = (why: Error): void => end(() => reject(why));
      const undo = start(
        (value) => end(() => resolve(value)),
        (why) => end(() => reject(why)),
      );
      this.#waits.add(abort);
    });
  }
}

const calls = new Map<number, (reply: HostReply) => void>();
let nextCall = 1;

function ask(task: Task, body: HostCall): Promise<unknown> {
  return task.wait<unknown>((resolve, reject) => {
    const call = nextCall++;
    calls.set(call, (reply) => {
      if (reply.ok) resolve(reply.value);
      else reject(new HostRefusal(reply.refused, reply.message));
    });
    say({ kind: 'call', call, request: task.request, body });
    return () => calls.delete(call);
  });
}

class Revision {
  readonly id: number;
  readonly program: GuestProgram;
  readonly instances = new Map<number, Instance>();
  readonly stdout: LogGate;
  readonly stderr: LogGate;
  #glue: Promise<Glue> | undefined;

  constructor(id: number, program: GuestProgram) {
    this.id = id;
    this.program = program;
    const gate = (stream: 'stdout' | 'stderr'): LogGate =>
      new LogGate(performance.now(), (line) => say({ kind: 'log', revision: id, stream, line }));
    this.stdout = gate('stdout');
    this.stderr = gate('stderr');
  }

  glue(): Promise<Glue> {
    return (this.#glue ??= import(this.program.glue) as Promise<Glue>);
  }
}

class Instance implements GuestContext {
  readonly #revision: Revision;
  readonly env: Record<string, string>;
  readonly config: Record<string, string>;
  readonly buckets: ReadonlySet<string>;
  readonly stdout: LogGate;
  readonly stderr: LogGate;
  readonly exchangesMax: number;
  readonly allowance: Allowance = { bytes: HELD_BYTES_MAX };
  exchanges = 0;
  task: Task | undefined;
  isAwake = false;
  #exports: Exports | undefined;

  constructor(revision: Revision) {
    this.#revision = revision;
    this.env = revision.program.env;
    this.config = revision.program.config;
    this.buckets = new Set(revision.program.buckets);
    this.exchangesMax = revision.program.outbound;
    this.stdout = revision.stdout;
    this.stderr = revision.stderr;
  }

  call(body: HostCall): Promise<unknown> {
    return ask(this.#running(), body);
  }

  sleep(ms: number): Promise<void> {
    return this.#running().wait<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, SLEEP_MS_MAX));
      return () => clearTimeout(timer);
    });
  }

  async run(task: Task, call: GuestCall): Promise<GuestOutcome> {
    this.task = task;
    try {
      const exports = (this.#exports ??= await this.#wake());
      this.isAwake = true;
      task.enter();
      return await this.#call(exports, call);
    } finally {
      this.task = undefined;
      // What the guest began and did not wait for ends with its request.
      task.cancel();
      this.stdout.flush(performance.now());
      this.stderr.flush(performance.now());
    }
  }

  async #wake(): Promise<Exports> {
    const { program } = this.#revision;
    const glue = await this.#revision.glue();
    this.#running().enter();
    return await glue.instantiate(
      (name) => program.modules[name] as WebAssembly.Module,
      makeImports(program.imports, this),
      (module, imports) => new WebAssembly.Instance(module, imports),
    );
  }

  async #call(exports: Exports, call: GuestCall): Promise<GuestOutcome> {
    if (call.kind === 'wake') return { kind: 'done' };
    if (call.kind === 'invoke') {
      return await invoke(exports, this.#revision.program, call.name, call.args);
    }
    const { handle } = exports['incomingHandler'] as { handle: Parameters<typeof serve>[0] };
    const answer = await serve(handle, call.request);
    return 'failed' in answer
      ? { kind: 'failed', code: 'ERR_PARTICLE_RESPONSE', message: answer.failed }
      : { kind: 'response', response: answer };
  }

  #running(): Task {
    if (this.task === undefined) throw new Error('no request is being worked on');
    return this.task;
  }
}

async function invoke(
  exports: Exports,
  program: GuestProgram,
  name: string,
  args: unknown[],
): Promise<GuestOutcome> {
  const exported = program.functions[name];
  if (exported === undefined) throw new Error(`no export ${name}`);
  let target: unknown = exports;
  for (const step of exported.path) target = (target as Record<string, unknown>)[step];
  const params = exported.params.map((kind, index) => {
    const value = args[index];
    if (kind === 'bigint') return BigInt(value as string | number);
    return kind === 'bytes' ? Uint8Array.from(value as number[]) : value;
  });
  try {
    const value = await (target as (...args: unknown[]) => unknown)(...params);
    return { kind: 'value', value: plain(value) };
  } catch (error) {
    if (!(error instanceof Error) || !Object.hasOwn(error, 'payload')) throw error;
    const { payload } = error as Error & { payload: unknown };
    return {
      kind: 'failed',
      code: 'ERR_PARTICLE_RESULT',
      message: `${name} answered with an error`,
      details: plain(payload),
    };
  }
}

/** A value as JSON can carry it: 64-bit integers become strings, bytes become arrays. */
function plain(
  value: unknown,
  budget: { values: number } = { values: RESULT_VALUES_MAX },
): unknown {
  if (typeof value === 'string') budget.values -= value.length;
  else budget.values -= ArrayBuffer.isView(value) ? value.byteLength : 1;
  if (budget.values < 0)
    throw new Error(`the result is larger than ${RESULT_VALUES_MAX} bytes or values`);
  if (typeof value === 'bigint') return String(value);
  if (ArrayBuffer.isView(value)) return Array.from(value as Uint8Array, (item) => plain(item));
  if (Array.isArray(value)) return value.map((item) => plain(item, budget));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, budget)]));
}

const revisions = new Map<number, Revision>();
const tasks = new Map<
  number,
  { task: Task; finish: (alive: boolean, outcome: GuestOutcome) => void }
>();

function run(message: Extract<ToWorker, { kind: 'run' }>): void {
  if (!begin(message.claim)) return;
  const revision = revisions.get(message.revision) as Revision;
  let instance = revision.instances.get(message.instance);
  if (instance === undefined) {
    instance = new Instance(revision);
    revision.instances.set(message.instance, instance);
  }
  const task = new Task(message.request, instance.allowance);
  const finish = (alive: boolean, outcome: GuestOutcome): void => {
    if (!tasks.delete(message.request)) return;
    if (!alive) revision.instances.delete(message.instance);
    say({ kind: 'finished', request: message.request, alive, outcome });
  };
  tasks.set(message.request, { task, finish });
  instance.run(task, message.call).then(
    (outcome) =>
      finish(outcome.kind !== 'failed' || outcome.code === 'ERR_PARTICLE_RESULT', outcome),
    (error: unknown) => finish(false, trap(error, !instance.isAwake)),
  );
}

function trap(error: unknown, isWaking: boolean): GuestOutcome {
  const message = error instanceof Error ? error.message : String(error);
  return isWaking
    ? {
        kind: 'failed',
        code: 'ERR_PARTICLE_WAKE',
        message: `the component does not start: ${message}`,
      }
    : { kind: 'failed', code: 'ERR_PARTICLE_TRAP', message: `the component trapped: ${message}` };
}

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'load':
      revisions.set(message.revision, new Revision(message.revision, message.program));
      return;
    case 'unload':
      revisions.delete(message.revision);
      return;
    case 'run':
      run(message);
      return;
    case 'cancel': {
      const running = tasks.get(message.request);
      if (running === undefined) return;
      running.finish(false, {
        kind: 'failed',
        code: 'ERR_PARTICLE_TIMEOUT',
        message: 'the request was cancelled',
      });
      running.task.cancel();
      return;
    }
    case 'drop':
      revisions.get(message.revision)?.instances.delete(message.instance);
      return;
    case 'reply':
      calls.get(message.call)?.(message.reply);
  }
});

// The generated code looks a variable up at every call, which is slow in the environment that Node makes.
Object.defineProperty(process, 'env', { value: Object.freeze({}) });
limitCopies();
say({ kind: 'ready' });
