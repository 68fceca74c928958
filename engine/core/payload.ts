/**
 * Payloads: values of programs as JSON trees, and back.
 *
 * Round-trip: null, booleans, strings, numbers (also NaN, infinities, -0), bigint, undefined, Date, Uint8Array, Map,
 * Set, arrays and plain objects of these; a Buffer comes back as Uint8Array. Everything else is refused by name, since the body must see live what it
 * will see on replay. What JSON cannot say is an object `{"$": tag, "v": …}`; a plain object with a key `$` is itself
 * wrapped as `{"$": "object", "v": …}`.
 */
import { PayloadTooLargeError, PayloadTypeError } from './errors.ts';

/** Objects within objects: what is deeper would end in the stack of whoever reads it. */
const DEPTH_MAX = 1_000;

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Applied to every payload on its way to the store and back, for encryption or compression. */
export interface Codec {
  encode(plain: Uint8Array): Uint8Array;
  decode(stored: Uint8Array): Uint8Array;
}

export class PayloadCodec {
  /** Of one payload, as JSON in UTF-8. */
  readonly bytesMax: number;
  readonly #codec: Codec | undefined;
  readonly #encoded: (plain: string) => void;

  /** @param options `encoded` hears of each payload that was encoded, as JSON before the codec */
  constructor(options: {
    codec?: Codec | undefined;
    bytesMax: number;
    encoded?: (plain: string) => void;
  }) {
    this.#codec = options.codec;
    this.bytesMax = options.bytesMax;
    this.#encoded = options.encoded ?? (() => {});
  }

  /**
   * @param what names the payload in errors, e.g. `result of step "charge"`.
   * @throws PayloadTypeError, PayloadTooLargeError
   */
  encode(value: unknown, what: string): Json {
    const tree = toTree(value, what, new Set());
    const plain = JSON.stringify(tree);
    const bytes = utf8Length(plain, this.bytesMax);
    if (bytes > this.bytesMax) {
      throw new PayloadTooLargeError(
        `${what} takes ${bytes} bytes, the limit is ${this.bytesMax}`,
        {
          hint: 'keep the data elsewhere and pass a reference, or raise limits.payloadBytes',
          details: { bytes, limit: this.bytesMax },
        },
      );
    }
    this.#encoded(plain);
    if (this.#codec === undefined) return tree;
    return { $: 'sealed', v: toBase64(this.#codec.encode(new TextEncoder().encode(plain))) };
  }

  /** A value as it would come back: what its reader does to it, its writer does not see. @throws PayloadTypeError */
  copy(value: unknown, what: string): unknown {
    return fromTree(toTree(value, what, new Set()));
  }

  decode(tree: Json): unknown {
    if (isTagged(tree) && tree['$'] === 'sealed') {
      if (this.#codec === undefined) {
        throw new PayloadTypeError('the payload was stored through a codec', {
          hint: 'open the engine with the codec that wrote this store',
        });
      }
      const plain = this.#codec.decode(fromBase64(tree['v'] as string));
      return fromTree(JSON.parse(new TextDecoder().decode(plain)) as Json);
    }
    return fromTree(tree);
  }
}

/** Length in UTF-8, exact only where it could exceed `limit`. */
function utf8Length(text: string, limit: number): number {
  return text.length * 3 <= limit ? text.length : new TextEncoder().encode(text).length;
}

function toTree(value: unknown, path: string, above: Set<object>): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value;
    return { $: 'number', v: Object.is(value, -0) ? '-0' : String(value) };
  }
  if (value === undefined) return { $: 'undefined' };
  if (typeof value === 'bigint') return { $: 'bigint', v: String(value) };
  if (typeof value === 'object') return objectTree(value, path, above);
  throw refusal(path, `a ${typeof value}`);
}

function objectTree(value: object, path: string, above: Set<object>): Json {
  if (above.has(value)) throw refusal(path, 'a cycle');
  if (above.size >= DEPTH_MAX) throw refusal(path, `nested deeper than ${DEPTH_MAX}`);
  above.add(value);
  const tree = containerTree(value, path, above);
  above.delete(value);
  return tree;
}

function containerTree(value: object, path: string, above: Set<object>): Json {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || isPlain(prototype)) return recordTree(value, path, above);
  if (Array.isArray(value) && isPlain(Object.getPrototypeOf(prototype))) {
    if (Object.keys(value).length !== value.length)
      throw refusal(path, 'an array with holes or keys of its own');
    return Array.from(value, (item, i) => toTree(item, `${path}[${i}]`, above));
  }
  if (value instanceof Uint8Array) return { $: 'bytes', v: toBase64(value) };
  if (value instanceof Date && prototype === Date.prototype) {
    return { $: 'date', v: Number.isNaN(+value) ? null : +value };
  }
  if (value instanceof Map && prototype === Map.prototype) {
    const entries = [...value].map(([key, item]) => [
      toTree(key, `${path} key`, above),
      toTree(item, `${path} value`, above),
    ]);
    return { $: 'map', v: entries };
  }
  if (value instanceof Set && prototype === Set.prototype) {
    return { $: 'set', v: [...value].map((item) => toTree(item, `${path} item`, above)) };
  }
  throw refusal(path, `an instance of ${value.constructor?.name || 'a class'}`);
}

function recordTree(value: object, path: string, above: Set<object>): Json {
  if (Object.getOwnPropertySymbols(value).length > 0) throw refusal(path, 'an object with symbols');
  const tree: { [key: string]: Json } = {};
  for (const key of Object.keys(value)) {
    if (key === '__proto__') throw refusal(path, 'an own key __proto__');
    tree[key] = toTree((value as Record<string, unknown>)[key], `${path}.${key}`, above);
  }
  return '$' in tree ? { $: 'object', v: tree } : tree;
}

/** `Object.prototype`, also of another realm: that has no prototype itself. */
function isPlain(prototype: unknown): boolean {
  return (
    prototype === Object.prototype ||
    (typeof prototype === 'object' &&
      prototype !== null &&
      Object.getPrototypeOf(prototype) === null &&
      Object.hasOwn(prototype, 'isPrototypeOf'))
  );
}

function refusal(path: string, what: string): PayloadTypeError {
  return new PayloadTypeError(`${cut(path)} is ${what}, which does not round-trip`, {
    hint: 'use JSON values, undefined, bigint, Date, Uint8Array, Map or Set',
  });
}

/** A path that says where without saying it all. */
function cut(path: string): string {
  return path.length <= 200 ? path : `${path.slice(0, 120)}…${path.slice(-60)}`;
}

function isTagged(tree: Json): tree is { [key: string]: Json } {
  return typeof tree === 'object' && tree !== null && '$' in tree;
}

/** Always a fresh value: what one reader does to it, no other sees. */
function fromTree(tree: Json): unknown {
  if (typeof tree !== 'object' || tree === null) return tree;
  if (Array.isArray(tree)) return tree.map(fromTree);
  return isTagged(tree) ? fromTag(tree['$'] as string, tree['v'] as Json) : fromRecord(tree);
}

function fromRecord(tree: { [key: string]: Json }): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const key of Object.keys(tree)) {
    if (key === '__proto__') throw refusal('a stored payload', 'an object with a key __proto__');
    value[key] = fromTree(tree[key] as Json);
  }
  return value;
}

function fromTag(tag: string, v: Json): unknown {
  switch (tag) {
    case 'undefined':
      return undefined;
    case 'number':
      return Number(v);
    case 'bigint':
      return BigInt(v as string);
    case 'date':
      return new Date((v as number | null) ?? Number.NaN);
    case 'bytes':
      return fromBase64(v as string);
    case 'map':
      return new Map((v as [Json, Json][]).map(([key, item]) => [fromTree(key), fromTree(item)]));
    case 'set':
      return new Set((v as Json[]).map(fromTree));
    case 'object':
      return fromRecord(v as { [key: string]: Json });
    default:
      throw new PayloadTypeError(
        `the payload has a form "${tag}" that this release does not know`,
        {
          hint: 'read it with the release that wrote it, or a later one',
        },
      );
  }
}

/** The same for values that differ only in the order of their keys. */
function canonical(tree: Json): string {
  if (typeof tree !== 'object' || tree === null) return JSON.stringify(tree);
  if (Array.isArray(tree)) return `[${tree.map(canonical).join(',')}]`;
  const fields = Object.keys(tree)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${canonical(tree[key] as Json)}`);
  return `{${fields.join(',')}}`;
}

/** What a step depends on, as 16 hex digits; '' for nothing. */
export function argsHash(value: unknown, what: string, digest: (text: string) => string): string {
  if (value === undefined) return '';
  return digest(canonical(toTree(value, what, new Set()))).slice(0, 16);
}

function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
