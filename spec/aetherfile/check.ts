/**
 * Data against a schema: the value with its defaults, or everything that is wrong, each with its place.
 *
 * Alternatives: an arm that conflicts with the data falls away; of those that are left the default wins, else
 * the only one. Where all fall away, the arm that the author most likely meant tells what is wrong.
 */
import { type Data, type Field, placed, plain, show, type StructData } from '../cue/data.ts';
import type { Fault, Path } from '../cue/diagnostic.ts';
import type { AnyType, Schema, StructType, Type } from '../cue/schema.ts';
import type { Span } from '../cue/source.ts';
import { type Constraint, constraintViolation } from './constraint.ts';
import { suggest } from './suggest.ts';

/** What a definition is called in messages, and what to write. */
export interface Term {
  noun: string;
  /** @param text what was written, empty where it is no text */
  help(text: string): string;
}

export interface Checked {
  /** Meaningful only without faults; structs in it have no prototype. */
  value: unknown;
  faults: readonly Fault[];
}

/** @param terms by the name of a definition, for those that stand for one scalar */
export function check(
  schema: Schema,
  definition: string,
  data: Data,
  at: Span,
  terms: Readonly<Record<string, Term>>,
): Checked {
  const checker = new Checker(schema, terms);
  const type: Type = { kind: 'definition', text: definition, name: definition };
  const value = checker.value(type, data, { path: [], at, label: '', says: definition });
  const seen = new Set<string>();
  const faults = checker.faults
    .filter(({ at: { start }, message }) => {
      const key = `${start} ${message}`;
      return !seen.has(key) && seen.add(key);
    })
    .toSorted((a, b) => a.at.start - b.at.start);
  return { value, faults };
}

/** Where a value belongs: found or missing. */
interface Place {
  path: Path;
  /** Pointed at when the value is missing. */
  at: Span;
  label: string;
  /** What the schema says of it. */
  says: string;
  frame?: Frame;
}

/** A struct that is being checked, as the names in its types see it. */
interface Frame {
  parent: Frame | undefined;
  label: string;
  value(name: string): unknown;
}

interface Finding extends Fault {
  /** Not there, as opposed to wrong. */
  isMissing?: boolean;
  /** Wrong already in its kind: text instead of a number. */
  isOtherKind?: boolean;
}

interface Attempt {
  type: Type;
  isDefault: boolean;
  value: unknown;
  faults: Finding[];
}

const UNKNOWN_FIELD = 'ERR_AETHERFILE_UNKNOWN_FIELD';
const MISSING_FIELD = 'ERR_AETHERFILE_MISSING_FIELD';
const WRONG_TYPE = 'ERR_AETHERFILE_TYPE';
const WRONG_VALUE = 'ERR_AETHERFILE_VALUE';
const UNKNOWN_DEFINITION = 'ERR_CUE_REFERENCE';

class Checker {
  faults: Finding[] = [];
  readonly #schema: Schema;
  readonly #terms: Readonly<Record<string, Term>>;
  readonly #discriminators = new WeakMap<AnyType, Discriminator | 'none'>();
  readonly #merged = new WeakMap<Type, StructType>();

  constructor(schema: Schema, terms: Readonly<Record<string, Term>>) {
    this.#schema = schema;
    this.#terms = terms;
  }

  /** The value at a place, which must also be all that the file itself calls it: `#Kv & { … }`. */
  value(type: Type, data: Data | undefined, place: Place): unknown {
    for (const { name, at } of data?.definitions ?? []) {
      if (type.kind === 'definition' && type.name === name) continue;
      if (this.#schema.definition(name) === undefined) {
        const near = suggest(name, this.#schema.definitionNames());
        const help = near === undefined ? 'remove it' : `did you mean ${near}?`;
        const message = `the schema has no definition ${name}`;
        this.#fault({ code: UNKNOWN_DEFINITION, path: place.path, message, at, help });
      } else {
        this.#fit({ kind: 'definition', text: name, name }, data, place);
      }
    }
    return this.#fit(type, data, place);
  }

  #fit(type: Type, data: Data | undefined, place: Place): unknown {
    switch (type.kind) {
      case 'definition':
        return this.#definition(type.name, data, place);
      case 'any':
        return this.#any(type, data, place);
      case 'all':
        return this.#all(type, data, place);
      case 'struct':
        return this.#struct(type, data, place);
      case 'list':
        return this.#list(type, data, place);
      case 'sibling':
        return this.#equal(frameAt(place.frame, type.up)?.value(type.name), data, place);
      case 'label':
        return this.#equal(frameAt(place.frame, type.up)?.label, data, place);
      case 'literal':
        return this.#equal(type.value, data, place, type.isInt);
      case 'basic':
      case 'bound':
      case 'match':
      default:
        if (data === undefined) return this.#missing(place);
        this.#constraint(type, data, place);
        return plain(data);
    }
  }

  #definition(name: string, data: Data | undefined, place: Place): unknown {
    const type = this.#schema.definition(name) as Type;
    const term = this.#terms[name];
    if (term === undefined || data === undefined) return this.#fit(type, data, place);
    const { value, faults } = this.#attempt(type, data, place);
    if (faults.length > 0) {
      const isOtherKind = faults.some((fault) => fault.isOtherKind === true);
      const message = `${show(data)} is not ${term.noun}`;
      const help = `${term.help(data.kind === 'text' ? data.value : '')}   (schema: ${name})`;
      this.#wrong(data, place, message, { isOtherKind, help });
    }
    return value;
  }

  #constraint(type: Constraint, data: Data, place: Place): void {
    const limit =
      type.kind === 'bound' ? this.#attempt(type.limit, undefined, place).value : undefined;
    const violation = constraintViolation(type, data, limit);
    if (violation !== undefined) this.#wrong(data, place, violation.message, violation);
  }

  #equal(value: unknown, data: Data | undefined, place: Place, isInt?: boolean): unknown {
    if (data === undefined || value === undefined) return value;
    const isFitting =
      'value' in data &&
      data.value === value &&
      (isInt === undefined || data.kind !== 'number' || data.isInt === isInt);
    if (!isFitting) {
      const isOtherKind = !('value' in data) || typeof data.value !== typeof value;
      this.#wrong(data, place, `${show(data)} is not ${JSON.stringify(value)}`, { isOtherKind });
    }
    return value;
  }

  #all(type: Extract<Type, { kind: 'all' }>, data: Data | undefined, place: Place): unknown {
    const struct = this.#asStruct(type);
    if (struct !== undefined) return this.#struct(struct, data, place);
    if (data !== undefined) {
      const before = this.faults.length;
      let value: unknown;
      for (const part of type.parts) {
        value = this.#fit(part, data, place);
        if (this.faults.length > before) break;
      }
      return value;
    }
    for (const part of type.parts) {
      const { value, faults } = this.#attempt(part, undefined, place);
      const scalar = asScalar(value);
      if (faults.length === 0 && scalar !== undefined) {
        return this.#fit(type, placed(scalar, place.at), place);
      }
    }
    return this.#missing(place);
  }

  /** A conjunction of structs as the one struct it comes to. */
  #asStruct(type: Type): StructType | undefined {
    if (type.kind === 'struct') return type;
    if (type.kind === 'definition') {
      const target = this.#schema.definition(type.name);
      return target && this.#asStruct(target);
    }
    if (type.kind !== 'all') return undefined;
    const known = this.#merged.get(type);
    if (known !== undefined) return known;
    const structs = type.parts.map((part) => this.#asStruct(part));
    const merged: StructType = { kind: 'struct', text: type.text, fields: new Map(), patterns: [] };
    for (const struct of structs) {
      if (struct === undefined) return undefined;
      merged.patterns.push(...struct.patterns);
      for (const [name, field] of struct.fields) {
        const other = merged.fields.get(name);
        merged.fields.set(name, other === undefined ? field : bothFields(other, field));
      }
    }
    this.#merged.set(type, merged);
    return merged;
  }

  #list(type: Extract<Type, { kind: 'list' }>, data: Data | undefined, place: Place): unknown {
    if (data === undefined) {
      const items = type.items.map((item) => this.#attempt(item, undefined, place));
      if (items.some(({ faults }) => faults.length > 0)) return this.#missing(place);
      return items.map(({ value }) => value);
    }
    if (data.kind !== 'list') {
      return this.#wrong(data, place, `${show(data)} is not a list`, { isOtherKind: true });
    }
    const { length } = data.items;
    const least = type.items.length;
    if (length < least || (length > least && type.rest === undefined)) {
      const count = type.rest === undefined ? 'exactly' : 'at least';
      const message = `a list of ${length} where ${count} ${least} ${least === 1 ? 'is' : 'are'} needed`;
      return this.#wrong(data, place, message);
    }
    return data.items.map((item, i) => {
      const itemType = (type.items[i] ?? type.rest) as Type;
      const path = [...place.path, i];
      return this.value(itemType, item, { ...place, path, at: item.at, says: itemType.text });
    });
  }

  #struct(type: StructType, data: Data | undefined, place: Place): unknown {
    if (data !== undefined && data.kind !== 'struct') {
      return this.#wrong(data, place, `${show(data)} is not a struct`, { isOtherKind: true });
    }
    const fields: ReadonlyMap<string, Field> = data?.fields ?? new Map<string, Field>();
    const object = Object.create(null) as Record<string, unknown>;
    const values = new Map<string, unknown>();
    const sink = this.faults;
    const frame: Frame = {
      parent: place.frame,
      label: place.label,
      // Another field may ask for this one in the middle of an attempt: what is wrong with it is still told here.
      value: (name) => {
        const field = type.fields.get(name);
        if (values.has(name) || field === undefined) return values.get(name);
        values.set(name, undefined);
        const found = fields.get(name);
        if (found === undefined && field.isOptional) return undefined;
        const faults = this.faults;
        this.faults = sink;
        values.set(
          name,
          this.value(field.type, found?.value, this.#inner(name, field.type, found, place, frame)),
        );
        this.faults = faults;
        return values.get(name);
      },
    };
    for (const name of type.fields.keys()) {
      const value = frame.value(name);
      if (value !== undefined) object[name] = value;
    }
    for (const [name, field] of fields) {
      const patterns = type.patterns.filter(({ label }) =>
        this.#labelFits(label, name, field, place),
      );
      for (const pattern of patterns) {
        const inner = this.#inner(name, pattern.type, field, place, frame);
        object[name] = this.value(pattern.type, field.value, inner);
      }
      if (patterns.length === 0 && !type.fields.has(name)) this.#unknown(name, field, type, place);
    }
    return object;
  }

  #inner(name: string, type: Type, found: Field | undefined, place: Place, frame: Frame): Place {
    const path = [...place.path, name];
    return { path, at: found?.label ?? place.at, label: name, says: type.text, frame };
  }

  #labelFits(type: Type, name: string, { label }: Field, place: Place): boolean {
    const data = placed({ kind: 'text', value: name }, label);
    return this.#attempt(type, data, place).faults.length === 0;
  }

  #unknown(name: string, { label }: Field, type: StructType, place: Place): void {
    const path = [...place.path, name];
    const [pattern] = type.patterns;
    if (pattern !== undefined && type.fields.size === 0) {
      const data = placed({ kind: 'text', value: name }, label);
      this.#fit(pattern.label, data, { ...place, path, at: label, says: pattern.label.text });
      return;
    }
    const near = suggest(name, type.fields.keys());
    const help =
      near === undefined
        ? `the fields here are ${[...type.fields.keys()].join(', ')}`
        : `did you mean ${near}?`;
    const message = `there is no field ${JSON.stringify(name.slice(0, 64))} here`;
    this.#fault({ code: UNKNOWN_FIELD, path, message, at: label, help });
  }

  #any(type: AnyType, data: Data | undefined, place: Place): unknown {
    const discriminator = data?.kind === 'struct' ? this.#discriminator(type) : undefined;
    const chosen = discriminator && (data as StructData).fields.get(discriminator.field);
    if (discriminator !== undefined && chosen !== undefined && 'value' in chosen.value) {
      const arm = discriminator.arms.get(chosen.value.value);
      if (arm !== undefined) return this.#fit(arm, data, place);
      const path = [...place.path, discriminator.field];
      return this.#notOneOf([...discriminator.arms.keys()], chosen.value, { ...place, path });
    }
    const attempts = this.#arms(type).map(({ type: arm, isDefault }): Attempt => {
      const { value, faults } = this.#attempt(arm, data, place);
      return { type: arm, isDefault, value, faults };
    });
    const left = attempts.filter(({ faults }) =>
      faults.every(({ isMissing }) => isMissing === true),
    );
    const complete = left.find(({ faults }) => faults.length === 0);
    const best = left.find(({ isDefault }) => isDefault) ?? (left.length > 1 ? undefined : left[0]);
    // Scalars and lists that fit two arms have the same value in both.
    const isPlain = data !== undefined && data.kind !== 'struct';
    const taken = best ?? (isPlain ? complete : undefined);
    if (taken !== undefined && (data !== undefined || taken.faults.length === 0)) {
      this.faults.push(...taken.faults);
      return taken.value;
    }
    if (data === undefined) return this.#missing(place);
    return this.#explain(attempts, data, place, discriminator);
  }

  /** No arm holds, or too many: says what is wrong with the one that was most likely meant. */
  #explain(
    attempts: readonly Attempt[],
    data: Data,
    place: Place,
    discriminator: Discriminator | undefined,
  ): undefined {
    const spelled = attempts.filter(({ type, isDefault }) => !isDefault || !this.#isFixed(type));
    const candidates = spelled.length > 0 ? spelled : attempts;
    const literals = candidates.map(({ type }) =>
      type.kind === 'literal' ? type.value : undefined,
    );
    if (literals.every((value) => value !== undefined)) {
      const all = attempts.flatMap(({ type }) => (type.kind === 'literal' ? [type.value] : []));
      return this.#notOneOf(all, data, place);
    }
    const isOtherKind = ({ faults }: Attempt): boolean =>
      faults.some((fault) => fault.isOtherKind === true && fault.path.length === place.path.length);
    const sameKind = candidates.filter((attempt) => !isOtherKind(attempt));
    const likely = sameKind.length > 0 ? sameKind : candidates;
    const chosen = likely.length === 1 ? likely[0] : likely.find(({ isDefault }) => isDefault);
    if (chosen !== undefined) {
      this.faults.push(...chosen.faults);
      return undefined;
    }
    if (data.kind !== 'struct') {
      return this.#wrong(data, place, `${show(data)} does not fit here`);
    }
    if (discriminator !== undefined) {
      const { field, arms } = discriminator;
      return this.#missing(
        { ...place, path: [...place.path, field], at: data.at },
        `say which: ${[...arms.keys()].map((value) => `${field}: ${JSON.stringify(value)}`).join(', ')}`,
      );
    }
    return this.#explainByFields(likely, data, place);
  }

  /** Arms without a field that tells them apart: the one whose fields the data have is meant. */
  #explainByFields(arms: readonly Attempt[], data: StructData, place: Place): undefined {
    const named = arms.filter(({ type }) =>
      [...(this.#asStruct(type)?.fields.keys() ?? [])].some((name) => data.fields.has(name)),
    );
    if (named.length === 1) {
      this.faults.push(...(named[0] as Attempt).faults);
      return undefined;
    }
    const forms = arms.map(({ type }) =>
      [...(this.#asStruct(type)?.fields.keys() ?? [])].join(' + '),
    );
    const message = `exactly one of ${forms.join(', ')} is needed, not ${[...data.fields.keys()].slice(0, 8).join(' + ') || 'none'}`;
    return this.#wrong(data, place, message, { help: `write one of: ${forms.join(', ')}` });
  }

  #notOneOf(values: readonly unknown[], data: Data, place: Place): undefined {
    const near =
      data.kind === 'text'
        ? suggest(
            data.value,
            values.filter((value) => typeof value === 'string'),
          )
        : undefined;
    const list = values.map((value) => JSON.stringify(value)).join(', ');
    const help =
      near === undefined ? `write one of ${list}` : `did you mean ${JSON.stringify(near)}?`;
    const isOtherKind = !values.some(
      (value) => 'value' in data && typeof value === typeof data.value,
    );
    return this.#wrong(data, place, `${show(data)} is not one of ${list}`, { isOtherKind, help });
  }

  /** The arms of an alternative, those of the definitions that it names among them. */
  #arms(type: AnyType): { isDefault: boolean; type: Type }[] {
    return type.arms.flatMap((arm) => {
      const target =
        arm.type.kind === 'definition' ? this.#schema.definition(arm.type.name) : arm.type;
      const isList = target?.kind === 'any' && !arm.isDefault && !this.#isTerm(arm.type);
      return isList ? this.#arms(target) : [arm];
    });
  }

  #isTerm(type: Type): boolean {
    return type.kind === 'definition' && this.#terms[type.name] !== undefined;
  }

  /** The field that is another literal in each arm, such as `kind`. */
  #discriminator(type: AnyType): Discriminator | undefined {
    const known = this.#discriminators.get(type);
    if (known !== undefined) return known === 'none' ? undefined : known;
    const arms = this.#arms(type);
    const [first, ...others] = arms.map((arm) => this.#asStruct(arm.type));
    const found = [...(first?.fields.keys() ?? [])]
      .map((field) => {
        const literals = [first, ...others].map((struct) => struct?.fields.get(field)?.type);
        const byValue = new Map<unknown, Type>();
        literals.forEach((literal, i) => {
          if (literal?.kind === 'literal')
            byValue.set(literal.value, (arms[i] as { type: Type }).type);
        });
        return { field, arms: byValue };
      })
      .find(({ arms: byValue }) => byValue.size === arms.length);
    this.#discriminators.set(type, found ?? 'none');
    return found;
  }

  /** True when the type is one value and no more. */
  #isFixed(type: Type): boolean {
    if (type.kind === 'list')
      return type.rest === undefined && type.items.every((item) => this.#isFixed(item));
    if (type.kind === 'struct') {
      const fields = [...type.fields.values()];
      return type.patterns.length === 0 && fields.every((field) => this.#isFixed(field.type));
    }
    return type.kind === 'literal' || type.kind === 'sibling' || type.kind === 'label';
  }

  /** Checks without telling: what is wrong is in the result. */
  #attempt(
    type: Type,
    data: Data | undefined,
    place: Place,
  ): { value: unknown; faults: Finding[] } {
    const outer = this.faults;
    const faults: Finding[] = [];
    this.faults = faults;
    const value = this.#fit(type, data, place);
    this.faults = outer;
    return { value, faults };
  }

  #missing({ path, at, says }: Place, help = `the schema says: ${shorten(says)}`): undefined {
    const name = path.at(-1) ?? 'the value';
    this.#fault({
      code: MISSING_FIELD,
      path,
      message: `${name} is missing`,
      at,
      help,
      isMissing: true,
    });
  }

  #wrong(
    data: Data,
    { path, says }: Place,
    message: string,
    { isOtherKind = false, help = `the schema says: ${shorten(says)}` } = {},
  ): undefined {
    const code = isOtherKind ? WRONG_TYPE : WRONG_VALUE;
    this.#fault({ code, path, message, at: data.at, help, isOtherKind });
  }

  #fault(fault: Finding): void {
    this.faults.push(fault);
  }
}

interface Discriminator {
  field: string;
  /** By the literal of the field. */
  arms: ReadonlyMap<unknown, Type>;
}

function frameAt(frame: Frame | undefined, up: number): Frame | undefined {
  return up === 0 ? frame : frameAt(frame?.parent, up - 1);
}

function bothFields(
  a: { type: Type; isOptional: boolean },
  b: { type: Type; isOptional: boolean },
): { type: Type; isOptional: boolean } {
  const text = `${a.type.text} & ${b.type.text}`;
  const type: Type = { kind: 'all', text, parts: [a.type, b.type] };
  return { type, isOptional: a.isOptional && b.isOptional };
}

function asScalar(value: unknown): Parameters<typeof placed>[0] | undefined {
  if (typeof value === 'string') return { kind: 'text', value };
  if (typeof value === 'number') return { kind: 'number', value, isInt: Number.isInteger(value) };
  return typeof value === 'boolean' ? { kind: 'boolean', value } : undefined;
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
