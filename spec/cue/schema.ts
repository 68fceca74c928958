/** The definitions of a CUE schema as types that data are checked against. */
import { refuse } from './diagnostic.ts';
import { parse } from './parser.ts';
import type { Source, Span } from './source.ts';
import type { Declaration, Expression } from './syntax.ts';

export type Scalar = string | number | boolean | null;

export type Type = {
  /** As the schema writes it. */
  text: string;
} & (
  | { kind: 'basic'; name: string }
  | { kind: 'literal'; value: Scalar; isInt: boolean }
  | { kind: 'bound'; operator: '<' | '<=' | '>' | '>='; limit: Type }
  | { kind: 'match'; expression: string; pattern: RegExp }
  | AllType
  | AnyType
  | { kind: 'list'; items: Type[]; rest?: Type }
  | StructType
  | { kind: 'definition'; name: string }
  /** The value of a field of a struct around it, with its default; 0 is the nearest struct. */
  | { kind: 'sibling'; up: number; name: string }
  /** The label of a struct around it, bound by `[Alias=…]`. */
  | { kind: 'label'; up: number }
);

export interface AllType {
  kind: 'all';
  text: string;
  parts: Type[];
}

export interface AnyType {
  kind: 'any';
  text: string;
  arms: { isDefault: boolean; type: Type }[];
}

export interface StructType {
  kind: 'struct';
  text: string;
  fields: Map<string, { type: Type; isOptional: boolean }>;
  patterns: { label: Type; type: Type }[];
}

const BASIC = new Set(['_', 'string', 'bool', 'int', 'number', 'float']);

/**
 * A schema: definitions, which are closed; optional fields, defaults, alternatives, bounds, patterns for labels
 * and text, lists with a rest, `&`, and names of fields around. Nothing is worked out before it is asked for.
 * Where structs meet in `&`, the fields of each are allowed in all.
 */
export class Schema {
  readonly #source: Source;
  readonly #expressions = new Map<string, Expression>();
  readonly #types = new Map<string, Type>();

  /** @throws CueError as `parse` does, or ERR_CUE_UNSUPPORTED where the schema holds more than definitions */
  constructor(source: Source) {
    this.#source = source;
    for (const declaration of parse(source).declarations) {
      if (declaration.kind !== 'field' || !declaration.label.name.startsWith('#')) {
        this.#unsupported(declaration.at, 'what is no definition');
      }
      this.#expressions.set(declaration.label.name, declaration.value);
    }
  }

  /** @returns undefined when there is none of that name (with its `#`) */
  definition(name: string): Type | undefined {
    const known = this.#types.get(name);
    if (known !== undefined) return known;
    const expression = this.#expressions.get(name);
    if (expression === undefined) return undefined;
    const type = this.#type(expression, []);
    this.#types.set(name, type);
    return type;
  }

  definitionNames(): Iterable<string> {
    return this.#expressions.keys();
  }

  #type(expression: Expression, scopes: readonly LexicalScope[]): Type {
    const { kind, at } = expression;
    const text = this.#source.text.slice(at.start, at.end).replaceAll(/\s+/g, ' ');
    switch (kind) {
      case 'text':
      case 'boolean':
      case 'null':
        return { kind: 'literal', text, value: expression.value, isInt: false };
      case 'number':
        return { kind: 'literal', text, value: expression.value, isInt: expression.isInt };
      case 'name':
        return this.#named(expression.name, text, at, scopes);
      case 'unary':
        return this.#bound(expression, text, scopes);
      case 'all':
        return { kind, text, parts: expression.parts.map((part) => this.#type(part, scopes)) };
      case 'any':
        return {
          kind,
          text,
          arms: expression.arms.map(({ isDefault, value }) => ({
            isDefault,
            type: this.#type(value, scopes),
          })),
        };
      case 'list': {
        const { rest } = expression;
        const items = expression.items.map((item) =>
          item.kind === 'for'
            ? this.#unsupported(item.at, 'comprehensions')
            : this.#type(item, scopes),
        );
        if (rest === undefined) return { kind, text, items };
        const top: Type = { kind: 'basic', text: '_', name: '_' };
        return { kind, text, items, rest: rest === true ? top : this.#type(rest, scopes) };
      }
      case 'struct':
        return this.#struct(expression.declarations, text, scopes);
      case 'select':
      default:
        return this.#unsupported(at, 'selectors');
    }
  }

  #struct(
    declarations: readonly Declaration[],
    text: string,
    scopes: readonly LexicalScope[],
  ): StructType {
    const type: StructType = { kind: 'struct', text, fields: new Map(), patterns: [] };
    const names = declarations.flatMap((each) => (each.kind === 'field' ? [each.label.name] : []));
    const inner: LexicalScope[] = [{ kind: 'struct', names: new Set(names) }, ...scopes];
    for (const declaration of declarations) {
      if (declaration.kind === 'field') {
        const isOptional = declaration.marker === '?';
        const field = { type: this.#type(declaration.value, inner), isOptional };
        type.fields.set(declaration.label.name, field);
      } else if (declaration.kind === 'pattern') {
        const { alias, label, value } = declaration;
        const around: LexicalScope[] =
          alias === undefined ? inner : [{ kind: 'alias', alias }, ...inner];
        type.patterns.push({ label: this.#type(label, inner), type: this.#type(value, around) });
      } else {
        this.#unsupported(declaration.at, `"${declaration.kind}"`);
      }
    }
    return type;
  }

  #bound(
    { operator, operand, at }: Extract<Expression, { kind: 'unary' }>,
    text: string,
    scopes: readonly LexicalScope[],
  ): Type {
    if (operator === '=~' && operand.kind === 'text') {
      const { value: pattern } = operand;
      return { kind: 'match', text, expression: pattern, pattern: new RegExp(pattern, 'u') };
    }
    if (operator === '<' || operator === '<=' || operator === '>' || operator === '>=') {
      return { kind: 'bound', text, operator, limit: this.#type(operand, scopes) };
    }
    if (operator === '-' && operand.kind === 'number') {
      return { kind: 'literal', text, value: -operand.value, isInt: operand.isInt };
    }
    return this.#unsupported(at, `the operator ${operator}`);
  }

  #named(name: string, text: string, at: Span, scopes: readonly LexicalScope[]): Type {
    let up = 0;
    for (const scope of scopes) {
      if (scope.kind === 'struct') {
        if (scope.names.has(name)) return { kind: 'sibling', text, up, name };
        up += 1;
      } else if (scope.alias === name && up > 0) return { kind: 'label', text, up: up - 1 };
    }
    if (this.#expressions.has(name)) return { kind: 'definition', text, name };
    if (BASIC.has(name)) return { kind: 'basic', text, name };
    const help = 'name a definition of the schema, or a type of CUE';
    return refuse(this.#source, 'ERR_CUE_REFERENCE', at, `nothing is called ${name}`, help);
  }

  #unsupported(at: Span, what: string): never {
    const help = 'write the schema with definitions, bounds and alternatives only';
    refuse(this.#source, 'ERR_CUE_UNSUPPORTED', at, `${what} is not read in a schema`, help);
  }
}

type LexicalScope = { kind: 'struct'; names: Set<string> } | { kind: 'alias'; alias: string };
