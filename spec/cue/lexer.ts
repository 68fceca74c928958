import { refuse } from './diagnostic.ts';
import { type NumberLiteral, parseNumber, readString, startsString } from './literal.ts';
import type { Source, Span } from './source.ts';

export interface Token {
  kind: 'name' | 'text' | 'number' | 'symbol' | 'comma' | 'end';
  /** As written; of a string, its value. */
  text: string;
  number?: NumberLiteral;
  at: Span;
}

const BLANK = /(?:[ \t\r]|\/\/[^\n]*)*/y;
const NAME = /_?#?[\p{L}_$][\p{L}\p{Nd}_$]*/uy;
const NUMBER = /\.?[0-9](?:[eE][+-]|[\w.])*/y;
/** Longest first. */
const SYMBOL = /_\|_|\.\.\.|&&|\|\||==|!=|<=|>=|=~|!~|[-+*/&|!<>=()[\]{}:,.?@;]/y;
const COMMA_FOLLOWS = new Set([')', ']', '}', '?', '...', '_|_']);

/**
 * Cuts a text into tokens, one at each call, so that a long text costs no more than is read of it.
 *
 * A line that ends in a name, a literal, a closing bracket, `?` or `...` ends in a comma, written or not
 * (language specification, "Commas").
 */
export class Lexer {
  readonly #source: Source;
  #at: number;
  #endsInComma = false;

  constructor(source: Source) {
    this.#source = source;
    this.#at = source.text.startsWith('\uFEFF') ? 1 : 0;
  }

  /** At the end of the text it gives the token `end`, again and again. */
  next(): Token {
    const { text } = this.#source;
    for (;;) {
      this.#at = matchEnd(BLANK, text, this.#at) ?? this.#at;
      const isLineEnd = this.#at >= text.length || text[this.#at] === '\n';
      if (!isLineEnd) break;
      if (this.#endsInComma) {
        this.#endsInComma = false;
        return { kind: 'comma', text: 'the end of the line', at: this.#span(this.#at) };
      }
      if (this.#at >= text.length) return { kind: 'end', text: '', at: this.#span(this.#at) };
      this.#at += 1;
    }
    const token = this.#token();
    this.#at = token.at.end;
    this.#endsInComma =
      token.kind === 'symbol' ? COMMA_FOLLOWS.has(token.text) : token.kind !== 'comma';
    return token;
  }

  #token(): Token {
    const { text } = this.#source;
    const start = this.#at;
    if (startsString(text, start)) {
      const { value, end } = readString(this.#source, start);
      return { kind: 'text', text: value, at: { start, end } };
    }
    const isBottom = text.startsWith('_|_', start);
    const nameEnd = isBottom ? undefined : matchEnd(NAME, text, start);
    if (nameEnd !== undefined) {
      return { kind: 'name', text: text.slice(start, nameEnd), at: this.#span(nameEnd) };
    }
    const numberEnd = matchEnd(NUMBER, text, start);
    if (numberEnd !== undefined) return this.#number(this.#span(numberEnd));
    const symbolEnd = matchEnd(SYMBOL, text, start);
    if (symbolEnd !== undefined) {
      const symbol = text.slice(start, symbolEnd);
      return { kind: symbol === ',' ? 'comma' : 'symbol', text: symbol, at: this.#span(symbolEnd) };
    }
    return this.#stray(start);
  }

  #number(at: Span): Token {
    const text = this.#source.text.slice(at.start, at.end);
    const number = parseNumber(text);
    if (number === undefined) {
      const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
      const help = `text is written in quotes: "${shown}"`;
      refuse(this.#source, 'ERR_CUE_SYNTAX', at, `${shown} is not a number`, help);
    }
    if (!(number.isInt ? Number.isSafeInteger(number.value) : Number.isFinite(number.value))) {
      const message = 'the number is too large to be held exactly';
      const help = 'integers go up to 9007199254740991 (2^53 - 1), floats up to about 1.8e308';
      refuse(this.#source, 'ERR_CUE_LIMIT', at, message, help);
    }
    return { kind: 'number', text, number, at };
  }

  #stray(start: number): never {
    const char = String.fromCodePoint(this.#source.text.codePointAt(start) ?? 0);
    const at = { start, end: start + char.length };
    if (char === "'" || char === '#') {
      const what = char === "'" ? 'byte strings in single quotes' : 'raw byte strings';
      const help = 'write text in double quotes';
      refuse(this.#source, 'ERR_CUE_UNSUPPORTED', at, `${what} are not read yet`, help);
    }
    const shown = /[\p{C}\p{Z}]/u.test(char)
      ? `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
      : `"${char}"`;
    const message = `${shown} has no meaning here`;
    refuse(this.#source, 'ERR_CUE_SYNTAX', at, message, 'remove it, or put text in double quotes');
  }

  #span(end: number): Span {
    return { start: this.#at, end };
  }
}

function matchEnd(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}
