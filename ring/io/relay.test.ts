/** Nodes that cannot be dialled, reached through relays: honest ones, and one that reads, changes and pretends. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { createSecureContext, TLSSocket } from 'node:tls';
import { type Test, test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { decodeFrame } from '../core/frame.ts';
import { transportLimits } from '../core/transport-limits.ts';
import { relayAddress } from '../core/ways.ts';
import { formatAddress } from './address.ts';
import { createCertificate } from './certificate.ts';
import type { DialOptions } from './dial.ts';
import { Listener } from './listener.ts';
import {
  type Opened,
  frame,
  idOf,
  key,
  open,
  openBehind,
  pem,
  raw,
  TIMEOUT,
} from './peers.testkit.ts';
import type { PeersOptions } from './peers.ts';
import { splice } from './splice.ts';
import { openTunnel } from './tunnel.ts';

const [RELAY, HIDDEN, CALLER, OTHER] = [1, 2, 3, 4];

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(1);
}

/** A relay, a node behind it that echoes, and a caller that knows no other way to that. */
async function three(
  t: Test,
  change: Partial<PeersOptions> = {},
): Promise<{ relay: Opened; hidden: Opened; caller: Opened }> {
  const [relay, caller] = await Promise.all([open(t, RELAY, change), open(t, CALLER)]);
  const at = { node: relay.peers.self, address: relay.address };
  const hidden = await openBehind(t, HIDDEN, at);
  hidden.peers.serve('echo', (body) => body);
  caller.peers.setAddress(relay.peers.self, relay.address);
  caller.peers.setAddress(hidden.peers.self, hidden.address);
  return { relay, hidden, caller };
}

test('who cannot be dialled is called, casts and calls back through a relay', async (t) => {
  const { relay, hidden, caller } = await three(t);
  const body = new Uint8Array(16 << 20).map((_, i) => i % 255);
  const long = caller.peers.call(hidden.peers.self, 'echo', body, { timeoutMs: 30_000 });
  t.equal(await caller.peers.call(hidden.peers.self, 'echo', 'short', TIMEOUT), 'short');
  t.equal(caller.peers.via(hidden.peers.self), relay.peers.self);
  t.equal(hidden.peers.via(caller.peers.self), relay.peers.self);
  t.equal(hidden.peers.via(relay.peers.self), undefined);
  t.ok(Buffer.compare((await long) as Uint8Array, body) === 0, '16 MiB there and back');

  caller.peers.serve('who', (_body, from) => from);
  t.equal(await hidden.peers.call(caller.peers.self, 'who', null, TIMEOUT), hidden.peers.self);
  const heard = new Promise((done) => hidden.peers.onCast('news', (news) => done(news)));
  caller.peers.cast(hidden.peers.self, 'news', 'of the day');
  t.equal(await heard, 'of the day');

  const { open: tunnels, opened, refused, bytes } = relay.peers.counts().relay;
  t.strictSame({ tunnels, opened, refused }, { tunnels: 2, opened: 2, refused: 0 });
  t.ok(bytes > 32 << 20, 'control and bulk went through');
});

test('two nodes that cannot be dialled reach each other', async (t) => {
  const { relay, hidden } = await three(t);
  const at = { node: relay.peers.self, address: relay.address };
  const other = await openBehind(t, OTHER, at);
  other.peers.setAddress(hidden.peers.self, hidden.address);
  hidden.peers.setAddress(other.peers.self, other.address);
  other.peers.serve('echo', (body) => body);
  t.equal(await other.peers.call(hidden.peers.self, 'echo', 1, TIMEOUT), 1);
  const long = new Uint8Array(1 << 20).fill(7);
  t.strictSame(await hidden.peers.call(other.peers.self, 'echo', long, TIMEOUT), long);
});

test('its own relay, and who has a link with it, are called back for bulk', async (t) => {
  const { relay, hidden } = await three(t);
  relay.peers.setAddress(hidden.peers.self, relayAddress(idOf(9)), hidden.address);
  const long = new Uint8Array(1 << 20).fill(7);
  t.strictSame(await relay.peers.call(hidden.peers.self, 'echo', long, TIMEOUT), long);
  t.equal(relay.peers.counts().relay.opened, 0);
});

test('a way that is silent does not keep a call waiting; a direct one takes over', async (t) => {
  const { relay, hidden, caller } = await three(t);
  const held: Socket[] = [];
  const silent: Server = createServer((socket) => void held.push(socket)).listen(0, '127.0.0.1');
  t.teardown(() => {
    for (const socket of held) socket.destroy();
    silent.close();
  });
  await until(() => silent.listening);
  const { port } = silent.address() as { port: number };
  caller.peers.setAddress(hidden.peers.self, `127.0.0.1:${port}`, hidden.address);
  t.equal(await caller.peers.call(hidden.peers.self, 'echo', 1, { timeoutMs: 4_000 }), 1);
  t.equal(held.length, 1, 'the direct way was tried first');
  caller.peers.drop(hidden.peers.self, 'the test');
  t.equal(await caller.peers.call(hidden.peers.self, 'echo', 2, { timeoutMs: 4_000 }), 2);
  t.equal(held.length, 1, 'and not again so soon');

  const dialable = await open(t, 5);
  dialable.peers.serve('echo', (body) => body);
  dialable.peers.setAddress(relay.peers.self, relay.address);
  await dialable.peers.greet(relay.address);
  caller.peers.setAddress(dialable.peers.self, relayAddress(relay.peers.self));
  t.equal(await caller.peers.call(dialable.peers.self, 'echo', 3, TIMEOUT), 3);
  t.equal(caller.peers.via(dialable.peers.self), relay.peers.self);
  caller.peers.setAddress(dialable.peers.self, dialable.address, relayAddress(relay.peers.self));
  caller.peers.cast(dialable.peers.self, 'any', null);
  await until(() => caller.peers.via(dialable.peers.self) === undefined);
  t.equal(await caller.peers.call(dialable.peers.self, 'echo', 4, TIMEOUT), 4);
});

test('with its relay gone, another one leads to it', async (t) => {
  const { relay, hidden, caller } = await three(t);
  const second = await open(t, 6);
  hidden.peers.setAddress(second.peers.self, second.address);
  await hidden.peers.greet(second.address);
  caller.peers.setAddress(second.peers.self, second.address);
  // Only once the first way is taken: on a busy machine the second one may be quicker.
  t.equal(await caller.peers.call(hidden.peers.self, 'echo', 1, TIMEOUT), 1);
  const ways = [relay, second].map(({ peers }) => relayAddress(peers.self));
  caller.peers.setAddress(hidden.peers.self, ...ways);
  const down = new Promise<string>((done) =>
    caller.peers.onLinkDown((node) => {
      if (node === hidden.peers.self) done(node);
    }),
  );
  await relay.peers.close();
  await down;
  t.equal(await caller.peers.call(hidden.peers.self, 'echo', 2, TIMEOUT), 2);
  t.equal(caller.peers.via(hidden.peers.self), second.peers.self);
});

test('a relay carries for members, for whom was called, and within limits', async (t) => {
  const { relay, hidden, caller } = await three(t, { limits: { tunnelsPerPeerMax: 1 } });
  const node = hidden.peers.self;
  await t.rejects(openTunnel(asNode(10, relay), { kind: 'tunnel', node }), {
    code: 'ERR_RING_NOT_MEMBER',
  });
  await t.rejects(openTunnel(asNode(OTHER, relay), { kind: 'ticket', ticket: 'guessed' }), {
    code: 'ERR_RING_UNREACHABLE',
    message: /ticket/,
  });
  await t.rejects(openTunnel(asNode(OTHER, relay), { kind: 'tunnel', node: idOf(7) }), {
    code: 'ERR_RING_UNREACHABLE',
    message: /keeps no link/,
  });

  t.equal(await caller.peers.call(node, 'echo', 1, TIMEOUT), 1);
  await t.rejects(openTunnel(asNode(OTHER, relay), { kind: 'tunnel', node }), {
    code: 'ERR_RING_BUSY',
  });
  caller.peers.drop(node, 'the test');
  await until(() => relay.peers.counts().relay.open === 0);
  const tunnel = await openTunnel(asNode(OTHER, relay), { kind: 'tunnel', node });
  tunnel.end('no TLS at all');
  await until(() => relay.peers.counts().relay.open === 0);
  t.match(relay.peers.counts().relay, { opened: 2, refused: 3 });
  await until(() => hidden.peers.counts().open.handshakes === 0);

  const idle = await three(t, { limits: { tunnelIdleMs: 1_000 } });
  await idle.caller.peers.call(node, 'echo', 1, TIMEOUT);
  await until(() => idle.relay.peers.counts().relay.open === 0);
  t.equal(idle.relay.peers.counts().relay.opened, 1, 'one that is idle ends');

  const { relay: none, caller: far } = await three(t, { limits: { tunnelsMax: 0 } });
  await t.rejects(far.peers.call(node, 'echo', 1, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
    message: /too many tunnels/,
  });
  t.equal(none.peers.counts().relay.opened, 0);
});

test('a ticket is for the node that was called, once', async (t) => {
  const relay = await open(t, RELAY);
  const caller = await open(t, CALLER);
  caller.peers.setAddress(relay.peers.self, relay.address);
  caller.peers.setAddress(idOf(HIDDEN), relayAddress(relay.peers.self));
  const hidden = raw(relay.address, HIDDEN);
  t.teardown(() => hidden.terminate());
  await once(hidden, 'open');
  const ticketOf = async (): Promise<string> => {
    const [bytes] = (await once(hidden, 'message')) as [Buffer];
    const message = decodeFrame(bytes).find(
      (each) => each.kind === 'request' && each.method === 'relay.invite',
    );
    return message?.kind === 'request' ? String(message.body) : ticketOf();
  };
  const call = caller.peers.call(idOf(HIDDEN), 'echo', 1, TIMEOUT);
  const ticket = await ticketOf();
  const come = (number: number): Promise<TLSSocket> =>
    openTunnel(asNode(number, relay), { kind: 'ticket', ticket });
  const refusal = { code: 'ERR_RING_UNREACHABLE', message: /ticket/ };
  await t.rejects(come(OTHER), refusal, 'not another member');
  const stream = await come(HIDDEN);
  const [hello] = (await once(stream, 'data')) as [Buffer];
  t.equal(hello[0], 0x16, 'the caller begins its handshake');
  await t.rejects(come(HIDDEN), refusal, 'not twice');
  stream.destroy();
  await t.rejects(call, { code: 'ERR_RING_UNREACHABLE' });
});

test('what one end does not read, the other cannot send', async (t) => {
  const [near, inner] = duplexPair();
  const [far, outer] = duplexPair();
  let bytes = 0;
  let isOver = false;
  const end = splice(inner, outer, {
    clock: systemClock,
    idleMs: 60_000,
    charge: (count) => {
      bytes += count;
      return 0;
    },
    ended: () => (isOver = true),
  });
  const chunk = new Uint8Array(16 << 10);
  const write = (): void => {
    let isFull = bytes >= 8 << 20;
    while (!isFull) isFull = !near.write(chunk);
  };
  near.on('drain', write);
  write();
  const settled = async (): Promise<number> => {
    for (let before = -1; before !== bytes; await pause(20)) before = bytes;
    return bytes;
  };
  const held = await settled();
  t.ok(held < 1 << 20, `${held} bytes wait`);
  far.resume();
  await until(() => bytes >= 8 << 20);
  t.pass('it goes on once it is read');
  end();
  t.ok(isOver && inner.destroyed && outer.destroyed);
});

test('who is over its rate is not read from until it has paid', async (t) => {
  const [near, inner] = duplexPair();
  const [far, outer] = duplexPair();
  const rests: (() => void)[] = [];
  let restMs = 5;
  let bytes = 0;
  const end = splice(inner, outer, {
    clock: { ...systemClock, after: (_delayMs, wake) => (rests.push(wake), () => {}) },
    idleMs: 60_000,
    charge: (count) => {
      bytes += count;
      return restMs;
    },
    ended: () => {},
  });
  t.teardown(end);
  rests.shift(); // That of the idle time.
  far.resume();
  for (const byte of [1, 2, 3]) near.write(new Uint8Array([byte]));
  await until(() => rests.length === 1);
  await pause(20);
  t.equal(bytes, 1);
  restMs = 0;
  rests[0]?.();
  await until(() => bytes === 3);
  t.equal(rests.length, 1);
});

test('a relay that listens in finds no plain text', async (t) => {
  const seen: Buffer[] = [];
  const { hidden, caller } = await rogue(t, (chunk) => {
    seen.push(chunk);
    return chunk;
  });
  const marker = 'the marker that nobody else may read';
  t.equal(await caller.peers.call(hidden.peers.self, 'echo', marker, TIMEOUT), marker);
  const all = Buffer.concat(seen);
  t.ok(all.length > 1_000);
  t.notOk(all.includes(marker));
  t.notOk(all.includes('echo'), 'nor what is called');
  t.notOk(all.includes(caller.peers.self), 'nor a certificate');
});

test('a relay that changes a byte ends the link, and nothing of it is heard', async (t) => {
  let count = 0;
  let from = Infinity;
  const { hidden, caller } = await rogue(t, (chunk) => {
    if (count++ < from) return chunk;
    const changed = Buffer.from(chunk);
    changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
    return changed;
  });
  let heard = 0;
  hidden.peers.serve('count', () => ++heard);
  await caller.peers.call(hidden.peers.self, 'count', null, TIMEOUT);
  from = count;
  await t.rejects(caller.peers.call(hidden.peers.self, 'count', null, TIMEOUT), {
    code: 'ERR_RING_TIMEOUT',
  });
  t.equal(heard, 1);
  await t.rejects(caller.peers.call(hidden.peers.self, 'count', null, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
  });
  t.equal(heard, 1);
});

test('a relay cannot stand for the node that it leads to', async (t) => {
  const { caller, hidden } = await rogue(t, undefined);
  await t.rejects(caller.peers.call(hidden.peers.self, 'echo', 1, TIMEOUT), {
    code: 'ERR_RING_UNREACHABLE',
    cause: { code: 'ERR_RING_IDENTITY' },
  });
});

function asNode(number: number, relay: Opened): DialOptions {
  return {
    address: relay.address,
    node: relay.peers.self,
    key: pem(key(number)),
    certificate: createCertificate(key(number)),
    hello: { lattice: 'lone', epoch: 1 },
    timeoutMs: 10_000,
    signal: new AbortController().signal,
  };
}

/** A member that is no honest relay. @param pass what it makes of the bytes; none: it answers itself. */
async function rogue(
  t: Test,
  pass: ((chunk: Buffer) => Buffer) | undefined,
): Promise<{ hidden: Opened; caller: Opened }> {
  const tickets = new Map<string, (far: Duplex) => void>();
  let invite: (ticket: string) => void = () => {};
  const listener = await Listener.open({
    lanes: ['control'],
    where: { host: '127.0.0.1', port: 0 },
    key: pem(key(RELAY)),
    certificate: createCertificate(key(RELAY)),
    log: silentLog,
    clock: systemClock,
    limits: transportLimits(),
    hello: () => ({ lattice: 'lone', epoch: 1 }),
    isFamiliar: () => true,
    isMember: () => true,
    accept: () => {},
    opened: (socket) => {
      t.teardown(() => socket.terminate());
      invite = (ticket) => socket.send(frame([[0, 1, 'relay.invite', ticket]]));
    },
    tunnel: async (_peer, asked) => {
      if (asked.kind === 'ticket') return tickets.get(asked.ticket) as (far: Duplex) => void;
      if (pass === undefined) return pretend;
      const ticket = String(tickets.size);
      const far = new Promise<Duplex>((done) => tickets.set(ticket, done));
      invite(ticket);
      const outer = await far;
      return (near) => {
        for (const [from, to] of [
          [near, outer],
          [outer, near],
        ] as const) {
          from.on('data', (chunk: Buffer) => to.write(pass(chunk)));
          from.on('error', () => {});
          from.on('close', () => to.destroy());
        }
      };
    },
  });
  t.teardown(() => listener.close());
  const at = { node: idOf(RELAY), address: formatAddress(listener.address as never) };
  const hidden = await openBehind(t, HIDDEN, at);
  hidden.peers.serve('echo', (body) => body);
  const caller = await open(t, CALLER);
  caller.peers.setAddress(idOf(RELAY), at.address);
  caller.peers.setAddress(hidden.peers.self, hidden.address);
  return { hidden, caller };
}

/** Answers the inner handshake with the relay's own key. */
function pretend(near: Duplex): void {
  const secureContext = createSecureContext({
    key: pem(key(RELAY)),
    cert: createCertificate(key(RELAY)),
  });
  new TLSSocket(near as TLSSocket, { isServer: true, secureContext }).on('error', () => {});
}
