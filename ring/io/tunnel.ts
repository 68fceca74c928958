/**
 * The ends of a tunnel: a stream to a node through another, the relay.
 *
 *     caller ── GET /tunnel/NODE ──> relay <── GET /ticket/TICKET ── node
 *
 * Both connections are TLS to the relay and, once upgraded (RFC 9110 §7.8), a stream of bytes that the relay passes on. In it
 * the caller and the node speak as they would over TCP: TLS 1.3 in which each proves its key to the other, then the
 * WebSocket. So the relay is a wire: it can read nothing, change nothing unseen and stand for nobody.
 */
import type { TLSSocket } from 'node:tls';
import { AetherError } from '../../spec/error.ts';
import { type DialOptions, limited, refusal, upgraded } from './dial.ts';
import { helloHeaders } from './hello.ts';
import { connectSecure } from './secure-socket.ts';

const { request } = process.getBuiltinModule('node:http');

/** What the stream is upgraded to. */
export const TUNNEL_PROTOCOL = 'aether-tunnel.1';
const TUNNEL = '/tunnel/';
const TICKET = '/ticket/';

/** What a relay is asked for. */
export type TunnelRequest = { kind: 'tunnel'; node: string } | { kind: 'ticket'; ticket: string };

/** @returns undefined for other paths. */
export function tunnelRequest(path: string): TunnelRequest | undefined {
  if (path.startsWith(TUNNEL)) return { kind: 'tunnel', node: path.slice(TUNNEL.length) };
  if (path.startsWith(TICKET)) return { kind: 'ticket', ticket: path.slice(TICKET.length) };
  return undefined;
}

/**
 * @param options `address` and `node` are the relay's.
 * @returns the stream, once the relay has both ends.
 * @throws IdentityError, or AetherError what the relay refused us with, or ERR_RING_UNREACHABLE.
 */
export async function openTunnel(given: DialOptions, asked: TunnelRequest): Promise<TLSSocket> {
  const options = { ...given, signal: limited(given) };
  const { tls } = await connectSecure(options);
  const path = asked.kind === 'tunnel' ? TUNNEL + asked.node : TICKET + asked.ticket;
  await upgraded(tls, options.signal, () => upgrade(tls, path, options));
  return tls;
}

function upgrade(tls: TLSSocket, path: string, { address, hello }: DialOptions): Promise<void> {
  return new Promise((done, fail) => {
    const asking = request({
      createConnection: () => tls,
      path,
      headers: { connection: 'Upgrade', upgrade: TUNNEL_PROTOCOL, ...helloHeaders(hello) },
    });
    asking.once('upgrade', (_response, _socket, head: Buffer) => {
      if (head.length > 0) tls.unshift(head);
      done();
    });
    asking.once('response', (response) => void refusal(response).then(fail));
    asking.on('error', (error) => {
      fail(
        new AetherError(`${address} opens no tunnel: ${error.message}`, {
          code: 'ERR_RING_UNREACHABLE',
        }),
      );
    });
    asking.end();
  });
}
