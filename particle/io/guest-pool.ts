/**
 * Runs requests in guests on a few shared workers, and holds them to their time.
 *
 * W1. A request is begun by at most one worker at a time: worker and host settle by compare-and-set who has it.
 * W2. A request that was begun runs again, at most once, only if its worker was lost to somebody else's fault and it had
 *     caused no effect outside.
 * W3. A worker is ended only when the guest that it entered last is over its time, or when it is spare and holds nothing.
 */
import type { Clock } from '../../spec/clock.ts';
import { AetherError } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { type Residency, type ResidencyEvent, type WorkerView } from '../core/residency.ts';
import { type Caller, type HostCalls, hasEffect } from './host-calls.ts';
import {
  type FromWorker,
  type GuestCall,
  type GuestOutcome,
  type GuestProgram,
  WAITING,
  takeBack,
} from './protocol.ts';
import { WorkerThread } from './worker-thread.ts';

/** A worker that leaves a request unread for so long is stuck in a guest. */
const STALL_MS = 50;
/** Between telling a guest that its time is over and ending its worker. */
const GRACE_MS = 100;
/** Rests before a worker that did not even start is replaced. */
const RESTART_MS = 1_000;
/** A worker that has not started yet counts as this busy. */
const NOT_READY_LOAD = 1_000;

/** One revision of a Particle as the pool runs it. */
export interface Resident extends Caller {
  readonly id: number;
  readonly program: GuestProgram;
  readonly residency: Residency;
  log(stream: 'stdout' | 'stderr', line: string): void;
}

interface Exchange {
  id: number;
  resident: Resident;
  call: GuestCall;
  settle(outcome: GuestOutcome): void;
  stopDeadline(): void;
  /** The worker that holds it, since when, and who has it. */
  at: { worker: WorkerThread; sinceMs: number; claim: SharedArrayBuffer } | undefined;
  isOverdue: boolean;
  hadEffect: boolean;
  isRetried: boolean;
}

export class GuestPool {
  readonly #size: number;
  readonly #calls: HostCalls;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #workers = new Map<number, WorkerThread>();
  readonly #exchanges = new Map<number, Exchange>();
  readonly #residents = new Map<number, Resident>();
  readonly #ticks = new Map<Resident, { atMs: number; stop: () => void }>();
  readonly #drains = new Map<Resident, PromiseWithResolvers<void>>();
  #nextWorker = 1;
  #nextExchange = 1;
  #isClosed = false;
  /** Settles `open`. */
  readonly #opened: PromiseWithResolvers<void> = Promise.withResolvers();

  private constructor(size: number, calls: HostCalls, clock: Clock, log: Log) {
    this.#size = size;
    this.#calls = calls;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when all workers have started. @throws AetherError ERR_PARTICLE_WORKER when one does not. */
  static async open(size: number, calls: HostCalls, clock: Clock, log: Log): Promise<GuestPool> {
    const pool = new GuestPool(size, calls, clock, log);
    for (let count = 0; count < size; count++) pool.#start();
    try {
      await pool.#opened.promise;
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /** Runs one request within its Particle's limits. Never throws; failures are outcomes. */
  run(resident: Resident, call: GuestCall): Promise<GuestOutcome> {
    if (this.#isClosed) return Promise.resolve(failed('ERR_PARTICLE_CLOSED', 'the host is closed'));
    const { promise, resolve } = Promise.withResolvers<GuestOutcome>();
    const exchange: Exchange = {
      id: this.#nextExchange++,
      resident,
      call,
      settle: resolve,
      stopDeadline: this.#clock.after(resident.limits.timeMs, () => this.#expire(exchange)),
      at: undefined,
      isOverdue: false,
      hadEffect: false,
      isRetried: false,
    };
    this.#exchanges.set(exchange.id, exchange);
    this.#residents.set(resident.id, resident);
    this.#tell(resident, { kind: 'request', request: exchange.id });
    return promise;
  }

  /** Lets the requests under way end, takes no more, and drops all instances. */
  retire(resident: Resident): Promise<void> {
    const known = this.#drains.get(resident);
    if (known !== undefined) return known.promise;
    const drain = Promise.withResolvers<void>();
    this.#drains.set(resident, drain);
    this.#tell(resident, { kind: 'drain' });
    return drain.promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { stop } of this.#ticks.values()) stop();
    for (const exchange of this.#exchanges.values()) {
      this.#end(exchange, failed('ERR_PARTICLE_CLOSED', 'the host is closed'));
    }
    for (const drain of this.#drains.values()) drain.resolve();
    await Promise.all([...this.#workers.values()].map((worker) => worker.end()));
  }

  #start(): void {
    const worker = new WorkerThread(this.#nextWorker++, {
      message: (from, message) => this.#hear(from, message),
      gone: (from, why) => this.#lose(from, why),
    });
    this.#workers.set(worker.id, worker);
  }

  #tell(resident: Resident, event: ResidencyEvent): void {
    const nowMs = this.#clock.monotonicMs();
    for (const effect of resident.residency.on(event, nowMs, this.#viewsFor(resident))) {
      switch (effect.kind) {
        case 'run':
          this.#hand(this.#exchanges.get(effect.request), effect.worker, effect.instance);
          break;
        case 'drop':
          this.#workers
            .get(effect.worker)
            ?.post({ kind: 'drop', revision: resident.id, instance: effect.instance });
          break;
        case 'refuse':
          this.#refuse(this.#exchanges.get(effect.request), effect.why);
          break;
        case 'drained':
          this.#forget(resident);
      }
    }
    this.#tickLater(resident);
  }

  #viewsFor(resident: Resident): WorkerView[] {
    return [...this.#workers.values()].map((worker) => ({
      id: worker.id,
      load: worker.held.size + (worker.isReady ? 0 : NOT_READY_LOAD),
      stalled: worker.isStalled,
      stalledHere: worker.isStalled && this.#exchanges.get(worker.entered)?.resident === resident,
    }));
  }

  #hand(exchange: Exchange | undefined, workerId: number, instance: number): void {
    const worker = this.#workers.get(workerId);
    if (exchange === undefined || worker === undefined) return;
    const { resident } = exchange;
    const claim = new SharedArrayBuffer(4);
    exchange.at = { worker, sinceMs: this.#clock.monotonicMs(), claim };
    worker.held.add(exchange.id);
    worker.load(resident.id, resident.program);
    worker.post({
      kind: 'run',
      revision: resident.id,
      instance,
      request: exchange.id,
      claim,
      call: exchange.call,
    });
    this.#watch(worker);
  }

  #refuse(exchange: Exchange | undefined, why: 'full' | 'draining'): void {
    if (exchange === undefined) return;
    this.#end(
      exchange,
      why === 'full'
        ? failed('ERR_PARTICLE_BUSY', 'too many requests wait for an instance')
        : failed('ERR_PARTICLE_DRAINING', 'the revision is being retired'),
    );
  }

  #forget(resident: Resident): void {
    for (const worker of this.#workers.values()) worker.unload(resident.id);
    this.#residents.delete(resident.id);
    this.#drains.get(resident)?.resolve();
    this.#drains.delete(resident);
  }

  /** Answers and forgets a request that no worker has. */
  #end(exchange: Exchange, outcome: GuestOutcome): void {
    exchange.stopDeadline();
    exchange.settle(outcome);
    this.#exchanges.delete(exchange.id);
  }

  #tickLater(resident: Resident): void {
    const atMs = resident.residency.nextTickMs;
    const planned = this.#ticks.get(resident);
    // An earlier tick than needed plans the next one itself.
    if (planned !== undefined && planned.atMs <= atMs) return;
    planned?.stop();
    this.#ticks.delete(resident);
    if (atMs === Infinity || this.#isClosed) return;
    const stop = this.#clock.after(Math.max(0, atMs - this.#clock.monotonicMs()), () => {
      this.#ticks.delete(resident);
      this.#tell(resident, { kind: 'tick' });
    });
    this.#ticks.set(resident, { atMs, stop });
  }

  #hear(worker: WorkerThread, message: FromWorker): void {
    if (worker.isStalled) {
      worker.isStalled = false;
      this.#tickAll();
    }
    switch (message.kind) {
      case 'ready':
        worker.isReady = true;
        if ([...this.#workers.values()].every(({ isReady }) => isReady)) this.#opened.resolve();
        return;
      case 'log':
        this.#residents.get(message.revision)?.log(message.stream, message.line);
        return;
      case 'finished': {
        const exchange = this.#exchanges.get(message.request);
        if (exchange === undefined) return;
        worker.held.delete(exchange.id);
        this.#end(exchange, message.outcome);
        this.#tell(exchange.resident, {
          kind: 'finished',
          request: exchange.id,
          alive: message.alive,
          used: exchange.call.kind !== 'wake',
        });
        this.#shrink();
        return;
      }
      case 'call':
        void this.#answer(worker, message);
    }
  }

  async #answer(
    worker: WorkerThread,
    { call, request, body }: Extract<FromWorker, { kind: 'call' }>,
  ): Promise<void> {
    const exchange = this.#exchanges.get(request);
    if (exchange === undefined || exchange.at?.worker !== worker || exchange.isOverdue) return;
    if (hasEffect(body)) exchange.hadEffect = true;
    const reply = await this.#calls.answer(exchange.resident, body);
    if (this.#workers.has(worker.id)) worker.post({ kind: 'reply', call, reply });
  }

  #tickAll(): void {
    for (const resident of this.#residents.values()) {
      if (resident.residency.waiting > 0) this.#tell(resident, { kind: 'tick' });
    }
  }

  #watch(worker: WorkerThread): void {
    if (worker.isWatched) return;
    worker.isWatched = true;
    this.#clock.after(STALL_MS, () => {
      worker.isWatched = false;
      if (this.#isClosed || !this.#workers.has(worker.id)) return;
      this.#inspect(worker);
      if (worker.held.size > 0) this.#watch(worker);
    });
  }

  /** Takes requests back from a worker that does not begin them, except those of the Particle it is stuck in. */
  #inspect(worker: WorkerThread): void {
    const beforeMs = this.#clock.monotonicMs() - STALL_MS;
    const unread = [...worker.held]
      .map((id) => this.#exchanges.get(id))
      .filter((exchange) => exchange?.at !== undefined && isWaiting(exchange.at.claim))
      .filter((exchange): exchange is Exchange => (exchange?.at?.sinceMs ?? 0) <= beforeMs);
    if (!worker.isReady || unread.length === 0) return;
    worker.isStalled = true;
    if ([...this.#workers.values()].every(({ isStalled }) => isStalled)) this.#spare();
    const culprit = this.#exchanges.get(worker.entered)?.resident;
    for (const exchange of unread) {
      if (exchange.resident !== culprit && this.#takeBack(exchange)) {
        this.#tell(exchange.resident, { kind: 'returned', request: exchange.id });
      }
    }
  }

  /** One more worker while all others are stuck, up to twice the size of the pool. */
  #spare(): void {
    if (this.#workers.size < 2 * this.#size) this.#start();
  }

  /** Ends a spare worker when none is stuck any more. */
  #shrink(): void {
    const workers = [...this.#workers.values()];
    if (workers.length <= this.#size || workers.some(({ isStalled }) => isStalled)) return;
    const spare = workers.findLast(({ held }) => held.size === 0);
    if (spare !== undefined) void spare.end(); // W3
  }

  #takeBack(exchange: Exchange): boolean {
    if (exchange.at === undefined || !takeBack(exchange.at.claim)) return false; // W1
    exchange.at.worker.held.delete(exchange.id);
    exchange.at = undefined;
    return true;
  }

  /** The request's time is over. */
  #expire(exchange: Exchange): void {
    const { resident } = exchange;
    const limit = `limits.time (${resident.limits.timeMs} ms)`;
    if (exchange.at === undefined || this.#takeBack(exchange)) {
      this.#end(exchange, failed('ERR_PARTICLE_TIMEOUT', `no instance was free within ${limit}`));
      this.#tell(resident, { kind: 'withdrawn', request: exchange.id });
      return;
    }
    exchange.isOverdue = true;
    exchange.settle(failed('ERR_PARTICLE_TIMEOUT', `the component took longer than ${limit}`));
    exchange.at.worker.post({ kind: 'cancel', request: exchange.id });
    this.#endIfStuck(exchange);
  }

  #endIfStuck(exchange: Exchange): void {
    this.#clock.after(GRACE_MS, () => {
      const worker = exchange.at?.worker;
      if (worker === undefined || !worker.held.has(exchange.id) || this.#isClosed) return;
      if (worker.entered !== exchange.id) return this.#endIfStuck(exchange); // W3
      exchange.resident.note(`ended: it kept its worker busy beyond limits.time`);
      void worker.end();
    });
  }

  #lose(worker: WorkerThread, why: string): void {
    this.#workers.delete(worker.id);
    if (this.#isClosed) return;
    this.#log.warn({ worker: worker.id, why }, 'a guest worker ended');
    if (!worker.isReady) {
      this.#opened.reject(
        new AetherError(`a guest worker does not start: ${why}`, { code: 'ERR_PARTICLE_WORKER' }),
      );
    }
    if (this.#workers.size < this.#size) {
      if (worker.isReady) this.#start();
      else this.#clock.after(RESTART_MS, () => this.#isClosed || this.#start());
    }
    const held = [...worker.held].map((id) => this.#exchanges.get(id) as Exchange);
    for (const affected of this.#residents.values()) {
      this.#tell(affected, { kind: 'lost', worker: worker.id });
    }
    for (const exchange of held) this.#afterLoss(exchange, worker, why);
  }

  #afterLoss(exchange: Exchange, worker: WorkerThread, why: string): void {
    const isBegun = !this.#takeBack(exchange);
    const isCulprit = worker.entered === exchange.id;
    if (exchange.isOverdue || (isBegun && isCulprit)) {
      this.#end(exchange, failed('ERR_PARTICLE_CRASH', `the component ended its worker: ${why}`));
    } else if (isBegun && (exchange.hadEffect || exchange.isRetried)) {
      this.#end(exchange, failed('ERR_PARTICLE_WORKER_LOST', 'another component ended the worker'));
    } else {
      exchange.isRetried ||= isBegun; // W2
      exchange.at = undefined;
      this.#tell(exchange.resident, { kind: 'returned', request: exchange.id });
    }
  }
}

function isWaiting(claim: SharedArrayBuffer): boolean {
  return Atomics.load(new Int32Array(claim), 0) === WAITING;
}

function failed(code: string, message: string): GuestOutcome {
  return { kind: 'failed', code, message };
}

/** A failed outcome as an error. */
export function outcomeError(outcome: Extract<GuestOutcome, { kind: 'failed' }>): AetherError {
  const { code, message, details } = outcome;
  return new AetherError(message, { code, ...(details === undefined ? {} : { details }) });
}
