/** Concrete data as a file of CUE says it, each value with its place in the text. */
import type { Span } from './source.ts';

interface Placed {
  /** Where the value was first written. */
  at: Span;
  /** Definitions of the schema that the file demands of this value: `#App & { … }`. */
  definitions: readonly { name: string; at: Span }[];
  /** Values in it, itself included, and its text at one for 64 characters: what it costs to write out. */
  size: number;
  /** Levels of lists and structs. */
  depth: number;
}

export type Data = Placed & Value;

type Value =
  | { kind: 'text'; value: string }
  | { kind: 'number'; value: number; isInt: boolean }
  | { kind: 'boolean'; value: boolean }
  | { kind: 'null'; value: null }
  | { kind: 'list'; items: readonly Data[] }
  | { kind: 'struct'; fields: ReadonlyMap<string, Field> };

export type StructData = Extract<Data, { kind: 'struct' }>;

export interface Field {
  label: Span;
  value: Data;
}

export function placed(value: Value, at: Span, definitions: Data['definitions'] = []): Data {
  let size = 1;
  let depth = 0;
  const add = (part: Data): void => {
    size += part.size;
    depth = Math.max(depth, part.depth + 1);
  };
  if (value.kind === 'text') size += value.value.length >> 6;
  else if (value.kind === 'list') value.items.forEach(add);
  else if (value.kind === 'struct') for (const field of value.fields.values()) add(field.value);
  return { ...value, at, definitions, size, depth };
}

/** The data as plain values; structs have no prototype, so that no field name means anything else. */
export function plain(data: Data): unknown {
  if (data.kind === 'list') return data.items.map(plain);
  if (data.kind !== 'struct') return data.value;
  const object = Object.create(null) as Record<string, unknown>;
  for (const [name, { value }] of data.fields) object[name] = plain(value);
  return object;
}

/** A value in the words of a message. */
export function show(data: Data): string {
  if (data.kind === 'list') return 'a list';
  if (data.kind === 'struct') return 'a struct';
  if (data.kind === 'number' && !data.isInt && Number.isInteger(data.value))
    return `${data.value}.0`;
  const text = data.kind === 'text' ? data.value.slice(0, 61) : data.value;
  const shown = JSON.stringify(text);
  return shown.length > 60 ? `${shown.slice(0, 60)}…"` : shown;
}
