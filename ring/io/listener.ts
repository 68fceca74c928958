/**
 * Where peers come in: TLS 1.3 that asks for their certificate, then one WebSocket each.
 *
 * A caller has no name until its handshakes are done, so until then it costs little: it has a
 * deadline, and only so many may be under way. When more come, the oldest gives way: a flood then
 * starves itself, and an honest peer, which is done in milliseconds, still gets through.
 */
import { constants } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { FRAME_BYTES_MAX } from '../core/frame.ts';
import type { HostPort } from './address.ts';
import { certifiedNode } from './certificate.ts';
import {
  HANDSHAKE_TIMEOUT_MS,
  type Hello,
  helloHeaders,
  parseHello,
  SUBPROTOCOL,
} from './hello.ts';
import type { Lane } from './link.ts';

/** Handshakes under way at once. */
const PENDING_MAX = 256;

export interface ListenerOptions extends HostPort {
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  log: Log;
  hello(): Hello;
  /** @throws AetherError to refuse the caller; it gets the error. */
  accept(peer: string, lane: Lane, hello: Hello): void;
  opened(socket: WebSocket, peer: string, lane: Lane, hello: Hello): void;
}

/** The address cannot be listened on. Nothing was opened. */
export class ListenError extends AetherError {
  static override readonly code: string = 'ERR_PORT_IN_USE';
}

export class Listener {
  readonly address: HostPort;
  readonly #server: Server;
  /** Sockets without a proven peer, oldest first, by the port pair's far end. */
  readonly #pending: Map<string, Socket>;

  private constructor(server: Server, host: string, pending: Map<string, Socket>) {
    this.#server = server;
    this.#pending = pending;
    this.address = { host, port: (server.address() as AddressInfo).port };
  }

  /** @throws ListenError ERR_PORT_IN_USE or ERR_LISTEN. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { host, port } = options;
    const pending = new Map<string, Socket>();
    const sockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // Twice the limit: what is a little over it is answered with the reason.
      maxPayload: FRAME_BYTES_MAX * 2,
      handleProtocols: () => SUBPROTOCOL,
    });
    sockets.on('headers', (lines) => {
      for (const [name, value] of Object.entries(helloHeaders(options.hello())))
        lines.push(`${name}: ${value}`);
    });

    const server = createServer({
      key: options.key,
      cert: options.certificate,
      requestCert: true,
      // There is no authority to ask: the certificate is checked below, against its own key.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      headersTimeout: HANDSHAKE_TIMEOUT_MS,
      requestTimeout: HANDSHAKE_TIMEOUT_MS,
      maxHeaderSize: 4_096,
    });
    server.on('connection', (socket: Socket) => holdPending(pending, socket));
    server.on('tlsClientError', (error, socket) => {
      options.log.debug({ error: error.message }, 'a TLS handshake failed');
      socket.destroy();
    });
    server.on('request', (_request, response) => {
      response.writeHead(426, { connection: 'close' }).end();
    });
    server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      const caller = request.socket as TLSSocket;
      stream.on('error', () => stream.destroy());
      let peer: string;
      let lane: Lane;
      const hello = parseHello(request.headers);
      try {
        lane = laneOf(request);
        peer = certifiedNode(caller.getPeerX509Certificate());
        options.accept(peer, lane, hello);
      } catch (error) {
        options.log.warn({ error: errorBody(error) }, 'a peer was refused');
        refuse(stream, error);
        return;
      }
      sockets.handleUpgrade(request, stream, head, (socket) => {
        pending.delete(farEnd(caller));
        options.opened(socket, peer, lane, hello);
      });
    });
    await listen(server, host, port);
    // Such as too many open files: those that are open go on.
    server.on('error', (error) => options.log.error({ error }, 'a connection was not taken'));
    return new Listener(server, host, pending);
  }

  /** Ends the handshakes under way; open links are their owner's to close. */
  async close(): Promise<void> {
    for (const socket of this.#pending.values()) socket.destroy();
    await new Promise((done) => {
      this.#server.close(done);
      this.#server.closeAllConnections();
    });
  }
}

function holdPending(pending: Map<string, Socket>, socket: Socket): void {
  const end = farEnd(socket);
  pending.set(end, socket);
  const deadline = setTimeout(() => {
    if (pending.get(end) === socket) socket.destroy();
  }, HANDSHAKE_TIMEOUT_MS);
  socket.once('close', () => {
    clearTimeout(deadline);
    if (pending.get(end) === socket) pending.delete(end);
  });
  if (pending.size <= PENDING_MAX) return;
  const [oldest] = pending;
  oldest?.[1].destroy();
  pending.delete(oldest?.[0] ?? '');
}

/** @throws AetherError ERR_RING_PROTOCOL. */
function laneOf({ url, headers }: IncomingMessage): Lane {
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
  if ((url === '/control' || url === '/bulk') && offered.includes(SUBPROTOCOL))
    return url === '/bulk' ? 'bulk' : 'control';
  throw new AetherError(`this node speaks ${SUBPROTOCOL} on /control and /bulk, and nothing else`, {
    code: 'ERR_RING_PROTOCOL',
    hint: 'bring both nodes to the same release',
  });
}

function farEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function refuse(stream: Duplex, error: unknown): void {
  const body = JSON.stringify({ error: errorBody(error) });
  stream.end(
    `HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((done, fail) => {
      server.once('error', fail);
      server.listen(port, host, () => {
        server.off('error', fail);
        done();
      });
    });
  } catch (cause) {
    const inUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
    throw new ListenError(
      inUse ? `${host}:${port} is in use` : `cannot listen on ${host}:${port}: ${String(cause)}`,
      {
        code: inUse ? 'ERR_PORT_IN_USE' : 'ERR_LISTEN',
        hint: inUse
          ? 'stop what listens there, or choose another port: --listen host:port (0 = any free one)'
          : 'choose an address of this machine: --listen host:port',
        cause,
      },
    );
  }
}
