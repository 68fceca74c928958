/** Nodes with known keys, and callers that do not keep the rules. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import { nodeId } from '../../spec/id.ts';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { encode } from '../core/codec.ts';
import { relayAddress } from '../core/ways.ts';
import { formatAddress } from './address.ts';
import { createCertificate } from './certificate.ts';
import { keyFromSeed, type SigningKey } from './keys.ts';
import { Peers, type PeersOptions } from './peers.ts';

export function key(number: number): SigningKey {
  const seed = new Uint8Array(32).fill(number);
  return keyFromSeed(number < 256 ? seed : seed.with(0, 128 + (number >> 8)));
}
export const idOf = (number: number): string => nodeId(key(number).publicKey);
export const pem = (signer: SigningKey): string =>
  signer.secret.export({ format: 'pem', type: 'pkcs8' });

/** Members are nodes 1 to 9. */
const members = new Set(Array.from({ length: 9 }, (_, i) => idOf(i + 1)));
export const TIMEOUT: { timeoutMs: number } = { timeoutMs: 10_000 };

export interface Opened {
  peers: Peers;
  address: string;
}

export async function open(
  t: Test,
  number: number,
  change: Partial<PeersOptions> = {},
): Promise<Opened> {
  const peers = make(t, number, change);
  const address = formatAddress(await peers.listen({ host: '127.0.0.1', port: 0 }));
  return { peers, address };
}

/** A node that cannot be dialled, with a link to the relay. */
export async function openBehind(
  t: Test,
  number: number,
  relay: { address: string; node: string },
  change: Partial<PeersOptions> = {},
): Promise<Opened> {
  const peers = make(t, number, change);
  await peers.listen(undefined);
  peers.setAddress(relay.node, relay.address);
  await peers.greet(relay.address);
  return { peers, address: relayAddress(relay.node) };
}

function make(t: Test, number: number, change: Partial<PeersOptions>): Peers {
  const peers = new Peers({
    self: idOf(number),
    key: pem(key(number)),
    certificate: createCertificate(key(number)),
    clock: systemClock,
    log: silentLog,
    hello: () => ({ lattice: 'lone', epoch: 1 }),
    isMember: (node) => members.has(node),
    linkUp: () => {},
    ...change,
  });
  t.teardown(() => peers.close());
  return peers;
}

export async function pair(t: Test, change: Partial<PeersOptions> = {}): Promise<[Opened, Opened]> {
  const [one, two] = await Promise.all([open(t, 1, change), open(t, 2)]);
  one.peers.setAddress(two.peers.self, two.address);
  two.peers.setAddress(one.peers.self, one.address);
  return [one, two];
}

/** A WebSocket of a node that does not keep the rules. */
export function raw(
  address: string,
  number: number,
  path = '/control',
  headers: Record<string, string> = {},
): WebSocket {
  return new WebSocket(`wss://${address}${path}`, 'aether.1', {
    key: pem(key(number)),
    cert: createCertificate(key(number)),
    rejectUnauthorized: false,
    headers,
  });
}

/** A frame of these messages, as lists. */
export function frame(messages: unknown): Uint8Array {
  return Buffer.concat([Buffer.from([1]), encode(messages)]);
}

export function hostPort(address: string): { host: string; port: number } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

/** What a TLS client says first. */
export async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}
