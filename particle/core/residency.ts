/**
 * Which instances of one Particle live on this node, and which request goes to which.
 *
 * Cold (no instance) > waking (none has answered yet) > warm > cold again when the last idle one is evicted;
 * draining ends all of it. The shell says what happened, this says what to do.
 *
 * R1. An instance has at most one request at a time, and no more instances exist than the limit says.
 * R2. While one worker is stuck in this Particle's code, no other worker gets any of it: a runaway costs one worker.
 * R3. A Particle is busy on all workers but one at most, so that a first runaway never takes the last one.
 */
export interface WorkerView {
  id: number;
  /** Requests that it holds. */
  load: number;
  /** It does not answer its messages. */
  stalled: boolean;
  /** It is stalled in code of this Particle. */
  stalledHere: boolean;
}

export type ResidencyState = 'cold' | 'waking' | 'warm' | 'draining';

export type ResidencyEvent =
  | { kind: 'request'; request: number }
  /** A request that was handed out and never begun is back; it keeps its place in the line. */
  | { kind: 'returned'; request: number }
  /** A request that waits, or was handed out and never begun, is no longer wanted. */
  | { kind: 'withdrawn'; request: number }
  /** A request has ended; `alive`: its instance lives on; `used`: it has served, not only been woken. */
  | { kind: 'finished'; request: number; alive: boolean; used: boolean }
  /** A worker is gone with all its instances; their requests are told of one by one. */
  | { kind: 'lost'; worker: number }
  /** Time has passed, or the workers have changed. */
  | { kind: 'tick' }
  | { kind: 'drain' };

export type ResidencyEffect =
  | { kind: 'run'; request: number; instance: number; worker: number; fresh: boolean }
  | { kind: 'drop'; instance: number; worker: number }
  /** Too many wait, or the Particle is draining. */
  | { kind: 'refuse'; request: number; why: 'full' | 'draining' }
  | { kind: 'drained' };

interface Instance {
  id: number;
  worker: number;
  /** The request that it works on. */
  request: number | undefined;
  hasAnswered: boolean;
  idleSinceMs: number;
}

export interface ResidencyOptions {
  instancesMax: number;
  waitingMax: number;
  idleMs: number;
  /** False: an instance goes after its first request. */
  isReused: boolean;
}

export class Residency {
  readonly #options: ResidencyOptions;
  readonly #instances = new Map<number, Instance>();
  #waiting: number[] = [];
  #draining = false;
  #nextInstance = 1;

  constructor(options: ResidencyOptions) {
    this.#options = options;
  }

  get state(): ResidencyState {
    if (this.#draining) return 'draining';
    if (this.#instances.size === 0) return 'cold';
    return [...this.#instances.values()].some(({ hasAnswered }) => hasAnswered) ? 'warm' : 'waking';
  }

  get instances(): number {
    return this.#instances.size;
  }

  /** Instances that a request finds awake. */
  get idle(): number {
    return [...this.#instances.values()].filter(({ request }) => request === undefined).length;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** When the next idle instance is due to go, in the time of `nowMs`; Infinity when none is idle. */
  get nextTickMs(): number {
    let next = Infinity;
    for (const { request, idleSinceMs } of this.#instances.values()) {
      if (request === undefined) next = Math.min(next, idleSinceMs + this.#options.idleMs);
    }
    return next;
  }

  on(event: ResidencyEvent, nowMs: number, workers: readonly WorkerView[]): ResidencyEffect[] {
    const effects: ResidencyEffect[] = [];
    switch (event.kind) {
      case 'request':
        if (this.#draining) {
          return [{ kind: 'refuse', request: event.request, why: 'draining' }];
        }
        if (this.#waiting.length >= this.#options.waitingMax) {
          return [{ kind: 'refuse', request: event.request, why: 'full' }];
        }
        this.#waiting.push(event.request);
        break;
      case 'returned':
        this.#giveUp(event.request, effects);
        this.#waiting.unshift(event.request);
        break;
      case 'withdrawn':
        this.#giveUp(event.request, effects);
        this.#waiting = this.#waiting.filter((request) => request !== event.request);
        break;
      case 'finished':
        if (event.alive && event.used && !this.#options.isReused) {
          this.#giveUp(event.request, effects);
        } else {
          this.#finish(event.request, event.alive, nowMs);
        }
        break;
      case 'lost':
        for (const { id, worker } of this.#instances.values()) {
          if (worker === event.worker) this.#instances.delete(id);
        }
        break;
      case 'tick':
        this.#evict(nowMs, effects);
        break;
      case 'drain':
        this.#draining = true;
        break;
    }
    this.#hand(workers, effects);
    if (this.#draining) this.#drain(effects);
    return effects;
  }

  /** Lets go of the instance that holds the request. */
  #giveUp(request: number, effects: ResidencyEffect[]): void {
    const instance = this.#holderOf(request);
    if (instance === undefined) return;
    this.#instances.delete(instance.id);
    effects.push({ kind: 'drop', instance: instance.id, worker: instance.worker });
  }

  #holderOf(request: number): Instance | undefined {
    for (const instance of this.#instances.values()) {
      if (instance.request === request) return instance;
    }
    return undefined;
  }

  #finish(request: number, alive: boolean, nowMs: number): void {
    const instance = this.#holderOf(request);
    if (instance === undefined) return;
    if (!alive) {
      this.#instances.delete(instance.id);
      return;
    }
    instance.request = undefined;
    instance.hasAnswered = true;
    instance.idleSinceMs = nowMs;
  }

  #evict(nowMs: number, effects: ResidencyEffect[]): void {
    for (const { id, worker, request, idleSinceMs } of this.#instances.values()) {
      if (request !== undefined || idleSinceMs + this.#options.idleMs > nowMs) continue;
      this.#instances.delete(id);
      effects.push({ kind: 'drop', instance: id, worker });
    }
  }

  #drain(effects: ResidencyEffect[]): void {
    for (const { id, worker, request } of this.#instances.values()) {
      if (request !== undefined) continue;
      this.#instances.delete(id);
      effects.push({ kind: 'drop', instance: id, worker });
    }
    if (this.#instances.size === 0 && this.#waiting.length === 0) effects.push({ kind: 'drained' });
  }

  #hand(workers: readonly WorkerView[], effects: ResidencyEffect[]): void {
    if (this.#waiting.length === 0 || workers.some(({ stalledHere }) => stalledHere)) return; // R2
    const load = new Map(
      workers.filter(({ stalled }) => !stalled).map(({ id, load: at }) => [id, at]),
    );
    while (this.#waiting.length > 0) {
      const instance = this.#idleOn(load) ?? this.#wake(load, workers.length);
      if (instance === undefined) return;
      const request = this.#waiting.shift() as number;
      instance.request = request; // R1
      load.set(instance.worker, (load.get(instance.worker) ?? 0) + 1);
      effects.push({
        kind: 'run',
        request,
        instance: instance.id,
        worker: instance.worker,
        fresh: !instance.hasAnswered,
      });
    }
  }

  /** The idle instance used last, so that the others can age. */
  #idleOn(load: ReadonlyMap<number, number>): Instance | undefined {
    let best: Instance | undefined;
    for (const instance of this.#instances.values()) {
      if (instance.request !== undefined || !load.has(instance.worker)) continue;
      if (best === undefined || instance.idleSinceMs > best.idleSinceMs) best = instance;
    }
    return best;
  }

  #wake(load: ReadonlyMap<number, number>, workers: number): Instance | undefined {
    if (this.#instances.size >= this.#options.instancesMax) return undefined; // R1
    const busy = new Set<number>();
    for (const { request, worker } of this.#instances.values()) {
      if (request !== undefined && load.has(worker)) busy.add(worker);
    }
    const isSpread = busy.size >= Math.max(1, workers - 1); // R3
    let best: number | undefined;
    for (const [worker, at] of load) {
      if (isSpread && !busy.has(worker)) continue;
      if (best === undefined || at < (load.get(best) as number)) best = worker;
    }
    if (best === undefined) return undefined;
    const instance: Instance = {
      id: this.#nextInstance++,
      worker: best,
      request: undefined,
      hasAnswered: false,
      idleSinceMs: 0,
    };
    this.#instances.set(instance.id, instance);
    return instance;
  }
}
