/** The client of a node's control API `/v1`: HTTP over its unix socket, or over a host and port. */
import { existsSync, readdirSync } from 'node:fs';
import { type IncomingMessage, type RequestOptions, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { dirname, join } from 'node:path';
import { AetherError, type ErrorBody } from '../../spec/error.ts';
import { type ServerEvent, serverEvents } from './server-events.ts';
import { socketPath } from './socket-path.ts';

/** An answer that is not 2xx; its code, message and hint are the node's. What was done is said by the code. */
export class ApiError extends AetherError {
  static override readonly code = 'ERR_API';
  readonly status: number;

  constructor(body: ErrorBody, status: number) {
    super(body.message, body);
    this.status = status;
  }
}

/** No answer: nothing listens there, or the connection broke. Whether the request was carried out is unknown. */
export class ApiUnreachableError extends AetherError {
  static override readonly code = 'ERR_API_UNREACHABLE';
}

export interface ApiRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  query?: Record<string, string | number | undefined>;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: Uint8Array;
  signal?: AbortSignal;
  /** Silence after which the node counts as unreachable. Default 60,000. */
  idleTimeoutMs?: number;
}

export interface ApiAnswer {
  status: number;
  headers: Record<string, string>;
  body: Uint8Array;
}

type Address = { socketPath: string } | { url: URL };

const IDLE_TIMEOUT_MS = 60_000;
/** What connecting to a socket or port fails with when no process has it open. Nothing was sent. */
const NOBODY_LISTENS: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED']);

/**
 * Where nodes of a folder listen, best first: those of its development lattice, then its own. A folder without any is
 * looked for further up, as far as there are folders.
 */
export function defaultApis(folder: string): [string, ...string[]] {
  for (let at = folder, above = dirname(at); ; at = above, above = dirname(at)) {
    const lattice = join(at, '.aether/dev');
    const names = existsSync(lattice) ? readdirSync(lattice).toSorted() : [];
    const [first, ...others] = [
      ...names.map((name) => join(lattice, name, 'api.sock')),
      join(at, '.aether/api.sock'),
    ].filter((socket) => existsSync(socket));
    if (first !== undefined) return [first, ...others];
    if (above === at) return [join(folder, '.aether/api.sock')];
  }
}

export class ControlClient {
  readonly #addresses: [Address, ...Address[]];

  /**
   * @param api the path of a unix socket, `host:port`, or `http(s)://host:port`
   * @param others asked in turn while nothing listens at those before
   * @throws AetherError ERR_USAGE when one is none of these
   */
  constructor(api: string, ...others: string[]) {
    this.#addresses = [parseAddress(api), ...others.map(parseAddress)];
  }

  /**
   * A call that answers JSON.
   *
   * @param path below `/v1`, segments already encoded (see `segment`)
   * @throws ApiError, ApiUnreachableError, AetherError ERR_INTERRUPTED when `signal` was aborted
   */
  async json<T>(path: string, request: ApiRequest = {}): Promise<T> {
    const { body } = await this.call(path, request);
    return (body.length === 0 ? undefined : JSON.parse(text(body))) as T;
  }

  /** A call that answers bytes, with their headers. Errors as above. */
  async call(path: string, request: ApiRequest = {}): Promise<ApiAnswer> {
    const response = await this.#send(path, request);
    const body = await this.#read(response, request);
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(response.headers)) {
      if (value !== undefined) headers[name] = String(value);
    }
    return { status: response.statusCode as number, headers, body };
  }

  /** A call that answers with server-sent events, for as long as the caller iterates. Errors as above. */
  async *events(path: string, request: ApiRequest = {}): AsyncGenerator<ServerEvent> {
    const headers = { accept: 'text/event-stream', ...request.headers };
    const response = await this.#send(path, { ...request, headers, idleTimeoutMs: 0 });
    try {
      yield* serverEvents(response);
    } catch (error) {
      throw this.#failure(error, request.signal);
    } finally {
      response.destroy();
    }
  }

  async #send(path: string, request: ApiRequest): Promise<IncomingMessage> {
    const { method = 'GET', query = {}, signal, idleTimeoutMs = IDLE_TIMEOUT_MS } = request;
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) search.set(name, String(value));
    }
    const body = request.json === undefined ? request.body : JSON.stringify(request.json);
    const options: RequestOptions = {
      method,
      path: `/v1${path}${search.size === 0 ? '' : `?${search.toString()}`}`,
      headers: {
        accept: 'application/json',
        ...(request.json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
        ...request.headers,
      },
      agent: false,
      ...(signal === undefined ? {} : { signal }),
    };
    const response = await this.#firstAnswer(options, body, idleTimeoutMs).catch(
      (error: unknown) => {
        throw this.#failure(error, signal);
      },
    );
    const { statusCode = 0 } = response;
    if (statusCode >= 200 && statusCode < 300) return response;
    throw new ApiError(errorIn(await this.#read(response, request), statusCode), statusCode);
  }

  async #firstAnswer(
    options: RequestOptions,
    body: string | Uint8Array | undefined,
    idleTimeoutMs: number,
  ): Promise<IncomingMessage> {
    let refused: unknown;
    for (const address of this.#addresses) {
      try {
        return await new Promise<IncomingMessage>((settle, reject) => {
          const sent = open(address, options).once('response', settle).once('error', reject);
          if (idleTimeoutMs > 0) {
            sent.setTimeout(idleTimeoutMs, () =>
              sent.destroy(new Error(`no answer for ${idleTimeoutMs} ms`)),
            );
          }
          sent.end(body);
        });
      } catch (error) {
        if (!NOBODY_LISTENS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
        refused ??= error;
      }
    }
    throw refused;
  }

  async #read(response: IncomingMessage, { signal }: ApiRequest): Promise<Uint8Array> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of response) chunks.push(chunk as Buffer);
    } catch (error) {
      throw this.#failure(error, signal);
    }
    return Buffer.concat(chunks);
  }

  #failure(error: unknown, signal: AbortSignal | undefined): AetherError {
    if (signal?.aborted === true) {
      return new AetherError('interrupted', { code: 'ERR_INTERRUPTED', cause: error });
    }
    const where = this.#addresses
      .map((address) => ('socketPath' in address ? address.socketPath : address.url.origin))
      .join(', ');
    const why = error instanceof Error ? error.message : String(error);
    const { code } = error as NodeJS.ErrnoException;
    return new ApiUnreachableError(
      NOBODY_LISTENS.has(code ?? '')
        ? `no node listens on ${where}`
        : `no answer from ${where}: ${why}`,
      {
        hint: 'start a node (`aether dev` or `aether up`), or name one with --api SOCKET|URL or AETHER_API',
        cause: error,
      },
    );
  }
}

function open(address: Address, options: RequestOptions): ReturnType<typeof httpRequest> {
  if ('socketPath' in address) return httpRequest({ ...options, socketPath: address.socketPath });
  const request = address.url.protocol === 'https:' ? httpsRequest : httpRequest;
  return request(address.url, options);
}

function parseAddress(api: string): Address {
  const url = /^[^/]+:\d+$/.test(api) ? `http://${api}` : api;
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return { url: new URL(url) };
  if (api !== '' && !api.includes('://')) return { socketPath: socketPath(api, process.cwd()) };
  throw new AetherError(`not the address of a control API: ${JSON.stringify(api)}`, {
    code: 'ERR_USAGE',
    hint: 'write the path of a socket, host:port or http://host:port',
  });
}

/** A value as one segment of a path. */
export function segment(value: string): string {
  return encodeURIComponent(value);
}

function text(body: Uint8Array): string {
  return new TextDecoder().decode(body);
}

function errorIn(body: Uint8Array, status: number): ErrorBody {
  try {
    const { error } = JSON.parse(text(body)) as { error?: Partial<ErrorBody> };
    if (typeof error?.code === 'string' && typeof error.message === 'string') {
      return error as ErrorBody;
    }
  } catch {
    // Not from a node: a proxy, or another program on that port.
  }
  return {
    code: 'ERR_API',
    message: `the node answered ${status}`,
    hint: 'is it the control API of an Aether node that listens there?',
  };
}
