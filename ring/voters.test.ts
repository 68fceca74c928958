/** Several voters in real nodes: whichever of them is lost, the lattice goes on, and its history is one. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'tap';
import { House, VOTER_CHANGE, isDown, isWhole, stateOf, until } from './house.testkit.ts';
import type { Ring } from './index.ts';

test('the founder is killed: others mint, let in and let go', { timeout: 60_000 }, async (t) => {
  const house = new House(t);
  const [a, b, c] = await house.lattice('a', 'b', 'c');
  t.strictSame(new Set(b.voters().nodes), new Set([a.id, b.id, c.id]));
  t.equal(b.voters().tolerated, 1);
  await house.kill('a');
  const d = await house.join('d', c, 'b');
  await Promise.all([b, c].map((ring) => until(ring, () => ring.epoch().members.length === 4)));
  t.ok(d.epoch().voters.includes(a.id), 'a death changes no voter');
  await isDown(b, a);
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
    await isDown(b, a);
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
    await isDown(b, again);
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
    await isDown(a, b);
    const { number } = a.epoch();
    const guests = a.transport().received.guest;
    const waiting = house.join('c', a, 'a');
    // The request has come, and with it what a says of it to itself.
    while (a.transport().received.guest === guests) await new Promise((wake) => setImmediate(wake));
    t.equal(a.epoch().number, number);
    await house.open('b');
    const c = await waiting;
    await until(c, () => isWhole(c, 3, 3));
    t.ok(house.isOneHistory());
  },
);

/** What a restart of the machine does to a node that is stopped: the note that its disk is the last one is gone. */
function restartMachine(ring: Ring): void {
  fs.rmSync(join('/dev/shm', `aether-${process.getuid?.()}`, ring.id));
}

test(
  'B2: a voter that comes back with its machine waits for all others, or for the operator’s word',
  {
    timeout: 120_000,
    skip: process.platform === 'linux' ? false : 'nothing vouches elsewhere than on Linux',
  },
  async (t) => {
    const house = new House(t);
    const [a, b] = await house.lattice('a', 'b', 'c');
    t.equal(b.standing(), 'voting');
    await Promise.all([house.kill('b'), house.kill('c')]);
    await isDown(a, b);

    const again = await house.open('b');
    t.equal(again.standing(), 'voting', 'the restart of a process needs no word');
    await house.kill('b');
    restartMachine(b);
    const waiting = await house.open('b');
    await until(waiting, () => stateOf(waiting, a) === 'alive');
    t.equal(waiting.standing(), 'waiting', 'it has met a, and c is not there');
    await house.kill('b');
    restartMachine(b);
    const trusted = await house.open('b', { trustDisk: true });
    t.equal(trusted.standing(), 'voting');
    // Two of three are a quorum: one is let in.
    const d = await house.join('d', a, 'a');
    t.ok(d.epoch().members.some(({ id }) => id === d.id));

    await house.kill('b');
    restartMachine(b);
    const back = await house.open('b');
    t.equal(back.standing(), 'waiting');
    await house.open('c');
    while (back.standing() === 'waiting') await pause(5);
    t.equal(back.standing(), 'voting', 'all others have answered');
    t.ok(house.isOneHistory());
  },
);

for (const stage of VOTER_CHANGE) {
  test(
    `a voter is killed after ${stage}, while one takes the place of another`,
    { timeout: 60_000 },
    async (t) => {
      const house = new House(t);
      const { a, b, d, left } = await house.killWhileVotersChange(stage);
      const back = await house.open('a');
      await left;
      await Promise.all([back, b, d].map((ring) => until(ring, () => isWhole(ring, 3, 3))));
      t.strictSame(new Set(b.voters().nodes), new Set([a.id, b.id, d.id]));
      t.ok(house.isOneHistory());
    },
  );
}
