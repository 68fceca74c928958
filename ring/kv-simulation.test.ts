/**
 * Many seeds of a small lattice: readers and writers at quorum, crashes, partitions, loss, skewed
 * clocks, members that come and go meanwhile. Then rules are broken on purpose, and the checker has
 * to find it.
 */
import { test } from 'tap';
import { AetherError } from '../spec/error.ts';
import { type Random, randomInt, seededRandom } from '../spec/random.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { epochOf } from './epoch.testkit.ts';
import { HashRing } from './core/hash-ring.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { gains } from './core/kv-move.ts';
import { UnavailableError, UnknownOutcomeError } from './kv-errors.ts';
import { Disk, MemoryReplicaStore, Network, VirtualClock } from './kv-network.testkit.ts';
import { type Consistency, KeyValueStore } from './kv.ts';
import type { RpcHandler } from './rpc.ts';

const SEEDS = 220;
const TIMEOUT_MS = 110_000;
const KEYS = ['a', 'b', 'c', 'd'];

/**
 * Judges by versions: an operation that begins after another has ended sees that one's version or a
 * later one (reads), or makes a later one (writes).
 */
class Checker {
  readonly #floors = new Map<string, string>();
  readonly #values = new Map<string, string>();
  readonly #undone = new Set<string>();
  readonly violations: string[] = [];

  floor(key: string): string {
    return this.#floors.get(key) ?? '';
  }

  wrote(key: string, floor: string, version: string, value: string): void {
    if (version <= floor) this.violations.push(`${key}: ${value} written below ${floor}`);
    this.#saw(key, version, value);
  }

  read(key: string, floor: string, version: string, value: string): void {
    if (version < floor) this.violations.push(`${key}: read ${version} after ${floor}`);
    if (this.#undone.has(value)) this.violations.push(`${key}: read ${value}, which was not done`);
    this.#saw(key, version, value);
  }

  undone(value: string): void {
    this.#undone.add(value);
  }

  #saw(key: string, version: string, value: string): void {
    const known = this.#values.get(key + version);
    if (version !== '' && known !== undefined && known !== value)
      this.violations.push(`${key}: ${version} is both ${known} and ${value}`);
    this.#values.set(key + version, value);
    if (version > this.floor(key)) this.#floors.set(key, version);
  }
}

/** What may be broken on purpose. */
interface Break {
  consistency?: Consistency;
  /** Placement jumps to the next members, and nothing is streamed. */
  isSettledAtOnce?: boolean;
  /** Nothing is streamed. */
  isUnstreamed?: boolean;
  intercept?: Network['intercept'];
}

interface Node {
  id: string;
  disk: Disk;
  epoch: Epoch;
  skew: { ms: number };
  kv?: KeyValueStore | undefined;
  store?: MemoryReplicaStore | undefined;
}

class Lattice {
  readonly clock = new VirtualClock();
  readonly checker = new Checker();
  readonly random: Random;
  readonly network: Network;
  readonly nodes: Node[] = [];
  readonly #break: Break;
  /** What the voter has published. */
  #newest: Epoch;
  acknowledged = 0;
  failed = 0;
  #operations = 0;
  #named = 0;

  constructor(seed: number, broken: Break) {
    this.#break = broken;
    this.random = seededRandom(seed);
    this.network = new Network(this.clock, this.random);
    if (broken.intercept !== undefined) this.network.intercept = broken.intercept;
    const members: EpochMember[] = [];
    const size = 2 + randomInt(this.random, 3);
    while (members.length < size) members.push(this.#newMember(members));
    this.#newest = epochOf(members);
    for (const { id } of members) this.#add(id);
  }

  #add(id: string): Node {
    const skew = { ms: randomInt(this.random, 600) - 300 };
    const node = { id, disk: new Disk(), epoch: this.#newest, skew };
    this.nodes.push(node);
    this.#start(node);
    return node;
  }

  #start(node: Node): void {
    const clock = this.clock.of(node.skew);
    const store = new MemoryReplicaStore(node.disk, clock, () => this.random.next() * 5);
    node.store = store;
    node.kv = new KeyValueStore({
      rpc: this.network.up(node.id),
      store,
      clock,
      epoch: () => node.epoch,
      learn: async () => {
        await this.sleep(this.random.next() * 20);
        if (this.random.next() < 0.8) this.#take(node);
      },
      timeoutMs: 300,
      hedgeMs: 10,
    });
  }

  #take(node: Node): void {
    if (this.#newest.number > node.epoch.number) node.epoch = this.#newest;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve));
  }

  async crash(): Promise<void> {
    const node = this.#pick();
    if (node?.kv === undefined) return;
    this.#stop(node);
    await this.sleep(this.random.next() * 300);
    if (!this.nodes.includes(node)) return; // It has left.
    if (this.random.next() < 0.3) node.skew.ms -= randomInt(this.random, 400);
    this.#start(node);
  }

  #stop(node: Node): void {
    this.network.down(node.id);
    node.store?.crash();
    node.kv = undefined;
  }

  async split(): Promise<void> {
    const [left, right]: [string[], string[]] = [[], []];
    for (const { id } of this.nodes) (this.random.next() < 0.5 ? left : right).push(id);
    this.network.partition = [left, right];
    await this.sleep(this.random.next() * 300);
    this.network.partition = [];
  }

  /** Members come and go, one after the other. */
  async changes(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const { members } = this.#newest;
      const leaver = members[randomInt(this.random, members.length)] as EpochMember;
      if (members.length > 1 && this.random.next() < 0.5)
        await this.#change(members.filter((each) => each !== leaver));
      else await this.#change([...members, this.#newMember(members)]);
    }
  }

  /** Pending, streamed, settled. */
  async #change(members: EpochMember[]): Promise<void> {
    const { members: previous, number, ...rest } = this.#newest;
    for (const { id } of members) if (!this.nodes.some((node) => node.id === id)) this.#add(id);
    if (this.#break.isSettledAtOnce !== true) {
      this.#publish({ ...rest, number: number + 1, members, previous });
      const rings = [new HashRing(previous), new HashRing(members)] as const;
      const gaining = this.nodes.filter(({ id }) => gains(...rings, id, [3]).length > 0);
      if (this.#break.isUnstreamed !== true)
        await Promise.all(gaining.map((node) => this.#stream(node)));
    }
    this.#publish({ ...rest, number: number + 2, members });
    for (const node of this.nodes.splice(0)) {
      if (members.some(({ id }) => id === node.id)) this.nodes.push(node);
      else this.#stop(node);
    }
  }

  async #stream(node: Node): Promise<void> {
    for (;;) {
      this.#take(node);
      try {
        // The stream of a node that crashes never ends.
        const limit = this.sleep(5_000).then(() => false);
        const stream = node.kv?.stream(this.#newest).then(() => true);
        if ((await Promise.race([stream, limit])) === true) return;
      } catch {
        // Somebody is down: again.
      }
      await this.sleep(50);
    }
  }

  #publish(epoch: Epoch): void {
    this.#newest = epoch;
    for (const node of this.nodes)
      this.clock.after(this.random.next() * 3_000, () => this.#take(node));
  }

  /** By the first node whose clock the others accept, or have caught up with. */
  async createBucket(): Promise<void> {
    for (let i = 0; i < 100; i++) {
      try {
        await this.nodes[i % this.nodes.length]?.kv?.createBucket('t', { class: 'eventual' });
        return;
      } catch (error) {
        this.#failed(error);
        await this.sleep(50);
      }
    }
    throw new Error('the bucket cannot be created');
  }

  #newMember(existing: readonly EpochMember[]): EpochMember {
    const id = `n${++this.#named}`;
    const tokens = allocateTokens(existing, { weight: 1 });
    return { id, name: id, address: '', roles: ['storage'], weight: 1, tokens };
  }

  #pick(): Node | undefined {
    return this.nodes[randomInt(this.random, this.nodes.length)];
  }

  async client(operations: number): Promise<void> {
    for (let i = 0; i < operations; i++) {
      const key = KEYS[randomInt(this.random, KEYS.length)] as string;
      const kv = this.#pick()?.kv;
      const work = this.random.next() < 0.5 ? this.read(kv, key) : this.#write(kv, key);
      // An operation of a coordinator that crashes never ends.
      await Promise.race([work, this.sleep(2_000)]);
      await this.sleep(this.random.next() * 20);
    }
  }

  async read(kv: KeyValueStore | undefined, key: string): Promise<boolean> {
    const consistency = this.#break.consistency ?? 'quorum';
    const floor = this.checker.floor(key);
    try {
      const found = await kv?.bucket('t').get(key, { consistency });
      if (kv === undefined) return false;
      const value = found === undefined ? '' : new TextDecoder().decode(found.value);
      this.checker.read(key, floor, found?.version ?? '', value);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  async #write(kv: KeyValueStore | undefined, key: string): Promise<void> {
    if (kv === undefined) return;
    const consistency = this.#break.consistency ?? 'quorum';
    const value = `${key}${this.#operations++}`;
    const floor = this.checker.floor(key);
    try {
      const version = await kv
        .bucket('t')
        .put(key, new TextEncoder().encode(value), { consistency });
      this.checker.wrote(key, floor, version, value);
      this.acknowledged++;
    } catch (error) {
      this.#failed(error);
      if (!(error instanceof UnknownOutcomeError)) this.checker.undone(value);
    }
  }

  #failed(error: unknown): void {
    this.failed++;
    if (error instanceof UnavailableError || error instanceof UnknownOutcomeError) return;
    if (!AetherError.is(error) || error.code !== 'ERR_KV_BUCKET_UNKNOWN') throw error;
    this.checker.violations.push('the bucket is lost');
  }

  /** Everything heals, and every node reads every key. */
  async settle(): Promise<void> {
    this.network.partition = [];
    this.network.faults = { loss: 0, delayMsMax: 1 };
    await this.sleep(1_000);
    for (const node of this.nodes) this.#take(node);
    for (const node of this.nodes) {
      for (const key of KEYS)
        if (!(await this.read(node.kv, key))) this.checker.violations.push(`${key}: unreadable`);
    }
  }
}

async function simulate(seed: number, broken: Break = {}): Promise<Lattice> {
  const lattice = new Lattice(seed, broken);
  const { clock, random, network } = lattice;
  const story = async (): Promise<void> => {
    await lattice.createBucket();
    network.faults = { loss: random.next() * 0.1, delayMsMax: 1 + random.next() * 30 };
    const chaos = async (): Promise<void> => {
      for (let i = 0; i < 4; i++) {
        await lattice.sleep(random.next() * 300);
        await (random.next() < 0.5 ? lattice.crash() : lattice.split());
      }
    };
    const changes = async (): Promise<void> => {
      await lattice.sleep(random.next() * 300);
      await lattice.changes(1 + randomInt(random, 3));
    };
    await Promise.all([...[1, 2, 3, 4].map(() => lattice.client(20)), chaos(), chaos(), changes()]);
    await lattice.settle();
  };
  await clock.run(story());
  return lattice;
}

test('nothing acknowledged at quorum is lost, and reads never go back', async (t) => {
  t.setTimeout(TIMEOUT_MS);
  let acknowledged = 0;
  let failed = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const lattice = await simulate(seed);
    acknowledged += lattice.acknowledged;
    failed += lattice.failed;
    if (lattice.checker.violations.length > 0)
      t.fail(`seed ${seed}: ${lattice.checker.violations.join('; ')}`);
  }
  t.comment(`${SEEDS} seeds, ${acknowledged} writes acknowledged, ${failed} operations failed`);
  t.ok(acknowledged > SEEDS * 10, 'most of the time the lattice serves');
  t.ok(failed > SEEDS, 'and the faults are felt');
});

const answers =
  (change: (body: never, answer: never) => unknown, wanted: string): Network['intercept'] =>
  (_node, method, _body, handler): RpcHandler =>
    method === wanted
      ? async (body, from) => change(body as never, (await handler(body, from)) as never)
      : handler;

const BREAKS: [string, Break][] = [
  ['reads and writes at ONE', { consistency: 'one' }],
  ['no pending epoch', { isSettledAtOnce: true }],
  ['no stream', { isUnstreamed: true }],
  [
    'replicas that serve whatever the epoch',
    {
      intercept: (_node, _method, body, handler) => async (_, from) => {
        const request = body as { epoch: number };
        // An old epoch is refused with the replica's own, which then is served.
        request.epoch = 0;
        const { misplaced } = (await handler(request, from)) as { misplaced: number };
        request.epoch = misplaced;
        return handler(request, from);
      },
    },
  ],
  [
    'reads that do not write back',
    {
      intercept: (_node, method, body, handler) =>
        method === 'kv.write' && (body as { repair: boolean }).repair
          ? () => ({ verdicts: ['stored'] })
          : handler,
    },
  ],
  [
    'replicas that take lower stamps for stored',
    {
      intercept: answers(
        (_body, answer: { verdicts?: unknown[] }) =>
          answer.verdicts === undefined ? answer : { verdicts: ['stored'] },
        'kv.write',
      ),
    },
  ],
];

for (const [name, broken] of BREAKS) {
  test(`the checker finds: ${name}`, async (t) => {
    t.setTimeout(TIMEOUT_MS);
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { checker } = await simulate(seed, broken);
      if (checker.violations.length === 0) continue;
      t.comment(`seed ${seed}: ${checker.violations[0]}`);
      t.pass(`found after ${seed} seeds`);
      return;
    }
    t.fail(`not found in ${SEEDS} seeds`);
  });
}
