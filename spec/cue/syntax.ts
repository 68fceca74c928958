/** The syntax tree of the CUE that is parsed: what data files use, and what schemas use. */
import type { Span } from './source.ts';

export interface File {
  package?: { name: string; at: Span };
  declarations: Declaration[];
  /** The whole text. */
  at: Span;
}

export interface Label {
  name: string;
  /** Written in quotes: such a label cannot be referred to by name. */
  isQuoted: boolean;
  at: Span;
}

export type Declaration =
  | { kind: 'field'; label: Label; marker: '' | '?' | '!'; value: Expression; at: Span }
  | { kind: 'pattern'; alias?: string; label: Expression; value: Expression; at: Span }
  | { kind: 'let'; label: Label; value: Expression; at: Span }
  | { kind: 'ellipsis'; at: Span };

export type Expression =
  | { kind: 'text'; value: string; at: Span }
  | { kind: 'number'; value: number; isInt: boolean; at: Span }
  | { kind: 'boolean'; value: boolean; at: Span }
  | { kind: 'null'; value: null; at: Span }
  | { kind: 'name'; name: string; at: Span }
  | { kind: 'select'; of: Expression; label: Label; at: Span }
  | StructLiteral
  | ListLiteral
  /** `a & b & c` */
  | { kind: 'all'; parts: Expression[]; at: Span }
  /** `a | *b | c` */
  | { kind: 'any'; arms: { isDefault: boolean; value: Expression }[]; at: Span }
  | { kind: 'unary'; operator: UnaryOperator; operand: Expression; at: Span };

export type UnaryOperator = '-' | '+' | '!' | '<' | '<=' | '>' | '>=' | '!=' | '=~' | '!~';

export interface StructLiteral {
  kind: 'struct';
  declarations: Declaration[];
  at: Span;
}

export interface ListLiteral {
  kind: 'list';
  items: (Expression | Comprehension)[];
  /** `...T` at the end; `true` for a bare `...`. */
  rest?: Expression | true;
  at: Span;
}

/** `for value in list { … }` or `for key, value in … { … }` inside a list. */
export interface Comprehension {
  kind: 'for';
  key?: Label;
  value: Label;
  of: Expression;
  body: StructLiteral;
  at: Span;
}
