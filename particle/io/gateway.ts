/** HTTP ingress of a node: takes requests from the world, finds the route, answers through the datapath. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Identity, Service } from '../../datapath/index.ts';
import { errorBody } from '../../spec/error.ts';
import type { HttpRequest, HttpResponse } from '../../spec/http.ts';
import type { Log } from '../../spec/log.ts';
import type { Random } from '../../spec/random.ts';
import { continueTrace } from '../../spec/trace.ts';
import type { RouteTarget } from '../lifecycle/directory.ts';

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

/** A request body may have this many bytes; a larger one is answered 413 and never read to its end. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;
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
  ERR_GATEWAY_NO_ROUTE: 404,
  ERR_GATEWAY_BODY_TOO_LARGE: 413,
  ERR_DATAPATH_NO_BACKEND: 503,
  ERR_KV_UNAVAILABLE: 503,
  ERR_RING_TIMEOUT: 504,
  ERR_PARTICLE_TIMEOUT: 504,
  ERR_PARTICLE_TRAP: 500,
};

export class Gateway {
  readonly #ports: GatewayPorts;
  readonly #server: Server;
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
    const authority = req.headers.host ?? '';
    const path = req.url ?? '/';
    const { traceparent } = req.headers;
    const trace = continueTrace(
      typeof traceparent === 'string' ? traceparent : undefined,
      this.#ports.random,
    );
    res.setHeader('traceparent', trace);
    try {
      const target = await this.#route(method, authority, path);
      if (target === undefined) {
        return refuse(res, 'ERR_GATEWAY_NO_ROUTE', `no route for ${method} ${authority}${path}`);
      }
      const body = await readBody(req);
      if (body === undefined) {
        return refuse(
          res,
          'ERR_GATEWAY_BODY_TOO_LARGE',
          `the request body has more than ${BODY_BYTES_MAX} bytes`,
        );
      }
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

/** @returns undefined when there is more than the limit. */
async function readBody(req: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk as Buffer);
  }
  return new Uint8Array(Buffer.concat(chunks));
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
  res.end(response.body);
}

function refuse(res: ServerResponse, code: string, message: string, hint?: string): void {
  const status = STATUS_BY_CODE[code] ?? 502;
  const error = { code, message, ...(hint === undefined ? {} : { hint }) };
  res.statusCode = status;
  res.setHeader('content-type', 'application/json');
  if (status === 413) res.setHeader('connection', 'close');
  res.end(`${JSON.stringify({ error })}\n`);
}
