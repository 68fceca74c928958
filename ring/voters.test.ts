/** Several voters in real nodes: whichever of them is lost, the lattice goes on, and its history is one. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { mintJoinToken, Ring, type RingOptions } from './index.ts';

/** Quick to see a death; slow enough for a busy machine. */
const swim = {
  probeIntervalMs: 200,
  ackTimeoutMs: 100,
  suspicionPeriods: 5,
  reconnectIntervalMs: 300,
};

/** A lattice in one process, which notes every epoch that any of its nodes has used. */
class House {
  readonly folder: string;
  readonly rings = new Map<string, Ring>();
  /** By number: the contents that nodes have used. */
  readonly epochs = new Map<number, Set<string>>();

  constructor(t: Test) {
    this.folder = t.testdir();
    t.teardown(() => Promise.all([...this.rings.values()].map((ring) => ring.close())));
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  async open(name: string, options: Partial<RingOptions> = {}): Promise<Ring> {
    const ring = await Ring.open({ data: this.at(name), name, swim, ...options });
    this.rings.set(name, ring);
    this.#note(ring);
    ring.onChange(({ kind }) => {
      if (kind === 'epoch') this.#note(ring);
    });
    return ring;
  }

  /** Founds with the first of them, and lets the others in. */
  async lattice<Names extends string[]>(...names: Names): Promise<{ [at in keyof Names]: Ring }> {
    const [first, ...others] = names as string[];
    const founder = await this.open(first as string);
    const rings = await Promise.all(
      others.map((name) => this.join(name, founder, first as string)),
    );
    const all = [founder, ...rings];
    const voters = Math.min(3, all.length);
    await Promise.all(all.map((ring) => until(ring, () => isWhole(ring, all.length, voters))));
    return all as { [at in keyof Names]: Ring };
  }

  /** @param minter the node whose key signs the token. */
  join(
    name: string,
    through: Ring,
    minter: string,
    options: Partial<RingOptions> = {},
  ): Promise<Ring> {
    const token = mintJoinToken(this.at(minter));
    return this.open(name, { join: [through.address], token, ...options });
  }

  /** Ends a node as a kill does: nobody is told. */
  async kill(name: string): Promise<void> {
    await this.rings.get(name)?.close();
  }

  /** No number has two contents. */
  isOneHistory(): boolean {
    return [...this.epochs.values()].every(({ size }) => size === 1);
  }

  #note(ring: Ring): void {
    const epoch = ring.epoch();
    const contents = this.epochs.get(epoch.number) ?? new Set();
    this.epochs.set(epoch.number, contents.add(JSON.stringify(epoch)));
  }
}

async function until(ring: Ring, holds: () => boolean): Promise<void> {
  await new Promise<void>((done) => {
    const stop = ring.onChange(() => {
      if (!holds()) return;
      stop();
      done();
    });
    if (!holds()) return;
    stop();
    done();
  });
}

const isWhole = (ring: Ring, count: number, voters: number): boolean =>
  ring.epoch().previous === undefined &&
  ring.epoch().members.length === count &&
  ring.epoch().voters.length === voters &&
  ring.epoch().issuers.length === voters;

const stateOf = (ring: Ring, of: Ring): string | undefined =>
  ring.members().find(({ id }) => id === of.id)?.state;
const isDead = (ring: Ring, of: Ring): Promise<void> =>
  until(ring, () => stateOf(ring, of) === 'dead');

test('the founder is killed: others mint, let in and let go', { timeout: 60_000 }, async (t) => {
  const house = new House(t);
  const [a, b, c] = await house.lattice('a', 'b', 'c');
  t.strictSame(new Set(b.voters().nodes), new Set([a.id, b.id, c.id]));
  t.equal(b.voters().tolerated, 1);
  await house.kill('a');
  const d = await house.join('d', c, 'b');
  await Promise.all([b, c].map((ring) => until(ring, () => ring.epoch().members.length === 4)));
  t.ok(d.epoch().voters.includes(a.id), 'a death changes no voter');
  await isDead(b, a);
  await t.rejects(c.remove(d.id), { code: 'ERR_RING_NODE_ALIVE' });
  await t.rejects(c.remove('nobody'), { code: 'ERR_RING_NODE_NOT_FOUND' });
  // A newcomer knows nothing but the lattice's id, and finds its way to the voters of today.
  const back = await house.open('a');
  await until(back, () => back.epoch().number === b.epoch().number);
  await d.leave();
  await until(back, () => isWhole(back, 3, 3));
  t.ok(house.isOneHistory());
});

test(
  'the founder is lost with its disk: it is removed, and another votes',
  { timeout: 60_000 },
  async (t) => {
    const house = new House(t);
    const [a, b, c] = await house.lattice('a', 'b', 'c');
    await b.kv.createBucket('things', { class: 'eventual', replicas: 3 });
    await b.kv.bucket('things').put('key', new Uint8Array([7]));
    await house.kill('a');
    fs.rmSync(house.at('a'), { recursive: true });
    await isDead(b, a);
    const d = await house.join('d', b, 'c');
    await b.remove(a.id);
    await Promise.all([b, c, d].map((ring) => until(ring, () => isWhole(ring, 3, 3))));
    t.strictSame(new Set(d.voters().nodes), new Set([b.id, c.id, d.id]));
    t.strictSame(b.epoch().revoked, [a.id]);
    t.strictSame((await d.kv.bucket('things').get('key'))?.value, Buffer.from([7]));
    // The chain from the founder, who is gone, holds for who comes now.
    const e = await house.join('e', d, 'd');
    await until(e, () => e.epoch().members.length === 4);
    t.ok(house.isOneHistory());
  },
);

test(
  'B6: a voter whose folder is put back is refused, and harms nobody',
  { timeout: 60_000 },
  async (t) => {
    const house = new House(t);
    await house.lattice('a', 'b', 'c');
    await house.kill('a');
    fs.cpSync(house.at('a'), house.at('copy'), { recursive: true });
    const again = await house.open('a');
    const [b, c] = ['b', 'c'].map((name) => house.rings.get(name)) as [Ring, Ring];
    const d = await house.join('d', b, 'a');
    await until(again, () => isWhole(again, 4, 3));
    await house.kill('a');
    fs.rmSync(house.at('a'), { recursive: true });
    fs.renameSync(house.at('copy'), house.at('a'));
    await t.rejects(house.open('a'), { code: 'ERR_RING_DISK_OLD', hint: /join as a new one/ });
    await t.rejects(house.open('a'), { code: 'ERR_RING_DISK_OLD' }, 'for good');
    await isDead(b, again);
    await c.remove(again.id);
    await Promise.all([b, c, d].map((ring) => until(ring, () => isWhole(ring, 3, 3))));
    t.ok(house.isOneHistory());
  },
);

test(
  'two nodes: without one of them nothing is changed, and nothing lost',
  { timeout: 60_000 },
  async (t) => {
    const house = new House(t);
    const [a, b] = await house.lattice('a', 'b');
    t.strictSame(a.voters(), { nodes: [a.id, b.id], tolerated: 0 });
    await house.kill('b');
    await isDead(a, b);
    const { number } = a.epoch();
    const waiting = house.join('c', a, 'a');
    const still = setInterval(() => t.equal(a.epoch().number, number), 200);
    await new Promise((wake) => setTimeout(wake, 1_000));
    clearInterval(still);
    await house.open('b');
    const c = await waiting;
    await until(c, () => isWhole(c, 3, 3));
    t.ok(house.isOneHistory());
  },
);

test('a voter is killed at each stage of a change of voters', { timeout: 120_000 }, async (t) => {
  for (const stage of [0, 1, 2, 3]) {
    const house = new House(t);
    const [, b, c] = await house.lattice(`a${stage}`, `b${stage}`, `c${stage}`);
    const d = await house.join(`d${stage}`, b, `b${stage}`);
    const before = d.epoch().number;
    // c goes, and d is to vote in its place. The founder, who sees to it first, dies meanwhile.
    const left = c.leave();
    if (stage > 0) await until(b, () => b.epoch().number > before);
    for (let i = 1; i < stage; i++) await new Promise((wake) => setTimeout(wake, 15));
    await house.kill(`a${stage}`);
    const back = await house.open(`a${stage}`);
    await left;
    await Promise.all([back, b, d].map((ring) => until(ring, () => isWhole(ring, 3, 3))));
    t.strictSame(new Set(b.voters().nodes), new Set([back.id, b.id, d.id]));
    t.ok(house.isOneHistory());
    await Promise.all([back, b, d].map((ring) => ring.close()));
  }
});
