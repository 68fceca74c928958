/** The way out to a peer: TLS 1.3 first, then the WebSocket, once the peer is proven. */
import { constants } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { AetherError } from '../../spec/error.ts';
import { FRAME_BYTES_MAX } from '../core/frame.ts';
import { isErrorBody, rebuildError } from '../core/remote-error.ts';
import type { Lane } from '../core/traffic.ts';
import { parseAddress } from './address.ts';
import { certifiedNode, IdentityError } from './certificate.ts';
import { type Hello, helloHeaders, parseHello, SUBPROTOCOL } from './hello.ts';

const REFUSAL_LENGTH_MAX = 8_192;

export interface DialOptions {
  address: string;
  lane: Lane;
  /** The node that must answer; none = whichever does. */
  node?: string;
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  hello: Hello;
  /** From the first byte to the open WebSocket. */
  timeoutMs: number;
  /** Gives up. */
  signal: AbortSignal;
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
export async function dial(given: DialOptions): Promise<Dialled> {
  // Who answers one byte at a time is not waited for.
  const signal = AbortSignal.any([given.signal, AbortSignal.timeout(given.timeoutMs)]);
  const options = { ...given, signal };
  const tls = await connectTls(options);
  const giveUp = (): unknown => tls.destroy();
  options.signal.addEventListener('abort', giveUp);
  try {
    const peer = certifiedNode(tls.getPeerX509Certificate());
    if (options.node !== undefined && peer !== options.node) {
      throw new IdentityError(`${options.address} is node ${peer}, not ${options.node}`, {
        hint: 'the address belongs to another node now; the right one comes with gossip',
      });
    }
    return { peer, ...(await openWebSocket(tls, options)) };
  } catch (error) {
    tls.destroy();
    throw error;
  } finally {
    options.signal.removeEventListener('abort', giveUp);
  }
}

function connectTls(options: DialOptions): Promise<TLSSocket> {
  return new Promise((done, fail) => {
    const socket = connect({
      ...parseAddress(options.address),
      key: options.key,
      cert: options.certificate,
      // There is no authority to ask: the certificate is checked by the caller of this function.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    const unreachable = (why: string): void => {
      socket.destroy();
      fail(
        new AetherError(`cannot reach ${options.address}: ${why}`, {
          code: 'ERR_RING_UNREACHABLE',
          hint: 'check that a node listens there and that nothing blocks the way',
        }),
      );
    };
    socket.once('error', (error) => unreachable(error.message));
    socket.once('close', () => unreachable('it hung up'));
    const giveUp = (): void => unreachable('no answer in time');
    options.signal.addEventListener('abort', giveUp);
    socket.once('close', () => options.signal.removeEventListener('abort', giveUp));
    socket.once('secureConnect', () => {
      options.signal.removeEventListener('abort', giveUp);
      socket.removeAllListeners('close').removeAllListeners('error').setNoDelay(true);
      done(socket);
    });
  });
}

function openWebSocket(
  tls: TLSSocket,
  options: DialOptions,
): Promise<{ socket: WebSocket; hello: Hello }> {
  return new Promise((done, fail) => {
    const socket = new WebSocket(`wss://${options.address}/${options.lane}`, SUBPROTOCOL, {
      createConnection: () => tls,
      maxPayload: FRAME_BYTES_MAX * 2,
      perMessageDeflate: false,
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
      fail(
        new AetherError(`${options.address} does not speak with us: ${error.message}`, {
          code: 'ERR_RING_UNREACHABLE',
        }),
      );
    });
    socket.once('open', () => done({ socket, hello }));
  });
}

/** The error with which the other side refused the WebSocket. */
async function refusal(response: IncomingMessage): Promise<AetherError> {
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
