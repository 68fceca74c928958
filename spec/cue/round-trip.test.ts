/** Whatever is printed as CUE is read back; whatever is not CUE is refused, and never in another way. */
import * as fc from 'fast-check';
import { test } from 'tap';
import { plain } from './data.ts';
import { CueError } from './diagnostic.ts';
import { evaluate } from './evaluate.ts';
import { parse } from './parser.ts';
import { Source } from './source.ts';

type Value = string | number | boolean | null | Value[] | { [label: string]: Value };

function read(text: string): unknown {
  const source = new Source('a.cue', text);
  return plain(evaluate(source, parse(source)));
}

/** Prints a value in one of the ways that CUE has for it; `style` picks which. */
function print(value: Value, style: number, indent = ''): string {
  if (typeof value === 'string') return printText(value, style, indent);
  if (value === null || typeof value !== 'object') return printScalar(value, style);
  const inner = `${indent}\t`;
  const [separator, end] = style % 2 === 0 ? [`\n${inner}`, `\n${indent}`] : [' ', ''];
  if (Array.isArray(value)) {
    const items = value.map((item) => `${print(item, style, inner)},`);
    return `[${separator}${items.join(separator)}${end}]`;
  }
  const entries = Object.entries(value);
  const [only] = entries;
  if (style % 5 === 1 && entries.length === 1 && only !== undefined) {
    return `{${label(only[0], style)}: ${print(only[1], style, indent)}}`;
  }
  const fields = entries.map(
    ([name, field]) => `${label(name, style)}: ${print(field, style, inner)}`,
  );
  const comma = style % 2 === 0 ? '' : ',';
  return `{${separator}${fields.join(`${comma} // "{[\n${inner}`)}${end}}`;
}

function label(name: string, style: number): string {
  return /^[A-Za-z$][\w$]*$/.test(name) && style % 3 !== 0 ? name : JSON.stringify(name);
}

function printScalar(value: number | boolean | null, style: number): string {
  if (typeof value !== 'number') return String(value);
  // Without an exponent it would be an integer, and one too large to be held exactly.
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return value.toExponential();
  if (!Number.isInteger(value) || style % 3 === 0) return String(value);
  const digits = Math.abs(value).toString(style % 3 === 1 ? 16 : 2);
  return `${value < 0 ? '-' : ''}${style % 3 === 1 ? '0x' : '0b'}${digits}`;
}

function printText(value: string, style: number, indent: string): string {
  if (style % 4 === 0 && !value.includes('\r')) {
    const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
    const lines = escaped.split('\n').map((line) => (line === '' ? '' : `${indent}${line}`));
    return `"""\n${lines.join('\n')}\n${indent}"""`;
  }
  if (style % 4 === 1 && !/["\\\n\r]/.test(value)) return `##"${value}"##`;
  return JSON.stringify(value);
}

const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.oneof(text, fc.constantFrom('a"b', 'a\nb', '\\(x)', '"""', '\t', ' x\n\n y ')),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((double) => !Object.is(double, -0)),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom('a', 'for', '__proto__')), tie('value'), {
      maxKeys: 4,
      noNullPrototype: false,
    }),
  ),
}));

test('print, then read, is the same', (t) => {
  fc.assert(
    fc.property(value, fc.nat({ max: 60 }), (data, style) => {
      t.same(JSON.stringify(read(`data: ${print(data, style)}`)), JSON.stringify({ data }));
    }),
    { numRuns: 500 },
  );
  t.end();
});

const TOKENS: readonly string[] =
  `{ } [ ] ( ) : , " # #" "# & | * ? ! = =~ >= - . ... @ _ _|_ ' // \\ \\( """
  0 1Ki 0x 1e é a b #A _h import true null "a" a:`
    .split(/\s+/)
    .concat(['let ', 'for ', 'in ', 'if ', 'package ', '\n', '\r\n', ' ', '\t', '\u0000']);

test('any text is read or refused with a CueError', (t) => {
  const tokens = fc.constantFrom(...TOKENS);
  const soup = fc.array(tokens, { maxLength: 40 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.oneof(soup, fc.string({ unit: 'binary', maxLength: 60 })), (source) => {
      try {
        read(source);
      } catch (error) {
        if (!(error instanceof CueError)) throw error;
        for (const { line, column, help, message } of error.diagnostics) {
          const lines = source.split('\n');
          t.ok(line >= 1 && line <= lines.length && column >= 1 && help !== '' && message !== '');
          t.ok(column <= (lines[line - 1] ?? '').length + 1, `${line}:${column} is in the text`);
        }
      }
    }),
    { numRuns: 5_000 },
  );
  t.end();
});
