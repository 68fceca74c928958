import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type Test, test } from 'tap';
import { AetherError } from '../../spec/error.ts';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { PROTOCOL } from '../core/protocol-range.ts';
import { transportLimits } from '../core/transport-limits.ts';
import { createCertificate } from './certificate.ts';
import type { Hello } from './hello.ts';
import { frame, idOf, key, pem, raw } from './peers.testkit.ts';
import { SwimLinks, type SwimLinksOptions } from './swim-links.ts';
import { decodeCast, encodeCast } from './swim-protocol.ts';

class End {
  readonly id: string;
  readonly links: SwimLinks;
  readonly heard: unknown[] = [];
  readonly handedBack: unknown[] = [];
  /** What goes by the control lane as well, if there is a link. */
  readonly copied: unknown[] = [];
  readonly lost: string[] = [];
  /** First connections that are being made, and are over. */
  readonly dialling: [node: string, isUnderWay: boolean][] = [];
  readonly shown: unknown[] = [];
  readonly met: [node: string, hello: Hello][] = [];
  address = '';
  #wake: () => void = () => {};

  constructor(number: number, members: number, change: Partial<SwimLinksOptions>) {
    this.id = idOf(number);
    const ids = new Set(Array.from({ length: members }, (_, i) => idOf(i + 1)));
    this.links = new SwimLinks({
      self: this.id,
      key: pem(key(number)),
      certificate: createCertificate(key(number)),
      limits: transportLimits(),
      clock: systemClock,
      log: silentLog,
      hello: () => ({ lattice: 'lone', epoch: 7 }),
      isMember: (node) => ids.has(node),
      meet: (node, hello) => {
        if (!ids.has(node)) throw new AetherError('no member', { code: 'ERR_RING_NOT_MEMBER' });
        this.#note(this.met, [node, hello]);
      },
      shown: (node, certificate) => {
        if (certificate === 'forged') throw new AetherError('no', { code: 'ERR_RING_IDENTITY' });
        this.#note(this.shown, [node, certificate]);
      },
      isNeighbor: () => false,
      dialling: (node, isUnderWay) => this.#note(this.dialling, [node, isUnderWay]),
      linkLost: (node) => this.#note(this.lost, node),
      heard: (body, from) => this.#note(this.heard, [from, body]),
      handBack: (_node, cast, by) =>
        this.#note(by === 'copy' ? this.copied : this.handedBack, decodeCast(cast)),
      ...change,
    });
  }

  #note(list: unknown[], what: unknown): void {
    list.push(what);
    this.#wake();
  }

  send(to: End, body: unknown): void {
    this.links.send(to.id, encodeCast(body));
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((done) => (this.#wake = done));
  }
}

async function end(t: Test, number: number, change: Partial<SwimLinksOptions> = {}): Promise<End> {
  const made = new End(number, 3, change);
  const { host, port } = await made.links.listen({ host: '127.0.0.1', port: 0 });
  made.address = `${host}:${port}`;
  t.teardown(() => made.links.close());
  return made;
}

/** Of who takes nobody: its queue is full, and the kernel drops what comes. */
async function fullAddress(t: Test): Promise<string> {
  const listener = new Worker(
    `const { createServer } = require('node:net');
    const server = createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
      require('node:worker_threads').parentPort.postMessage(server.address().port);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`,
    { eval: true },
  );
  const [port] = (await once(listener, 'message')) as [number];
  const callers = Array.from({ length: 4 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  t.teardown(async () => {
    for (const caller of callers) caller.destroy();
    await listener.terminate();
  });
  await once(callers[1] as Socket, 'connect');
  return `127.0.0.1:${port}`;
}

async function refusal(address: string, number: number, path: string): Promise<string> {
  const socket = raw(address, number, path);
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, Readable];
  const body = await text(response);
  socket.on('error', () => {}).terminate();
  return body;
}

test('casts go over, both ways on one link, and a lost link is told once', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.links.setAddress(b.id, b.address);
  for (const body of [1, 2, 3]) a.send(b, body);
  await b.until(() => b.heard.length === 3);
  t.strictSame(
    b.heard,
    [1, 2, 3].map((body) => [a.id, body]),
  );
  b.send(a, 'back');
  await a.until(() => a.heard.length === 1);
  t.strictSame(a.handedBack.concat(b.handedBack), []);
  t.match(a.links.counts(), { received: { cast: 1 }, open: { members: 1 } });
  t.strictSame(a.met, [[b.id, { lattice: 'lone', epoch: 7, protocol: PROTOCOL }]]);
  t.match(b.met, [[a.id]]);
  a.links.drop(b.id, 'a reason');
  await b.until(() => b.lost.length === 1);
  t.strictSame(b.lost, [a.id]);
});

test('a new certificate is shown by the links that are open', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.links.setAddress(b.id, b.address);
  a.send(b, 1);
  await b.until(() => b.heard.length === 1);
  const certificate = new Uint8Array([7]);
  a.links.show(certificate);
  await b.until(() => b.shown.length === 1);
  t.match(b.shown, [[a.id, certificate]]);
  const liar = raw(a.address, 3, '/swim');
  await once(liar, 'open');
  liar.send(frame([[3, 'certificate', 'forged']]));
  const [code] = (await once(liar, 'close')) as [number];
  t.equal(code, 1008);
});

test('what has no way is handed back: at once where nobody answered before', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.send(b, 'no address');
  t.strictSame(a.handedBack, ['no address']);
  await b.links.close();
  a.links.setAddress(b.id, b.address);
  a.send(b, 'nobody there');
  t.equal(a.handedBack.length, 1, 'it waits for the outcome');
  await a.until(() => a.handedBack.length === 2);
  a.send(b, 'still nobody');
  t.strictSame(a.handedBack.slice(1), ['nobody there', 'still nobody']);
  const again = await end(t, 2);
  a.links.setAddress(b.id, again.address);
  a.send(b, 'elsewhere');
  t.equal(a.handedBack.length, 4, 'it is not waited for');
  await a.until(() => a.met.length > 0);
  a.send(b, 'it is there');
  await again.until(() => again.heard.length > 0);
  t.strictSame(again.heard, [[a.id, 'it is there']]);
});

test('what waits for a link is handed back by who stops, and what has one still goes over', async (t) => {
  const [a, b, c] = [await end(t, 1), await end(t, 2), await end(t, 3)];
  a.links.setAddress(b.id, b.address);
  a.send(b, 1);
  await b.until(() => b.heard.length === 1);
  a.links.setAddress(c.id, c.address);
  a.send(c, 'farewell, c');
  a.send(b, 'farewell, b');
  await a.links.close();
  t.strictSame(a.handedBack, ['farewell, c']);
  await b.until(() => b.heard.length === 2);
  t.strictSame(b.heard.at(-1), [a.id, 'farewell, b']);
});

test('after sleep old links are given up quietly, and where nobody answered is tried again', async (t) => {
  const [a, b, c] = [await end(t, 1), await end(t, 2), await end(t, 3)];
  a.links.setAddress(b.id, b.address);
  a.send(b, 1);
  await b.until(() => b.heard.length === 1);
  await c.links.close();
  a.links.setAddress(c.id, c.address);
  a.send(c, 'nobody there');
  await a.until(() => a.handedBack.length === 1);
  b.send(a, 'said while it slept');
  a.links.slept();
  a.send(b, 2);
  a.send(c, 'it waits for the outcome');
  t.strictSame(a.handedBack, ['nobody there']);
  await b.until(() => b.heard.length === 2);
  t.equal(b.met.length, 2, 'by another link');
  while (b.links.counts().open.members > 1) await pause(1);
  b.send(a, 'back');
  await a.until(() => a.heard.length === 1);
  t.strictSame(a.heard, [[b.id, 'back']], 'what came meanwhile is old');
  t.strictSame(a.lost.concat(b.lost), []);
});

test('what waits for an address goes once it is told, or is handed back for good', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.links.hold(b.id, encodeCast('early'));
  t.strictSame(a.handedBack, []);
  a.links.setAddress(b.id, b.address);
  await b.until(() => b.heard.length === 1);
  a.links.hold(idOf(3), encodeCast('never'));
  await a.until(() => a.handedBack.length === 1);
  a.links.hold(idOf(3), encodeCast('late'));
  a.links.setAddress(idOf(3), undefined);
  t.strictSame(a.handedBack, ['never', 'late'], 'it says that it has none');
});

test('while a member is in doubt both ways are taken', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.links.setAddress(b.id, b.address);
  a.send(b, 1);
  await b.until(() => b.heard.length === 1);
  a.links.doubt(b.id);
  a.send(b, 2);
  await b.until(() => b.heard.length === 2);
  t.strictSame(a.handedBack, [2]);
  b.send(a, 'I am here');
  await a.until(() => a.heard.length === 1);
  a.send(b, 3);
  await b.until(() => b.heard.length === 3);
  t.strictSame(a.handedBack, [2], 'it has been heard by its link');
});

test('what waits for a first connection goes by a control link as well, if there is one', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.links.setAddress(b.id, b.address);
  a.send(b, 1);
  t.strictSame(a.copied, [1]);
  await b.until(() => b.heard.length === 1);
  a.send(b, 2);
  await b.until(() => b.heard.length === 2);
  t.strictSame(a.copied.concat(a.handedBack), [1], 'and by its own link alone once that is there');
});

test('where there is a control link it carries membership for a moment, and then one dials', async (t) => {
  const [low, high] = [await end(t, 1), await end(t, 2)].toSorted((one, other) =>
    one.id < other.id ? -1 : 1,
  ) as [End, End];
  const ends: [End, End][] = [
    [high, low],
    [low, high],
  ];
  for (const [from, to] of ends) {
    from.links.heardNear(to.id);
    from.links.setAddress(to.id, to.address);
    from.send(to, 'here');
    t.strictSame([from.handedBack, from.copied], [['here'], []]);
    t.strictSame(from.dialling, [[to.id, true]], 'it may be slow that way');
  }
  for (const [from] of ends) await from.until(() => from.met.length === 1);
  for (const [from] of ends) t.equal(from.links.counts().open.members, 1);
  low.send(high, 'by its own link');
  await high.until(() => high.heard.length === 1);
  t.equal(low.handedBack.length, 1);
});

test('who has been left to dial and does not is dialled', async (t) => {
  const [low, high] = [await end(t, 1), await end(t, 2)].toSorted((one, other) =>
    one.id < other.id ? -1 : 1,
  ) as [End, End];
  high.links.heardNear(low.id);
  high.links.setAddress(low.id, low.address);
  high.send(low, 'here');
  await low.until(() => low.met.length === 1);
  t.strictSame(high.handedBack, ['here']);
});

test('a control link that is gone is waited for no longer', async (t) => {
  let rests = 0;
  const clock = { ...systemClock, after: () => (rests++, () => {}) };
  const [a, b] = [await end(t, 1, { clock }), await end(t, 2)];
  a.links.heardNear(b.id);
  a.links.setAddress(b.id, b.address);
  a.send(b, 'handed back');
  t.ok(rests > 0, 'a rest that is never over');
  a.links.hold(b.id, encodeCast('held'));
  await b.until(() => b.heard.length === 1);
  t.strictSame(b.heard, [[a.id, 'held']]);
});

test('strangers, other paths and other messages are refused', async (t) => {
  const a = await end(t, 1);
  t.match(await refusal(a.address, 4, '/swim'), /ERR_RING_NOT_MEMBER/);
  for (const path of ['/control', '/bulk'])
    t.match(await refusal(a.address, 2, path), /ERR_RING_PROTOCOL.*\/swim/);
  for (const message of [
    [0, 1, 'join', null],
    [3, 'other', null],
  ]) {
    const socket = raw(a.address, 2, '/swim');
    await once(socket, 'open');
    socket.send(frame([message]));
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    t.equal(code, 1008);
    t.match(reason.toString(), /ERR_RING_PROTOCOL/);
  }
  t.strictSame(a.heard, []);
});

test('a member of a release with no protocol in common is not met, and not heard', async (t) => {
  const hello = (): Hello => ({ lattice: 'lone', epoch: 7, protocol: [2, 3] });
  const [a, next] = [await end(t, 1), await end(t, 2, { hello })];
  a.links.setAddress(next.id, next.address);
  next.links.setAddress(a.id, a.address);
  next.send(a, 1);
  await next.until(() => next.handedBack.length === 1);
  a.send(next, 2);
  await a.until(() => a.handedBack.length === 1);
  t.strictSame(a.heard.concat(next.heard, a.met), []);
});

test('a member that says too much is heard in part', async (t) => {
  const limits = transportLimits({ castsPerSecond: 10, burstSeconds: 1 });
  const [a, b] = [await end(t, 1, { limits }), await end(t, 2)];
  b.links.setAddress(a.id, a.address);
  for (let body = 0; body < 64; body++) b.send(a, body);
  await a.until(() => a.heard.length >= 10);
  t.ok(a.links.counts().overRate.cast > 0);
  t.ok(a.heard.length < 20);
  const links = [];
  for (let i = 0; i <= limits.linksPerPeerMax; i++) {
    links.push(raw(a.address, 3, '/swim'));
    await once(links.at(-1) ?? t, 'open');
  }
  await once(links[0] ?? t, 'close');
  t.equal(a.links.counts().refused.links, 1, 'nor does it keep more links than it may');
  for (const socket of links) socket.terminate();
});

test('who is no member any more is sent off, and not heard', async (t) => {
  const members = new Set([idOf(1), idOf(2), idOf(3)]);
  const a = await end(t, 1, { isMember: (node) => members.has(node) });
  const [b, c] = [await end(t, 2), await end(t, 3)];
  for (const from of [b, c]) {
    from.links.setAddress(a.id, a.address);
    from.send(a, 1);
  }
  await a.until(() => a.heard.length === 2);
  members.delete(b.id);
  a.links.review(members);
  await b.until(() => b.lost.length === 1);
  members.delete(c.id);
  c.send(a, 2);
  await c.until(() => c.lost.length === 1);
  t.equal(a.heard.length, 2);
});

test('who is a member keeps its address though nothing has been heard of it', async (t) => {
  const [a, b] = [await end(t, 1, { isMember: () => false }), await end(t, 2)];
  a.links.setAddress(b.id, b.address);
  a.links.review(new Set([b.id]));
  a.send(b, 1);
  await b.until(() => b.heard.length === 1);
  t.strictSame(a.handedBack, []);
});

test('above the limit the link used least lately is closed, no neighbour’s, and nobody takes it for lost', async (t) => {
  const members = 20;
  const neighbor = idOf(2);
  // No two links were used at once.
  let nowMs = 0;
  const limits = transportLimits({ linksMax: 16, strangerBurst: 1_000 });
  const a = await end(t, 1, {
    limits,
    clock: { ...systemClock, monotonicMs: () => ++nowMs },
    isMember: () => true,
    meet: () => {},
    isNeighbor: (node) => node === neighbor,
  });
  const others: End[] = [];
  for (let number = 2; number <= members; number++) {
    const other = await end(t, number, { isMember: () => true, meet: () => {} });
    other.links.setAddress(a.id, a.address);
    other.send(a, number);
    await a.until(() => a.heard.length === number - 1);
    others.push(other);
  }
  const isClosed = ({ links }: End): boolean => links.counts().open.members === 0;
  while (others.filter(isClosed).length < members - 1 - 16) await pause(1);
  t.equal(a.links.counts().open.members, 16);
  t.strictSame(others.filter(isClosed), others.slice(1, 4), 'the oldest but the neighbour');
  t.strictSame(others.flatMap(({ lost }) => lost).concat(a.lost), []);
  a.links.setAddress(others[1]?.id ?? '', others[1]?.address ?? '');
  a.send(others[1] as End, 'again');
  await others[1]?.until(() => others[1]?.heard.length === 1);
});

test('what waits for a first connection goes another way when nobody takes it', async (t) => {
  const a = await end(t, 1, { limits: transportLimits({ handshakeTimeoutMs: 60_000 }) });
  const b = idOf(2);
  a.links.setAddress(b, await fullAddress(t));
  a.links.send(b, encodeCast('first'));
  await a.until(() => a.handedBack.length === 1);
  t.strictSame(a.dialling, [[b, false]], 'it is as good as silent');
  a.links.send(b, encodeCast('second'));
  t.strictSame(a.handedBack, ['first', 'second'], 'and what comes now does not wait for it');
});

test('who has taken a connection is given the time of a handshake', async (t) => {
  const limits = transportLimits({ handshakeTimeoutMs: 1_500 });
  const cancelled: number[] = [];
  let aheadMs = 0;
  const clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + aheadMs,
    after: (afterMs: number, done: () => void) => {
      const cancel = systemClock.after(afterMs, done);
      return () => (cancelled.push(afterMs), cancel());
    },
  };
  const a = await end(t, 1, { limits, clock });
  const b = idOf(2);
  const silent = createServer();
  const taken = new Promise<Socket>((done) => silent.once('connection', done));
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  a.links.setAddress(b, `127.0.0.1:${port}`);
  a.links.send(b, encodeCast('first'));
  const closed = once(
    (await taken).resume().on('error', () => {}),
    'close',
  );
  await a.until(() => a.handedBack.length === 1);
  t.ok(cancelled.includes(1_000), 'nobody waits for it to be taken');
  await closed;
  t.strictSame(a.dialling, [
    [b, true],
    [b, false],
  ]);
  aheadMs = 60_000;
  const again = once(silent, 'connection');
  a.links.send(b, encodeCast('second'));
  t.strictSame(a.handedBack, ['first', 'second'], 'a second time nothing waits');
  const [socket] = (await again) as [Socket];
  await once(
    socket.on('error', () => {}),
    'data',
  );
  t.equal(a.dialling.length, 2);
});

test('who has taken a connection and stands still is waited for three seconds', async (t) => {
  const limits = transportLimits({ handshakeTimeoutMs: 60_000 });
  const clock = {
    ...systemClock,
    after: (afterMs: number, done: () => void) =>
      systemClock.after(afterMs === 3_000 ? 0 : afterMs, done),
  };
  const a = await end(t, 1, { limits, clock });
  const b = idOf(2);
  const silent = createServer((socket) => socket.resume().on('error', () => {}));
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => silent.close());
  a.links.setAddress(b, `127.0.0.1:${(silent.address() as AddressInfo).port}`);
  a.links.send(b, encodeCast('first'));
  await a.until(() => a.handedBack.length === 1);
  t.strictSame(a.dialling, [
    [b, true],
    [b, false],
  ]);
  a.links.send(b, encodeCast('second'));
  t.strictSame(a.handedBack, ['first', 'second']);
});

test('a first connection is under way until it is there', async (t) => {
  const [a, b] = [await end(t, 1), await end(t, 2)];
  a.links.setAddress(b.id, b.address);
  a.send(b, 1);
  await a.until(() => a.dialling.length > 0);
  t.notOk(a.links.isOpen(b.id));
  await a.until(() => a.dialling.length === 2);
  t.strictSame(a.dialling, [
    [b.id, true],
    [b.id, false],
  ]);
  t.ok(a.links.isOpen(b.id));
});
