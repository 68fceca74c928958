/** What strangers and a hostile member may try on a lattice: its epoch, its view and its storage stay right. */
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { type Test, test } from 'tap';
import { WebSocket } from 'ws';
import { encode } from './core/codec.ts';
import { decodeFrame } from './core/frame.ts';
import type { SwimMessage, Update } from './core/swim-message.ts';
import { toWire } from './core/swim-wire.ts';
import { joinMessage, parseTokenText } from './core/token.ts';
import { mintJoinToken, Ring, type RingOptions } from './index.ts';
import { createCertificate } from './io/certificate.ts';
import { keyFromSeed, readKeyFile, type SigningKey } from './io/keys.ts';
import { clientHello } from './io/peers.testkit.ts';
import { nodeId } from '../spec/id.ts';

/** Loopback has many addresses: attackers are not where honest nodes are. */
const ELSEWHERE = '127.0.0.66';
const swim = { probeIntervalMs: 200, ackTimeoutMs: 100, reconnectIntervalMs: 300 };

function opener(t: Test): (name: string, options?: Partial<RingOptions>) => Promise<Ring> {
  const folder = t.testdir();
  const rings: Ring[] = [];
  t.teardown(() => Promise.all(rings.map((ring) => ring.close())));
  return async (name, options) => {
    const ring = await Ring.open({ data: join(folder, name), name, swim, ...options });
    rings.push(ring);
    return ring;
  };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(2);
}

const stateOf = (ring: Ring, of: Ring): string | undefined =>
  ring.members().find(({ id }) => id === of.id)?.state;
const allAlive = (...rings: Ring[]): boolean =>
  rings.every((ring) => rings.every((of) => stateOf(ring, of) === 'alive'));

const credentials = (key: SigningKey): { key: string; cert: string } => ({
  key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
  cert: createCertificate(key),
});

/** A connected node that keeps no rules. */
async function intruder(t: Test, address: string, key: SigningKey): Promise<WebSocket> {
  const socket = new WebSocket(`wss://${address}/control`, 'aether.1', {
    ...credentials(key),
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

const send = (socket: WebSocket, messages: unknown[]): void =>
  socket.send(Buffer.concat([Buffer.from([1]), encode(messages)]));

async function ask(socket: WebSocket, method: string, body: unknown): Promise<unknown> {
  send(socket, [[0, 7, method, body]]);
  for (;;) {
    const [data] = (await once(socket, 'message')) as [Buffer];
    for (const message of decodeFrame(data)) {
      if (message.kind === 'refusal') return message.error.code;
      if (message.kind === 'answer') return message.body;
    }
  }
}

function gossip(epoch: number, updates: Update[]): unknown {
  const message: SwimMessage = { kind: 'gossip', incarnation: 1, updates };
  return [3, 'swim', toWire(epoch, message)];
}

/** Four nodes, and the key of one, which an attacker has. */
async function lattice(
  t: Test,
): Promise<{ a: Ring; b: Ring; c: Ring; key: SigningKey; open: ReturnType<typeof opener> }> {
  const open = opener(t);
  const a = await open('a');
  const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 3 });
  const b = await open('b', { join: [a.address], token });
  const c = await open('c', { join: [a.address], token });
  const taken = await open('taken', { join: [a.address], token, roles: ['compute'] });
  await until(() => allAlive(a, b, c, taken));
  await until(() => [a, b, c].every((ring) => ring.voters().nodes.length === 3));
  return { a, b, c, key: readKeyFile(join(t.testdirName, 'taken', 'node.key')), open };
}

test('gossip that a healthy node is dead or gone is refuted', { timeout: 60_000 }, async (t) => {
  const { a, b, c, key } = await lattice(t);
  const { number } = a.epoch();
  const liar = await intruder(t, a.address, key);
  const heard: string[] = [];
  a.onChange((change) => {
    if (change.kind === 'member' && change.member.id === b.id) heard.push(change.member.state);
  });
  for (const state of ['suspect', 'dead', 'left'] as const) {
    const { incarnation } = a.members().find(({ id }) => id === b.id) ?? { incarnation: 0 };
    const before = heard.splice(0);
    t.notOk(before.includes('dead'));
    send(liar, [gossip(number, [{ id: b.id, state, incarnation }])]);
    // One that says that another is dead has made it suspect.
    await until(() => heard.includes(state === 'dead' ? 'suspect' : state));
    await until(() => allAlive(a, b, c));
    const now = a.members().find(({ id }) => id === b.id)?.incarnation ?? 0;
    t.ok(now > incarnation, `${state}: incarnation ${now} after ${incarnation}`);
  }
  t.notOk(heard.includes('dead'));
  t.strictSame(a.epoch(), b.epoch());
  t.equal(a.epoch().number, number, 'no epoch comes of it');
  await a.rpc.call(b.id, 'epoch.get', null, { timeoutMs: 5_000 });
});

test(
  'an old incarnation sent again, or a forged address, does not stay',
  { timeout: 60_000 },
  async (t) => {
    const { a, b, c, key } = await lattice(t);
    const { number } = a.epoch();
    const liar = await intruder(t, a.address, key);
    const before = a.members().find(({ id }) => id === b.id);
    const { incarnation = 0, address } = before ?? {};
    const facts = (version: number, at: number): Update['facts'] & {} => ({
      incarnation: at,
      version,
      addresses: ['127.0.0.66:1'],
      protocol: [1, 1],
      certificateEpoch: 1,
    });
    const claim = (at: number, version: number): Update => ({
      id: b.id,
      state: 'alive',
      incarnation: at,
      facts: facts(version, at),
    });
    // An unknown call is answered after what came before it.
    send(liar, [gossip(number, [claim(incarnation - 1, 9_000)])]);
    t.equal(await ask(liar, 'none', null), 'ERR_RING_UNKNOWN_METHOD');
    t.match(
      a.members().find(({ id }) => id === b.id),
      { address, incarnation },
      'it is older',
    );

    send(liar, [gossip(number, [claim(incarnation, 9_000)])]);
    await until(() => (a.members().find(({ id }) => id === b.id)?.incarnation ?? 0) > incarnation);
    await until(() => a.members().find(({ id }) => id === b.id)?.address === address);
    await until(() => allAlive(a, b, c));
    await a.rpc.call(b.id, 'epoch.get', null, { timeoutMs: 5_000 });
  },
);

test('who is no member is not heard in gossip', { timeout: 60_000 }, async (t) => {
  const { a, b, c } = await lattice(t);
  const { number } = a.epoch();
  const liar = await intruder(t, a.address, keyFromSeed(new Uint8Array(32).fill(5)));
  const heard: string[] = [];
  a.onChange((change) => {
    if (change.kind === 'member' && change.member.state !== 'alive') heard.push(change.member.name);
  });
  const lies = [b, c].map(({ id }): Update => ({ id, state: 'left', incarnation: 1_000 }));
  send(liar, [gossip(number, lies)]);
  t.equal(await ask(liar, 'epoch.get', null), 'ERR_RING_NOT_MEMBER');
  t.strictSame(
    heard.filter((name) => name !== 'taken'),
    [],
  );
  t.ok(allAlive(a, b, c));
});

test('a request to join is good for its node alone', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  const { chain, seed } = parseTokenText(mintJoinToken(join(t.testdirName, 'a'), { uses: 9 }));
  const [honest, thief] = [1, 2].map((fill) => keyFromSeed(new Uint8Array(32).fill(fill)));
  if (honest === undefined || thief === undefined) throw new Error('no keys');
  const facts = { node: nodeId(honest.publicKey), name: 'x', address: '127.0.0.1:1', chain };
  const message = joinMessage(facts);
  const request = {
    ...facts,
    roles: ['compute'],
    proof: keyFromSeed(seed).sign(message),
    consent: honest.sign(message),
  };
  const socket = await intruder(t, a.address, thief);
  const { number } = a.epoch();
  t.equal(await ask(socket, 'join', request), 'ERR_RING_IDENTITY', 'sent again by another');
  const renamed = { ...request, node: nodeId(thief.publicKey) };
  t.equal(await ask(socket, 'join', renamed), 'ERR_RING_TOKEN_PROOF', 'with its own name in it');
  const { roles: _, ...plain } = request;
  const own = await intruder(t, a.address, honest);
  t.equal(await ask(own, 'join', { ...plain, weight: 1_000 }), 'ERR_RING_TOKEN_PROOF', 'changed');
  t.equal(await ask(socket, 'join.relay', request), 'ERR_RING_NOT_MEMBER', 'past the door');
  t.equal(a.epoch().number, number);
});

test(
  'ten thousand who ask to join without a token or with a bad one',
  { timeout: 120_000 },
  async (t) => {
    const open = opener(t);
    const limits = {
      handshakeBurstPerIp: 400,
      handshakesPerIpPerSecond: 1,
      strangerBurst: 1_000,
    };
    const a = await open('a', { limits });
    const elsewhere = await open('elsewhere');
    const token = mintJoinToken(join(t.testdirName, 'a'));
    const wrong = parseTokenText(mintJoinToken(join(t.testdirName, 'elsewhere'))).chain;
    const forged = parseTokenText(token).chain.slice();
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    await a.kv.createBucket('things', { class: 'eventual' });
    const { number } = a.epoch();
    const codes = new Map<string, number>();
    const count = (code: string): void => void codes.set(code, (codes.get(code) ?? 0) + 1);

    const hello = await clientHello();
    const sybil = async (i: number): Promise<void> => {
      // To speak TLS to the end costs the attacker more than the node.
      if (i % 20 !== 0) return count(await knock(a.address, hello));
      const key = keyFromSeed(
        new Uint8Array(32)
          .fill(9)
          .with(0, i)
          .with(1, i >> 8),
      );
      const chains = [undefined, wrong, forged, new Uint8Array(4_000).fill(0x91)];
      count(await joinWith(a.address, key, chains[(i / 20) % chains.length]));
    };
    let next = 0;
    const attack = Array.from({ length: 64 }, async () => {
      while (next < 10_000) await sybil(next++);
    });
    const bucket = a.kv.bucket('things');
    for (let i = 0; i < 50; i++) await bucket.put(`key ${i}`, new Uint8Array([i]));
    const b = await open('b', { join: [a.address], token });
    t.strictSame((await bucket.get('key 7'))?.value, Buffer.from([7]));
    await Promise.all(attack);
    t.comment(codes);
    t.equal(
      [...codes.values()].reduce((sum, each) => sum + each, 0),
      10_000,
    );
    t.strictSame(
      a.epoch().members.map(({ id }) => id),
      [a.id, b.id],
      'only who has a token is in',
    );
    t.ok(a.epoch().number <= number + 3, 'it comes, is whole, and votes');
    for (const code of codes.keys())
      t.match(code, /^(heard|not heard|closed|ERR_RING_TOKEN_\w+|ERR_RING_BUSY)$/);
    const counts = a.transport();
    t.ok(counts.refused.overRate > 9_000, `${counts.refused.overRate} were not heard`);
    t.ok(counts.received.guest < 1_000, `${counts.received.guest} messages of guests`);
    t.ok(counts.open.guests <= 128);
    t.ok(elsewhere.epoch().number === 1);
  },
);

test(
  'who has a token gets in while strangers are always at the door',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a', { listen: '127.0.0.2:0', limits: { strangerBurst: 1 } });
    const token = mintJoinToken(join(t.testdirName, 'a'));
    const hello = await clientHello();
    const over = new AbortController();
    const flood = Array.from({ length: 200 }, async () => {
      while (!over.signal.aborted) {
        await knock(a.address, hello);
        await pause(20);
      }
    });
    await until(() => a.transport().open.handshakes >= 100);
    const b = await open('b', { join: [a.address], token });
    t.ok(a.transport().open.handshakes >= 100, 'they still are');
    t.equal(a.epoch().members.length, 2);
    over.abort();
    await b.close();
    await a.close();
    await Promise.all(flood);
  },
);

/** Says what begins a TLS handshake. @returns whether the node answers, `heard` or `not heard`. */
async function knock(address: string, hello: Uint8Array): Promise<string> {
  const socket = connectTcp(from(address));
  socket.on('error', () => {}).write(hello);
  const answer = await new Promise<string>((done) => {
    socket.once('data', () => done('heard')).once('close', () => done('not heard'));
  });
  socket.destroy();
  return answer;
}

function from(address: string): { host: string; port: number; localAddress: string } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port), localAddress: ELSEWHERE };
}

/** @returns the code of the refusal, or `closed`. */
async function joinWith(
  address: string,
  key: SigningKey,
  chain: Uint8Array | undefined,
): Promise<string> {
  const tls = connectTls({ ...credentials(key), ...from(address), rejectUnauthorized: false });
  tls.on('error', () => {});
  const socket = new WebSocket(`wss://${address}/control`, 'aether.1', {
    createConnection: () => tls,
  });
  const closed = new Promise<string>((done) => {
    socket.on('error', () => done('closed')).on('close', () => done('closed'));
  });
  const asked = (async () => {
    await once(socket, 'open').catch(() => {});
    if (socket.readyState !== WebSocket.OPEN) return closed;
    const node = nodeId(key.publicKey);
    const proof = new Uint8Array(64);
    const rest = { node, name: 'x', address: '127.0.0.1:1', proof, consent: proof };
    return String(await ask(socket, 'join', chain === undefined ? {} : { ...rest, chain }));
  })();
  const code = await Promise.race([asked.catch(() => closed), closed]);
  socket.terminate();
  return code;
}
