/**
 * Where peers come in: TLS 1.3 that asks for their certificate, then one WebSocket each, or a stream to be passed on.
 *
 * A caller has no name until its handshakes are done; `callers.ts` says what it may cost until then.
 */
import { constants } from 'node:crypto';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { checkProtocol, PROTOCOL } from '../core/protocol-range.ts';
import type { Lane } from '../core/traffic.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import { type HostPort, originOf } from './address.ts';
import { type CallerCounts, Callers, endsOf } from './callers.ts';
import { certifiedNode } from './certificate.ts';
import { type Hello, helloHeaders, parseHello, SUBPROTOCOL } from './hello.ts';
import { SOCKET_OPTIONS, type Whose } from './link.ts';
import { TUNNEL_PROTOCOL, type TunnelRequest, tunnelRequest } from './tunnel.ts';

export interface ListenerOptions {
  /** None: only what `take` is given comes in. */
  where: HostPort | undefined;
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  log: Log;
  clock: Clock;
  limits: TransportLimits;
  /** What it takes, each on a path of its name. */
  lanes: readonly Lane[];
  hello(): Hello;
  /** Whether members are at the address, as `originOf` says it. */
  isFamiliar(origin: string): boolean;
  isMember(node: string): boolean;
  /** @throws AetherError to refuse the caller; it gets the error. */
  accept(peer: string, lane: Lane | 'tunnel', hello: Hello): void;
  /** @returns what takes the caller's stream over. @throws AetherError to refuse it. */
  tunnel(peer: string, asked: TunnelRequest): Promise<(stream: Duplex) => void>;
  opened(socket: WebSocket, caller: Caller): void;
}

export interface Caller extends Whose {
  hello: Hello;
  /** Its address, as `originOf` says it. */
  origin: string;
}

/** The address cannot be listened on. Nothing was opened. */
export class ListenError extends AetherError {
  static override readonly code: string = 'ERR_PORT_IN_USE';
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #callers: Callers;
  readonly #secure: SecureServer;
  readonly #sockets: WebSocketServer;
  readonly #server: Server | undefined;
  /** By the ends of the connection with it: the relay that carries a caller here. */
  readonly #relays = new Map<string, string>();
  #address: HostPort | undefined;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    const { limits, clock } = options;
    this.#callers = new Callers(limits, clock, (origin) => options.isFamiliar(origin));
    this.#sockets = new WebSocketServer({
      ...SOCKET_OPTIONS,
      noServer: true,
      clientTracking: false,
      handleProtocols: () => SUBPROTOCOL,
    });
    this.#sockets.on('headers', (lines) => {
      for (const [name, value] of Object.entries(helloHeaders(options.hello())))
        lines.push(`${name}: ${value}`);
    });

    this.#secure = createSecureServer({
      key: options.key,
      cert: options.certificate,
      requestCert: true,
      // There is no authority to ask: the certificate is checked below, against its own key.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
      maxHeaderSize: 4_096,
    });
    this.#secure.on('tlsClientError', (error, socket) => {
      options.log.debug({ error: error.message }, 'a TLS handshake failed');
      socket.destroy();
    });
    this.#secure.on('request', (_request, response) => {
      response.writeHead(426, { connection: 'close' }).end();
    });
    this.#secure.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      stream.on('error', () => stream.destroy());
      this.#upgrade(request, stream, head).catch((error: unknown) => {
        options.log.warn({ error: errorBody(error) }, 'a peer was refused');
        refuse(stream, error);
      });
    });
    if (options.where === undefined) return;
    // Who is not taken costs no TLS.
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#hold(socket));
  }

  /** @throws ListenError ERR_PORT_IN_USE or ERR_LISTEN. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    await listener.#listen();
    return listener;
  }

  /** None: it does not listen. */
  get address(): HostPort | undefined {
    return this.#address;
  }

  /** Takes a stream that a relay carries as a connection that has come in. */
  take(stream: TLSSocket, relay: string): void {
    const ends = endsOf(stream);
    this.#relays.set(ends, relay);
    stream.once('close', () => this.#relays.delete(ends));
    this.#hold(stream);
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
    if (this.#server !== undefined) await new Promise((done) => this.#server?.close(done));
  }

  #hold(socket: Socket): void {
    this.#callers.take(socket, () => this.#secure.emit('connection', socket));
  }

  /** @throws AetherError to refuse the caller. */
  async #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const options = this.#options;
    const caller = request.socket as TLSSocket;
    const hello = parseHello(request.headers);
    const asked = askedOf(request, options.lanes);
    const peer = certifiedNode(caller.getPeerX509Certificate());
    checkProtocol(peer, hello.protocol ?? PROTOCOL);
    options.accept(peer, typeof asked === 'string' ? asked : 'tunnel', hello);
    if (typeof asked !== 'string') {
      const takeOver = await options.tunnel(peer, asked);
      this.#callers.known(caller, options.isMember(peer));
      if (head.length > 0) stream.unshift(head);
      stream.write(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${TUNNEL_PROTOCOL}\r\n\r\n`,
      );
      takeOver(stream);
      return;
    }
    this.#sockets.handleUpgrade(request, stream, head, (socket) => {
      this.#callers.known(caller, options.isMember(peer));
      const via = this.#relays.get(endsOf(caller));
      options.opened(socket, {
        peer,
        lane: asked,
        hello,
        origin: originOf(caller.remoteAddress ?? ''),
        ...(via === undefined ? {} : { via }),
      });
    });
  }

  async #listen(): Promise<void> {
    const { where, log } = this.#options;
    const server = this.#server;
    if (where === undefined || server === undefined) return;
    await listen(server, where);
    // Such as too many open files: those that are open go on.
    server.on('error', (error) => log.error({ error }, 'a connection was not taken'));
    this.#address = { host: where.host, port: (server.address() as AddressInfo).port };
  }
}

/** @throws AetherError ERR_RING_PROTOCOL. */
function askedOf(
  { url = '', headers }: IncomingMessage,
  lanes: readonly Lane[],
): Lane | TunnelRequest {
  const asked = headers.upgrade === TUNNEL_PROTOCOL ? tunnelRequest(url) : undefined;
  if (asked !== undefined) return asked;
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
  const lane = lanes.find((each) => url === `/${each}`);
  if (lane !== undefined && offered.includes(SUBPROTOCOL)) return lane;
  const paths = lanes.map((each) => `/${each}`).join(' and ');
  throw new AetherError(`this node speaks ${SUBPROTOCOL} on ${paths}, and nothing else`, {
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

async function listen(server: Server, { host, port }: HostPort): Promise<void> {
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
