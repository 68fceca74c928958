import { once } from 'node:events';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { test } from 'tap';
import { WebSocket } from 'ws';
import { AetherError } from '../../spec/error.ts';
import { silentLog } from '../../spec/log.ts';
import { encode } from '../core/codec.ts';
import { FRAME_BYTES_MAX } from '../core/frame.ts';
import type { ProtocolRange } from '../core/protocol-range.ts';
import { createCertificate } from './certificate.ts';
import {
  frame,
  hostPort,
  idOf,
  key,
  open,
  type Opened,
  pair,
  pem,
  raw,
  TIMEOUT,
} from './peers.testkit.ts';

test('calls go over and come back, with errors rebuilt', async (t) => {
  const [one, two] = await pair(t);
  two.peers.serve('who', (body, from) => ({ body, from }));
  two.peers.serve('fail', () => {
    throw new AetherError('no', { code: 'ERR_TEST', hint: 'try', details: { at: 3 } });
  });
  two.peers.serve('break', () => {
    throw new TypeError('a bug');
  });
  const self = two.peers.self;
  t.strictSame(await one.peers.call(self, 'who', { a: 1 }, TIMEOUT), {
    body: { a: 1 },
    from: one.peers.self,
  });
  await t.rejects(one.peers.call(self, 'fail', null, TIMEOUT), {
    code: 'ERR_TEST',
    message: 'no',
    hint: 'try',
    details: { at: 3 },
  });
  await t.rejects(one.peers.call(self, 'break', null, TIMEOUT), { code: 'ERR_INTERNAL' });
  await t.rejects(one.peers.call(self, 'none', null, TIMEOUT), { code: 'ERR_RING_UNKNOWN_METHOD' });
  await t.rejects(one.peers.call(self, 'who', new Date(), TIMEOUT), {
    code: 'ERR_RING_FRAME_MALFORMED',
  });
  one.peers.serve('own', (body) => body);
  t.equal(await one.peers.call(one.peers.self, 'own', 5, TIMEOUT), 5, 'to itself');
});

test('16 MiB go over, and short calls are not kept waiting', async (t) => {
  const [one, two] = await pair(t);
  two.peers.serve('echo', (body) => body);
  const body = new Uint8Array(16 << 20).map((_, i) => i % 255);
  const long = one.peers.call(two.peers.self, 'echo', body, { timeoutMs: 30_000 });
  t.equal(await one.peers.call(two.peers.self, 'echo', 'short', TIMEOUT), 'short');
  t.ok(Buffer.compare((await long) as Uint8Array, body) === 0);
  await t.rejects(one.peers.call(two.peers.self, 'echo', new Uint8Array(17 << 20), TIMEOUT), {
    code: 'ERR_RING_FRAME_TOO_LARGE',
  });
});

test('a call that was not sent and one without an answer are told apart', async (t) => {
  const [one, two] = await pair(t);
  const arrived: (() => void)[] = [];
  two.peers.serve('never', () => {
    arrived.shift()?.();
    return new Promise(() => {});
  });
  const arrival = (): Promise<void> => new Promise((resolve) => void arrived.push(resolve));
  two.peers.serve('echo', (body) => body);
  await one.peers.call(two.peers.self, 'echo', 'they are connected', TIMEOUT);
  await t.rejects(one.peers.call(two.peers.self, 'never', null, { timeoutMs: 50 }), {
    code: 'ERR_RING_TIMEOUT',
  });
  const sent = arrival();
  const waiting = one.peers.call(two.peers.self, 'never', null, TIMEOUT);
  const lost = t.rejects(waiting, { code: 'ERR_RING_TIMEOUT' });
  await sent;
  await two.peers.close();
  await lost;
  await t.rejects(one.peers.call(two.peers.self, 'never', null, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
  });
  await t.rejects(one.peers.call(idOf(3), 'never', null, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
  });
});

test('another node than expected is not spoken to', async (t) => {
  const [one, two] = await pair(t);
  let heard = 0;
  two.peers.serve('secret', () => heard++);
  one.peers.setAddress(idOf(3), two.address);
  const refused = one.peers.call(idOf(3), 'secret', null, TIMEOUT);
  await t.rejects(refused, {
    code: 'ERR_RING_UNREACHABLE',
    message: /is node/,
    cause: { code: 'ERR_RING_IDENTITY' },
  });
  t.equal(heard, 0);
});

test('who calls something else than a node is told so, and what address to look for', async (t) => {
  const { peers } = await open(t, 1);
  const answers: [string, (socket: Socket) => unknown, string][] = [
    [
      'HTTP',
      (socket) => socket.end('HTTP/1.1 400 no\r\n\r\n'),
      'what answers there does not speak TLS',
    ],
    ['a farewell', (socket) => socket.end(), 'it hung up'],
    ['a reset', (socket) => socket.resetAndDestroy(), 'it hung up'],
  ];
  for (const [what, answer, why] of answers) {
    const server = createServer((socket) => void answer(socket.on('error', () => {})));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    t.teardown(() => server.close());
    const address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    await t.rejects(
      peers.greet(address),
      {
        code: 'ERR_RING_UNREACHABLE',
        message: new RegExp(`^cannot reach ${address}: ${why}`),
        hint: /--listen/,
      },
      what,
    );
  }
});

test('a peer whose certificate is not its key is refused by both sides', async (t) => {
  const { address } = await open(t, 1);
  // Signed by node 2, it names the key of node 3, with which TLS is done.
  const borrowed = { key: pem(key(3)), certificate: createCertificate(key(2), key(3)) };
  const caller = await open(t, 3, borrowed);
  await t.rejects(caller.peers.greet(address), { code: 'ERR_RING_IDENTITY' }, 'as a caller');
  const { peers } = await open(t, 2);
  peers.setAddress(idOf(3), caller.address);
  await t.rejects(peers.call(idOf(3), 'any', null, TIMEOUT), {
    cause: { code: 'ERR_RING_IDENTITY' },
  });
  const bare = connectTls({ ...hostPort(address), rejectUnauthorized: false });
  bare.on('error', () => {});
  bare.write(
    'GET /control HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n' +
      'sec-websocket-protocol: aether.1\r\n' +
      'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n',
  );
  let answer = '';
  for await (const chunk of bare) answer += String(chunk);
  t.match(answer, /403.*ERR_RING_IDENTITY/s, 'no certificate');
});

test('another protocol or path is refused', async (t) => {
  const { address } = await open(t, 1);
  const refusal = async (path: string, protocol: string | undefined): Promise<string> => {
    const credentials = { key: pem(key(2)), cert: createCertificate(key(2)) };
    const options = { ...credentials, rejectUnauthorized: false };
    const socket = new WebSocket(`wss://${address}${path}`, protocol, options);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, Readable];
    const body = await text(response);
    socket.on('error', () => {}).terminate();
    return body;
  };
  t.match(await refusal('/control', 'aether.9'), /ERR_RING_PROTOCOL/);
  t.match(await refusal('/control', undefined), /ERR_RING_PROTOCOL/);
  t.match(await refusal('/admin', 'aether.1'), /ERR_RING_PROTOCOL/);
});

test('a release with no protocol in common is refused by both sides, by name', async (t) => {
  const one = await open(t, 1);
  let heard = 0;
  one.peers.serve('any', () => ++heard);
  const speaking = (number: number, protocol: ProtocolRange): Promise<Opened> =>
    open(t, number, { hello: () => ({ lattice: 'lone', epoch: 1, protocol }) });
  const next = await speaking(2, [2, 3]);
  const refusal = {
    code: 'ERR_RING_PROTOCOL',
    message: /speaks protocol 2 to 3, and this node 1$/,
  };
  await t.rejects(one.peers.greet(next.address), refusal, 'as who is called');
  await t.rejects(next.peers.greet(one.address), refusal, 'as who calls');
  next.peers.setAddress(one.peers.self, one.address);
  await t.rejects(next.peers.call(one.peers.self, 'any', null, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
    cause: refusal,
  });
  t.equal(heard, 0);
  t.strictSame(
    [one, next].map(({ peers }) => peers.counts().open.members),
    [0, 0],
  );
  const both = await speaking(3, [1, 2]);
  both.peers.setAddress(one.peers.self, one.address);
  t.equal(await both.peers.call(one.peers.self, 'any', null, TIMEOUT), 1);
  for (const said of ['2-1', '', 'newest', '1']) {
    const socket = raw(one.address, 4, '/control', { 'aether-protocol': said });
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, Readable];
    t.match(await text(response), /ERR_RING_PROTOCOL/, `what is no range: ${said}`);
    socket.on('error', () => {}).terminate();
  }
});

test('a node of another lattice is refused', async (t) => {
  const one = await open(t, 1);
  const two = await open(t, 2, { hello: () => ({ lattice: 'ltwo', epoch: 1 }) });
  await t.rejects(two.peers.greet(one.address), { code: 'ERR_LATTICE_MISMATCH' });
});

test('a guest may call what guests may call, and nothing else', async (t) => {
  const { peers, address } = await open(t, 1);
  let heard = 0;
  peers.serve('inside', () => heard++);
  peers.onCast('inside', () => heard++);
  peers.serveGuests('join', () => 'welcome');
  const guest = await open(t, 10);
  guest.peers.setAddress(peers.self, address);
  t.match(await guest.peers.callAddress(address, 'join', null, TIMEOUT), { body: 'welcome' });
  guest.peers.cast(peers.self, 'inside', null);
  await t.rejects(guest.peers.call(peers.self, 'inside', null, TIMEOUT), {
    code: 'ERR_RING_NOT_MEMBER',
  });
  const long = new Uint8Array(100_000);
  await t.rejects(guest.peers.call(peers.self, 'join', long, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
    cause: { code: 'ERR_RING_NOT_MEMBER' },
  });
  t.equal(heard, 0);

  const worn = raw(address, 10);
  await once(worn, 'open');
  const calls = Array.from({ length: 1_000 }, (_, id) => [0, id, 'join', null]);
  worn.send(Buffer.concat([Buffer.from([1]), encode(calls)]));
  const [code, reason] = (await once(worn, 'close')) as [number, Buffer];
  t.equal(code, 1008);
  t.match(reason.toString(), /ERR_RING_BUSY/);
});

test('what is no frame closes that socket with the reason, and no other', async (t) => {
  const [one, two] = await pair(t);
  one.peers.serve('echo', (body) => body);
  await two.peers.call(one.peers.self, 'echo', null, TIMEOUT);
  const attacks: [what: string, send: Uint8Array | string, code: number, reason: RegExp][] = [
    ['garbage', new Uint8Array([1, 0xc1, 0xff]), 1007, /ERR_RING_FRAME_MALFORMED/],
    ['nothing', new Uint8Array(), 1007, /ERR_RING_FRAME_VERSION/],
    ['another version', new Uint8Array([9, 0x90]), 1007, /ERR_RING_FRAME_VERSION/],
    ['text', 'hello', 1007, /ERR_RING_FRAME_MALFORMED/],
    ['a cut frame', frame([[3, 'm', 'body']]).subarray(0, -1), 1007, /cut off/],
    ['trailing bytes', Buffer.concat([frame([]), Buffer.from([0])]), 1007, /after the messages/],
    [
      '__proto__',
      Buffer.from('0191930 3a16d81a95f5f70726f746f5f5f80'.replace(' ', ''), 'hex'),
      1007,
      /__proto__/,
    ],
    ['no list', frame([]).with(1, 0xd6), 1007, /not a list/],
    [
      'an extension type',
      Buffer.concat([frame([[3, 'm', 7]]).subarray(0, -1), Buffer.from([0xd6])]),
      1007,
      /0xd6/,
    ],
    [
      'too many messages',
      frame(Array.from({ length: 1_025 }, () => [3, 'm', null])),
      1009,
      /1025 messages/,
    ],
    ['depth', new Uint8Array(10_000).fill(0x91).with(0, 1), 1007, /deeper/],
    ['too long', new Uint8Array(FRAME_BYTES_MAX + 1).fill(1), 1009, /ERR_RING_FRAME_TOO_LARGE/],
    ['far too long', new Uint8Array(4 * FRAME_BYTES_MAX), 1009, /^$/],
  ];
  for (const [what, send, code, reason] of attacks) {
    const socket = raw(one.address, 3);
    socket.on('error', () => {});
    await once(socket, 'open');
    socket.send(send);
    const [closeCode, closeReason] = (await once(socket, 'close')) as [number, Buffer];
    t.equal(closeCode, code, what);
    t.match(closeReason.toString(), reason, what);
  }
  t.equal(await two.peers.call(one.peers.self, 'echo', 'still', TIMEOUT), 'still');
});

test('guests hold little memory, and give way to newer ones', async (t) => {
  const { address, peers } = await open(t, 1, { limits: { guestsMax: 16, guestsPerIpMax: 16 } });
  peers.serveGuests('join', () => 'welcome');
  const guest = async (number: number): Promise<WebSocket> => {
    const socket = raw(address, number);
    socket.on('error', () => {});
    t.teardown(() => socket.terminate());
    await once(socket, 'open');
    return socket;
  };
  const greedy = await guest(10);
  for (let stream = 0; stream < 6; stream++) {
    const part = [4, stream, false, new Uint8Array(256 << 10)];
    greedy.send(Buffer.concat([Buffer.from([1]), encode([part])]));
  }
  t.equal((await once(greedy, 'close'))[0], 1009, 'too much that is unfinished');

  const deaf: WebSocket[] = [];
  for (let i = 0; i < 20; i++) {
    const socket = await guest(11 + i);
    socket.pause(); // It will not answer when it is asked to go.
    deaf.push(socket);
  }
  const gone = deaf.slice(0, 4).map((socket) => {
    socket.resume();
    return once(socket, 'close');
  });
  await Promise.all(gone);
  t.equal(deaf.at(-1)?.readyState, WebSocket.OPEN);
});

test('an answer counts only from the node that was asked', async (t) => {
  const one = await open(t, 1);
  const two = await open(t, 2);
  let answer: (body: string) => void = () => {};
  const asked = new Promise<void>((wake) => {
    two.peers.serve('slow', () => {
      wake();
      return new Promise((done) => (answer = done));
    });
  });
  one.peers.setAddress(two.peers.self, two.address);
  const call = one.peers.call(two.peers.self, 'slow', null, TIMEOUT);
  await asked;
  const forger = raw(one.address, 3);
  await once(forger, 'open');
  const forged = Array.from({ length: 10 }, (_, id) => [1, id, 'forged']);
  forger.send(Buffer.concat([Buffer.from([1]), encode(forged)]));
  forger.ping();
  await once(forger, 'pong');
  answer('true');
  t.equal(await call, 'true');
  forger.terminate();
});

test('a flood of callers without a name does not take the node down', async (t) => {
  const limits = { handshakeTimeoutMs: 2_000, handshakesPerIpMax: 64, handshakeBurstPerIp: 2_000 };
  const [one, two] = await pair(t, { limits });
  one.peers.serve('echo', (body) => body);
  const flood: Socket[] = [];
  t.teardown(() => flood.forEach((socket) => socket.destroy()));
  const { host, port } = hostPort(one.address);
  const heldMs = Array.from({ length: 1_000 }, async (_, i) => {
    const socket = connectTcp(port, host);
    flood.push(socket);
    socket.on('error', () => {});
    if (i % 2 === 0) socket.write('GET / HTTP/1.1\r\n\r\n');
    const startMs = performance.now();
    await once(socket, 'close');
    return performance.now() - startMs;
  });
  t.equal(await two.peers.call(one.peers.self, 'echo', 'through', TIMEOUT), 'through');
  t.ok(
    ((await heldMs[1]) ?? NaN) < limits.handshakeTimeoutMs,
    'the oldest gives way to the newest',
  );
  await Promise.all(heldMs);
  t.pass('who stays without a name is sent off');
});

test('a link that leads nowhere ends when the peer opens another', async (t) => {
  const [one, two] = await pair(t);
  let isCut = false;
  const held: Socket[] = [];
  // Carries until it is cut, then swallows everything, as a router does that has forgotten a connection.
  const router = createServer((socket) => {
    const inner = connectTcp(hostPort(one.address));
    held.push(socket, inner);
    for (const [from, to] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      from.on('error', () => {});
      from.on('data', (chunk) => isCut || to.write(chunk));
    }
  }).listen(0, '127.0.0.1');
  t.teardown(() => {
    for (const socket of held) socket.destroy();
    router.close();
  });
  await once(router, 'listening');
  const { port } = router.address() as { port: number };
  two.peers.setAddress(one.peers.self, `127.0.0.1:${port}`);
  one.peers.setAddress(two.peers.self, 'none');
  two.peers.serve('echo', (body) => body);
  await two.peers.greet(`127.0.0.1:${port}`);
  t.equal(await one.peers.call(two.peers.self, 'echo', 1, TIMEOUT), 1);
  isCut = true;
  const lost = one.peers.call(two.peers.self, 'echo', 2, { timeoutMs: 60_000 });
  await two.peers.greet(one.address);
  t.equal(await one.peers.call(two.peers.self, 'echo', 3, TIMEOUT), 3, 'the newer one is used');
  await t.rejects(lost, { code: 'ERR_RING_TIMEOUT', message: /ended before its answer/ });
  t.equal(one.peers.counts().open.members, 1);

  two.peers.drop(one.peers.self, 'the test');
  isCut = false;
  await two.peers.greet(`127.0.0.1:${port}`);
  t.equal(await one.peers.call(two.peers.self, 'echo', 4, TIMEOUT), 4);
  const good = await open(t, 3);
  good.peers.serve('echo', (body) => body);
  one.peers.setAddress(good.peers.self, good.address);
  await one.peers.call(good.peers.self, 'echo', 5, TIMEOUT);
  isCut = true;
  const lostToo = one.peers.call(two.peers.self, 'echo', 6, { timeoutMs: 60_000 });
  one.peers.doubtLinks();
  await t.rejects(lostToo, { message: /ended before its answer/ });
  t.equal(one.peers.counts().open.members, 1, 'the good one stays');
});

test('why a peer was not connected is logged once, and again when it is another reason', async (t) => {
  const logged: string[] = [];
  const warn = ({ code }: { code?: string }): unknown => logged.push(code ?? '');
  const one = await open(t, 1, { log: { ...silentLog, warn } });
  let why = 'ERR_RING_REVOKED';
  const meet = (): never => {
    throw new AetherError('no', { code: why });
  };
  const two = await open(t, 2, { meet });
  one.peers.setAddress(two.peers.self, two.address);
  const call = (): Promise<unknown> => one.peers.call(two.peers.self, 'who', null, TIMEOUT);
  for (let i = 0; i < 3; i++) await t.rejects(call(), { code: 'ERR_RING_UNREACHABLE' });
  t.strictSame(logged, ['ERR_RING_REVOKED']);
  why = 'ERR_RING_IDENTITY';
  await t.rejects(call(), { code: 'ERR_RING_UNREACHABLE' });
  t.strictSame(logged, ['ERR_RING_REVOKED', 'ERR_RING_IDENTITY']);
});
