/** What strangers and members may try on a node's sockets. Honest calls go on, and what is refused is counted. */
import { once } from 'node:events';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { type Test, test } from 'tap';
import { WebSocket } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { originOf } from './address.ts';
import { createCertificate } from './certificate.ts';
import type { Peers } from './peers.ts';
import {
  clientHello,
  frame,
  hostPort,
  key,
  open,
  type Opened,
  pair,
  pem,
  raw,
  TIMEOUT,
} from './peers.testkit.ts';

/** Loopback has many addresses: attackers are not where honest nodes are. */
const ELSEWHERE = '127.0.0.66';
/** No bucket fills again: what is admitted is exactly the burst. */
const stillClock: Clock = { ...systemClock, monotonicMs: () => 0 };

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(1);
}

/** `once` would take an error on the way for the end. */
const closedOf = (socket: Socket): Promise<void> =>
  new Promise((done) => void socket.once('close', () => done()));

function stranger(t: Test, address: string, from: string = ELSEWHERE): Socket {
  const { host, port } = hostPort(address);
  const socket = connectTcp({ host, port, localAddress: from });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  return socket;
}

/** A member or guest that keeps no rules, connected. */
async function intruder(t: Test, address: string, number: number): Promise<WebSocket> {
  const socket = raw(address, number);
  socket.on('error', () => {});
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

const echoes = async (caller: Peers, { self }: Peers, count = 20): Promise<number> => {
  let right = 0;
  for (let i = 0; i < count; i++) if ((await caller.call(self, 'echo', i, TIMEOUT)) === i) right++;
  return right;
};

test('a handshake that stops half-way, or comes a byte at a time, ends at the deadline', async (t) => {
  const [one, two] = await pair(t, { limits: { handshakeTimeoutMs: 500 } });
  one.peers.serve('echo', (body) => body);
  const hello = await clientHello();

  const silent = stranger(t, one.address);
  const half = stranger(t, one.address);
  half.write(hello.subarray(0, hello.length >> 1));
  const dribbling = stranger(t, one.address);
  let sent = 0;
  const drip = setInterval(() => dribbling.write(hello.subarray(sent, ++sent)), 20);
  t.teardown(() => clearInterval(drip));
  const upgrading = connectTls({
    ...hostPort(one.address),
    key: pem(key(3)),
    cert: createCertificate(key(3)),
    rejectUnauthorized: false,
  });
  upgrading.on('error', () => {});
  upgrading.write('GET /control HTTP/1.1\r\nhost: x\r\nupgrade: webso');
  const all = [silent, half, dribbling, upgrading];
  const closed = Promise.all(all.map(closedOf));
  await until(() => one.peers.counts().open.handshakes >= all.length);
  t.equal(await echoes(two.peers, one.peers), 20, 'honest calls go on');
  await closed;
  await until(() => one.peers.counts().open.handshakes === 0);
  t.match(one.peers.counts(), { refused: { late: 4 }, open: { members: 1, guests: 0 } });
});

test('who answers a call for a connection a byte at a time is not waited for', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    const drip = setInterval(() => socket.write(Buffer.from([0x16])), 20);
    socket.once('close', () => clearInterval(drip));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const { peers } = await open(t, 2, { limits: { handshakeTimeoutMs: 200 } });
  const greeted = peers.greet(`127.0.0.1:${port}`);
  await t.rejects(greeted, { code: 'ERR_RING_UNREACHABLE' });
});

test('an address that connects again and again is not heard above its rate', async (t) => {
  const [one, two] = await pair(t, {
    clock: stillClock,
    // None of them is late, however long the test takes.
    limits: { handshakeBurstPerIp: 50, handshakesPerIpMax: 20, handshakeTimeoutMs: 60_000 },
  });
  one.peers.serve('echo', (body) => body);
  for (let wave = 1; wave <= 10; wave++) {
    for (let i = 0; i < 200; i++) stranger(t, one.address);
    if (wave === 5) t.equal(await echoes(two.peers, one.peers), 20, 'from elsewhere all is well');
    await until(() => one.peers.counts().refused.overRate === wave * 200 - 50);
  }
  const [error] = (await once(stranger(t, one.address), 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'ECONNRESET', 'TCP says no farewell');
  t.match(one.peers.counts(), { refused: { gaveWay: 30 }, open: { handshakes: 20, members: 1 } });
});

test('handshakes of strangers begin in turn; members do not wait for them', async (t) => {
  let nowMs = 0;
  const clock = { ...systemClock, monotonicMs: () => nowMs };
  const limits = { strangersPerSecond: 10, strangerBurst: 1 };
  const [one, two] = await pair(t, { clock, limits });
  one.peers.serve('echo', (body) => body);
  const hello = await clientHello();
  const heard: string[] = [];
  const knock = (name: string, from: string): void => {
    stranger(t, one.address, from)
      .once('data', () => heard.push(name))
      .write(hello);
  };
  knock('flood', ELSEWHERE);
  await until(() => heard.length === 1);
  for (let i = 0; i < 30; i++) knock('flood', ELSEWHERE);
  await until(() => one.peers.counts().open.handshakes === 31);
  knock('quiet', '127.0.0.70');
  await until(() => one.peers.counts().open.handshakes === 32);
  t.equal(await echoes(two.peers, one.peers), 20, 'it is where a member is');
  t.strictSame(heard, ['flood']);
  for (let count = 2; count <= 3; count++) {
    nowMs += 100;
    await until(() => heard.length === count);
  }
  t.strictSame(heard, ['flood', 'flood', 'quiet']);
});

test('an address of members from which others come is no better than an unknown one', async (t) => {
  let nowMs = 0;
  const clock = { ...systemClock, monotonicMs: () => nowMs };
  const limits = {
    handshakeBurstPerIp: 4,
    handshakesPerIpPerSecond: 100_000,
    strangersPerSecond: 10,
    strangerBurst: 1,
  };
  const [one, two] = await pair(t, { clock, limits });
  one.peers.serve('echo', (body) => body);
  const hello = await clientHello();
  let heard = 0;
  const knock = (from: string): Socket => {
    nowMs++;
    const socket = stranger(t, one.address, from).once('data', () => heard++);
    socket.write(hello);
    return socket;
  };
  knock(ELSEWHERE);
  await until(() => heard === 1);
  t.equal(await echoes(two.peers, one.peers), 20);
  for (let i = 0; i < 10; i++) {
    nowMs++;
    (await intruder(t, one.address, 3)).terminate();
  }
  for (let i = 0; i < 5; i++) {
    const socket = knock('127.0.0.1');
    await until(() => heard === 2 + i);
    socket.destroy();
    await until(() => one.peers.counts().open.handshakes === 1);
  }
  knock('127.0.0.1');
  await until(() => one.peers.counts().open.handshakes === 2);
  t.equal(await echoes(two.peers, one.peers), 20, 'links that are open go on');
  t.equal(heard, 6, 'it waits for its turn');
  nowMs += 100;
  await until(() => heard === 7);
});

test('when handshakes fill up, the flooding address gives way', async (t) => {
  const limits = { handshakesMax: 8, handshakesPerIpMax: 8 };
  const { peers, address } = await open(t, 1, { limits });
  const quiet = stranger(t, address, '127.0.0.70');
  await until(() => peers.counts().open.handshakes === 1);
  for (let i = 0; i < 50; i++) stranger(t, address);
  await until(() => peers.counts().refused.gaveWay === 43);
  t.equal(peers.counts().open.handshakes, 8);
  t.equal(quiet.closed, false);
  t.equal(peers.counts().refused.late, 0);
});

test('a recorded handshake opens nothing when it is sent again', async (t) => {
  const one = await open(t, 1);
  let heard = 0;
  let up = 0;
  one.peers.serve('count', () => ++heard);
  const recorded: Buffer[] = [];
  const proxy = createServer((near) => {
    const far = connectTcp(hostPort(one.address));
    near.on('data', (chunk: Buffer) => recorded.push(chunk));
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on('error', () => near.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.teardown(() => proxy.close());
  const two = await open(t, 2, { linkUp: () => up++ });
  two.peers.setAddress(one.peers.self, `127.0.0.1:${(proxy.address() as { port: number }).port}`);
  t.equal(await two.peers.call(one.peers.self, 'count', null, TIMEOUT), 1);
  await two.peers.close();
  await until(() => one.peers.counts().open.members === 0);

  const { received } = one.peers.counts();
  const again = connectTcp(hostPort(one.address));
  again.on('error', () => {});
  again.resume();
  again.write(Buffer.concat(recorded));
  await closedOf(again);
  t.equal(heard, 1);
  t.match(one.peers.counts(), { received, open: { members: 0, guests: 0 } });
});

test('one key has few links, and the newest ones', async (t) => {
  const [one, two] = await pair(t, { limits: { linksPerPeerMax: 3 } });
  one.peers.serve('echo', (body) => body);
  const links: WebSocket[] = [];
  for (let i = 0; i < 12; i++) links.push(await intruder(t, one.address, 3));
  await until(() => links.filter(({ readyState }) => readyState === WebSocket.OPEN).length === 3);
  t.equal(links.at(-1)?.readyState, WebSocket.OPEN);
  t.equal(await echoes(two.peers, one.peers), 20);
  t.match(one.peers.counts(), { refused: { links: 9 }, open: { members: 4 } });
});

test('casts and calls above a member’s rate are dropped and refused, and only its own', async (t) => {
  const limits = { castsPerSecond: 50, callsPerSecond: 100, burstSeconds: 1 };
  const [one, two] = await pair(t, { clock: stillClock, limits });
  let heard = 0;
  one.peers.onCast('swim', () => heard++);
  one.peers.serve('echo', (body) => body);
  const flooder = await intruder(t, one.address, 3);
  flooder.send(frame(Array.from({ length: 1_000 }, () => [3, 'swim', null])));
  await until(() => one.peers.counts().received.cast === 64);
  t.equal(heard, 50);
  t.match(one.peers.counts(), { overRate: { cast: 14, call: 0 } });
  t.equal(await echoes(two.peers, one.peers), 20);

  // The debt is never paid by this clock: what it sends now waits at its own end.
  for (let i = 0; i < 100; i++) flooder.send(frame([[0, i, 'echo', null]]));
  t.equal(await echoes(two.peers, one.peers), 20);
  t.match(one.peers.counts(), { received: { cast: 64, call: 40 } });

  const caller = await intruder(t, one.address, 4);
  const refused: string[] = [];
  caller.on('message', (data: Buffer) => refused.push(data.toString('latin1')));
  caller.send(frame(Array.from({ length: 1_000 }, (_, i) => [0, i, 'echo', null])));
  await until(() => refused.join('').split('ERR_RING_BUSY').length > 28);
  t.match(one.peers.counts(), { overRate: { call: 28 } });
});

test('what it takes to decode is paid for, and a long one that nobody asked for many times over', async (t) => {
  const [one, two] = await pair(t, { clock: stillClock });
  let heard = 0;
  one.peers.onCast('swim', () => heard++);
  one.peers.serve('echo', (body) => body);
  two.peers.serve('large', () => Array.from({ length: 60_000 }, () => []));
  // A million each, which is half a second's worth for who was asked; two seconds are the burst.
  for (let i = 0; i < 6; i++)
    t.equal(((await one.peers.call(two.peers.self, 'large', null, TIMEOUT)) as []).length, 60_000);
  t.equal(one.peers.counts().rests, 0);
  const dense = await intruder(t, one.address, 3);
  const flood = frame([[3, 'swim', Array.from({ length: 60_000 }, () => [])]]);
  for (let i = 0; i < 20; i++) dense.send(flood);
  await until(() => one.peers.counts().rests > 0);
  t.equal(await echoes(two.peers, one.peers), 20);
  t.equal(heard, 1, 'one is as good as many');
});

test('a flood does not keep others waiting: each has its turn', async (t) => {
  const [one, two] = await pair(t);
  const order: string[] = [];
  let honest: Promise<unknown> | undefined;
  one.peers.serve('mark', (body) => {
    order.push(String(body));
    if (body === 'flood') honest ??= two.peers.call(one.peers.self, 'mark', 'honest', TIMEOUT);
  });
  await two.peers.call(one.peers.self, 'mark', 'warm', TIMEOUT);
  const flooder = await intruder(t, one.address, 3);
  flooder.send(frame(Array.from({ length: 1_024 }, (_, i) => [0, i, 'mark', 'flood'])));
  await until(() => order.length === 1_026);
  await honest;
  const before = order.indexOf('honest') - 1;
  t.ok(before < 1_024, `${before} of 1,024 came before what was said after the first`);
});

/** Serves `mark`. @returns how often it was called, and how often in one turn of the loop at most. */
function markedInTurns(t: Test, { peers }: Opened): { calls: number; inTurnMost: number } {
  const marked = { calls: 0, inTurnMost: 0 };
  let inTurn = 0;
  const turn = (): void => {
    inTurn = 0;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  t.teardown(() => clearImmediate(next));
  peers.serve('mark', () => {
    marked.calls++;
    marked.inTurnMost = Math.max(marked.inTurnMost, ++inTurn);
  });
  return marked;
}

test('of the short frames that one read brings one is handled in each turn of the loop', async (t) => {
  const one = await open(t, 1);
  const marked = markedInTurns(t, one);
  const flooder = await intruder(t, one.address, 3);
  for (let i = 0; i < 1_000; i++) flooder.send(frame([[0, i, 'mark', null]]));
  await until(() => marked.calls === 1_000);
  t.ok(marked.inTurnMost <= 2, `${marked.inTurnMost} at once`);
});

test('a frame with nothing in it is paid for as well, and one in pieces is not taken', async (t) => {
  const limits = { weightPerSecond: 100_000, burstSeconds: 1 };
  const [one, two] = await pair(t, { clock: stillClock, limits });
  one.peers.serve('echo', (body) => body);
  const flooder = await intruder(t, one.address, 3);
  for (let i = 0; i < 1_000; i++) flooder.send(frame([]));
  await until(() => one.peers.counts().rests > 0);
  flooder.send(frame([[0, 1, 'echo', null]]));
  t.equal(await echoes(two.peers, one.peers), 20);
  t.match(one.peers.counts(), { received: { call: 20 } }, 'the debt is never paid by this clock');

  const shredder = await intruder(t, one.address, 4);
  const closed = once(shredder, 'close');
  for (let i = 0; i < 3; i++) shredder.send(new Uint8Array(), { binary: true, fin: false });
  t.equal((await closed)[0], 1008);
  t.equal(await echoes(two.peers, one.peers), 20);
});

test('of frames with nothing in them none waits to be handled', async (t) => {
  const one = await open(t, 1, { limits: { burstSeconds: 0.1 } });
  one.peers.serve('echo', (body) => body);
  const flooder = await intruder(t, one.address, 3);
  const answered = once(flooder, 'message');
  for (let i = 0; i < 30_000; i++) flooder.send(frame([]));
  flooder.send(frame([[0, 1, 'echo', null]]));
  await answered;
  t.ok(one.peers.counts().rests > 0);
});

test('links of one member share its turn', async (t) => {
  const one = await open(t, 1);
  const marked = markedInTurns(t, one);
  const links: WebSocket[] = [];
  for (let i = 0; i < 4; i++) links.push(await intruder(t, one.address, 3));
  const flood = frame(Array.from({ length: 1_024 }, (_, i) => [0, i, 'mark', null]));
  for (const link of links) link.send(flood);
  await until(() => marked.calls === 4_096);
  // A link's first part may come in the turn of its next one.
  t.ok(marked.inTurnMost <= 64, `${marked.inTurnMost} at once`);
});

test('pings without end are read at their rate, and little waits for who reads no answers', async (t) => {
  const limits = { castsPerSecond: 50, burstSeconds: 1 };
  const [one, two] = await pair(t, { clock: stillClock, limits });
  one.peers.serve('echo', (body) => body);
  const flooder = await intruder(t, one.address, 3);
  await two.peers.call(one.peers.self, 'echo', null, TIMEOUT);
  flooder.pause();
  const most = { queuedBytes: 0 };
  for (let i = 0; i < 200; i++) {
    for (let n = 0; n < 100; n++) flooder.ping(Buffer.alloc(125));
    await pause(1);
    most.queuedBytes = Math.max(most.queuedBytes, one.peers.counts().queuedBytes);
  }
  t.equal(await echoes(two.peers, one.peers), 20);
  // What one read brought was there before the rate was over.
  const { received } = one.peers.counts();
  t.ok(received.cast > 50 && received.cast < 1_000, `${received.cast} of 20,000 were read`);
  t.ok(most.queuedBytes < 1 << 10, `${most.queuedBytes} bytes waited`);
});

test('pings that come together are answered once, as the last one asks', async (t) => {
  const one = await open(t, 1);
  const member = await intruder(t, one.address, 3);
  const answers: string[] = [];
  member.on('pong', (data: Buffer) => answers.push(data.toString()));
  for (let i = 1; i <= 50; i++) member.ping(`ping ${i}`);
  await until(() => answers.includes('ping 50'));
  t.ok(answers.length <= 5, `${answers.length} answers`);
});

test('who reads no answers fills its own queue, and no more', async (t) => {
  const [one, two] = await pair(t);
  const body = new Uint8Array(200 << 10);
  one.peers.serve('large', () => body);
  one.peers.serve('echo', (each) => each);
  const deaf = await intruder(t, one.address, 3);
  deaf.pause();
  const calls = Array.from({ length: 400 }, (_, id) => [0, id, 'large', null]);
  deaf.send(frame(calls));
  await until(() => one.peers.counts().unsent.call > 0);
  t.equal(await echoes(two.peers, one.peers), 20);
  t.ok(one.peers.counts().queuedBytes <= 8 << 20, `${one.peers.counts().queuedBytes} bytes wait`);
});

test('a member has two messages unfinished at most', async (t) => {
  const one = await open(t, 1);
  const greedy = await intruder(t, one.address, 3);
  const closed = once(greedy, 'close');
  const part = new Uint8Array(256 << 10);
  for (let i = 0; i < 140; i++) greedy.send(frame([[4, i % 16, false, part]]));
  const [code, reason] = (await closed) as [number, Buffer];
  t.equal(code, 1009);
  t.match(reason.toString(), /unfinished messages/);
});

test('a cast that its handler fails on takes nothing down', async (t) => {
  const errors: object[] = [];
  const log = { debug() {}, info() {}, warn() {}, error: (fields: object) => errors.push(fields) };
  const [one, two] = await pair(t, { log });
  one.peers.serve('echo', (body) => body);
  one.peers.onCast('swim', (body) => (body as { a: { b: unknown } }).a.b);
  const hostile = await intruder(t, one.address, 3);
  hostile.send(
    frame([
      [3, 'swim', null],
      [0, 1, 'echo', 'after'],
    ]),
  );
  await once(hostile, 'message');
  t.equal(await echoes(two.peers, one.peers), 20);
  t.match(errors, [{ method: 'swim', error: TypeError }]);
});

test('guests of many addresses share one rate', async (t) => {
  const limits = { guestMessagesPerSecond: 10, burstSeconds: 2 };
  const [one, two] = await pair(t, { clock: stillClock, limits });
  let asked = 0;
  one.peers.serveGuests('join', () => ++asked);
  one.peers.serve('echo', (body) => body);
  const busy: Promise<boolean>[] = [];
  for (let i = 0; i < 8; i++) {
    const guest = await intruder(t, one.address, 10 + i);
    const answered = once(guest, 'message') as Promise<[Buffer]>;
    guest.send(frame(Array.from({ length: 10 }, (_, id) => [0, id, 'join', null])));
    busy.push(answered.then(([data]) => data.toString('latin1').includes('ERR_RING_BUSY')));
    if (i < 2) await answered;
  }
  t.equal(await echoes(two.peers, one.peers), 20, 'members are not of them');
  await until(() => one.peers.counts().received.guest >= 30);
  t.equal(asked, 20);
  t.equal(one.peers.counts().overRate.guest, one.peers.counts().received.guest - 20);
  t.strictSame(await Promise.all(busy), [false, false, true, true, true, true, true, true]);
});

test('callers are counted by the address that a site has', (t) => {
  const origins: Record<string, string> = {
    '192.0.2.7': '192.0.2.7',
    '::ffff:192.0.2.7': '192.0.2.7',
    '2001:db8:1:2:3:4:5:6': '2001:db8:1:2',
    '2001:db8:1:2::9': '2001:db8:1:2',
    '2001:db8::1': '2001:db8:0:0',
    'fe80::1%eth0': 'fe80:0:0:0',
    '::1': '0:0:0:0',
  };
  for (const [address, origin] of Object.entries(origins)) t.equal(originOf(address), origin);
  t.end();
});
