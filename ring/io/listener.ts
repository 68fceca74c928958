/**
 * Where peers come in: TLS 1.3 that asks for their certificate, then one WebSocket each.
 *
 * A caller has no name until its handshakes are done; `callers.ts` says what it may cost until then.
 */
import { constants } from 'node:crypto';
import { createServer as createSecureServer } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { FRAME_BYTES_MAX } from '../core/frame.ts';
import type { Lane } from '../core/traffic.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import { type HostPort, originOf } from './address.ts';
import { type CallerCounts, Callers } from './callers.ts';
import { certifiedNode } from './certificate.ts';
import { type Hello, helloHeaders, parseHello, SUBPROTOCOL } from './hello.ts';

export interface ListenerOptions extends HostPort {
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  log: Log;
  clock: Clock;
  limits: TransportLimits;
  hello(): Hello;
  /** @throws AetherError to refuse the caller; it gets the error. */
  accept(peer: string, lane: Lane, hello: Hello): void;
  /** @param origin the caller's address, as `originOf` says it. */
  opened(socket: WebSocket, peer: string, lane: Lane, hello: Hello, origin: string): void;
}

/** The address cannot be listened on. Nothing was opened. */
export class ListenError extends AetherError {
  static override readonly code: string = 'ERR_PORT_IN_USE';
}

export class Listener {
  readonly address: HostPort;
  readonly #server: Server;
  readonly #callers: Callers;

  private constructor(server: Server, host: string, callers: Callers) {
    this.#server = server;
    this.#callers = callers;
    this.address = { host, port: (server.address() as AddressInfo).port };
  }

  /** @throws ListenError ERR_PORT_IN_USE or ERR_LISTEN. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { host, port, limits } = options;
    const callers = new Callers(limits, options.clock);
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

    const secure = createSecureServer({
      key: options.key,
      cert: options.certificate,
      requestCert: true,
      // There is no authority to ask: the certificate is checked below, against its own key.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
      maxHeaderSize: 4_096,
    });
    secure.on('tlsClientError', (error, socket) => {
      options.log.debug({ error: error.message }, 'a TLS handshake failed');
      socket.destroy();
    });
    secure.on('request', (_request, response) => {
      response.writeHead(426, { connection: 'close' }).end();
    });
    secure.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
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
        callers.known(caller);
        options.opened(socket, peer, lane, hello, originOf(caller.remoteAddress ?? ''));
      });
    });
    // Who is not taken costs no TLS.
    const server = createServer((socket) => {
      if (callers.hold(socket)) secure.emit('connection', socket);
    });
    await listen(server, host, port);
    // Such as too many open files: those that are open go on.
    server.on('error', (error) => options.log.error({ error }, 'a connection was not taken'));
    return new Listener(server, host, callers);
  }

  /** Connections that were not taken, and why. */
  get refused(): CallerCounts {
    return this.#callers.counts;
  }

  /** Handshakes under way. */
  get pending(): number {
    return this.#callers.pending;
  }

  /** Ends the handshakes under way; open links are their owner's to close. */
  async close(): Promise<void> {
    this.#callers.close();
    await new Promise((done) => this.#server.close(done));
  }
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
