import { type Data, type Field, placed, show, type StructData } from './data.ts';
import { refuse } from './diagnostic.ts';
import { DEPTH_MAX, NODES_MAX } from './parser.ts';
import type { Source, Span } from './source.ts';
import type {
  Comprehension,
  Expression,
  File,
  Label,
  ListLiteral,
  StructLiteral,
} from './syntax.ts';

/** How many values may be under way at once: a chain of references, each to the next. */
const EVALUATION_DEPTH_MAX = 2 * DEPTH_MAX;
/** How many values may be worked out in all: those of the data, and those that only lead there. */
const EVALUATIONS_MAX = 2 * NODES_MAX;

/** An expression and where its names are looked up. All conjuncts of one value must agree. */
interface Conjunct {
  expression: Expression;
  scope: Scope | undefined;
}

/** What one label or name stands for. */
interface Member {
  label: Label;
  conjuncts: Conjunct[];
  data?: Data;
  /** Its value is being worked out: to meet it again is to go in a circle. */
  isOpen: boolean;
}

/** One struct literal, or one turn of a comprehension. */
interface Scope {
  parent: Scope | undefined;
  /** Shared by all literals that are merged into one struct. */
  fields: Map<string, Member>;
  lets: Map<string, Member>;
}

/**
 * The concrete data of a file: structs merge field by field, equal values are one, names mean the nearest
 * field, `let` or `for` around them. What says less than one value (types, bounds, alternatives) is refused.
 *
 * @throws CueError ERR_CUE_UNSUPPORTED, ERR_CUE_CONFLICT, ERR_CUE_REFERENCE, or ERR_CUE_LIMIT when the written
 * out data have more than 100 000 values or 64 levels
 */
export function evaluate(source: Source, { declarations, at }: File): StructData {
  const literal: StructLiteral = { kind: 'struct', declarations, at };
  return new Evaluator(source).value([{ expression: literal, scope: undefined }]) as StructData;
}

class Evaluator {
  readonly #source: Source;
  #depth = 0;
  #evaluations = 0;

  constructor(source: Source) {
    this.#source = source;
  }

  value(conjuncts: readonly Conjunct[]): Data {
    this.#depth += 1;
    this.#evaluations += 1;
    const { at } = (conjuncts[0] as Conjunct).expression;
    if (this.#depth > EVALUATION_DEPTH_MAX) {
      const message = `references lead more than ${EVALUATION_DEPTH_MAX} levels deep`;
      refuse(this.#source, 'ERR_CUE_LIMIT', at, message, 'refer to the value itself');
    }
    const data = this.#unified(conjuncts);
    const isTooMuch = data.size > NODES_MAX || this.#evaluations > EVALUATIONS_MAX;
    if (isTooMuch || data.depth > DEPTH_MAX) {
      const message = `written out, this is more than ${NODES_MAX} values or ${DEPTH_MAX} levels`;
      refuse(this.#source, 'ERR_CUE_LIMIT', at, message, 'say less, or split the file');
    }
    this.#depth -= 1;
    return data;
  }

  #unified(conjuncts: readonly Conjunct[]): Data {
    const parts = conjuncts.flatMap(split);
    const definitions: { name: string; at: Span }[] = [];
    const values: Conjunct[] = [];
    for (const part of parts) {
      const { expression } = part;
      if (expression.kind === 'name' && expression.name.startsWith('#'))
        definitions.push(expression);
      else values.push(part);
    }
    const [first] = values;
    if (first === undefined) {
      const [{ name, at }] = definitions as [{ name: string; at: Span }];
      return this.#unsupported(at, 'definitions without a value', `write ${name} & { … }`);
    }
    const data = values.length === 1 ? this.#single(first) : this.#merged(values);
    return definitions.length === 0
      ? data
      : { ...data, definitions: [...data.definitions, ...definitions] };
  }

  #single({ expression, scope }: Conjunct): Data {
    const { kind, at } = expression;
    switch (kind) {
      case 'text':
      case 'boolean':
      case 'null':
      case 'number':
        return placed(expression, at);
      case 'struct':
        return this.#struct([{ expression, scope }]);
      case 'list':
        return this.#list([{ expression, scope }]);
      case 'name':
        return this.#named(expression.name, at, scope);
      case 'select':
        return this.#selected(expression.of, expression.label, scope);
      case 'unary':
        return this.#signed(expression.operator, expression.operand, at);
      case 'any':
        return this.#unsupported(
          at,
          'alternatives and defaults',
          'write the one value that is meant',
        );
      case 'all':
      default:
        return this.value(split({ expression, scope }));
    }
  }

  /** Several conjuncts for one value: structs merge, anything else must be equal. */
  #merged(conjuncts: readonly Conjunct[]): Data {
    if (areStructs(conjuncts)) return this.#struct(conjuncts);
    if (areLists(conjuncts)) return this.#list(conjuncts);
    const [first, ...others] = conjuncts.map((conjunct) => {
      const { kind, at } = conjunct.expression;
      if (kind === 'name' || kind === 'select') {
        return this.#unsupported(
          at,
          'references unified with something else',
          'write the value out',
        );
      }
      return this.#single(conjunct);
    }) as [Data, ...Data[]];
    for (const other of others) {
      const isEqual =
        'value' in first &&
        'value' in other &&
        first.value === other.value &&
        isWhole(first) === isWhole(other);
      if (!isEqual) this.#conflict(first, other);
    }
    return first;
  }

  #conflict(first: Data, other: Data): never {
    const { line, column } = this.#source.position(first.at.start);
    const message = `${show(other)} conflicts with ${show(first)} at ${line}:${column}`;
    const help = 'a field has one value: remove one of the two';
    refuse(this.#source, 'ERR_CUE_CONFLICT', other.at, message, help);
  }

  #struct(literals: readonly { expression: StructLiteral; scope: Scope | undefined }[]): Data {
    const members = new Map<string, Member>();
    const scopes = literals.map(({ expression, scope }) => this.#scope(expression, scope, members));
    const fields = new Map<string, Field>();
    for (const [name, member] of members) {
      fields.set(name, {
        label: member.label.at,
        value: this.#memberValue(member, member.label.at),
      });
    }
    for (const { lets } of scopes) {
      for (const member of lets.values()) this.#memberValue(member, member.label.at);
    }
    return placed({ kind: 'struct', fields }, (literals[0] as Conjunct).expression.at);
  }

  /** Adds the fields of a literal to those of the struct that it is part of. */
  #scope(literal: StructLiteral, parent: Scope | undefined, fields: Map<string, Member>): Scope {
    const scope: Scope = { parent, fields, lets: new Map() };
    for (const declaration of literal.declarations) {
      const { kind, at } = declaration;
      if (kind === 'pattern') this.#unsupported(at, 'pattern constraints', 'write the fields out');
      if (kind === 'ellipsis') this.#unsupported(at, 'open structs (...)', 'remove the "..."');
      const { label, value: expression } = declaration;
      if (kind === 'field') this.#checkLabel(label, declaration.marker);
      const members = kind === 'let' ? scope.lets : fields;
      const member = members.get(label.name);
      const conjunct = { expression, scope };
      if (member === undefined) {
        members.set(label.name, { label, conjuncts: [conjunct], isOpen: false });
      } else {
        if (kind === 'let') this.#twice(label, member.label);
        member.conjuncts.push(conjunct);
      }
    }
    return scope;
  }

  #checkLabel({ name, isQuoted, at }: Label, marker: string): void {
    if (marker === '?')
      this.#unsupported(at, 'optional fields', 'leave the field out, or remove the "?"');
    if (marker === '!')
      this.#unsupported(at, 'required fields', 'give the field a value without "!"');
    if (isQuoted) return;
    if (/^_?#/.test(name))
      this.#unsupported(at, 'definitions in a data file', 'write the values out');
    if (name.startsWith('_'))
      this.#unsupported(at, 'hidden fields', `write let ${name} = … instead`);
  }

  #twice({ name, at }: Label, first: Label): never {
    const { line, column } = this.#source.position(first.at.start);
    const message = `let ${name} is already there, at ${line}:${column}`;
    refuse(this.#source, 'ERR_CUE_CONFLICT', at, message, 'give one of the two another name');
  }

  #list(literals: readonly { expression: ListLiteral; scope: Scope | undefined }[]): Data {
    const [first, ...others] = literals.map(({ expression, scope }) =>
      this.#items(expression, scope),
    );
    const { at } = (literals[0] as Conjunct).expression;
    others.forEach((items, i) => {
      if (items.length === first?.length) return;
      const { line, column } = this.#source.position(at.start);
      const message = `the list of ${items.length} conflicts with the list of ${first?.length} at ${line}:${column}`;
      const help = 'lists do not merge: say each list once';
      refuse(
        this.#source,
        'ERR_CUE_CONFLICT',
        (literals[i + 1] as Conjunct).expression.at,
        message,
        help,
      );
    });
    const items = (first ?? []).map((item, i) =>
      this.value([item, ...others.map((list) => list[i] as Conjunct)]),
    );
    return placed({ kind: 'list', items }, at);
  }

  #items({ items, rest, at }: ListLiteral, scope: Scope | undefined): Conjunct[] {
    if (rest !== undefined) this.#unsupported(at, 'open lists (...)', 'write the items out');
    return items.flatMap((item) =>
      item.kind === 'for' ? this.#turns(item, scope) : [{ expression: item, scope }],
    );
  }

  /** The body of a comprehension, once for each item, with its names bound. */
  #turns({ key, value, of, body }: Comprehension, scope: Scope | undefined): Conjunct[] {
    const list = this.value([{ expression: of, scope }]);
    if (list.kind !== 'list') {
      const message = `"for" runs over a list, not over ${show(list)}`;
      refuse(
        this.#source,
        'ERR_CUE_UNSUPPORTED',
        of.at,
        message,
        'give a list: for x in ["a", "b"]',
      );
    }
    return list.items.map((item, i) => {
      const fields = new Map([[value.name, bound(value, item)]]);
      if (key !== undefined) {
        fields.set(key.name, bound(key, placed({ kind: 'number', value: i, isInt: true }, key.at)));
      }
      return { expression: body, scope: { parent: scope, fields, lets: new Map() } };
    });
  }

  #named(name: string, at: Span, scope: Scope | undefined): Data {
    for (let inner = scope; inner !== undefined; inner = inner.parent) {
      const member = inner.lets.get(name) ?? inner.fields.get(name);
      if (member !== undefined && !member.label.isQuoted) return this.#memberValue(member, at);
    }
    if (TYPES.has(name)) {
      this.#unsupported(
        at,
        `types such as ${name}`,
        'write the value; types belong into the schema',
      );
    }
    const message = `nothing here is called ${name}`;
    const help = `text is written in quotes: "${name}"`;
    return refuse(this.#source, 'ERR_CUE_REFERENCE', at, message, help);
  }

  #memberValue(member: Member, at: Span): Data {
    if (member.data !== undefined) return member.data;
    const { name } = member.label;
    if (member.isOpen) {
      const message = `the value of ${name} refers to itself`;
      refuse(this.#source, 'ERR_CUE_REFERENCE', at, message, `write out the value of ${name}`);
    }
    member.isOpen = true;
    member.data = this.value(member.conjuncts);
    member.isOpen = false;
    return member.data;
  }

  #selected(of: Expression, label: Label, scope: Scope | undefined): Data {
    const struct = this.value([{ expression: of, scope }]);
    const field = struct.kind === 'struct' ? struct.fields.get(label.name) : undefined;
    if (field === undefined) {
      const message = `${show(struct)} has no field ${label.name}`;
      const help = 'name a field that is there, or write the value out';
      refuse(this.#source, 'ERR_CUE_REFERENCE', label.at, message, help);
    }
    return field.value;
  }

  #signed(operator: string, operand: Expression, at: Span): Data {
    if ((operator !== '-' && operator !== '+') || operand.kind !== 'number') {
      const help = 'write the one value that is meant';
      return this.#unsupported(at, `bounds, patterns and operators (${operator})`, help);
    }
    const { value, isInt } = operand;
    return placed(
      { kind: 'number', value: operator === '-' && value !== 0 ? -value : value, isInt },
      at,
    );
  }

  #unsupported(at: Span, what: string, help: string): never {
    refuse(this.#source, 'ERR_CUE_UNSUPPORTED', at, `${what} are not read yet`, help);
  }
}

const TYPES = new Set(['_', 'string', 'bytes', 'bool', 'int', 'uint', 'float', 'number']);

function split({ expression, scope }: Conjunct): Conjunct[] {
  if (expression.kind !== 'all') return [{ expression, scope }];
  return expression.parts.flatMap((part) => split({ expression: part, scope }));
}

function bound(label: Label, data: Data): Member {
  return { label, conjuncts: [], data, isOpen: false };
}

function isWhole(data: Data): boolean {
  return data.kind === 'number' && data.isInt;
}

function areStructs(
  conjuncts: readonly Conjunct[],
): conjuncts is readonly { expression: StructLiteral; scope: Scope | undefined }[] {
  return conjuncts.every(({ expression }) => expression.kind === 'struct');
}

function areLists(
  conjuncts: readonly Conjunct[],
): conjuncts is readonly { expression: ListLiteral; scope: Scope | undefined }[] {
  return conjuncts.every(({ expression }) => expression.kind === 'list');
}
