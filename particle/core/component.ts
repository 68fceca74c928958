/**
 * What a WebAssembly component says about itself, read from its binary (Component Model, Binary.md): the names that it
 * imports and exports. Nothing is compiled or run; code and types are skipped.
 */
import { AetherError } from '../../spec/error.ts';
import { Reader } from './leb.ts';

/** These bytes are no component. Nothing was stored. */
export class NotAComponentError extends AetherError {
  static override readonly code: string = 'ERR_PARTICLE_NOT_A_COMPONENT';
}

/** These bytes are a core WebAssembly module. Nothing was stored. */
export class CoreModuleError extends NotAComponentError {
  static override readonly code: string = 'ERR_PARTICLE_CORE_MODULE';
}

export interface ComponentNames {
  /** Interfaces such as `wasi:io/streams@0.2.12`, or plain names. */
  imports: string[];
  exports: string[];
  /** Tools that made it, by the `producers` section (tool conventions, ProducersSection.md). */
  processedBy: string[];
}

/** Larger ones are refused: a JavaScript component is about 12 MB. */
export const COMPONENT_BYTES_MAX: number = 64 * 2 ** 20;

/** Names of one kind in one component; more are not read, so that reading never takes long. */
const NAMES_MAX = 10_000;

const MAGIC = 0x6d736100;
const LAYER_MODULE = 0;
const LAYER_COMPONENT = 1;
const VERSION_COMPONENT = 0x0d;

const SECTION_CUSTOM = 0;
const SECTION_IMPORT = 10;
const SECTION_EXPORT = 11;
const SECTION_LAST = 12;

/**
 * Reads a component's own imports and exports.
 *
 * @throws CoreModuleError, NotAComponentError
 */
export function readComponent(bytes: Uint8Array): ComponentNames {
  checkHeader(bytes);
  const names: ComponentNames = { imports: [], exports: [], processedBy: [] };
  try {
    const reader = new Reader(bytes, 8);
    while (!reader.done) {
      const id = reader.byte();
      const length = reader.unsigned();
      const start = reader.at;
      if (id > SECTION_LAST) throw new RangeError(`section ${id} is unknown`);
      reader.skip(length);
      const section = new Reader(bytes, start, reader.at);
      if (id === SECTION_CUSTOM && section.name() === 'producers') {
        readProducers(section, names.processedBy);
      }
      if (id === SECTION_IMPORT) readImports(section, names.imports);
      if (id === SECTION_EXPORT) readExports(section, names.exports);
    }
  } catch (error) {
    throw new NotAComponentError(`the component is damaged: ${(error as Error).message}`, {
      hint: 'build it again',
      cause: error,
    });
  }
  return names;
}

function checkHeader(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || view.getUint32(0, true) !== MAGIC) {
    throw new NotAComponentError('these bytes are not WebAssembly', {
      hint: 'name a .wasm component; for JavaScript or TypeScript use `aether build`',
    });
  }
  const layer = view.getUint16(6, true);
  if (layer === LAYER_MODULE) {
    throw new CoreModuleError('this is a core WebAssembly module, not a component', {
      hint: 'wrap it with `jco embed` and `jco new`, or build for the target wasm32-wasip2',
    });
  }
  if (layer !== LAYER_COMPONENT || view.getUint16(4, true) !== VERSION_COMPONENT) {
    throw new NotAComponentError('this component has an unknown binary version', {
      hint: 'build it with tools for WASI 0.2',
    });
  }
  if (bytes.length > COMPONENT_BYTES_MAX) {
    throw new NotAComponentError(`the component has ${bytes.length} bytes`, {
      hint: `at most ${COMPONENT_BYTES_MAX} are taken; build without debug information`,
    });
  }
}

function readProducers(section: Reader, into: string[]): void {
  for (let fields = section.unsigned(); fields > 0; fields--) {
    const field = section.name();
    for (let left = section.unsigned(); left > 0; left--) {
      const tool = section.name();
      section.name();
      if (field === 'processed-by') add(tool, into);
    }
  }
}

function add(name: string, into: string[]): void {
  if (into.length >= NAMES_MAX) throw new RangeError(`more than ${NAMES_MAX} names`);
  into.push(name);
}

function readImports(section: Reader, into: string[]): void {
  for (let left = section.unsigned(); left > 0; left--) {
    add(externName(section), into);
    skipExternType(section);
  }
}

function readExports(section: Reader, into: string[]): void {
  for (let left = section.unsigned(); left > 0; left--) {
    add(externName(section), into);
    if (section.byte() === 0x00) section.byte(); // a core sort has a second byte
    section.skipInteger();
    if (section.byte() === 0x01) skipExternType(section);
  }
}

/** `importname'` and `exportname'`: a form byte, the name, and with form 2 a version suffix. */
function externName(section: Reader): string {
  const form = section.byte();
  if (form > 2) throw new RangeError(`name form ${form} is unknown`);
  const name = section.name();
  return form === 2 ? name + section.name() : name;
}

function skipExternType(section: Reader): void {
  const sort = section.byte();
  switch (sort) {
    case 0x00: // core module
      section.byte();
      section.skipInteger();
      return;
    case 0x02: // value: equal to another, or of a type
      section.byte();
      section.skipInteger();
      return;
    case 0x03: // type: equal to another, or a new resource
      if (section.byte() === 0x00) section.skipInteger();
      return;
    case 0x01: // function
    case 0x04: // component
    case 0x05: // instance
      section.skipInteger();
      return;
    default:
      throw new RangeError(`sort ${sort} is unknown`);
  }
}
