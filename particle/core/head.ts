/** What may stand in the head of an HTTP message (RFC 9110 §5, §9), checked in both directions. */
import type { HttpRequest, HttpResponse } from '../../spec/http.ts';
import { AetherError } from '../../spec/error.ts';
import { BODY_BYTES_MAX } from './limits.ts';

/** The message breaks a rule of HTTP or a limit of the host. Nothing was sent. */
export class HeadError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_HTTP';
}

export const HEADERS_MAX = 128;
export const HEADER_BYTES_MAX = 32_768;
const TARGET_BYTES_MAX = 8_192;
/** Of a method or a header's name. */
const TOKEN_CHARS_MAX = 256;
/** A name of the DNS has 255 bytes at most; brackets and a port beside it. */
const AUTHORITY_CHARS_MAX = 270;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible characters, spaces and tabs; bytes above 0x7f as Latin-1. */
const FIELD_VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;
const TARGET = /^[\u0021-\u007e\u0080-\u00ff]*$/;
const AUTHORITY = /^[A-Za-z0-9._~:[\]-]*$/;

/** Headers about one connection: a guest neither sees nor sets them. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

export function isToken(text: string): boolean {
  return text.length <= TOKEN_CHARS_MAX && TOKEN.test(text);
}

export function isFieldValue(text: string): boolean {
  return FIELD_VALUE.test(text);
}

export function isTarget(text: string): boolean {
  return text.length <= TARGET_BYTES_MAX && TARGET.test(text);
}

export function isAuthority(text: string): boolean {
  return text.length <= AUTHORITY_CHARS_MAX && AUTHORITY.test(text);
}

/** True for header names that a guest may not set. */
export function isForbiddenHeader(name: string): boolean {
  return HOP_BY_HOP.has(name.toLowerCase()) || name.toLowerCase() === 'host';
}

type Headers = [name: string, value: string][];

/** A request as the guest may see it. @throws HeadError */
export function checkedRequest(request: HttpRequest): HttpRequest {
  if (!isToken(request.method)) throw broken('method', request.method);
  if (!request.path.startsWith('/') || !isTarget(request.path)) throw broken('path', request.path);
  if (!isAuthority(request.authority)) throw broken('authority', request.authority);
  checkBody(request.body, 'request');
  return { ...request, headers: checkedHeaders(request.headers) };
}

/** An answer as it may leave the host. @throws HeadError */
export function checkedResponse(response: HttpResponse): HttpResponse {
  const { status } = response;
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw broken('status', String(status));
  }
  checkBody(response.body, 'response');
  return { ...response, headers: checkedHeaders(response.headers) };
}

function checkedHeaders(headers: Headers): Headers {
  const kept: Headers = [];
  let bytes = 0;
  for (const [name, value] of headers) {
    if (!isToken(name) || !isFieldValue(value)) throw broken('header', name);
    bytes += name.length + value.length;
    if (!HOP_BY_HOP.has(name.toLowerCase())) kept.push([name.toLowerCase(), value]);
  }
  if (headers.length > HEADERS_MAX || bytes > HEADER_BYTES_MAX) {
    throw new HeadError(`${headers.length} headers with ${bytes} bytes`, {
      hint: `at most ${HEADERS_MAX} headers with ${HEADER_BYTES_MAX} bytes are taken`,
    });
  }
  return kept;
}

function checkBody(body: Uint8Array, what: string): void {
  if (body.length <= BODY_BYTES_MAX) return;
  throw new HeadError(`the ${what} body has ${body.length} bytes`, {
    code: 'ERR_PARTICLE_BODY_TOO_LARGE',
    hint: `bodies hold at most ${BODY_BYTES_MAX} bytes`,
  });
}

function broken(part: string, text: string): HeadError {
  return new HeadError(`the ${part} ${JSON.stringify(text.slice(0, 80))} is not valid HTTP`);
}
