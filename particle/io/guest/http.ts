/** wasi:http/types and outgoing-handler over whole messages: bodies are in memory, within the limits of core/limits.ts. */
import type { HttpRequest, HttpResponse } from '../../../spec/http.ts';
import {
  HEADERS_MAX,
  HEADER_BYTES_MAX,
  isAuthority,
  isFieldValue,
  isForbiddenHeader,
  isTarget,
  isToken,
} from '../../core/head.ts';
import { BODY_BYTES_MAX } from '../../core/limits.ts';
import { Resource } from './allowance.ts';
import { InputStream, OutputStream, Pollable } from './io.ts';
import { type GuestContext, HostRefusal, Refusal } from './resource.ts';

type Variant = { tag: string; val?: unknown };
type Result<T> = { tag: 'ok'; val: T } | { tag: 'err'; val: Variant };

const latin1 = new TextDecoder('latin1');
const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** The error side of a `result` that carries nothing. */
const refused = (): Refusal => new Refusal(undefined);

const METHODS = new Set('get head post put delete connect options trace patch'.split(' '));

function methodOf(text: string): Variant {
  const lower = text.toLowerCase();
  return METHODS.has(lower) && text === text.toUpperCase()
    ? { tag: lower }
    : { tag: 'other', val: text };
}

function textOf(method: Variant): string {
  return method.tag === 'other' ? String(method.val) : method.tag.toUpperCase();
}

export class Fields extends Resource {
  #entries: [name: string, value: string][] = [];
  #isMutable = true;

  static fromList(list: [string, Uint8Array][]): Fields {
    const fields = new Fields();
    for (const [name, value] of list) fields.append(name, value);
    return fields;
  }

  /** Headers of a message that has arrived; the guest cannot change them. */
  static sealed(entries: [string, string][]): Fields {
    const fields = Fields.of(entries);
    fields.#isMutable = false;
    return fields;
  }

  private static of(entries: [string, string][]): Fields {
    const fields = new Fields(sizeOf(entries));
    fields.#entries = entries;
    return fields;
  }

  get(name: string): Uint8Array[] {
    const wanted = name.toLowerCase();
    return this.#entries.filter(([key]) => key === wanted).map(([, value]) => bytesOf(value));
  }

  has(name: string): boolean {
    return this.#entries.some(([key]) => key === name.toLowerCase());
  }

  set(name: string, values: Uint8Array[]): void {
    const texts = values.map((value) => this.#checked(name, value));
    this.delete(name);
    for (const text of texts) this.#add(name, text);
  }

  delete(name: string): void {
    this.#checked(name, new Uint8Array());
    this.#entries = this.#entries.filter(([key]) => key !== name.toLowerCase());
  }

  append(name: string, value: Uint8Array): void {
    this.#add(name, this.#checked(name, value));
  }

  entries(): [string, Uint8Array][] {
    return this.#entries.map(([name, value]) => [name, bytesOf(value)]);
  }

  clone(): Fields {
    return Fields.of([...this.#entries]);
  }

  toPairs(): [name: string, value: string][] {
    return [...this.#entries];
  }

  #checked(name: string, value: Uint8Array): string {
    if (!this.#isMutable) throw new Refusal({ tag: 'immutable' });
    const text = latin1.decode(value);
    if (!isToken(name) || !isFieldValue(text)) throw new Refusal({ tag: 'invalid-syntax' });
    if (isForbiddenHeader(name)) throw new Refusal({ tag: 'forbidden' });
    return text;
  }

  #add(name: string, text: string): void {
    // A message with more is refused anyway; this bounds what a guest can pile up in the worker.
    const isFull = this.#entries.length >= HEADERS_MAX || text.length > HEADER_BYTES_MAX;
    if (isFull || !this.hold(name.length + text.length)) throw new Refusal({ tag: 'forbidden' });
    this.#entries.push([name.toLowerCase(), text]);
  }
}

function sizeOf(entries: [string, string][]): number {
  return entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
}

class FutureTrailers extends Resource {
  #isTaken = false;

  subscribe(): Pollable {
    return Pollable.always();
  }

  get(): unknown {
    if (this.#isTaken) return { tag: 'err', val: undefined };
    this.#isTaken = true;
    return { tag: 'ok', val: { tag: 'ok', val: undefined } };
  }
}

class IncomingBody extends Resource {
  #bytes: Uint8Array | undefined;

  constructor(bytes: Uint8Array) {
    super(bytes.length);
    this.#bytes = bytes;
  }

  static finish(body: IncomingBody): FutureTrailers {
    body[Symbol.dispose]();
    return new FutureTrailers();
  }

  stream(): InputStream {
    const bytes = this.#bytes;
    if (bytes === undefined) throw refused();
    this.#bytes = undefined;
    this.release(bytes.length);
    return new InputStream(bytes);
  }
}

/** An arrived message whose body can be taken once. */
class Incoming extends Resource {
  readonly #headers: [string, string][];
  #body: Uint8Array | undefined;

  constructor(headers: [string, string][], body: Uint8Array) {
    super(sizeOf(headers) + body.length);
    this.#headers = headers;
    this.#body = body;
  }

  headers(): Fields {
    return Fields.sealed(this.#headers);
  }

  consume(): IncomingBody {
    const bytes = this.#body;
    if (bytes === undefined) throw refused();
    this.#body = undefined;
    this.release(bytes.length);
    return new IncomingBody(bytes);
  }
}

class IncomingRequest extends Incoming {
  readonly #request: HttpRequest;

  constructor(request: HttpRequest) {
    super(request.headers, request.body);
    this.#request = request;
  }

  method(): Variant {
    return methodOf(this.#request.method);
  }

  pathWithQuery(): string {
    return this.#request.path;
  }

  scheme(): Variant {
    return { tag: this.#request.scheme === 'https' ? 'HTTPS' : 'HTTP' };
  }

  authority(): string {
    return this.#request.authority;
  }
}

class IncomingResponse extends Incoming {
  readonly #status: number;

  constructor(response: HttpResponse) {
    super(response.headers, response.body);
    this.#status = response.status;
  }

  status(): number {
    return this.#status;
  }
}

export class OutgoingBody extends Resource {
  #chunks: Uint8Array[] = [];
  #byteCount = 0;
  readonly #end = Promise.withResolvers<void>();
  #isTaken = false;
  #isFinished = false;

  write(): OutputStream {
    if (this.#isTaken) throw refused();
    this.#isTaken = true;
    return new OutputStream((chunk) => this.#take(chunk));
  }

  static finish(body: OutgoingBody, _trailers: Fields | undefined): void {
    body.#isFinished = true;
    body.#end.resolve();
  }

  get finished(): Promise<void> {
    return this.#end.promise;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  bytes(): Uint8Array {
    // Not of Buffer's pool: a message to the host takes the whole buffer along.
    const whole = new Uint8Array(this.#byteCount);
    let at = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#chunks = [];
    if (this.#isFinished) return;
    // Whoever waits for the rest of it would wait for ever.
    this.#end.promise.catch(() => {});
    this.#end.reject(new HostRefusal('internal-error', 'the body was dropped unfinished'));
  }

  #take(chunk: Uint8Array): boolean {
    if (this.#byteCount + chunk.length > BODY_BYTES_MAX || !this.hold(chunk.length)) return false;
    this.#byteCount += chunk.length;
    this.#chunks.push(chunk);
    return true;
  }
}

/** A message that the guest makes; its body can be taken once. */
class Outgoing extends Resource {
  readonly #headers: Fields;
  #body: OutgoingBody | undefined;

  constructor(headers: Fields) {
    super();
    this.#headers = headers;
  }

  headers(): Fields {
    return Fields.sealed(this.headerPairs());
  }

  headerPairs(): [name: string, value: string][] {
    return this.#headers.toPairs();
  }

  body(): OutgoingBody {
    if (this.#body !== undefined) throw refused();
    this.#body = new OutgoingBody();
    return this.#body;
  }

  /** The bytes written; undefined when the guest began a body and did not finish it. */
  content(): Uint8Array | undefined {
    if (this.#body === undefined) return new Uint8Array();
    return this.#body.isFinished ? this.#body.bytes() : undefined;
  }

  /** Resolves when the body, if one was begun, is complete. */
  async whole(): Promise<Uint8Array> {
    await this.#body?.finished;
    return this.#body?.bytes() ?? new Uint8Array();
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#headers[Symbol.dispose]();
    this.#body?.[Symbol.dispose]();
  }
}

export class OutgoingResponse extends Outgoing {
  #status = 200;

  statusCode(): number {
    return this.#status;
  }

  setStatusCode(status: number): void {
    if (status < 100 || status > 599) throw refused();
    this.#status = status;
  }
}

class OutgoingRequest extends Outgoing {
  #method: Variant = { tag: 'get' };
  #path: string | undefined;
  #scheme: Variant | undefined;
  #authority: string | undefined;

  method(): Variant {
    return this.#method;
  }

  setMethod(method: Variant): void {
    if (!isToken(textOf(method))) throw refused();
    this.#method = method;
  }

  pathWithQuery(): string | undefined {
    return this.#path;
  }

  setPathWithQuery(path: string | undefined): void {
    if (path !== undefined && !isTarget(path)) throw refused();
    this.#path = path;
  }

  scheme(): Variant | undefined {
    return this.#scheme;
  }

  setScheme(scheme: Variant | undefined): void {
    if (scheme?.tag === 'other') throw refused();
    this.#scheme = scheme;
  }

  authority(): string | undefined {
    return this.#authority;
  }

  setAuthority(authority: string | undefined): void {
    if (authority !== undefined && !isAuthority(authority)) throw refused();
    this.#authority = authority;
  }

  toRequest(body: Uint8Array): HttpRequest {
    return {
      method: textOf(this.#method),
      scheme: this.#scheme?.tag === 'HTTP' ? 'http' : 'https',
      authority: this.#authority ?? '',
      path: this.#path ?? '/',
      headers: this.headerPairs(),
      body,
    };
  }
}

/** Time limits that a guest asks for; the Particle's own limit stands above them. */
class RequestOptions extends Resource {
  #connectTimeout: bigint | undefined;
  #firstByteTimeout: bigint | undefined;
  #betweenBytesTimeout: bigint | undefined;

  connectTimeout(): bigint | undefined {
    return this.#connectTimeout;
  }

  setConnectTimeout(duration: bigint | undefined): void {
    this.#connectTimeout = duration;
  }

  firstByteTimeout(): bigint | undefined {
    return this.#firstByteTimeout;
  }

  setFirstByteTimeout(duration: bigint | undefined): void {
    this.#firstByteTimeout = duration;
  }

  betweenBytesTimeout(): bigint | undefined {
    return this.#betweenBytesTimeout;
  }

  setBetweenBytesTimeout(duration: bigint | undefined): void {
    this.#betweenBytesTimeout = duration;
  }
}

class FutureIncomingResponse extends Resource {
  readonly #settled: Promise<void>;
  #result: Result<HttpResponse> | undefined;
  #isTaken = false;

  constructor(answer: Promise<HttpResponse>) {
    super();
    this.#settled = answer.then(
      (response) => void (this.#result = this.#taken(response)),
      (error: unknown) => {
        if (!(error instanceof HostRefusal)) throw error;
        this.#result = { tag: 'err', val: errorCode(error) };
      },
    );
    // A cancelled request rejects: whoever waits traps, and if nobody waits nothing is to be done.
    this.#settled.catch(() => {});
  }

  subscribe(): Pollable {
    return new Pollable(
      () => this.#result !== undefined,
      () => this.#settled,
    );
  }

  get(): unknown {
    if (this.#result === undefined) return undefined;
    if (this.#isTaken) return { tag: 'err', val: undefined };
    this.#isTaken = true;
    const { tag, val } = this.#result;
    if (tag === 'err') return { tag: 'ok', val: this.#result };
    this.release(sizeOf(val.headers) + val.body.length);
    return { tag: 'ok', val: { tag, val: new IncomingResponse(val) } };
  }

  #taken(response: HttpResponse): Result<HttpResponse> {
    if (this.hold(sizeOf(response.headers) + response.body.length)) {
      return { tag: 'ok', val: response };
    }
    return { tag: 'err', val: { tag: 'internal-error', val: 'the component holds too much' } };
  }
}

function errorCode(refusal: HostRefusal): Variant {
  return refusal.tag === 'internal-error'
    ? { tag: 'internal-error', val: refusal.message }
    : { tag: refusal.tag };
}

/** Where a guest puts its answer. */
export class ResponseOutparam extends Resource {
  result: Result<OutgoingResponse> | undefined;

  static set(outparam: ResponseOutparam, result: Result<OutgoingResponse>): void {
    outparam.result = result;
  }
}

export const httpTypes: Record<string, unknown> = {
  Fields,
  FutureIncomingResponse,
  FutureTrailers,
  IncomingBody,
  IncomingRequest,
  IncomingResponse,
  OutgoingBody,
  OutgoingRequest,
  OutgoingResponse,
  RequestOptions,
  ResponseOutparam,
  httpErrorCode: (): undefined => undefined,
};

export function outgoingHandler(context: GuestContext): Record<string, unknown> {
  return {
    handle(request: OutgoingRequest, options: RequestOptions | undefined): FutureIncomingResponse {
      if (context.exchanges >= context.exchangesMax) {
        throw new Refusal({ tag: 'connection-limit-reached' });
      }
      return new FutureIncomingResponse(exchange(context, request, options));
    },
  };
}

async function exchange(
  context: GuestContext,
  request: OutgoingRequest,
  options: RequestOptions | undefined,
): Promise<HttpResponse> {
  context.exchanges++;
  try {
    // A guest writes the body after `handle`.
    const body = await request.whole();
    return await answerTo(context, request.toRequest(body), options?.firstByteTimeout());
  } finally {
    context.exchanges--;
    request[Symbol.dispose]();
    options?.[Symbol.dispose]();
  }
}

async function answerTo(
  context: GuestContext,
  request: HttpRequest,
  asked: bigint | undefined,
): Promise<HttpResponse> {
  const reply = context.call({ kind: 'http', request });
  if (asked === undefined) return (await reply) as HttpResponse;
  const late = context.sleep(Math.ceil(Number(asked) / 1e6)).then(() => {
    throw new HostRefusal('connection-read-timeout', 'no answer in the time that was asked for');
  });
  return (await Promise.race([reply, late])) as HttpResponse;
}

/** Runs `handle` of a component with one request. @throws whatever makes the guest trap. */
export async function serve(
  handle: (request: IncomingRequest, outparam: ResponseOutparam) => Promise<void>,
  request: HttpRequest,
): Promise<HttpResponse | { failed: string }> {
  using outparam = new ResponseOutparam();
  await handle(new IncomingRequest(request), outparam);
  const { result } = outparam;
  if (result === undefined) return { failed: 'the component returned without an answer' };
  if (result.tag === 'err') return { failed: `the component answered with ${result.val.tag}` };
  using answer = result.val;
  const body = answer.content();
  if (body === undefined) return { failed: 'the component did not finish the body of its answer' };
  return { status: answer.statusCode(), headers: answer.headerPairs(), body };
}
