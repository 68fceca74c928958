import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type Test, test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { withSwimPort } from '../core/swim-address.ts';
import type { MemberState, Update } from '../core/swim-message.ts';
import { swimOptions } from '../core/swim-options.ts';
import { fromWire, toWire } from '../core/swim-wire.ts';
import { transportLimits } from '../core/transport-limits.ts';
import { createCertificate } from './certificate.ts';
import { certificateOf, epochOf, LATTICE } from './membership.testsuite.ts';
import { idOf, key, pem } from './peers.testkit.ts';
import { SwimLinks } from './swim-links.ts';
import {
  decodeCast,
  encodeCast,
  type FromSwim,
  type SwimSockets,
  type ToSwim,
} from './swim-protocol.ts';
import { SwimHost } from './swim-host.ts';

const sockets = (number: number): SwimSockets => ({
  host: '127.0.0.1',
  key: pem(key(number)),
  certificate: createCertificate(key(number)),
  lattice: LATTICE,
  // Shorter than what is waited for a handshake anyway.
  limits: transportLimits({ handshakeTimeoutMs: 2_500 }),
});

/** The thread of node 1, whose main loop is the test. */
class Thread {
  readonly said: FromSwim[] = [];
  readonly #port: MessagePort;
  #wake: () => void = () => {};

  constructor(t: Test, incarnation: number, ceiling: number) {
    const host = SwimHost.use();
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (said: FromSwim) => {
      this.said.push(said);
      this.#wake();
    });
    t.teardown(async () => {
      await host.release();
      port1.close();
    });
    const facts = { addresses: ['127.0.0.1:1'], protocol: [1, 1], certificateEpoch: 1 } as const;
    const boot = {
      self: { id: idOf(1), incarnation, facts },
      ceiling,
      swim: swimOptions(),
      sockets: sockets(1),
      port: undefined,
      addresses: new Map(),
      pulse: new SharedArrayBuffer(8),
      clockAheadMs: 0,
    };
    Atomics.store(new BigInt64Array(boot.pulse), 0, process.hrtime.bigint() + 3_600_000_000_000n);
    host.thread.postMessage({ boot, port: port2 }, [port2]);
    this.tell({ kind: 'certificate', encoded: certificateOf(idOf(1)) });
    const members = [1, 2].map((number) => ({ id: idOf(number), address: '127.0.0.1:1' }));
    this.tell({ kind: 'roster', epoch: epochOf(1), members, near: [] });
  }

  tell(message: ToSwim): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#port.postMessage(message);
  }

  /** The next of the kind; what was said before it is forgotten. */
  async hear<K extends FromSwim['kind']>(kind: K): Promise<Extract<FromSwim, { kind: K }>> {
    for (;;) {
      const at = this.said.findIndex((said) => said.kind === kind);
      if (at >= 0) return this.said.splice(0, at + 1).at(-1) as Extract<FromSwim, { kind: K }>;
      await new Promise<void>((done) => (this.#wake = done));
    }
  }
}

/** Node 2, which has the thread's address. */
function node2(t: Test, port: number, heard: (body: unknown) => void): SwimLinks {
  const { host: _, lattice, ...credentials } = sockets(2);
  const links = new SwimLinks({
    self: idOf(2),
    ...credentials,
    clock: systemClock,
    log: silentLog,
    hello: () => ({ lattice, epoch: 1, certificate: certificateOf(idOf(2)) }),
    isMember: () => true,
    isNeighbor: () => true,
    meet: () => {},
    shown: () => {},
    dialling: () => {},
    linkLost: () => {},
    heard,
    handBack: () => {},
  });
  t.teardown(() => links.close());
  links.setAddress(idOf(1), `127.0.0.1:${port}`);
  return links;
}

test('W1: what would be above the ceiling waits for a higher one', async (t) => {
  const thread = new Thread(t, 5, 10);
  const { port } = await thread.hear('listening');
  /** Incarnations under which the thread has spoken. */
  const heard: number[] = [];
  let wake: () => void = () => {};
  const peer = node2(t, port, (body) => {
    heard.push(fromWire(body)?.message.incarnation ?? 0);
    wake();
  });
  const say = (updates: Update[]): void => {
    const ping = { kind: 'ping', seq: 1, incarnation: 1, updates } as const;
    peer.send(idOf(1), encodeCast(toWire(1, ping)));
  };
  say([]);
  while (!heard.includes(5)) await new Promise<void>((done) => (wake = done));
  say([{ id: idOf(1), state: 'dead', incarnation: 20 }]);
  t.match(await thread.hear('incarnation'), { incarnation: 21 });
  const before = heard.length;
  // Answers to what comes after are behind the refutation, which waits.
  thread.said.length = 0;
  const asking = setInterval(() => say([]), 100);
  await thread.hear('measured');
  clearInterval(asking);
  t.equal(heard.length, before);
  thread.tell({ kind: 'ceiling', incarnation: 80 });
  while (!heard.includes(21)) await new Promise<void>((done) => (wake = done));
  t.notOk(heard.some((incarnation) => incarnation !== 5 && incarnation !== 21));
});

test('who comes by the control lane is answered there too, for its link may be dead', async (t) => {
  const thread = new Thread(t, 5, 10);
  const { port } = await thread.hear('listening');
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  const peer = node2(t, port, () => answer());
  const ping = { kind: 'ping', seq: 7, incarnation: 1, updates: [] } as const;
  const cast = encodeCast(toWire(1, ping));
  peer.send(idOf(1), cast);
  await answered;
  thread.said.length = 0;
  thread.tell({ kind: 'heard', from: idOf(2), cast: new Uint8Array(cast) });
  const { to, cast: reply } = await thread.hear('cast');
  t.equal(to, idOf(2));
  t.match(fromWire(decodeCast(reply))?.message, { kind: 'ack', seq: 7 });
});

test('a member that is being connected to is not accused before that is over', async (t) => {
  const silent = createServer();
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => silent.close());
  let isOver = false;
  silent.on('connection', (socket) =>
    socket
      .resume()
      .on('error', () => {})
      .on('close', () => (isOver = true)),
  );
  const thread = new Thread(t, 5, 10);
  const { port } = silent.address() as AddressInfo;
  const facts = withSwimPort(
    { addresses: ['127.0.0.1:1'], protocol: [1, 1], certificateEpoch: 1 },
    port,
  );
  const own = { id: idOf(2), state: 'alive', incarnation: 1 } as const;
  const updates = [{ ...own, facts: { ...facts, incarnation: 1, version: 1 } }];
  const ping = { kind: 'ping', seq: 1, incarnation: 1, updates } as const;
  const cast = new Uint8Array(encodeCast(toWire(1, ping)));
  thread.tell({ kind: 'heard', from: idOf(2), cast });
  let said = await thread.hear('changed');
  while (said.member.state !== 'suspect' || said.member.incarnation === 0)
    said = await thread.hear('changed');
  t.ok(isOver);
});

test('where nobody answered, a member that had left and is back is dialled at once', async (t) => {
  const thread = new Thread(t, 5, 10);
  const facts = withSwimPort(
    { addresses: ['127.0.0.1:1'], protocol: [1, 1], certificateEpoch: 1 },
    1,
  );
  const say = (state: MemberState, incarnation: number): void => {
    const own = { id: idOf(2), state, incarnation, facts: { ...facts, incarnation, version: 1 } };
    const ping = { kind: 'ping', seq: 1, incarnation, updates: [own] } as const;
    const cast = new Uint8Array(encodeCast(toWire(1, ping)));
    thread.tell({ kind: 'heard', from: idOf(2), cast });
  };
  say('alive', 1);
  while ((await thread.hear('cast')).by !== 'any');
  say('left', 1);
  while ((await thread.hear('changed')).member.state !== 'left');
  say('alive', 2);
  t.match(await thread.hear('changed'), { member: { state: 'alive' }, before: 'left' });
  t.match(await thread.hear('cast'), { by: 'open' }, 'it is to be dialled');
});
