/** HTTP ingress of a node: takes requests from the world, finds the route, answers through the datapath. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Identity, Service } from '../../datapath/index.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { HttpRequest, HttpResponse } from '../../spec/http.ts';
import type { Log } from '../../spec/log.ts';
import type { Random } from '../../spec/random.ts';
import { continueTrace } from '../../spec/trace.ts';
import type { RouteTarget } from '../lifecycle/directory.ts';
import { type Room, readBody } from './read-body.ts';

/** What the gateway needs of the lattice. */
export interface GatewayPorts {
  route: (method: string, authority: string, path: string) => RouteTarget | undefined;
  /** Reads the current apps again, for a route that is not known. */
  refresh: () => Promise<void>;
  exchange(
    identity: Identity,
    service: Service,
    request: HttpRequest,
  ): Promise<{ node: string; response: HttpResponse }>;
  nodeName(node: string): string;
  clock: { monotonicMs(): number };
  random: Random;
  log: Log;
}

/** A request body may have this many bytes; a larger one is answered 413. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** Bodies of requests that are held at the same time; above, requests with a body are answered 503. */
const HELD_BYTES_MAX = 256 * 1024 * 1024;
/** A client that takes nothing of its answer for so long is let go. */
const SEND_TIMEOUT_MS = 60_000;
/** An unknown route reads the catalog again at most this often. */
const REFRESH_INTERVAL_MS = 1_000;
/** Headers that belong to one connection and are not passed on (RFC 9110 §7.6.1). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
  // Replaced by the one that names this hop.
  'traceparent',
]);

const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  ERR_DATAPATH_DENIED: 403,
  ERR_GATEWAY_REQUEST: 400,
  ERR_GATEWAY_NO_ROUTE: 404,
  ERR_GATEWAY_BODY_TOO_LARGE: 413,
  ERR_GATEWAY_BUSY: 503,
  ERR_DATAPATH_NO_BACKEND: 503,
  ERR_KV_UNAVAILABLE: 503,
  ERR_RING_TIMEOUT: 504,
  ERR_PARTICLE_TIMEOUT: 504,
  ERR_PARTICLE_TRAP: 500,
};

export class Gateway {
  readonly #ports: GatewayPorts;
  readonly #server: Server;
  readonly #room: Room = { bytes: HELD_BYTES_MAX };
  #refreshedMs = Number.NEGATIVE_INFINITY;

  constructor(ports: GatewayPorts) {
    this.#ports = ports;
    this.#server = createServer({ requestTimeout: 60_000, headersTimeout: 10_000 }, (req, res) => {
      this.#answer(req, res).catch((error: unknown) => {
        ports.log.warn({ err: error }, 'an ingress connection ended early');
        res.destroy();
      });
    });
  }

  /** @returns the bound address, `host:port`. @throws the listen error: EADDRINUSE and the like */
  listen(host: string, port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        const address = this.#server.address();
        const bound = typeof address === 'object' && address !== null ? address.port : port;
        resolve(`${host.includes(':') ? `[${host}]` : host}:${bound}`);
      });
    });
  }

  /** Takes no new connection; open exchanges may end. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
      setTimeout(() => this.#server.closeAllConnections(), 2_000).unref();
    });
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const method = req.method ?? 'GET';
    const { traceparent } = req.headers;
    const trace = continueTrace(
      typeof traceparent === 'string' ? traceparent : undefined,
      this.#ports.random,
    );
    res.setHeader('traceparent', trace);
    let heldBytes = 0;
    try {
      const { authority, path } = targetOf(req);
      const target = await this.#route(method, authority, path);
      if (target === undefined) {
        return refuse(res, 'ERR_GATEWAY_NO_ROUTE', `no route for ${method} ${authority}${path}`);
      }
      const body = await readBody(req, BODY_BYTES_MAX, this.#room);
      if (typeof body === 'string') return refuseBody(res, body);
      heldBytes = body.length;
      const request: HttpRequest = {
        method,
        scheme: 'http',
        authority,
        path: target.route.strip ? stripped(path, target.route.path) : path,
        headers: [...headersOf(req), ['traceparent', trace]],
        body,
      };
      const { node, response } = await this.#ports.exchange({ kind: 'world' }, target, request);
      send(res, response, this.#ports.nodeName(node));
    } catch (error) {
      const { code, message, hint } = errorBody(error);
      refuse(res, code, message, hint);
    } finally {
      this.#room.bytes += heldBytes;
    }
  }

  async #route(method: string, authority: string, path: string): Promise<RouteTarget | undefined> {
    const { route, refresh, clock } = this.#ports;
    const known = route(method, authority, path);
    if (known !== undefined || clock.monotonicMs() - this.#refreshedMs < REFRESH_INTERVAL_MS) {
      return known;
    }
    this.#refreshedMs = clock.monotonicMs();
    await refresh();
    return route(method, authority, path);
  }
}

/** `.` and `..`, also as a URL parser reads them (URL Standard §4.4): they would lead out of the route's path. */
const DOT_SEGMENT = /[/\\](?:\.|%2e){1,2}(?:[/\\]|$)/i;

/**
 * The host and path that a request names: by path and Host header, or as a whole URL (RFC 9112 §3.2).
 *
 * @throws AetherError ERR_GATEWAY_REQUEST
 */
function targetOf(req: IncomingMessage): { authority: string; path: string } {
  const url = req.url ?? '/';
  const [, named, rest] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [];
  const authority = named ?? req.headers.host ?? '';
  const path = rest === undefined || rest.startsWith('/') ? (rest ?? url) : `/${rest}`;
  const why = !path.startsWith('/')
    ? 'its target is not a path'
    : DOT_SEGMENT.test(path.split('?', 1)[0] ?? '')
      ? 'its path has dot segments'
      : hasSeveralHosts(req.rawHeaders)
        ? 'it has several Host headers'
        : undefined;
  if (why === undefined) return { authority, path };
  throw new AetherError(`the request is refused: ${why}`, { code: 'ERR_GATEWAY_REQUEST' });
}

/** Of several Host headers Node keeps the first, and a component might believe another. */
function hasSeveralHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (/^host$/i.test(rawHeaders[i] as string)) hosts += 1;
  }
  return hosts > 1;
}

function headersOf(req: IncomingMessage): [string, string][] {
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const name = (req.rawHeaders[i] as string).toLowerCase();
    if (!HOP_BY_HOP.has(name)) headers.push([name, req.rawHeaders[i + 1] as string]);
  }
  return headers;
}

function stripped(path: string, prefix: string): string {
  const rest = path.slice(prefix.endsWith('/') ? prefix.length - 1 : prefix.length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function send(res: ServerResponse, response: HttpResponse, node: string): void {
  for (const [name, value] of response.headers) {
    if (!HOP_BY_HOP.has(name.toLowerCase())) res.appendHeader(name, value);
  }
  res.setHeader('aether-node', node);
  res.statusCode = response.status;
  res.setTimeout(SEND_TIMEOUT_MS, () => res.destroy());
  res.end(response.body);
}

function refuseBody(res: ServerResponse, lack: 'limit' | 'room'): void {
  if (lack === 'room') {
    return refuse(res, 'ERR_GATEWAY_BUSY', 'this node holds as many request bodies as it may');
  }
  const message = `the request body has more than ${BODY_BYTES_MAX} bytes`;
  refuse(res, 'ERR_GATEWAY_BODY_TOO_LARGE', message);
}

function refuse(res: ServerResponse, code: string, message: string, hint?: string): void {
  const status = STATUS_BY_CODE[code] ?? 502;
  const error = { code, message, ...(hint === undefined ? {} : { hint }) };
  res.statusCode = status;
  res.setHeader('content-type', 'application/json');
  res.end(`${JSON.stringify({ error })}\n`);
}
