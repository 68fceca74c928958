/**
 * What guests ask of the outside: buckets and outgoing HTTP. Every call is checked against the grants of the Particle
 * that makes it (grants G2), here in the host, whatever its worker believes.
 */
import type { Particle } from '../../spec/aetherfile/app.ts';
import type { Clock } from '../../spec/clock.ts';
import { errorBody } from '../../spec/error.ts';
import type { HttpRequest, HttpResponse } from '../../spec/http.ts';
import { bucketOf } from '../core/bucket.ts';
import { allowsKey, decideOutgoing, listPrefixes } from '../core/grants.ts';
import { checkedRequest, checkedResponse } from '../core/head.ts';
import { type GuestLimits, KEY_BYTES_MAX, LIST_KEYS_MAX } from '../core/limits.ts';
import type { HostCall, HostReply, KeyPage } from './protocol.ts';

/** Buckets as the host reaches them, by their names on the ring. A key that is not there is `undefined`; keys come in order. */
export interface HostKeyValue {
  get(bucket: string, key: string): Promise<Uint8Array | undefined>;
  set(bucket: string, key: string, value: Uint8Array): Promise<void>;
  delete(bucket: string, key: string): Promise<void>;
  /** @param after only keys behind this one. */
  list(bucket: string, prefix?: string, after?: string, limit?: number): Promise<string[]>;
}

export type Dial = (
  from: { app: string; particle: string },
  request: HttpRequest,
) => Promise<HttpResponse>;

/** Who asks. */
export interface Caller {
  app: string;
  particle: Particle;
  limits: GuestLimits;
  /** Outgoing exchanges under way. */
  outbound: number;
  /** Tells the Particle's log. */
  note(line: string): void;
}

/** True for calls after which running the request again is no longer harmless. */
export function hasEffect(call: HostCall): boolean {
  return call.kind === 'kv-set' || call.kind === 'kv-delete' || call.kind === 'http';
}

export class HostCalls {
  readonly #keyValue: HostKeyValue;
  readonly #dial: Dial;
  readonly #clock: Clock;

  constructor(keyValue: HostKeyValue, dial: Dial, clock: Clock) {
    this.#keyValue = keyValue;
    this.#dial = dial;
    this.#clock = clock;
  }

  /** Never throws: what goes wrong becomes a case of the interface's error. */
  async answer(caller: Caller, call: HostCall): Promise<HostReply> {
    try {
      if (call.kind === 'http') return await this.#exchange(caller, call.request);
      return await this.#bucket(caller, call);
    } catch (error) {
      const { code, message } = errorBody(error);
      caller.note(`${call.kind} failed: ${code}: ${message}`);
      return refuse(call.kind === 'http' ? httpErrorOf(code) : 'other', code);
    }
  }

  async #bucket(caller: Caller, call: Exclude<HostCall, { kind: 'http' }>): Promise<HostReply> {
    if (call.kind === 'kv-list') return await this.#list(caller, call.bucket, call.after);
    const op = call.kind === 'kv-set' ? 'set' : call.kind === 'kv-delete' ? 'delete' : 'get';
    const bucket = bucketOf(caller.app, call.bucket);
    if (!allowsKey(caller.particle, call.bucket, op, call.key)) return refuse('access-denied');
    if (Buffer.byteLength(call.key) > KEY_BYTES_MAX) {
      return refuse('other', `a key holds at most ${KEY_BYTES_MAX} bytes`);
    }
    return { ok: true, value: await this.#perform(bucket, call) };
  }

  async #perform(
    bucket: string,
    call: Exclude<HostCall, { kind: 'http' | 'kv-list' }>,
  ): Promise<unknown> {
    const { key } = call;
    if (call.kind === 'kv-set') return await this.#keyValue.set(bucket, key, call.value);
    if (call.kind === 'kv-delete') return await this.#keyValue.delete(bucket, key);
    const value = await this.#keyValue.get(bucket, key);
    return call.kind === 'kv-exists' ? value !== undefined : value;
  }

  async #list(
    { app, particle }: Caller,
    bucket: string,
    after: string | undefined,
  ): Promise<HostReply> {
    const prefixes = listPrefixes(particle, bucket);
    if (prefixes.length === 0) return refuse('access-denied');
    for (const prefix of prefixes) {
      const isBehind = after !== undefined && after > prefix && !after.startsWith(prefix);
      if (isBehind) continue;
      const seen = await this.#keyValue.list(bucketOf(app, bucket), prefix, after, LIST_KEYS_MAX);
      if (seen.length === 0) continue;
      const isLast = seen.length < LIST_KEYS_MAX && prefix === prefixes.at(-1);
      const page: KeyPage = {
        keys: seen.filter((key) => allowsKey(particle, bucket, 'list', key)),
        after: isLast ? undefined : seen.at(-1),
      };
      return { ok: true, value: page };
    }
    return { ok: true, value: { keys: [], after: undefined } satisfies KeyPage };
  }

  async #exchange(caller: Caller, request: HttpRequest): Promise<HostReply> {
    const checked = checkedRequest(request);
    const verdict = decideOutgoing(caller.particle, checked);
    if (!verdict.allowed) {
      caller.note(`${checked.method} ${checked.authority} is denied: ${verdict.why}`);
      return refuse('HTTP-request-denied');
    }
    if (caller.outbound >= caller.limits.outbound) return refuse('connection-limit-reached');
    caller.outbound++;
    try {
      const from = { app: caller.app, particle: caller.particle.name };
      const answer = this.#dial(from, checked).then(checkedResponse);
      return await this.#within(answer, verdict.budgetMs);
    } finally {
      caller.outbound--;
    }
  }

  async #within(answer: Promise<HttpResponse>, budgetMs: number | undefined): Promise<HostReply> {
    const late = Promise.withResolvers<HostReply>();
    const stop =
      budgetMs === undefined
        ? () => {}
        : this.#clock.after(budgetMs, () => late.resolve(refuse('connection-read-timeout')));
    try {
      const value = answer.then((response): HostReply => ({ ok: true, value: response }));
      return await Promise.race([value, late.promise]);
    } finally {
      stop();
    }
  }
}

function refuse(refused: string, message = ''): HostReply {
  return { ok: false, refused, message };
}

/** Codes of the datapath and the ring as cases of wasi:http's error-code. */
function httpErrorOf(code: string): string {
  switch (code) {
    case 'ERR_DATAPATH_DENIED':
      return 'HTTP-request-denied';
    case 'ERR_DATAPATH_NO_BACKEND':
    case 'ERR_NOT_AVAILABLE':
      return 'destination-unavailable';
    case 'ERR_RING_UNREACHABLE':
      return 'connection-refused';
    case 'ERR_RING_TIMEOUT':
      return 'connection-timeout';
    default:
      return 'internal-error';
  }
}
