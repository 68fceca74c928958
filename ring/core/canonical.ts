/**
 * Records of which each has one form in bytes, so that one signature is over one thing: lists in a fixed order, encoded by
 * codec.ts. Who reads one encodes it again and compares; the readers of its parts are here.
 */
import { CodecError } from './codec.ts';

/** Clocks of honest machines differ by this much at most. */
export const SKEW_SECONDS = 30;

/** @throws CodecError when it is none; so do the others. */
export function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw unfit('a list');
  return value;
}

export function bytes(value: unknown, length?: number): Uint8Array {
  const isFit = value instanceof Uint8Array && (length === undefined || value.length === length);
  if (!isFit) throw unfit('bytes');
  return value;
}

export function string(value: unknown): string {
  if (typeof value !== 'string') throw unfit('text');
  return value;
}

/** A whole number that fits four bytes: msgpack has one form for it. */
export function count(value: unknown): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 0xffff_ffff)
    throw unfit('a whole number of four bytes');
  return value as number;
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function unfit(what: string): CodecError {
  return new CodecError(`a part is not ${what}`);
}
