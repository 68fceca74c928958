/** Revoking while a change of the epoch is under way: who is revoked is out, and the change ends. */
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import type { WebSocket } from 'ws';
import { systemClock } from '../spec/system-clock.ts';
import { systemRandom } from '../spec/system-random.ts';
import { silentLog } from '../spec/log.ts';
import { House, VOTER_CHANGE, isWhole, until } from './house.testkit.ts';
import { mintJoinToken, type Ring } from './index.ts';
import { createCertificate } from './io/certificate.ts';
import { dial } from './io/dial.ts';
import { keyFromSeed, readKeyFile } from './io/keys.ts';
import type { Peers } from './io/peers.ts';
import { RingStore } from './io/ring-store.ts';
import { askToJoin } from './join.ts';
import { CALL, impostor } from './lattice.testkit.ts';

/** A newcomer that answers and takes no part: it holds up what it comes with, and every change that waits for it. */
interface Idler {
  id: string;
  peers: Peers;
  /** Says to these nodes that its part is whole, which it is not, until that is so. */
  claims(rings: Ring[], holds: () => boolean): Promise<void>;
  /** Ends as by a kill. */
  stop(): Promise<void>;
}

async function idler(t: Test, house: House, through: Ring, minter: string): Promise<Idler> {
  const key = keyFromSeed(new Uint8Array(32).fill(7));
  const listening = impostor(t, key, through.lattice);
  const { host, port } = await listening.listen({ host: '127.0.0.1', port: 0 });
  const facts = { node: listening.self, name: 'idler', address: `${host}:${port}` };
  const { certificate } = await askToJoin(
    listening,
    () => Promise.resolve([through.address]),
    mintJoinToken(house.at(minter)),
    key,
    facts,
    { clock: systemClock, random: systemRandom, log: silentLog, patienceMs: 60_000 },
  );
  const peers = impostor(t, key, through.lattice, certificate);
  const claim = async (rings: Ring[]): Promise<void> => {
    // Who gave it the certificate that it has may be out.
    const issuer = rings.find((ring) => ring.epoch().issuers.some(({ node }) => node === ring.id));
    const asked = { nowMs: systemClock.nowMs() };
    const renewed = await peers.call(issuer?.id ?? '', 'certificate.renew', asked, CALL);
    for (const ring of rings) {
      await peers.call(ring.id, 'certificate.show', renewed, CALL);
      peers.cast(ring.id, 'epoch.done', ring.epoch().number);
    }
  };
  return {
    id: listening.self,
    peers,
    claims: async (rings, holds) => {
      for (const { id, address } of rings) peers.setAddress(id, address);
      while (!holds()) {
        // Silent as a member it is taken for dead, and its links end, maybe in the middle of a call.
        await claim(rings).catch(() => {});
        await pause(20);
      }
    },
    stop: async () => {
      await peers.close();
      await listening.close();
    },
  };
}

const isPending = (ring: Ring): boolean => ring.epoch().previous !== undefined;
const has = (ring: Ring, id: string): boolean =>
  ring.epoch().members.some((member) => member.id === id);

/** All of these use one epoch, in which nothing is pending and the node has no part, nor is it let in any more. */
async function isOut(t: Test, house: House, id: string, ...others: Ring[]): Promise<void> {
  const voters = Math.min(3, others.length);
  await Promise.all(
    others.map((ring) => until(ring, () => !has(ring, id) && isWhole(ring, others.length, voters))),
  );
  t.equal(new Set(others.map((ring) => ring.epoch().number)).size, 1, 'one epoch');
  for (const ring of others) {
    t.strictSame(ring.epoch().revoked, [id]);
    t.notOk(ring.members().some((member) => member.id === id));
  }
  t.ok(house.isOneHistory());
}

/** Epochs, in order, as they were used. */
function history(house: House): ReturnType<Ring['epoch']>[] {
  return [...house.epochs]
    .toSorted(([a], [b]) => a - b)
    .flatMap(([, [contents]]) =>
      contents === undefined ? [] : [JSON.parse(contents) as ReturnType<Ring['epoch']>],
    );
}

test(
  'a newcomer is revoked before it is in: its change is given up',
  { timeout: 90_000 },
  async (t) => {
    const house = new House(t);
    const [a, b, c] = await house.lattice('a', 'b', 'c');
    const newcomer = await idler(t, house, b, 'a');
    await Promise.all([a, b, c].map((ring) => until(ring, () => has(ring, newcomer.id))));
    t.ok([a, b, c].every(isPending), 'it waits for the newcomer');
    const waiting = house.join('d', b, 'b');
    await c.authority.revoke(newcomer.id);
    t.notOk(isPending(c));
    const d = await waiting;
    await isOut(t, house, newcomer.id, a, b, c, d);
    const after = history(house).filter(({ revoked }) => revoked.length > 0);
    t.ok(after.length > 0);
    t.notOk(
      after.some(({ members }) => members.some(({ id }) => id === newcomer.id)),
      'it is never a member that is revoked',
    );
    t.notOk(after.some(({ uses }) => uses.some(({ node }) => node === newcomer.id)));
  },
);

test(
  'a node is revoked that was to take over a part: who leaves is let go',
  { timeout: 90_000 },
  async (t) => {
    const house = new House(t);
    const [a, b, c, d] = await house.lattice('a', 'b', 'c', 'd');
    const keys = Array.from({ length: 30 }, (_, i) => `key ${i}`);
    await a.kv.createBucket('things', { class: 'eventual', replicas: 3 });
    const things = (ring: Ring): ReturnType<Ring['kv']['bucket']> => ring.kv.bucket('things');
    for (const key of keys) await things(a).put(key, Buffer.from(key));
    const holder = await idler(t, house, b, 'a');
    await until(a, () => has(a, holder.id));
    const isSettled = (ring: Ring): boolean => isWhole(ring, 5, 3);
    await holder.claims([a, b, c], () => [a, b, c, d].every(isSettled));

    const left = d.leave();
    await Promise.all(
      [a, b, c].map((ring) => until(ring, () => isPending(ring) && !has(ring, d.id))),
    );
    // The others take over meanwhile.
    while (String(b.pending()?.awaited) !== holder.id) await pause(20);
    t.match(b.pending(), { leaving: [d.id] });
    await b.authority.revoke(holder.id);
    t.ok(isPending(b), 'it is out before the change is over');
    await t.rejects(holder.peers.call(b.id, 'kv.read', null, CALL));
    await left;
    await isOut(t, house, holder.id, a, b, c);
    for (const key of keys) {
      const found = await things(c).get(key);
      t.equal(Buffer.from(found?.value ?? []).toString(), key);
    }
  },
);

test(
  'links of membership to a revoked node end, and it makes no others',
  { timeout: 60_000 },
  async (t) => {
    const house = new House(t);
    const [a, b, c, d] = await house.lattice('a', 'b', 'c', 'd');
    const others = [a, c, d];
    // Somebody has its key and its certificate, and says nothing.
    const key = readKeyFile(join(house.at('b'), 'node.key'));
    const onDisk = (): RingStore => new RingStore(join(house.at('b'), 'ring.db'));
    let folder = onDisk();
    while (!others.every(({ id }) => folder.swimAddresses().has(id))) {
      folder.close();
      await pause(20);
      folder = onDisk();
    }
    const addresses = folder.swimAddresses();
    const certificate = folder.nodeCertificate() as Uint8Array;
    folder.close();
    const link = async (to: Ring): Promise<WebSocket> => {
      const { socket } = await dial(
        {
          address: addresses.get(to.id) ?? '',
          node: to.id,
          key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
          certificate: createCertificate(key),
          hello: { lattice: a.lattice, epoch: 1, certificate },
          timeoutMs: CALL.timeoutMs,
          signal: AbortSignal.timeout(CALL.timeoutMs),
        },
        'swim',
      );
      t.teardown(() => socket.terminate());
      return socket;
    };
    const links = await Promise.all(others.map(link));
    const closed = links.map((socket) => once(socket, 'close'));
    await a.authority.revoke(b.id);
    await Promise.all(closed);
    for (const ring of others)
      await t.rejects(link(ring), { code: /NOT_MEMBER|REVOKED/ }, ring.name);
    await isOut(t, house, b.id, ...others);
  },
);

for (const ending of ['comes in', 'dies'] as const) {
  test(
    `the voter that sees to a join is killed and revoked while that is pending: the newcomer ${ending}`,
    { timeout: 90_000 },
    async (t) => {
      const house = new House(t);
      const [a, b, c, d] = await house.lattice('a', 'b', 'c', 'd');
      const [first = ''] = b.epoch().voters;
      const lost = [a, b, c, d].find(({ id }) => id === first) as Ring;
      const others = [a, b, c, d].filter((ring) => ring !== lost);
      const [one, two] = others as [Ring, Ring, Ring];
      const newcomer = await idler(t, house, one, lost.name);
      await Promise.all(others.map((ring) => until(ring, () => has(ring, newcomer.id))));
      await house.kill(lost.name);
      await two.authority.revoke(lost.id);
      t.ok(isPending(two), 'the join is as it was');
      t.ok(has(two, newcomer.id));
      t.ok(two.epoch().revoked.includes(lost.id));
      // Whoever has its key now.
      const thief = impostor(t, readKeyFile(join(house.at(lost.name), 'node.key')), one.lattice);
      await Promise.all(others.map((ring) => until(ring, () => ring.epoch().revoked.length === 1)));
      for (const ring of others)
        await t.rejects(thief.callAddress(ring.address, 'epoch.get', null, CALL), {
          code: 'ERR_RING_REVOKED',
        });
      if (ending === 'dies') {
        await newcomer.stop();
        await isOut(t, house, lost.id, ...others);
        t.notOk(has(one, newcomer.id));
        return;
      }
      // Then the lost one's part is given to others, for which the newcomer would have to have what it owns.
      const isSo = (ring: Ring): boolean => !has(ring, lost.id) && has(ring, newcomer.id);
      await newcomer.claims(others, () => others.every(isSo));
      t.ok(
        history(house).some(
          ({ members, previous }) =>
            previous === undefined && members.some(({ id }) => id === newcomer.id),
        ),
        'it is in',
      );
      t.ok(house.isOneHistory());
    },
  );
}

for (const stage of VOTER_CHANGE) {
  test(
    `a voter is killed after ${stage} and revoked, while one takes the place of another`,
    { timeout: 90_000 },
    async (t) => {
      const house = new House(t);
      const { a, b, d, left } = await house.killWhileVotersChange(stage);
      await b.authority.revoke(a.id);
      await left;
      await isOut(t, house, a.id, b, d);
      t.strictSame(new Set(b.voters().nodes), new Set([b.id, d.id]));
    },
  );
}

test(
  'of two voters that revoke each other one is out, and not both',
  { timeout: 90_000 },
  async (t) => {
    const house = new House(t);
    const [a, b, c, d] = await house.lattice('a', 'b', 'c', 'd');
    const [one, two] = [a, b, c, d].filter(({ id }) => c.epoch().voters.includes(id)) as [
      Ring,
      Ring,
    ];
    const others = [a, b, c, d].filter((ring) => ring !== one && ring !== two) as [Ring, Ring];
    // The one that is out may wait for an answer in vain, or hear why it has none.
    const asked = [one.authority.revoke(two.id), two.authority.revoke(one.id)];
    await Promise.any(asked);
    for (const each of asked) each.catch(() => {});
    await until(others[0], () => others[0].epoch().revoked.length > 0);
    const stays = others[0].epoch().revoked.includes(one.id) ? two : one;
    const out = stays === one ? two : one;
    await isOut(t, house, out.id, stays, ...others);
  },
);
