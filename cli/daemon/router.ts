/** A table of HTTP routes with named segments, and the way a request is answered from it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody } from '../../particle/index.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Random } from '../../spec/random.ts';
import { continueTrace } from '../../spec/trace.ts';

export interface Call {
  req: IncomingMessage;
  res: ServerResponse;
  /** Decoded segments of the path by name. */
  params: Record<string, string>;
  query: URLSearchParams;
  /** The request's body, read to its end. @throws AetherError ERR_API_BODY_TOO_LARGE */
  body: () => Promise<Uint8Array>;
  /** The body as any JSON value; an empty one is undefined. @throws AetherError ERR_API_BODY */
  value: () => Promise<unknown>;
  /** The body as a JSON object; an empty one is {}. @throws AetherError ERR_API_BODY */
  json: () => Promise<Record<string, unknown>>;
}

/** What a handler answers; undefined when it has written the response itself. */
export type Answer =
  | { status: number; json: unknown; headers?: Record<string, string> }
  | { status: number; bytes: Uint8Array; headers?: Record<string, string> }
  | { status: number; headers?: Record<string, string> }
  | undefined;

export type Handler = (call: Call) => Promise<Answer> | Answer;

export interface Route {
  method: string;
  /** Such as `/v1/kv/:bucket/:key`. A segment never spans a slash; a slash inside a value is sent as %2F. */
  path: string;
  handler: Handler;
}

/** A bundle holds components of some 12 MiB each. */
const BODY_BYTES_MAX = 256 * 1024 * 1024;

export class Router {
  readonly #routes: { method: string; segments: string[]; handler: Handler }[];
  readonly #status: (code: string) => number;
  readonly #random: Random;
  readonly #guard: (req: IncomingMessage) => void;

  /**
   * @param status the HTTP status of an error code.
   * @param guard throws for a request that no route may take.
   */
  constructor(
    routes: readonly Route[],
    status: (code: string) => number,
    random: Random,
    guard: (req: IncomingMessage) => void = () => {},
  ) {
    this.#random = random;
    this.#guard = guard;
    this.#routes = routes.map(({ method, path, handler }) => ({
      method,
      segments: path.split('/'),
      handler,
    }));
    this.#status = status;
  }

  /** Answers a request. Never throws: an error becomes an error body with a fitting status. */
  async answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { traceparent } = req.headers;
    res.setHeader(
      'traceparent',
      continueTrace(typeof traceparent === 'string' ? traceparent : undefined, this.#random),
    );
    try {
      this.#guard(req);
      const url = urlOf(req);
      const { handler, params } = this.#find(req.method ?? 'GET', url.pathname);
      const call: Call = {
        req,
        res,
        params,
        query: url.searchParams,
        body: () => bodyOf(req),
        value: async () => parseJson(await bodyOf(req)),
        json: async () => objectOf(parseJson(await bodyOf(req))),
      };
      const answer = await handler(call);
      if (answer !== undefined) write(res, answer);
    } catch (error) {
      const body = errorBody(error);
      if (res.headersSent) {
        res.destroy();
        return;
      }
      write(res, { status: this.#status(body.code), json: { error: body } });
    }
  }

  #find(method: string, pathname: string): { handler: Handler; params: Record<string, string> } {
    const parts = pathname.split('/');
    const methods = new Set<string>();
    for (const route of this.#routes) {
      const params = match(route.segments, parts);
      if (params === undefined) continue;
      if (route.method === method) return { handler: route.handler, params };
      methods.add(route.method);
    }
    if (methods.size > 0) {
      throw new AetherError(`${pathname} does not take ${method}`, {
        code: 'ERR_API_METHOD',
        hint: `it takes ${[...methods].join(', ')}`,
      });
    }
    throw new AetherError(`no such call: ${method} ${pathname}`, { code: 'ERR_API_NOT_FOUND' });
  }
}

function match(
  segments: readonly string[],
  parts: readonly string[],
): Record<string, string> | undefined {
  if (segments.length !== parts.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, segment] of segments.entries()) {
    const part = parts[i] as string;
    if (!segment.startsWith(':')) {
      if (segment !== part) return undefined;
    } else {
      const value = decoded(part);
      if (value === undefined || value === '') return undefined;
      params[segment.slice(1)] = value;
    }
  }
  return params;
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

async function bodyOf(req: IncomingMessage): Promise<Uint8Array> {
  const body = await readBody(req, BODY_BYTES_MAX);
  if (typeof body !== 'string') return body;
  throw new AetherError(`the request body has more than ${BODY_BYTES_MAX} bytes`, {
    code: 'ERR_API_BODY_TOO_LARGE',
  });
}

function urlOf(req: IncomingMessage): URL {
  try {
    return new URL(req.url ?? '/', 'http://aether');
  } catch (error) {
    throw new AetherError('the path is not one', { code: 'ERR_API_NOT_FOUND', cause: error });
  }
}

function parseJson(body: Uint8Array): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw new AetherError('the request body is not JSON', { code: 'ERR_API_BODY', cause: error });
  }
}

function objectOf(value: unknown = {}): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AetherError('the request body is not a JSON object', { code: 'ERR_API_BODY' });
  }
  return value as Record<string, unknown>;
}

function write(res: ServerResponse, answer: NonNullable<Answer>): void {
  res.statusCode = answer.status;
  if ('json' in answer) {
    res.setHeader('content-type', 'application/json');
  } else if ('bytes' in answer) {
    res.setHeader('content-type', 'application/octet-stream');
  }
  for (const [name, value] of Object.entries(answer.headers ?? {})) res.setHeader(name, value);
  if ('json' in answer) res.end(`${JSON.stringify(answer.json)}\n`);
  else if ('bytes' in answer) res.end(answer.bytes);
  else res.end();
}
