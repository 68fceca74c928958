/**
 * Several nodes in one process for tests: a network with faults, a clock that tests turn, stores
 * that lose on a crash what was not durable. One seed gives one run.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { Random } from '../spec/random.ts';
import { hashKey } from './core/hash-ring.ts';
import { compareKeys, judge, placementKey, type Row, type Verdict } from './core/kv-row.ts';
import type { Found, WriteTerms } from './core/kv-row.ts';
import type { ListPage, ListRequest, ReplicaStore, ScanPage, ScanRequest } from './kv-store.ts';
import { type Rpc, RpcError, type RpcHandler } from './rpc.ts';

/** Time that stands still until `run` turns it. */
export class VirtualClock {
  #now = 0;
  #next = 0;
  readonly #queue: { atMs: number; order: number; run: () => void }[] = [];

  get nowMs(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const entry = { atMs: this.#now + Math.max(0, delayMs), order: this.#next++, run };
    let at = this.#queue.length;
    while (at > 0 && (this.#queue[at - 1] as typeof entry).atMs > entry.atMs) at--;
    this.#queue.splice(at, 0, entry);
    return () => {
      const found = this.#queue.indexOf(entry);
      if (found >= 0) this.#queue.splice(found, 1);
    };
  }

  /** Turns the clock until `isDone`. @throws when nothing is left to happen before that. */
  async runUntil(isDone: () => boolean): Promise<void> {
    for (;;) {
      // Lets all promises go on that can.
      await new Promise(setImmediate);
      if (isDone()) return;
      const entry = this.#queue.shift();
      if (entry === undefined) throw new Error('the simulation stands still');
      this.#now = entry.atMs;
      entry.run();
    }
  }

  async run<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const watched = work.finally(() => (isDone = true));
    await Promise.all([watched, this.runUntil(() => isDone)]);
    return work;
  }

  /** The clock of one node; `skewMs` may change. */
  of(skew: { ms: number }): Clock {
    return {
      nowMs: () => 1_700_000_000_000 + Math.round(this.#now) + skew.ms,
      monotonicMs: () => this.#now,
      after: (delayMs, wake) => this.after(delayMs, wake),
    };
  }
}

export interface Faults {
  /** Share of messages lost, requests and answers alike. */
  loss: number;
  /** One way, uniform from 0. */
  delayMsMax: number;
}

/** Handlers by node, and what stands between them. */
export class Network {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #random: Random;
  readonly #nodes = new Map<string, Map<string, RpcHandler>>();
  /** Of the calls that wait for an answer. */
  readonly #timeouts = new Set<() => void>();
  /** Groups that cannot reach each other; a node in none reaches all. */
  partition: readonly (readonly string[])[] = [];
  faults: Faults = { loss: 0, delayMsMax: 1 };
  /** Sees every request before its handler: to count, or to break a rule on purpose. */
  intercept: (node: string, method: string, body: unknown, handler: RpcHandler) => RpcHandler = (
    _node,
    _method,
    _body,
    handler,
  ) => handler;

  constructor(clock: Pick<Clock, 'after'>, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** A node comes up. Its `Rpc` is dead once the node goes down, also when it comes up again. */
  up(self: string): Rpc {
    const handlers = new Map<string, RpcHandler>();
    this.#nodes.set(self, handlers);
    const isUp = (): boolean => this.#nodes.get(self) === handlers;
    return {
      self,
      serve(method, handler) {
        handlers.set(method, handler);
      },
      call: (node, method, body, { timeoutMs }) =>
        new Promise((resolve, reject) => {
          if (!isUp()) return; // A dead caller waits for ever.
          const isReached = this.#reaches(self, node);
          const failure = isReached
            ? new RpcError(`${node} is slow`, { code: 'ERR_RING_TIMEOUT' })
            : new RpcError(`${node} cannot be reached`);
          const cancel = this.#clock.after(isReached ? timeoutMs : 1, () => {
            this.#timeouts.delete(cancel);
            if (isUp()) reject(failure);
          });
          this.#timeouts.add(cancel);
          if (!isReached) return;
          const request = structuredClone(body);
          this.#deliver(self, node, () => {
            void this.#serve(node, method, request, self, (settle) => {
              this.#deliver(node, self, () => {
                if (!isUp()) return;
                cancel();
                this.#timeouts.delete(cancel);
                settle(resolve, reject);
              });
            });
          });
        }),
    };
  }

  /** Answers unless the node goes down before. */
  async #serve(
    node: string,
    method: string,
    body: unknown,
    from: string,
    answer: (
      settle: (resolve: (value: unknown) => void, reject: (error: Error) => void) => void,
    ) => void,
  ): Promise<void> {
    const target = this.#nodes.get(node);
    const handler = target?.get(method);
    if (handler === undefined) return;
    try {
      const value = structuredClone(await this.intercept(node, method, body, handler)(body, from));
      if (this.#nodes.get(node) === target) answer((resolve) => resolve(value));
    } catch (error) {
      const code = AetherError.is(error) ? error.code : 'ERR_INTERNAL';
      const remote = new AetherError(String(error), { code, cause: error });
      if (this.#nodes.get(node) === target) answer((_, reject) => reject(remote));
    }
  }

  /** A node goes down; what it was doing never answers. */
  down(node: string): void {
    this.#nodes.delete(node);
  }

  /** Nobody waits for an answer any more. */
  close(): void {
    for (const cancel of this.#timeouts) cancel();
    this.#timeouts.clear();
  }

  #deliver(from: string, to: string, run: () => void): void {
    if (from === to) {
      run();
      return;
    }
    const { loss, delayMsMax } = this.faults;
    if (this.#random.next() < loss) return;
    this.#clock.after(this.#random.next() * delayMsMax, () => {
      // A partition also stops what is on its way.
      if (this.#reaches(from, to)) run();
    });
  }

  #reaches(from: string, to: string): boolean {
    if (from === to) return true;
    const group = this.partition.find((nodes) => nodes.includes(from));
    const other = this.partition.find((nodes) => nodes.includes(to));
    return this.#nodes.has(to) && (group === undefined || other === undefined || group === other);
  }
}

/** The disk of a simulated node: survives its crashes. */
export class Disk {
  readonly rows: Map<string, Row> = new Map();
  readonly damaged: Set<string> = new Set();
  readonly notes: Map<string, string> = new Map();
}

/** A replica's rows in memory; a write becomes durable some time after it was asked for. */
export class MemoryReplicaStore implements ReplicaStore {
  readonly boot: number;
  readonly #disk: Disk;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #fsyncMs: () => number;
  #waiting: { rows: readonly Row[]; terms: WriteTerms; resolve(verdicts: Verdict[]): void }[] = [];
  #isClosed = false;

  constructor(disk: Disk, clock: Pick<Clock, 'after'>, fsyncMs: () => number) {
    this.#disk = disk;
    this.#clock = clock;
    this.#fsyncMs = fsyncMs;
    this.boot = Number(disk.notes.get('boot') ?? 0) + 1;
    disk.notes.set('boot', String(this.boot));
  }

  write(rows: readonly Row[], terms: WriteTerms): Promise<Verdict[]> {
    return new Promise((resolve) => {
      if (this.#waiting.length === 0) this.#clock.after(this.#fsyncMs(), () => this.#commit());
      this.#waiting.push({ rows, terms, resolve });
    });
  }

  read(bucket: string, key: string): Found {
    const at = placementKey(bucket, key);
    return this.#disk.damaged.has(at) ? 'damaged' : (this.#disk.rows.get(at) ?? 'absent');
  }

  list({ bucket, prefix, after, limit }: ListRequest): ListPage {
    this.#commit();
    const found = [...this.#disk.rows.values()]
      .filter((row) => row.bucket === bucket && row.key.startsWith(prefix))
      .filter(({ key }) => after === undefined || compareKeys(key, after) > 0)
      .toSorted((a, b) => compareKeys(a.key, b.key));
    const entries = found.slice(0, limit).map(({ key, stamp, expiresMs, value }) => {
      if (this.read(bucket, key) === 'damaged') return { key };
      return { key, row: { stamp, expiresMs, isDeleted: value === null } };
    });
    return { entries, more: found.length > limit };
  }

  scan({ ranges, after, bytesMax }: ScanRequest): ScanPage {
    this.#commit();
    const page: ScanPage = { rows: [], damaged: [] };
    const placed = [...this.#disk.rows.values()].map((row) => ({
      row,
      token: hashKey(placementKey(row.bucket, row.key)),
    }));
    const order = (a: (typeof placed)[number], b: (typeof placed)[number]): number =>
      a.token - b.token ||
      compareKeys(a.row.bucket, b.row.bucket) ||
      compareKeys(a.row.key, b.row.key);
    let bytes = 0;
    for (const each of placed.toSorted(order)) {
      const { bucket, key } = each.row;
      const isIn = ranges.some(({ first, last }) => each.token >= first && each.token <= last);
      const isDone =
        after !== undefined &&
        order(each, { row: { ...each.row, ...after }, token: after.token }) <= 0;
      if (!isIn || isDone) continue;
      if (this.read(bucket, key) === 'damaged') page.damaged.push({ bucket, key });
      else page.rows.push(each.row);
      bytes += (each.row.value?.length ?? 0) + 100;
      if (bytes >= bytesMax) return { ...page, next: { token: each.token, bucket, key } };
    }
    return page;
  }

  note(name: string): string | undefined {
    return this.#disk.notes.get(name);
  }

  setNote(name: string, value: string | undefined): void {
    if (value === undefined) this.#disk.notes.delete(name);
    else this.#disk.notes.set(name, value);
  }

  close(): void {
    this.#commit();
    this.#isClosed = true;
  }

  /** What waits is lost. */
  crash(): void {
    this.#waiting = [];
    this.#isClosed = true;
  }

  #commit(): void {
    if (this.#isClosed) return;
    const batch = this.#waiting;
    this.#waiting = [];
    for (const each of batch) {
      each.resolve(
        each.rows.map((row) => {
          const at = placementKey(row.bucket, row.key);
          const held = this.read(row.bucket, row.key);
          const verdict = judge(held, row, each.terms);
          const isNew = typeof held === 'string' || held.stamp !== row.stamp;
          if (verdict === 'stored' && isNew) {
            this.#disk.rows.set(at, row);
            this.#disk.damaged.delete(at);
          }
          return verdict;
        }),
      );
    }
  }
}
