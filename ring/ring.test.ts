import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'tap';
import { assemble } from './assembly.ts';
import { createCertificate } from './io/certificate.ts';
import { openKeyFile } from './io/keys.ts';
import { opener } from './lattice.testkit.ts';
import { Peers } from './io/peers.ts';
import { type Epoch, type MemberView, mintJoinToken, type Ring } from './index.ts';
import type { Clock } from '../spec/clock.ts';
import { nodeId } from '../spec/id.ts';
import { silentLog } from '../spec/log.ts';
import { systemClock } from '../spec/system-clock.ts';

async function until(ring: Ring, holds: () => boolean): Promise<void> {
  await new Promise<void>((done) => {
    const stop = ring.onChange(() => {
      if (!holds()) return;
      stop();
      done();
    });
    if (holds()) {
      stop();
      done();
    }
  });
}

/** A clock that takes so many seconds for one. */
function slowed(times: number): Clock {
  return {
    nowMs: () => systemClock.nowMs(),
    monotonicMs: () => systemClock.monotonicMs() / times,
    after: (delayMs, wake) => systemClock.after(delayMs * times, wake),
  };
}

const states = (ring: Ring): Record<string, string> =>
  Object.fromEntries(ring.members().map(({ name, state }) => [name, state]));

const isWhole = (ring: Ring, count: number): boolean =>
  ring.epoch().previous === undefined &&
  ring.epoch().members.length === count &&
  ring.members().every(({ state }) => state === 'alive');

test('three nodes: join, stop, return and leave', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  t.match(a.epoch(), { number: 1, lattice: a.lattice, members: [{ id: a.id }], voters: [a.id] });
  t.equal(fs.statSync(join(t.testdirName, 'a')).mode & 0o777, 0o700);
  for (const file of ['node.key', 'root.key', 'issuer.key', 'ring.db'])
    t.equal(fs.statSync(join(t.testdirName, 'a', file)).mode & 0o777, 0o600, file);

  const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
  const b = await open('b', { join: [a.address], token, zone: 'eu' });
  t.equal(b.epoch().previous, undefined, 'open() ends in a settled epoch');
  // By way of a node that is not the voter.
  const c = await open('c', { join: [b.address], token });
  await Promise.all([a, b, c].map((ring) => until(ring, () => isWhole(ring, 3))));
  const isTended = ({ voters, issuers }: Epoch): boolean => voters.length + issuers.length === 6;
  await Promise.all([a, b, c].map((ring) => until(ring, () => isTended(ring.epoch()))));
  const { number } = a.epoch();
  for (const ring of [b, c]) t.strictSame(ring.epoch(), a.epoch());
  t.strictSame(b.voters(), { nodes: [a.id, b.id, c.id], tolerated: 1 });
  t.equal(new Set([a, b, c].map(({ lattice }) => lattice)).size, 1);
  const shares = b.members().map(({ ownership }) => ownership);
  t.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-6, 'shares add up to 1');
  t.match(b.members()[0], { name: 'b', zone: 'eu', roles: ['storage', 'compute'], weight: 1 });
  t.strictSame(a.owners('key'), c.owners('key'));

  b.describe({ tier: 'userspace', types: ['order'], load: 0.5 });
  const seen = (ring: Ring): MemberView | undefined => ring.members().find(({ id }) => id === b.id);
  await Promise.all([a, c].map((ring) => until(ring, () => seen(ring)?.types !== undefined)));
  t.match(seen(c), { tier: 'userspace', types: ['order'], load: 0.5 });
  b.describe({ load: 0.75 });
  // It comes with a probe, and is no change of membership.
  while ([a, c].some((ring) => seen(ring)?.load !== 0.75)) await pause(5);
  t.throws(() => b.describe({ load: 2 }), { code: 'ERR_RING_OPTION' });

  const wasAt = b.address;
  await b.close();
  await Promise.all([a, c].map((ring) => until(ring, () => states(ring)['b'] === 'left')));
  t.notOk(a.isAlive(b.id));
  t.match(a.members().find(({ id }) => id === b.id)?.why, /^left: /);
  t.equal(a.epoch().number, number, 'I1: a stop changes no epoch');
  const call = (): Promise<unknown> => a.rpc.call(b.id, 'any', null, { timeoutMs: 5_000 });
  // The first may still find a link that is about to end.
  await t.rejects(call(), { code: /^ERR_RING_(TIMEOUT|UNREACHABLE)$/ });
  await t.rejects(call(), { code: 'ERR_RING_UNREACHABLE' });

  const again = await open('b', { listen: '127.0.0.2:0' });
  t.equal(again.id, b.id);
  t.not(again.address, wasAt, 'it comes back elsewhere');
  await Promise.all([a, again, c].map((ring) => until(ring, () => isWhole(ring, 3))));
  for (const ring of [a, c]) {
    const member = ring.members().find(({ id }) => id === b.id);
    t.equal(member?.address, again.address);
    // Higher still when a busy machine let somebody suspect it.
    t.ok((member?.incarnation ?? 0) >= 2);
    await ring.rpc.call(b.id, 'epoch.get', null, { timeoutMs: 5_000 });
  }
  t.equal(a.epoch().number, number);

  await again.leave();
  await Promise.all([a, c].map((ring) => until(ring, () => isWhole(ring, 2))));
  t.notOk(c.epoch().members.some(({ id }) => id === b.id));
  await t.rejects(open('b'), { code: 'ERR_RING_REMOVED' });
  await a.leave();
  await until(c, () => isWhole(c, 1));
  t.match(c.epoch(), { voters: [c.id], issuers: [{ node: c.id }] }, 'also the founder can leave');
  t.strictSame(c.voters(), { nodes: [c.id], tolerated: 0 });
  await t.rejects(c.leave(), { code: 'ERR_RING_LAST_VOTER' });
});

test(
  'a node started alone again never becomes a lattice of one',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'));
    await t.rejects(open('x', { join: [a.address], token: 'aec1.a.a' }), {
      code: 'ERR_RING_TOKEN_MALFORMED',
    });
    const b = await open('b', { join: [a.address], token });
    // The join is followed by changes: that it is settled, and that both vote.
    const bothVote = (ring: Ring): boolean => isWhole(ring, 2) && ring.epoch().issuers.length === 2;
    await Promise.all([a, b].map((ring) => until(ring, () => bothVote(ring))));
    const epoch = b.epoch();
    await a.close();
    await b.close();
    const alone = await open('b');
    t.strictSame(alone.epoch(), epoch);
    t.strictSame(
      alone
        .members()
        .map(({ name }) => name)
        .toSorted(),
      ['a', 'b'],
    );
    t.equal(alone.address, b.address, 'where it was before');
    await until(alone, () => states(alone)['a'] === 'dead');

    const back = await open('a');
    await Promise.all([alone, back].map((ring) => until(ring, () => isWhole(ring, 2))));
    t.pass('both find each other');
  },
);

test('a folder that was to join does not found', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  const token = mintJoinToken(join(t.testdirName, 'a'));
  const other = await open('other');
  await t.rejects(open('b', { join: [other.address], token }), {
    code: 'ERR_RING_TOKEN_WRONG_LATTICE',
  });
  await t.rejects(open('b'), { code: 'ERR_RING_JOIN_UNFINISHED' });
  const b = await open('b', { join: [a.address], token });
  t.equal(b.lattice, a.lattice);
});

test('tokens: none, used up, wrong roles and zone', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  const data = join(t.testdirName, 'a');
  const at = { join: [a.address] };
  await t.rejects(open('none', at), { code: 'ERR_RING_TOKEN_MISSING' });
  const token = mintJoinToken(data, { roles: ['compute'], zone: 'eu' });
  await t.rejects(open('zone', { ...at, token, zone: 'us' }), { code: 'ERR_RING_JOIN_REFUSED' });
  await t.rejects(open('role', { ...at, token, roles: ['storage'] }), {
    code: 'ERR_RING_JOIN_REFUSED',
    hint: /--role storage/,
  });
  const b = await open('b', { ...at, token });
  t.match(b.members()[0], { zone: 'eu', roles: ['compute'], weight: 0, ownership: 0 });
  t.strictSame(b.epoch().members.find(({ id }) => id === b.id)?.tokens, [], 'no weight, no tokens');
  t.equal(b.epoch().number, 2, 'nothing moves: settled at once');
  await t.rejects(open('c', { ...at, token }), { code: 'ERR_RING_TOKEN_USED' });
  await a.close();
  const back = await open('a');
  await t.rejects(open('c', { join: [back.address], token }), { code: 'ERR_RING_TOKEN_USED' });
  await t.rejects(open('b', { token: mintJoinToken(join(t.testdirName, 'a')) }), {
    code: 'ERR_DATA_LOCKED',
  });
  await b.leave();
  t.equal(back.epoch().members.length, 1);
  t.throws(() => mintJoinToken(join(t.testdirName, 'b')), { code: 'ERR_RING_NOT_ISSUER' });
  t.throws(() => mintJoinToken(data, { uses: 0 }), { code: 'ERR_RING_OPTION' });
  t.throws(() => mintJoinToken(data, { roles: ['ruler'] }), { code: 'ERR_RING_OPTION' });
});

test('an expired token is refused by the voter’s clock', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const later = { ...systemClock, nowMs: () => Date.now() + 2 * 3_600_000 };
  const a = await open('a', { clock: later });
  const token = mintJoinToken(join(t.testdirName, 'a'));
  await t.rejects(open('b', { join: [a.address], token }), { code: 'ERR_RING_TOKEN_EXPIRED' });
});

test('refusals of a start leave nothing open', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  await t.rejects(open('a'), { code: 'ERR_DATA_LOCKED' });
  await t.rejects(open('b', { listen: a.address }), { code: 'ERR_PORT_IN_USE', hint: /--listen/ });
  await t.rejects(open('b', { listen: 'nowhere' }), { code: 'ERR_ADDRESS' });
  await t.rejects(open('b', { name: 'no spaces' }), { code: 'ERR_RING_OPTION' });
  await t.rejects(open('b', { weight: 1, roles: ['compute'] }), { code: 'ERR_RING_OPTION' });
  const b = await open('b');
  await b.close();
  const token = mintJoinToken(join(t.testdirName, 'a'));
  await t.rejects(open('b', { token }), { code: 'ERR_LATTICE_MISMATCH' });
  await t.rejects(open('b', { join: [a.address] }), { code: 'ERR_LATTICE_MISMATCH' });
  fs.chmodSync(join(t.testdirName, 'b', 'node.key'), 0o644);
  await t.rejects(open('b'), { code: 'ERR_KEY_EXPOSED' });
  fs.chmodSync(join(t.testdirName, 'b', 'node.key'), 0o600);
  await (await open('b')).close();
});

test(
  'a node that dies while it joins is not admitted, and may ask again',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'));
    const options = { data: join(t.testdirName, 'b'), name: 'b', join: [a.address], token };
    // Admitted, and gone before it has taken part.
    const held = new AsyncDisposableStack();
    await assemble(options, held);
    await until(a, () => a.epoch().number === 2);
    t.equal(a.epoch().previous?.length, 1, 'the change is pending');
    await held.disposeAsync();
    await until(a, () => a.epoch().number === 3);
    t.match(a.epoch(), { previous: undefined, members: [{ id: a.id }] }, 'given up');

    await t.rejects(open('b'), { code: 'ERR_RING_REMOVED' });
    const b = await open('b', options);
    t.equal(b.epoch().members.length, 2, 'the token still counts for this node');
    await t.rejects(open('c', { join: [a.address], token }), { code: 'ERR_RING_TOKEN_USED' });
  },
);

test('what was written stays through joins, a stop and a leave', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  await a.kv.createBucket('things', { class: 'eventual', replicas: 3 });
  const keys = Array.from({ length: 200 }, (_, i) => `key ${i}`);
  const value = (key: string): Uint8Array => new TextEncoder().encode(`value of ${key}`);
  await Promise.all(keys.map((key) => a.kv.bucket('things').put(key, value(key))));
  const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 3 });
  const missing = async (ring: Ring): Promise<string[]> => {
    const found = await Promise.all(keys.map((key) => ring.kv.bucket('things').get(key)));
    return keys.filter(
      (key, i) => Buffer.compare(found[i]?.value ?? new Uint8Array(), value(key)) !== 0,
    );
  };
  const b = await open('b', { join: [a.address], token });
  const c = await open('c', { join: [a.address], token });
  const d = await open('d', { join: [b.address], token });
  t.strictSame(await missing(d), []);
  await c.close();
  t.strictSame(await missing(b), [], 'a quorum is left');
  // Whichever of them decides.
  await Promise.all([a, b, d].map((ring) => until(ring, () => states(ring)['c'] === 'left')));
  await t.rejects(b.leave(), { code: 'ERR_RING_CHANGE_REFUSED' }, 'c would have to take over');
  t.equal(a.epoch().previous, undefined);
  const again = await open('c');
  await Promise.all([a, b].map((ring) => until(ring, () => isWhole(ring, 4))));
  await b.leave();
  for (const ring of [a, again, d]) t.strictSame(await missing(ring), []);
});

test(
  'what was written while a node was down stays when the others leave',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const first = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
    const b = await open('b', { join: [first.address], token });
    const c = await open('c', { join: [first.address], token });
    await c.kv.createBucket('things', { class: 'eventual' });
    await first.close();
    const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`);
    for (const key of keys) await b.kv.bucket('things').put(key, new TextEncoder().encode(key));
    const a = await open('a');
    // Who asks whom to let it go is up to them.
    await Promise.all([a, b, c].map((ring) => until(ring, () => isWhole(ring, 3))));
    await c.leave();
    await until(b, () => isWhole(b, 2));
    await b.leave();
    const found = await Promise.all(keys.map((key) => a.kv.bucket('things').get(key)));
    t.strictSame(
      keys.filter((_, i) => found[i] === undefined),
      [],
    );
  },
);

test('three nodes come up without a warning, whoever is asked', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const warnings: unknown[] = [];
  const complain = (fields: object, message: string): unknown =>
    warnings.push({ ...fields, message });
  const log = { ...silentLog, warn: complain, error: complain };
  const a = await open('a', { log });
  const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
  const b = await open('b', { join: [a.address], token, log });
  await b.kv.createBucket('things', { class: 'eventual' });
  const c = await open('c', { join: [b.address], token, log });
  await Promise.all([a, b, c].map((ring) => until(ring, () => isWhole(ring, 3))));
  t.strictSame(warnings, []);
});

test('nodes may be started in any order, each asking another', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
  const freePort = await open('free-port');
  await Promise.all([a.close(), freePort.close()]);
  // Neither a nor b is there yet when c asks b.
  const bAt = freePort.address;
  const c = open('c', { join: [bAt], token });
  const b = open('b', { listen: bAt, join: [a.address], token });
  const again = await open('a');
  const rings = [again, await b, await c];
  await Promise.all(rings.map((ring) => until(ring, () => isWhole(ring, 3))));
  t.strictSame(again.epoch().members.length, 3);
});

test(
  'a node comes back while another’s join is pending and the voter is down',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
    const b = await open('b', { join: [a.address], token });
    await b.kv.createBucket('things', { class: 'eventual' });
    await using held = new AsyncDisposableStack();
    const options = { data: join(t.testdirName, 'c'), name: 'c', join: [a.address], token };
    await assemble(options, held);
    await until(b, () => b.epoch().previous !== undefined);
    await a.close();
    await b.close();
    const again = await open('b');
    t.equal(again.epoch().previous?.length, 2);

    await held.disposeAsync();
    const back = await open('a');
    const c = await open('c', options);
    await Promise.all([back, again, c].map((ring) => until(ring, () => isWhole(ring, 3))));
    await c.kv.bucket('things').put('key', new Uint8Array(1));
    t.ok(await again.kv.bucket('things').get('key'));
  },
);

test('a stranger is told nothing and believed nothing', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  const token = mintJoinToken(join(t.testdirName, 'a'));
  await open('b', { join: [a.address], token });
  const key = openKeyFile(join(t.testdirName, 'stranger.key'));
  for (const epoch of [1, 1_000]) {
    const calls: string[] = [];
    const stranger = new Peers({
      self: nodeId(key.publicKey),
      key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
      certificate: createCertificate(key),
      clock: systemClock,
      log: silentLog,
      hello: () => ({ lattice: a.lattice, epoch }),
      isMember: () => true,
      linkUp: () => {},
    });
    t.teardown(() => stranger.close());
    for (const method of ['epoch.get', 'epoch.offer'])
      stranger.serve(method, () => calls.push(method));
    // The second answer comes after whatever the first connection led to.
    for (let i = 0; i < 2; i++) {
      const asked = stranger.callAddress(a.address, 'join', {}, { timeoutMs: 5_000 });
      await t.rejects(asked, { code: 'ERR_RING_TOKEN_MISSING' });
    }
    await stranger.close();
    t.strictSame(calls, [], `it says that it is in epoch ${epoch}`);
  }
});

test(
  'a node leaves though nobody tells it, and the founder dies over it',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 3 });
    const join3 = { join: [a.address], token };
    const [b, c, d] = await Promise.all([open('b', join3), open('c', join3), open('d', join3)]);
    await until(d, () => isWhole(d, 4) && d.epoch().voters.length === 3);
    // Nobody tells d that it is out.
    d.rpc.serve('epoch.offer', () => null);
    const left = d.leave();
    await until(a, () => a.epoch().previous !== undefined);
    await a.close();
    // What a would take over by that, it must have first.
    const back = await open('a');
    await left;
    await Promise.all([back, b, c].map((ring) => until(ring, () => isWhole(ring, 3))));
    t.notOk(b.epoch().members.some(({ id }) => id === d.id));
  },
);

test('writing and reading go on while nodes join and leave', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  await a.kv.createBucket('things', { class: 'eventual' });
  const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
  const over = new AbortController();
  let writes = 0;
  const client = async (key: string): Promise<void> => {
    const things = a.kv.bucket('things');
    for (; !over.signal.aborted; writes++) {
      await things.put(key, new Uint8Array(1));
      await things.get(key);
    }
  };
  const clients = Promise.all(['k1', 'k2', 'k3'].map(client));
  const changes = async (): Promise<void> => {
    const b = await open('b', { join: [a.address], token });
    const c = await open('c', { join: [a.address], token });
    await c.leave();
    await b.leave();
  };
  await Promise.race([changes(), clients]);
  over.abort();
  await clients;
  t.ok(writes > 0);
});

test('nodes that join at the same time come with few changes', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  // On a busy machine they come one by one: it waits for company for longer than that takes.
  const a = await open('a', { clock: slowed(8) });
  const at = { join: [a.address], token: mintJoinToken(join(t.testdirName, 'a'), { uses: 16 }) };
  // Of such as keep nothing each change is whole at once: only company makes them few.
  const roles = ['compute'];
  const joined = await Promise.all(
    Array.from({ length: 16 }, (_, i) => open(`n${i}`, { ...at, roles })),
  );
  await Promise.all([a, ...joined].map((ring) => until(ring, () => isWhole(ring, 17))));
  const { number } = a.epoch();
  t.ok(number <= 5, `epoch ${number}, and not one for each of them`);
});
