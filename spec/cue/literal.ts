/** Strings and numbers of CUE (language specification, "String and byte sequence literals", "Numeric literals"). */
import { refuse } from './diagnostic.ts';
import type { Source } from './source.ts';

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '/': '/',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

const OPENING = /(#*)("""|")/y;

export function startsString(text: string, at: number): boolean {
  OPENING.lastIndex = at;
  return OPENING.test(text);
}

/** Reads the string literal that starts at `start`: simple, multi-line, raw, or both. */
export function readString(source: Source, start: number): { value: string; end: number } {
  const { text } = source;
  OPENING.lastIndex = start;
  const [opening = '', hashes = '', quotes = ''] = OPENING.exec(text) ?? [];
  const isMultiLine = quotes.length === 3;
  const escape = `\\${hashes}`;
  const from = start + opening.length;
  const to = closing(source, start, from, `${quotes}${hashes}`, escape, isMultiLine);
  const end = to + quotes.length + hashes.length;
  const value = isMultiLine
    ? readLines(source, start, from, to, escape)
    : decode(source, from, to, escape);
  return { value, end };
}

/** Where the closing quotes of a string are. */
function closing(
  source: Source,
  start: number,
  from: number,
  close: string,
  escape: string,
  isMultiLine: boolean,
): number {
  const { text } = source;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '"' && text.startsWith(close, at)) return at;
    if (char === '\\' && text.startsWith(escape, at)) at += escape.length;
    if (text[at] === '\n' && !isMultiLine) break;
  }
  return refuse(
    source,
    'ERR_CUE_SYNTAX',
    { start, end: from },
    'the string is not closed',
    isMultiLine
      ? `close it with ${close} on a line of its own`
      : `close it with ${close} on the same line, or use """ for several lines`,
  );
}

/** The body of a """ string: the indentation of the closing line is taken from every line. */
function readLines(
  source: Source,
  start: number,
  from: number,
  to: number,
  escape: string,
): string {
  const { text } = source;
  const first = /\r?\n/y;
  first.lastIndex = from;
  const last = text.lastIndexOf('\n', to - 1);
  const indent = text.slice(last + 1, to);
  if (!first.test(text) || last < from || !/^[ \t]*$/.test(indent)) {
    refuse(
      source,
      'ERR_CUE_SYNTAX',
      { start, end: from },
      'the quotes of a """ string share a line with its text',
      'begin the text on the line after """ and put the closing """ on a line of its own',
    );
  }
  const lines: string[] = [];
  for (let at = first.lastIndex; at <= last;) {
    const newline = text.indexOf('\n', at);
    const end = text[newline - 1] === '\r' ? newline - 1 : newline;
    if (text.startsWith(indent, at) && at + indent.length <= end) {
      lines.push(decode(source, at + indent.length, end, escape));
    } else if (text.slice(at, end).trim() === '') {
      lines.push('');
    } else {
      refuse(
        source,
        'ERR_CUE_SYNTAX',
        { start: at, end },
        'the line is indented less than the closing """',
        'indent every line of the string at least as far as the closing quotes',
      );
    }
    at = newline + 1;
  }
  return lines.join('\n');
}

/** The text between `from` and `to` with its escapes replaced. */
function decode(source: Source, from: number, to: number, escape: string): string {
  const { text } = source;
  let value = '';
  let kept = from;
  for (let at = text.indexOf('\\', from); at >= 0 && at < to; at = text.indexOf('\\', at)) {
    if (!text.startsWith(escape, at)) {
      at += 1;
      continue;
    }
    const char = text[at + escape.length] ?? '';
    const end = at + escape.length + 1;
    value += text.slice(kept, at);
    if (char === '(') {
      refuse(
        source,
        'ERR_CUE_UNSUPPORTED',
        { start: at, end },
        'interpolations are not read yet',
        'write the text out',
      );
    }
    const digits = { u: 4, U: 8 }[char];
    if (digits === undefined) {
      value += ESCAPES[char] ?? badEscape(source, at, end);
      kept = end;
    } else {
      kept = end + digits;
      const hex = text.slice(end, kept);
      const code = /^[0-9A-Fa-f]+$/.test(hex) && hex.length === digits ? Number(`0x${hex}`) : -1;
      const isCharacter = code >= 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
      value += isCharacter && kept <= to ? String.fromCodePoint(code) : badEscape(source, at, end);
    }
    at = kept;
  }
  return value + text.slice(kept, to);
}

function badEscape(source: Source, start: number, end: number): never {
  refuse(
    source,
    'ERR_CUE_SYNTAX',
    { start, end },
    `${source.text.slice(start, end)} is no escape of CUE`,
    String.raw`write \\ for a backslash, or use a raw string: #"…"#`,
  );
}

export interface NumberLiteral {
  value: number;
  isInt: boolean;
}

const DECIMAL = String.raw`(?:0|[1-9](?:_?[0-9])*)`;
const DIGITS = String.raw`[0-9](?:_?[0-9])*`;
const INTEGER = new RegExp(
  `^(?:${DECIMAL}|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*)$`,
);
const FLOAT = new RegExp(
  `^(?:${DECIMAL}\\.(?:${DIGITS})?(?:[eE][+-]?${DIGITS})?|${DECIMAL}[eE][+-]?${DIGITS}|\\.${DIGITS}(?:[eE][+-]?${DIGITS})?)$`,
);
const SCALED = new RegExp(`^(${DECIMAL}(?:\\.${DIGITS})?|\\.${DIGITS})([KMGTP])(i?)$`);

/** @returns undefined when the text is no number of CUE; `1.5Ki` is the integer 1536, `1.3Ki` is none. */
export function parseNumber(text: string): NumberLiteral | undefined {
  if (INTEGER.test(text)) return { value: Number(text.replaceAll('_', '')), isInt: true };
  if (FLOAT.test(text)) return { value: Number(text.replaceAll('_', '')), isInt: false };
  const [, digits, unit = '', binary] = SCALED.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const scale = (binary === 'i' ? 1024 : 1000) ** ('KMGTP'.indexOf(unit) + 1);
  const value = Number(digits.replaceAll('_', '')) * scale;
  return Number.isInteger(value) ? { value, isInt: true } : undefined;
}
