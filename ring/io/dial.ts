/** The way out to a peer: TLS 1.3 first, then the WebSocket, once the peer is proven. */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { AetherError } from '../../spec/error.ts';
import { checkProtocol, PROTOCOL } from '../core/protocol-range.ts';
import { isErrorBody, rebuildError } from '../core/remote-error.ts';
import type { Lane } from '../core/traffic.ts';
import { type Hello, helloHeaders, parseHello, SUBPROTOCOL } from './hello.ts';
import { SOCKET_OPTIONS } from './link.ts';
import { connectSecure, type SecureSocketOptions, UnansweredError } from './secure-socket.ts';

const REFUSAL_LENGTH_MAX = 8_192;

export interface DialOptions extends SecureSocketOptions {
  hello: Hello;
  /** From the first byte to the open WebSocket. */
  timeoutMs: number;
}

export interface Dialled {
  socket: WebSocket;
  peer: string;
  hello: Hello;
}

/**
 * @throws IdentityError ERR_RING_IDENTITY when another than `node` answers.
 * @throws AetherError what the peer refused us with, or ERR_RING_UNREACHABLE.
 */
export async function dial(given: DialOptions, lane: Lane): Promise<Dialled> {
  const options = { ...given, signal: limited(given) };
  const { tls, peer } = await connectSecure(options);
  return upgraded(tls, options.signal, async () => {
    const opened = await openWebSocket(tls, lane, options);
    checkProtocol(peer, opened.hello.protocol ?? PROTOCOL);
    return { peer, ...opened };
  });
}

/** Who answers one byte at a time is not waited for. */
export function limited({
  signal,
  timeoutMs,
}: {
  signal: AbortSignal;
  timeoutMs: number;
}): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
}

/** What becomes of the socket; when that fails or takes too long, it is closed. */
export async function upgraded<T>(
  tls: TLSSocket,
  signal: AbortSignal,
  upgrade: () => Promise<T>,
): Promise<T> {
  const giveUp = (): unknown => tls.destroy();
  signal.addEventListener('abort', giveUp);
  try {
    return await upgrade();
  } catch (error) {
    tls.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function openWebSocket(
  tls: TLSSocket,
  lane: Lane,
  options: DialOptions,
): Promise<{ socket: WebSocket; hello: Hello }> {
  return new Promise((done, fail) => {
    const socket = new WebSocket(`wss://${hostOf(options)}/${lane}`, SUBPROTOCOL, {
      ...SOCKET_OPTIONS,
      createConnection: () => tls,
      headers: helloHeaders(options.hello),
    });
    let hello: Hello = { epoch: 0 };
    socket.once('upgrade', (response) => {
      hello = parseHello(response.headers);
    });
    socket.once('unexpected-response', (_request, response) => {
      void refusal(response).then(fail);
    });
    socket.on('error', (error) => {
      fail(new UnansweredError(`${options.address} does not speak with us: ${error.message}`));
    });
    socket.once('open', () => done({ socket, hello }));
  });
}

/** What stands in the request for people and proxies; nobody decides by it. */
function hostOf({ address, inside, node = 'node' }: DialOptions): string {
  return inside === undefined ? address : node;
}

/** The error with which the other side refused the upgrade. */
export async function refusal(response: IncomingMessage): Promise<AetherError> {
  let text = '';
  try {
    for await (const chunk of response) {
      text += String(chunk);
      if (text.length > REFUSAL_LENGTH_MAX) break;
    }
    const { error } = JSON.parse(text) as { error: unknown };
    if (isErrorBody(error)) return rebuildError(error);
  } catch {
    // What is no refusal of ours is reported by its status.
  }
  return new AetherError(`the peer answered with HTTP status ${response.statusCode}`, {
    code: 'ERR_RING_UNREACHABLE',
  });
}
