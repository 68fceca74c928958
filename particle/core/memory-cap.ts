/**
 * Rewrites a core module so that its memories and tables cannot outgrow a limit (core specification §5.5.7, §5.5.8).
 *
 * The engine then refuses to grow them; limits of worker threads do not bound linear memory. An imported memory needs no
 * change: whoever defines it is capped.
 */
import { AetherError } from '../../spec/error.ts';
import { Reader, unsigned } from './leb.ts';

/** The component starts with more memory than it may have. */
export class MemoryLimitError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_MEMORY_LIMIT';
}

/** Entries of one table beyond its first size: about 8 bytes each. */
const TABLE_GROWTH_MAX = 65_536;

const SECTION_TABLE = 4;
const SECTION_MEMORY = 5;

const HAS_MAX = 1;
const SHARED = 2;
const WIDE = 4;

/** A core module of a component, and how often the component instantiates it. */
export interface CoreModule {
  bytes: Uint8Array;
  instances: number;
}

/**
 * Splits a limit over a component's modules: every memory keeps its first size and gets an equal part of what is left,
 * so that together they stay within the limit.
 *
 * @returns the modules' bytes, capped.
 * @throws MemoryLimitError when the first sizes alone exceed the limit.
 */
export function capMemories(modules: readonly CoreModule[], pagesMax: number): Uint8Array[] {
  let used = 0;
  let memories = 0;
  for (const { bytes, instances } of modules) {
    capModule(bytes, (initial) => {
      used += initial * instances;
      memories += instances;
      return initial;
    });
  }
  if (used > pagesMax) {
    throw new MemoryLimitError(
      `the component starts with ${used * 64} KiB of memory; its limit is ${pagesMax * 64} KiB`,
      { hint: `raise limits.memory to "${Math.ceil(used / 16)}Mi" or more` },
    );
  }
  const growth = Math.floor((pagesMax - used) / Math.max(1, memories));
  return modules.map(({ bytes }) => capModule(bytes, (initial) => initial + growth));
}

function capModule(module: Uint8Array, pagesMax: (initial: number) => number): Uint8Array {
  const parts: Uint8Array[] = [module.subarray(0, 8)];
  const reader = new Reader(module, 8);
  while (!reader.done) {
    const start = reader.at;
    const id = reader.byte();
    const length = reader.unsigned();
    const bodyStart = reader.at;
    reader.skip(length);
    const body = new Reader(module, bodyStart, reader.at);
    if (id === SECTION_MEMORY) parts.push(section(id, capMemorySection(body, pagesMax)));
    else if (id === SECTION_TABLE) parts.push(section(id, capTableSection(body)));
    else parts.push(module.subarray(start, reader.at));
  }
  return concat(parts);
}

function capMemorySection(body: Reader, pagesMax: (initial: number) => number): number[] {
  const count = body.unsigned();
  const out = unsigned(count);
  for (let left = count; left > 0; left--) out.push(...capLimits(body, pagesMax));
  return out;
}

function capTableSection(body: Reader): number[] {
  const count = body.unsigned();
  const out = unsigned(count);
  for (let left = count; left > 0; left--) {
    const start = body.at;
    const hasInitializer = body.bytes[start] === 0x40;
    if (hasInitializer) body.skip(2);
    skipReferenceType(body);
    out.push(...body.bytes.subarray(start, body.at));
    out.push(...capLimits(body, (initial) => initial + TABLE_GROWTH_MAX));
    if (hasInitializer) {
      // The initializer is a constant expression of unknown length, and the last thing of the last entry.
      if (left > 1) throw new RangeError('several tables with initializers');
      out.push(...body.bytes.subarray(body.at, body.end));
    }
  }
  return out;
}

function skipReferenceType(body: Reader): void {
  const type = body.byte();
  if (type === 0x63 || type === 0x64) body.skipInteger();
}

function capLimits(body: Reader, allowed: (initial: number) => number): number[] {
  const flags = body.byte();
  const initial = body.unsigned();
  const declared = (flags & HAS_MAX) === 0 ? Infinity : body.unsigned();
  if ((flags & ~(HAS_MAX | SHARED | WIDE)) !== 0) throw new RangeError(`limits flags ${flags}`);
  return [flags | HAS_MAX, ...unsigned(initial), ...unsigned(Math.min(declared, allowed(initial)))];
}

function section(id: number, body: number[]): Uint8Array {
  return Uint8Array.from([id, ...unsigned(body.length), ...body]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
