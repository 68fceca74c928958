/**
 * The processes of `attacks.ts`: the node that is attacked, the honest member, and the attacker.
 *
 * `PROGRAM target FOLDER`, `PROGRAM member FOLDER ADDRESS NODE TOKEN`, `PROGRAM attacker KIND ADDRESS FOLDER TOKEN`; what they
 * are asked for then comes as messages.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { encode } from '../../ring/core/codec.ts';
import { parseTokenText } from '../../ring/core/token.ts';
import { transportLimits } from '../../ring/core/transport-limits.ts';
import { mintJoinToken, Ring } from '../../ring/index.ts';
import { createCertificate } from '../../ring/io/certificate.ts';
import { type Hello, helloHeaders } from '../../ring/io/hello.ts';
import { keyFromSeed, readKeyFile, type SigningKey } from '../../ring/io/keys.ts';
import { RingStore } from '../../ring/io/ring-store.ts';
import { nodeId } from '../../spec/id.ts';

/** What a target says when it is up. */
export interface Ready {
  address: string;
  id: string;
  tokens: [string, string, string];
}

/** Floods, and `none`: the attacker that does nothing. */
export type Kind =
  | 'none'
  | 'connections'
  | 'joins'
  | 'slow'
  | 'casts'
  | 'calls'
  | 'frames'
  | 'pings'
  | 'dense';

/** Of the honest member: far from filling a core, as an attack shall, and enough for a percentile. */
const CALL_EVERY_MS = 1.1;
/** What a quiet time lets through at once is used up by then. */
const ATTACK_WARM_UP_MS = 3_000;
/** Loopback has many addresses. */
const ELSEWHERE = '127.0.0.66';

/** Says on each message how its main loop has been used. */
async function serveTarget(data: string): Promise<void> {
  const ring = await Ring.open({ data });
  ring.rpc.serve('bench.echo', (body) => body);
  const tokens = Array.from({ length: 3 }, () => mintJoinToken(data));
  process.on('message', () => process.send?.(performance.eventLoopUtilization()));
  process.send?.({ address: ring.address, id: ring.id, tokens });
}

/**
 * Calls the node at its own pace, whether it answers or not. Asked for a time in milliseconds, it says how long each call of
 * that time took, from when it was due.
 */
async function callAlways(
  data: string,
  address: string,
  node: string,
  token: string,
): Promise<void> {
  const ring = await Ring.open({ data, join: [address], token });
  let noted: Promise<number>[] | undefined;
  const call = async (dueMs: number): Promise<number> => {
    await ring.rpc.call(node, 'bench.echo', 'body', { timeoutMs: 30_000 });
    return performance.now() - dueMs;
  };
  process.on('message', (milliseconds: number) => {
    const ofThisTime: Promise<number>[] = [];
    noted = ofThisTime;
    setTimeout(() => {
      noted = undefined;
      void Promise.all(ofThisTime).then((latencies) => process.send?.(latencies));
    }, milliseconds);
  });
  process.send?.('calls');
  for (let dueMs = performance.now(); ; dueMs += CALL_EVERY_MS) {
    while (performance.now() < dueMs) await new Promise((wake) => void setTimeout(wake, 1));
    const called = call(dueMs);
    noted?.push(called);
  }
}

/** Floods without end. @param taken the folder of a member, whose key and certificate the attacker has. */
async function attack(kind: Kind, address: string, taken: string, token: string): Promise<void> {
  const [host = '', port] = address.split(':');
  const from = { host, port: Number(port), localAddress: ELSEWHERE };
  const credentials = (key: SigningKey): { key: string; cert: string } => ({
    key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
    cert: createCertificate(key),
  });
  const open = (key: SigningKey, hello: Hello = { epoch: 0 }): [WebSocket, TLSSocket] => {
    const options = { ...credentials(key), ...from, rejectUnauthorized: false };
    const tls = connectTls(options);
    tls.on('error', () => {});
    const socket = new WebSocket(`wss://${address}/control`, 'aether.1', {
      createConnection: () => tls,
      headers: helloHeaders(hello),
    });
    return [socket.on('error', () => {}), tls];
  };
  const ended = (socket: Socket | WebSocket): Promise<void> =>
    new Promise((done) => void socket.once('close', () => done()));
  const frame = (messages: unknown): Uint8Array =>
    Buffer.concat([Buffer.from([1]), encode(messages)]);
  const again = (count: number, once_: (i: number) => Promise<void>): void => {
    for (let i = 0; i < count; i++)
      void (async () => {
        for (let n = i; ; n += count) {
          await once_(n);
          await new Promise((wake) => setImmediate(wake));
        }
      })();
  };
  /** As one member with as many links as it may have, as fast as the sockets take it, and anew when one is closed. */
  const member = (send: (socket: WebSocket, sent: () => void, tls: TLSSocket) => void): void => {
    const store = new RingStore(join(taken, 'ring.db'));
    const [lattice, certificate] = [store.lattice() ?? '', store.nodeCertificate()];
    store.close();
    const hello = { lattice, epoch: 1, ...(certificate === undefined ? {} : { certificate }) };
    again(transportLimits().linksPerPeerMax, async () => {
      const [socket, tls] = open(readKeyFile(join(taken, 'node.key')), hello);
      const closed = ended(socket);
      const next = (): void => {
        if (socket.readyState === WebSocket.OPEN) send(socket, next, tls);
      };
      socket.once('open', next);
      await closed;
    });
  };

  if (kind === 'none') {
    // As many processes as with an attack.
  } else if (kind === 'slow') {
    again(500, async () => {
      const socket = connectTcp(from);
      socket.on('error', () => {}).resume();
      socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
      await ended(socket);
    });
  } else if (kind === 'connections') {
    again(64, async () => {
      const socket = connectTls({ ...from, rejectUnauthorized: false });
      socket.on('error', () => {}).once('secureConnect', () => socket.destroy());
      await ended(socket);
    });
  } else if (kind === 'joins') {
    // All is right with the token but its signature: nothing is refused later.
    const chain = parseTokenText(token).chain.slice();
    chain[chain.length - 1] = (chain.at(-1) as number) ^ 1;
    again(8, async (n) => {
      const seed = new Uint8Array(32).fill(7);
      new DataView(seed.buffer).setUint32(0, n);
      const key = keyFromSeed(seed);
      const [socket] = open(key);
      const closed = ended(socket);
      const proof = new Uint8Array(64);
      const asked = { node: nodeId(key.publicKey), name: 'x', address: '127.0.0.1:1' };
      const request = { ...asked, chain, proof, consent: proof };
      socket.once('open', () => socket.send(frame([[0, 1, 'join', request]])));
      socket.once('message', () => socket.terminate());
      await closed;
    });
  } else if (kind === 'frames') {
    const single = frame([[0, 1, 'bench.echo', 'x']]);
    member((socket, sent, tls) => {
      tls.cork(); // So that one read brings hundreds.
      for (let i = 1; i < 1_024; i++) socket.send(single);
      socket.send(single, () => setImmediate(sent));
      tls.uncork();
    });
  } else if (kind === 'pings') {
    member((socket, sent, tls) => {
      tls.cork();
      for (let i = 1; i < 100; i++) socket.ping(Buffer.alloc(100));
      socket.ping(Buffer.alloc(100), true, () => setImmediate(sent));
      tls.uncork();
    });
  } else {
    const one: Record<string, unknown> = {
      casts: [3, 'swim', [1, []]],
      calls: [0, 1, 'bench.echo', 'x'],
      // The most objects that a message may have, each of a byte.
      dense: [3, 'swim', Array.from({ length: 65_000 }, () => [])],
    };
    const flood = frame(Array.from({ length: kind === 'dense' ? 1 : 1_024 }, () => one[kind]));
    member((socket, sent) => socket.send(flood, () => setImmediate(sent)));
  }
  setTimeout(() => process.send?.('under way'), ATTACK_WARM_UP_MS);
}

process.on('disconnect', () => process.exit());
const [role, ...args] = process.argv.slice(2);
const [first = '', address = '', second = '', token = ''] = args;
if (role === 'target') await serveTarget(first);
if (role === 'member') await callAlways(first, address, second, token);
if (role === 'attacker') await attack(first as Kind, address, second, token);
