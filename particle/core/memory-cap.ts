/**
 * Rewrites a core module so that its memories and tables cannot outgrow a limit (core specification §5.5.7, §5.5.8).
 *
 * The engine then refuses to grow them; limits of worker threads do not bound linear memory. An imported memory needs no
 * change: whoever defines it is capped.
 *
 * What a module could allocate on the engine's own heap cannot be capped, and filling that heap ends the whole process
 * rather than one worker (V8 gives up on an allocation from generated code). So modules with types of the garbage
 * collection proposal, or with exceptions, are refused.
 */
import { AetherError } from '../../spec/error.ts';
import { Reader, unsigned } from './leb.ts';

/** The component starts with more memory than it may have. */
export class MemoryLimitError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_MEMORY_LIMIT';
}

/** A module uses what no limit here would hold. */
export class UncappableModuleError extends AetherError {
  static override readonly code = 'ERR_PARTICLE_UNCAPPABLE';
}

/** Entries of all tables at first, some 32 bytes each in the engine; JavaScript runtimes have about 10,000. */
const TABLE_ENTRIES_MAX = 262_144;
/** Entries by which all tables together may grow. */
const TABLE_GROWTH_MAX = 65_536;

const SECTION_TYPE = 1;
const SECTION_TABLE = 4;
const SECTION_MEMORY = 5;
const SECTION_TAG = 13;

const FUNCTION_TYPE = 0x60;

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
 * so that together they stay within the limit. Tables are treated alike, under a limit that is the same for all.
 *
 * @returns the modules' bytes, capped.
 * @throws MemoryLimitError when the first sizes alone exceed a limit; UncappableModuleError.
 */
export function capMemories(modules: readonly CoreModule[], pagesMax: number): Uint8Array[] {
  const memories = new Tally();
  const tables = new Tally();
  for (const { bytes, instances } of modules) {
    capModule(bytes, {
      memory: (initial) => memories.add(initial, instances),
      table: (initial) => tables.add(initial, instances),
    });
  }
  if (memories.total > pagesMax) {
    throw new MemoryLimitError(
      `the component starts with ${memories.total * 64} KiB of memory; its limit is ${pagesMax * 64} KiB`,
      { hint: `raise limits.memory to "${Math.ceil(memories.total / 16)}Mi" or more` },
    );
  }
  if (tables.total > TABLE_ENTRIES_MAX) {
    throw new MemoryLimitError(`the component starts with ${tables.total} table entries`, {
      hint: `at most ${TABLE_ENTRIES_MAX} are taken`,
    });
  }
  const pages = memories.share(pagesMax - memories.total);
  const entries = tables.share(TABLE_GROWTH_MAX);
  return modules.map(({ bytes }) =>
    capModule(bytes, {
      memory: (initial) => initial + pages,
      table: (initial) => initial + entries,
    }),
  );
}

/** Memories or tables of a component: how many there are, and their first sizes together. */
class Tally {
  #count = 0;
  total = 0;

  /** @returns the first size, as the largest there may be. */
  add(initial: number, instances: number): number {
    this.#count += instances;
    this.total += initial * instances;
    return initial;
  }

  /** What each gets of a whole. */
  share(whole: number): number {
    return Math.floor(whole / Math.max(1, this.#count));
  }
}

/** The largest size of a memory (in pages) or table (in entries), by its first size. */
interface Caps {
  memory: (initial: number) => number;
  table: (initial: number) => number;
}

function capModule(module: Uint8Array, caps: Caps): Uint8Array {
  const parts: Uint8Array[] = [module.subarray(0, 8)];
  const reader = new Reader(module, 8);
  while (!reader.done) {
    const start = reader.at;
    const id = reader.byte();
    const length = reader.unsigned();
    const bodyStart = reader.at;
    reader.skip(length);
    const body = new Reader(module, bodyStart, reader.at);
    if (id === SECTION_TAG) throw uncappable('exceptions');
    if (id === SECTION_TYPE) checkTypes(body);
    if (id === SECTION_MEMORY) parts.push(section(id, capMemorySection(body, caps)));
    else if (id === SECTION_TABLE) parts.push(section(id, capTableSection(body, caps)));
    else parts.push(module.subarray(start, reader.at));
  }
  return concat(parts);
}

/** All types are functions: structures and arrays live on the engine's heap. */
function checkTypes(body: Reader): void {
  for (let left = body.unsigned(); left > 0; left--) {
    if (body.byte() !== FUNCTION_TYPE) throw uncappable('types of the garbage collector');
    for (let lists = 2; lists > 0; lists--) {
      for (let values = body.unsigned(); values > 0; values--) skipValueType(body);
    }
  }
}

function uncappable(what: string): UncappableModuleError {
  return new UncappableModuleError(`the component uses ${what}, which no memory limit holds`, {
    hint: 'build it for the features of WebAssembly 2.0',
  });
}

function capMemorySection(body: Reader, { memory }: Caps): number[] {
  const count = body.unsigned();
  const out = unsigned(count);
  for (let left = count; left > 0; left--) out.push(...capLimits(body, memory));
  return out;
}

function capTableSection(body: Reader, { table }: Caps): number[] {
  const count = body.unsigned();
  const out = unsigned(count);
  for (let left = count; left > 0; left--) {
    const start = body.at;
    const hasInitializer = body.bytes[start] === 0x40;
    if (hasInitializer) body.skip(2);
    skipValueType(body);
    out.push(...body.bytes.subarray(start, body.at));
    out.push(...capLimits(body, table));
    if (hasInitializer) {
      // The initializer is a constant expression of unknown length, and the last thing of the last entry.
      if (left > 1) throw new RangeError('several tables with initializers');
      out.push(...body.bytes.subarray(body.at, body.end));
    }
  }
  return out;
}

/** A value's type: one byte, or two forms of a reference with the type behind it. */
function skipValueType(body: Reader): void {
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
