/**
 * Finds the functions that a component exports. Their names stand in its core modules, which wit-component names after
 * the functions that they lower; the kinds of their parameters in the declarations that jco writes.
 */
import { Reader } from './leb.ts';

/** `bigint`: a 64-bit integer; `bytes`: list<u8>; `plain`: anything else, as JSON has it. */
export type ParamKind = 'plain' | 'bigint' | 'bytes';

/** How to reach an exported function in jco's generated code, and the kinds of its parameters. */
export interface ExportedFunction {
  path: string[];
  params: ParamKind[];
}

const CORE_MODULE_SECTION = 1;
const CORE_EXPORT_SECTION = 7;

/**
 * Names as `aether invoke` takes them: `name` for a function of the world, `ns:package/interface@1.0.0#name` for one of an
 * interface.
 *
 * @param exported what readComponent says of the same bytes.
 */
export function exportedFunctionNames(
  component: Uint8Array,
  exported: readonly string[],
): string[] {
  const found = new Set<string>();
  for (const module of sections(component, CORE_MODULE_SECTION)) {
    for (const section of sections(module, CORE_EXPORT_SECTION)) {
      const reader = new Reader(section);
      for (let left = reader.unsigned(); left > 0; left--) {
        const name = reader.name();
        const isFunction = reader.byte() === 0;
        reader.skipInteger();
        const owner = name.includes('#') ? name.slice(0, name.indexOf('#')) : name;
        if (isFunction && exported.includes(owner)) found.add(name);
      }
    }
  }
  return [...found];
}

function* sections(bytes: Uint8Array, wanted: number): Generator<Uint8Array> {
  const reader = new Reader(bytes, 8);
  while (!reader.done) {
    const id = reader.byte();
    const length = reader.unsigned();
    const start = reader.at;
    reader.skip(length);
    if (id === wanted) yield bytes.subarray(start, reader.at);
  }
}

/** @param declarations the text of every `.d.ts` that jco wrote for the component. */
export function describeFunction(name: string, declarations: readonly string[]): ExportedFunction {
  const [owner, own] = name.includes('#')
    ? (name.split('#') as [string, string])
    : [undefined, name];
  const called = camelCase(own);
  const header =
    owner === undefined ? 'export interface Root {' : `/** @module Interface ${owner} **/`;
  const text = declarations.find((declaration) => declaration.includes(header)) ?? '';
  const after = text.slice(text.indexOf(header));
  const signature = new RegExp(`^(?:export function| ) ${called}\\((.*?)\\):`, 'm').exec(after);
  return {
    path: owner === undefined ? [called] : [owner, called],
    params: paramKinds(signature?.[1] ?? ''),
  };
}

function camelCase(kebab: string): string {
  return kebab.replace(/-(.)/g, (_match, letter: string) => letter.toUpperCase());
}

function paramKinds(params: string): ParamKind[] {
  return [...params.matchAll(/(?:^|, )\w+\??: ([^,]*)/g)].map(([, type]) => {
    if (type === 'bigint') return 'bigint';
    return type === 'Uint8Array' ? 'bytes' : 'plain';
  });
}
