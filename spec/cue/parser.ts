import { refuse } from './diagnostic.ts';
import { Lexer, type Token } from './lexer.ts';
import type { Source, Span } from './source.ts';
import type {
  Comprehension,
  Declaration,
  Expression,
  File,
  Label,
  ListLiteral,
  StructLiteral,
  UnaryOperator,
} from './syntax.ts';

const SOURCE_BYTES_MAX = 1024 * 1024;
export const DEPTH_MAX = 64;
export const NODES_MAX = 100_000;

const UNARY = new Set(['-', '+', '!', '<', '<=', '>', '>=', '!=', '=~', '!~']);
const BINARY = new Set(['+', '-', '*', '/', '&&', '||', '==', '!=', '<', '<=', '>', '>=']);
const MATCH = new Set(['=~', '!~']);
const AFTER_LABEL = new Set([':', '?', '!']);

/**
 * Parses a file of CUE as far as the tree of syntax.ts goes; the rest of the language is refused by name.
 *
 * @throws CueError ERR_CUE_SYNTAX, ERR_CUE_UNSUPPORTED, or ERR_CUE_LIMIT beyond 1 MiB, 64 levels or 100 000 nodes
 */
export function parse(source: Source): File {
  const { text } = source;
  const bytes =
    text.length > SOURCE_BYTES_MAX ? text.length : new TextEncoder().encode(text).length;
  if (bytes > SOURCE_BYTES_MAX) {
    const start = { start: 0, end: 0 };
    refuse(source, 'ERR_CUE_LIMIT', start, 'the file is larger than 1 MiB', 'split the file');
  }
  return new Parser(source).file();
}

/** Recursive descent with one token of lookahead. */
class Parser {
  readonly #source: Source;
  readonly #lexer: Lexer;
  #token: Token;
  #next: Token;
  #lastEnd = 0;
  #depth = 0;
  #nodes = 0;

  constructor(source: Source) {
    this.#source = source;
    this.#lexer = new Lexer(source);
    this.#token = this.#lexer.next();
    this.#next = this.#lexer.next();
  }

  file(): File {
    const at = { start: 0, end: this.#source.text.length };
    while (this.#token.kind === 'comma') this.#advance();
    const clause = this.#packageClause();
    const declarations = this.#declarations('end');
    return { ...(clause === undefined ? {} : { package: clause }), declarations, at };
  }

  #packageClause(): File['package'] {
    if (!this.#isWord('package') || this.#next.kind !== 'name') return undefined;
    this.#advance();
    const { text: name, at } = this.#advance();
    this.#separator('end', undefined);
    return { name, at };
  }

  /** Declarations up to the closing token, which is left. */
  #declarations(close: '}' | 'end', opening?: Span): Declaration[] {
    const declarations: Declaration[] = [];
    while (!this.#isClose(close)) {
      declarations.push(this.#declaration());
      this.#separator(close, opening);
    }
    return declarations;
  }

  #declaration(): Declaration {
    const { kind, text, at } = this.#token;
    const isLabelled = this.#isLabel();
    if (kind === 'name' && !isLabelled) this.#refuseWords();
    if (this.#isWord('let') && this.#next.kind === 'name') return this.#let();
    if (isLabelled) return this.#field();
    if (text === '[' && kind === 'symbol') return this.#pattern();
    if (text === '...' && kind === 'symbol') {
      this.#advance();
      return { kind: 'ellipsis', at };
    }
    if (kind === 'symbol' && text === '@') this.#unsupported(at, 'attributes');
    if (kind === 'symbol' && text === '(') this.#unsupported(at, 'dynamic fields');
    if (kind === 'symbol' && text === '{') this.#unsupported(at, 'embeddings');
    if (kind !== 'name' && kind !== 'text')
      this.#unexpected('a field', 'a field is written name: value');
    if (this.#next.kind === 'symbol' && this.#next.text === '=') {
      const message = `aliases are not read yet, and a field is not written with =`;
      this.#refuse('ERR_CUE_UNSUPPORTED', this.#next.at, message, `write ${text}: value`);
    }
    if (['&', '|', '.', '('].includes(this.#next.text) || text.startsWith('#')) {
      this.#unsupported(at, 'embeddings');
    }
    this.#advance();
    return this.#unexpected(`":" after ${text}`, `a field is written ${text}: value`);
  }

  #refuseWords(): void {
    const { text, at } = this.#token;
    const next = this.#next;
    if (text === 'import' && (next.kind === 'text' || next.text === '(')) {
      this.#unsupported(at, 'imports');
    }
    if (text === 'for' && next.kind === 'name') this.#unsupported(at, 'comprehensions of fields');
    if (text === 'if' && next.kind !== 'comma') this.#unsupported(at, 'conditional fields');
  }

  #let(): Declaration {
    const { start } = this.#advance().at;
    const label = this.#name('a name');
    this.#expect('=', `let ${label.name} = value`);
    const value = this.#expression();
    return { kind: 'let', label, value, at: this.#since(start) };
  }

  #field(): Declaration {
    return this.#nested(() => {
      const label = this.#label();
      const marker = this.#token.text === '?' || this.#token.text === '!' ? this.#token.text : '';
      if (marker !== '') this.#advance();
      this.#expect(':', `${label.name}: value`);
      const value = this.#isLabel() ? this.#shorthand() : this.#expression();
      if (this.#token.text === '@') this.#unsupported(this.#token.at, 'attributes');
      return { kind: 'field', label, marker, value, at: this.#since(label.at.start) };
    });
  }

  /** The `b: c: 1` of `a: b: c: 1`. */
  #shorthand(): StructLiteral {
    const field = this.#field();
    return { kind: 'struct', declarations: [field], at: field.at };
  }

  /** `[label]: value` or `[Alias=label]: value`. */
  #pattern(): Declaration {
    const { start } = this.#advance().at;
    const hasAlias = this.#token.kind === 'name' && this.#next.text === '=';
    const alias = hasAlias ? this.#advance().text : undefined;
    if (hasAlias) this.#advance();
    const label = this.#expression();
    this.#expect(']', '[label]: value');
    if (this.#token.text !== ':') this.#unsupported(this.#since(start), 'embeddings');
    this.#advance();
    const value = this.#expression();
    const at = this.#since(start);
    return { kind: 'pattern', ...(alias === undefined ? {} : { alias }), label, value, at };
  }

  /** A disjunction, which binds weakest of what is read. */
  #expression(): Expression {
    return this.#nested(() => {
      const { start } = this.#token.at;
      const arms = [this.#arm()];
      while (this.#isSymbol('|')) {
        this.#advance();
        arms.push(this.#arm());
      }
      const [first] = arms as [(typeof arms)[number]];
      if (arms.length === 1 && !first.isDefault) return first.value;
      return { kind: 'any', arms, at: this.#since(start) };
    });
  }

  #arm(): { isDefault: boolean; value: Expression } {
    const isDefault = this.#isSymbol('*');
    if (isDefault) this.#advance();
    return { isDefault, value: this.#conjunction() };
  }

  #conjunction(): Expression {
    const { start } = this.#token.at;
    const parts = [this.#operand()];
    while (this.#isSymbol('&')) {
      this.#advance();
      parts.push(this.#operand());
    }
    const { kind, text, at } = this.#token;
    if (kind === 'symbol' && BINARY.has(text)) this.#unsupported(at, `the operator ${text}`);
    if (kind === 'symbol' && MATCH.has(text))
      this.#unsupported(at, `the operator ${text} between values`);
    return parts.length === 1
      ? (parts[0] as Expression)
      : { kind: 'all', parts, at: this.#since(start) };
  }

  #operand(): Expression {
    const { kind, text, at } = this.#token;
    if (kind === 'symbol' && UNARY.has(text)) {
      return this.#nested(() => {
        const operator = this.#advance().text as UnaryOperator;
        const operand = this.#operand();
        return { kind: 'unary', operator, operand, at: this.#since(at.start) };
      });
    }
    return this.#suffixes(this.#primary());
  }

  #suffixes(primary: Expression): Expression {
    let value = primary;
    while (this.#isSymbol('.')) {
      this.#advance();
      this.#count();
      const label = this.#label();
      value = { kind: 'select', of: value, label, at: this.#since(primary.at.start) };
    }
    if (this.#isSymbol('[')) this.#unsupported(this.#token.at, 'indices');
    if (this.#isSymbol('(')) this.#unsupported(this.#token.at, 'calls');
    return value;
  }

  #primary(): Expression {
    this.#count();
    const { kind, text, number, at } = this.#token;
    if (kind === 'text') {
      this.#advance();
      return { kind, value: text, at };
    }
    if (number !== undefined) {
      this.#advance();
      return { kind: 'number', ...number, at };
    }
    if (kind === 'name') {
      this.#advance();
      if (text === 'true' || text === 'false')
        return { kind: 'boolean', value: text === 'true', at };
      if (text === 'null') return { kind: 'null', value: null, at };
      return { kind: 'name', name: text, at };
    }
    if (this.#isSymbol('{')) return this.#struct();
    if (this.#isSymbol('[')) return this.#list();
    if (this.#isSymbol('_|_')) this.#unsupported(at, 'bottom (_|_)');
    if (this.#isSymbol('(')) {
      this.#advance();
      const value = this.#expression();
      this.#close(')', at);
      return value;
    }
    return this.#unexpected(
      'a value',
      'write text in double quotes, a number, true, false, null, [ … ] or { … }',
    );
  }

  #struct(): StructLiteral {
    const open = this.#token.at;
    if (!this.#isSymbol('{')) this.#unexpected('"{"', 'write the body in braces: { … }');
    this.#advance();
    const declarations = this.#declarations('}', open);
    this.#close('}', open);
    return { kind: 'struct', declarations, at: this.#since(open.start) };
  }

  #list(): ListLiteral {
    const open = this.#advance().at;
    const items: ListLiteral['items'] = [];
    let rest: Expression | true | undefined;
    while (!this.#isSymbol(']') && rest === undefined) {
      if (this.#isSymbol('...')) {
        this.#advance();
        rest = this.#isSymbol(']') || this.#token.kind === 'comma' ? true : this.#expression();
      } else {
        items.push(this.#item());
      }
      if (!this.#isSymbol(']')) this.#comma(']', open);
    }
    this.#close(']', open);
    const at = this.#since(open.start);
    return { kind: 'list', items, ...(rest === undefined ? {} : { rest }), at };
  }

  #item(): Expression | Comprehension {
    if (this.#isWord('if') && this.#next.kind !== 'comma' && this.#next.text !== ']') {
      this.#unsupported(this.#token.at, 'conditional items');
    }
    return this.#isWord('for') && this.#next.kind === 'name'
      ? this.#comprehension()
      : this.#expression();
  }

  #comprehension(): Comprehension {
    const { start } = this.#advance().at;
    const form = 'for value in list { … }';
    let value = this.#name('a name');
    let key: Label | undefined;
    if (this.#token.text === ',') {
      this.#advance();
      key = value;
      value = this.#name('a name');
    }
    if (!this.#isWord('in')) this.#unexpected('"in"', `write ${form}`);
    this.#advance();
    const of = this.#expression();
    for (const word of ['for', 'if', 'let']) {
      if (this.#isWord(word)) this.#unsupported(this.#token.at, `"${word}" after "for … in …"`);
    }
    const body = this.#nested(() => this.#struct());
    return {
      kind: 'for',
      ...(key === undefined ? {} : { key }),
      value,
      of,
      body,
      at: this.#since(start),
    };
  }

  #label(): Label {
    if (this.#token.kind !== 'name' && this.#token.kind !== 'text') {
      this.#unexpected('a field name', 'a field name is a word or text in double quotes');
    }
    this.#count();
    const { kind, text: name, at } = this.#advance();
    return { name, isQuoted: kind === 'text', at };
  }

  #name(what: string): Label {
    if (this.#token.kind !== 'name') this.#unexpected(what, 'a name is a word without quotes');
    return this.#label();
  }

  #isLabel(): boolean {
    const isName = this.#token.kind === 'name' || this.#token.kind === 'text';
    return isName && this.#next.kind === 'symbol' && AFTER_LABEL.has(this.#next.text);
  }

  #isWord(word: string): boolean {
    return this.#token.kind === 'name' && this.#token.text === word;
  }

  #isSymbol(symbol: string): boolean {
    return this.#token.kind === 'symbol' && this.#token.text === symbol;
  }

  #isClose(close: string): boolean {
    return close === 'end' ? this.#token.kind === 'end' : this.#isSymbol(close);
  }

  /** A comma or the end of the line, unless the closing token comes. */
  #separator(close: '}' | 'end', opening: Span | undefined): void {
    if (!this.#isClose(close)) this.#comma(close, opening);
  }

  #comma(close: string, opening: Span | undefined): void {
    if (this.#token.kind !== 'comma')
      this.#unclosed(close === 'end' ? 'a new line' : `"," or "${close}"`, opening);
    this.#advance();
  }

  #close(symbol: string, opening: Span): void {
    if (!this.#isSymbol(symbol)) this.#unclosed(`"${symbol}"`, opening);
    this.#advance();
  }

  #unclosed(expected: string, opening: Span | undefined): never {
    if (opening === undefined) this.#unexpected(expected, 'put each field on a line of its own');
    const { line, column } = this.#source.position(opening.start);
    const bracket = this.#source.text[opening.start] as string;
    const help = `the "${bracket}" at ${line}:${column} is still open here`;
    this.#unexpected(expected, help);
  }

  #expect(symbol: string, form: string): void {
    if (!this.#isSymbol(symbol)) this.#unexpected(`"${symbol}"`, `write ${form}`);
    this.#advance();
  }

  #unexpected(expected: string, help: string): never {
    const { kind, text, at } = this.#token;
    const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    const found = {
      end: 'the end of the file',
      comma: text === ',' ? '","' : text,
      text: `the text ${JSON.stringify(shown)}`,
      name: shown,
      number: shown,
      symbol: `"${shown}"`,
    }[kind];
    this.#refuse('ERR_CUE_SYNTAX', at, `${expected} was expected, not ${found}`, help);
  }

  #unsupported(at: Span, what: string): never {
    const verb = /^the operator|^bottom|^"/.test(what) ? 'is' : 'are';
    this.#refuse('ERR_CUE_UNSUPPORTED', at, `${what} ${verb} not read yet`, 'write the values out');
  }

  #refuse(code: Parameters<typeof refuse>[1], at: Span, message: string, help: string): never {
    refuse(this.#source, code, at, message, help);
  }

  #nested<T>(read: () => T): T {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) {
      const message = `the file nests deeper than ${DEPTH_MAX} levels`;
      this.#refuse('ERR_CUE_LIMIT', this.#token.at, message, 'nest less deeply');
    }
    const result = read();
    this.#depth -= 1;
    return result;
  }

  #count(): void {
    this.#nodes += 1;
    if (this.#nodes > NODES_MAX) {
      const message = `the file has more than ${NODES_MAX} labels and values`;
      this.#refuse('ERR_CUE_LIMIT', this.#token.at, message, 'split the file');
    }
  }

  #advance(): Token {
    const token = this.#token;
    this.#lastEnd = token.at.end;
    this.#token = this.#next;
    if (token.kind !== 'end') this.#next = this.#lexer.next();
    return token;
  }

  /** From `start` to the end of the last token that was taken. */
  #since(start: number): Span {
    return { start, end: this.#lastEnd };
  }
}
