import { test } from 'tap';
import { plain } from './data.ts';
import { CueError } from './diagnostic.ts';
import { evaluate } from './evaluate.ts';
import { parse } from './parser.ts';
import { Source } from './source.ts';

function read(text: string): unknown {
  const source = new Source('a.cue', text);
  return plain(evaluate(source, parse(source)));
}

/** Code, line and column of the refusal. */
function refusal(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (!(error instanceof CueError)) throw error;
    const [{ code, line, column, help, message }] = error.diagnostics as [
      (typeof error.diagnostics)[number],
    ];
    if (help === '' || message === '') throw new Error(`${code} without words`, { cause: error });
    return `${code} ${line}:${column}`;
  }
  return 'read';
}

const GOOD: readonly [string, unknown][] = [
  ['', {}],
  ['// nothing', {}],
  ['\uFEFFa: 1', { a: 1 }],
  ['package x\r\na: 1\r\nb: 2\r\n', { a: 1, b: 2 }],
  ['a: 1, b: 2,', { a: 1, b: 2 }],
  ['a: b: c: 1', { a: { b: { c: 1 } } }],
  ['"a b": 1, "": 2', { 'a b': 1, '': 2 }],
  ['for: 1, if: 2, let: 3, null: 4, package: 5', { for: 1, if: 2, let: 3, null: 4, package: 5 }],
  ['a:\n\n  1', { a: 1 }],
  ['a: [\n1,\n2 // two\n3\n]', { a: [1, 2, 3] }],
  ['a: [\n  1,\n  [],\n  {},\n]', { a: [1, [], {}] }],
  ['a: {\n  b: 1\n  c: 2\n}', { a: { b: 1, c: 2 } }],
  ['a: true, b: false, c: null', { a: true, b: false, c: null }],
  ['a: (1), b: ((("x")))', { a: 1, b: 'x' }],
  // Numbers
  ['a: [0, -1, +1, 1_000, 0x1F, 0o17, 0b11, -0x10]', { a: [0, -1, 1, 1000, 31, 15, 3, -16] }],
  ['a: [1.5, .5, 1., 1e3, 1.5e-1, 2E+2]', { a: [1.5, 0.5, 1, 1000, 0.15, 200] }],
  ['a: [1K, 1Ki, 1.5Ki, 2M, 1Mi, 1Gi, .5K]', { a: [1e3, 1024, 1536, 2e6, 2 ** 20, 2 ** 30, 500] }],
  ['a: 9007199254740991', { a: Number.MAX_SAFE_INTEGER }],
  // Strings
  [String.raw`a: "\a\b\f\n\r\t\v\/\\\"\'\u00e9\U0001F600"`, { a: '\u0007\b\f\n\r\t\v/\\"\'é😀' }],
  ['a: "// no comment"', { a: '// no comment' }],
  ['a: #"a\\n"b"#, b: ##"\\##n"#\\"##', { a: 'a\\n"b', b: '\n"#\\' }],
  ['a: """\n  one\n    two\n\n  three\n  """', { a: 'one\n  two\n\nthree' }],
  ['a: """\n\t"x"\\tz\\n""\n\t"""', { a: '"x"\tz\n""' }],
  ['a: """\r\n  one\r\n  two\r\n  """\r\nb: 1', { a: 'one\ntwo', b: 1 }],
  ['a: """\n  """', { a: '' }],
  ['a: #"""\n  \\n \\#n\n  """#', { a: '\\n \n' }],
  // One value said twice, structs said in parts
  ['a: 1\na: 1', { a: 1 }],
  ['a: b: 1\na: c: 2', { a: { b: 1, c: 2 } }],
  ['a: {b: 1} & {c: 2} & {b: 1}', { a: { b: 1, c: 2 } }],
  ['a: [{b: 1}]\na: [{c: 2}]', { a: [{ b: 1, c: 2 }] }],
  ['a: #A & {b: 1}\nc: {d: 1} & #D', { a: { b: 1 }, c: { d: 1 } }],
  // Names
  ['let x = 1\na: x, b: [x]', { a: 1, b: [1] }],
  ['a: x\nlet x = [y]\nlet y = "z"', { a: ['z'] }],
  ['a: {let x = 1, b: x}\nc: {let x = 2, b: x}', { a: { b: 1 }, c: { b: 2 } }],
  ['a: 1, b: {a: 2, c: a}, d: a', { a: 1, b: { a: 2, c: 2 }, d: 1 }],
  ['a: {x: p: 1, y: x}\na: x: q: 2', { a: { x: { p: 1, q: 2 }, y: { p: 1, q: 2 } } }],
  ['a: b: "c d": 1\ne: a.b."c d"', { a: { b: { 'c d': 1 } }, e: 1 }],
  ['a: [for x in ["p", "q"] {b: x}]', { a: [{ b: 'p' }, { b: 'q' }] }],
  [
    'a: [{b: 0}, for i, x in [5, 6] {b: i, c: x}, {b: 9}]',
    { a: [{ b: 0 }, { b: 0, c: 5 }, { b: 1, c: 6 }, { b: 9 }] },
  ],
  [
    'a: [for x in [1, 2] {b: [for y in [3] {c: x, d: y}]}]',
    { a: [{ b: [{ c: 1, d: 3 }] }, { b: [{ c: 2, d: 3 }] }] },
  ],
  ['a: [for x in [] {b: 1}]', { a: [] }],
];

test('what is read', (t) => {
  for (const [text, expected] of GOOD) {
    t.same(read(text), expected, text);
  }
  t.end();
});

const BAD: readonly [string, string][] = [
  // No CUE
  ['a: {]', 'ERR_CUE_SYNTAX 1:5'],
  ['a: {\n  b: 1\n', 'ERR_CUE_SYNTAX 3:1'],
  ['a: [1\n', 'ERR_CUE_SYNTAX 2:1'],
  ['a: [1 2]', 'ERR_CUE_SYNTAX 1:7'],
  ['a: 1 b: 2', 'ERR_CUE_SYNTAX 1:6'],
  ['a: }', 'ERR_CUE_SYNTAX 1:4'],
  ['a: 1\n}', 'ERR_CUE_SYNTAX 2:1'],
  ['a:', 'ERR_CUE_SYNTAX 1:3'],
  ['a: ,', 'ERR_CUE_SYNTAX 1:4'],
  ['a', 'ERR_CUE_SYNTAX 1:2'],
  ['a 1', 'ERR_CUE_SYNTAX 1:3'],
  ['1: 2', 'ERR_CUE_SYNTAX 1:1'],
  [',a: 1,,', 'ERR_CUE_SYNTAX 1:7'],
  ['a: (1', 'ERR_CUE_SYNTAX 1:6'],
  ['a: 01', 'ERR_CUE_SYNTAX 1:4'],
  ['a: 5s', 'ERR_CUE_SYNTAX 1:4'],
  ['a: 1.2.0', 'ERR_CUE_SYNTAX 1:4'],
  ['a: 1__0', 'ERR_CUE_SYNTAX 1:4'],
  ['a: 1.3Ki', 'ERR_CUE_SYNTAX 1:4'],
  ['a: "x', 'ERR_CUE_SYNTAX 1:4'],
  ['a: "x\n"', 'ERR_CUE_SYNTAX 1:4'],
  ['a: "x\\', 'ERR_CUE_SYNTAX 1:4'],
  [String.raw`a: "xy\q"`, 'ERR_CUE_SYNTAX 1:7'],
  [String.raw`a: "\u12"`, 'ERR_CUE_SYNTAX 1:5'],
  [String.raw`a: "\uD800"`, 'ERR_CUE_SYNTAX 1:5'],
  ['a: """x"""', 'ERR_CUE_SYNTAX 1:4'],
  ['a: """\n  x"""', 'ERR_CUE_SYNTAX 1:4'],
  ['a: """\n x\n  """', 'ERR_CUE_SYNTAX 2:1'],
  ['a: """\n x\n', 'ERR_CUE_SYNTAX 1:4'],
  ['a: 1\n\u0000', 'ERR_CUE_SYNTAX 2:1'],
  ['a: `x`', 'ERR_CUE_SYNTAX 1:4'],
  ['a: let', 'ERR_CUE_REFERENCE 1:4'],
  ['let x 1', 'ERR_CUE_SYNTAX 1:7'],
  ['a: [for x [1] {}]', 'ERR_CUE_SYNTAX 1:11'],
  ['a: [for x in [1] x]', 'ERR_CUE_SYNTAX 1:18'],
  ['a: 1 & ', 'ERR_CUE_SYNTAX 1:8'],
  // CUE that is not read
  ['import "strings"', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['import (\n"strings"\n)', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['@if(x)\na: 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['a: 1 @tag(x)', 'ERR_CUE_UNSUPPORTED 1:6'],
  ['if x {a: 1}', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['for x in [1] {a: 1}', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['a: [if true {b: 1}]', 'ERR_CUE_UNSUPPORTED 1:5'],
  ['a: [for x in [1] if true {b: 1}]', 'ERR_CUE_UNSUPPORTED 1:18'],
  ['a: [for x in {b: 1} {c: x}]', 'ERR_CUE_UNSUPPORTED 1:14'],
  ['(a): 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['[string]: 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['X=a: 1', 'ERR_CUE_UNSUPPORTED 1:2'],
  ['#A: 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['_a: 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['a?: 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['a!: 1', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['a: {\n...\nb: 1\n}', 'ERR_CUE_UNSUPPORTED 2:1'],
  ['a: {b: 1, ...}', 'ERR_CUE_UNSUPPORTED 1:11'],
  ['a: [1, ...]', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: {#B, c: 1}', 'ERR_CUE_UNSUPPORTED 1:5'],
  ['{a: 1}', 'ERR_CUE_UNSUPPORTED 1:1'],
  ['a: #A', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: 1 | 2', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: *1 | 2', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: >1', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: =~"x"', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: !true', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: 1 + 2', 'ERR_CUE_UNSUPPORTED 1:6'],
  ['a: "x" == "y"', 'ERR_CUE_UNSUPPORTED 1:8'],
  ['a: string', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: _', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['a: _|_', 'ERR_CUE_UNSUPPORTED 1:4'],
  ['b: [1], a: b[0]', 'ERR_CUE_UNSUPPORTED 1:13'],
  ['a: len([1])', 'ERR_CUE_UNSUPPORTED 1:7'],
  [String.raw`a: "x\(b)"`, 'ERR_CUE_UNSUPPORTED 1:6'],
  ["a: 'x'", 'ERR_CUE_UNSUPPORTED 1:4'],
  ['b: {}, a: b & {c: 1}', 'ERR_CUE_UNSUPPORTED 1:11'],
  // Values that cannot be
  ['a: 1\na: 2', 'ERR_CUE_CONFLICT 2:4'],
  ['a: 1\na: 1.0', 'ERR_CUE_CONFLICT 2:4'],
  ['a: "1"\na: 1', 'ERR_CUE_CONFLICT 2:4'],
  ['a: {}\na: []', 'ERR_CUE_CONFLICT 2:4'],
  ['a: [1]\na: [1, 2]', 'ERR_CUE_CONFLICT 2:4'],
  ['a: {b: c: 1}\na: b: c: 2', 'ERR_CUE_CONFLICT 2:10'],
  ['let x = 1\nlet x = 1', 'ERR_CUE_CONFLICT 2:5'],
  ['a: x', 'ERR_CUE_REFERENCE 1:4'],
  ['"x": 1, a: x', 'ERR_CUE_REFERENCE 1:12'],
  ['a: {let x = 1}\nb: x', 'ERR_CUE_REFERENCE 2:4'],
  ['a: a', 'ERR_CUE_REFERENCE 1:4'],
  ['a: b\nb: [a]', 'ERR_CUE_REFERENCE 2:5'],
  ['let x = {y: x}\na: x', 'ERR_CUE_REFERENCE 1:13'],
  ['a: b: 1\nc: a.d', 'ERR_CUE_REFERENCE 2:6'],
  ['a: 9007199254740992', 'ERR_CUE_LIMIT 1:4'],
  ['a: 1e999', 'ERR_CUE_LIMIT 1:4'],
];

test('what is refused, by code, line and column', (t) => {
  for (const [text, expected] of BAD) t.equal(refusal(text), expected, text);
  t.end();
});

test('limits', (t) => {
  const nested = (depth: number): string => `a: ${'['.repeat(depth)}${']'.repeat(depth)}`;
  t.equal(refusal(nested(62)), 'read');
  for (const text of [
    nested(65),
    `a: ${'{b: '.repeat(100_000)}`,
    'a: '.repeat(1_000),
    `a: ${'('.repeat(1_000)}`,
    `a: ${'-'.repeat(1_000)}`,
    `a: ${'!'.repeat(100_000)}`,
    `a: [${'1,'.repeat(100_001)}]`,
    `a: "${'x'.repeat(1024 * 1024)}"`,
    `a: "${'é'.repeat(600_000)}"`,
    `let a0 = [1]\n${Array.from({ length: 40 }, (_, i) => `let a${i + 1} = [a${i}, a${i}]`).join('\n')}\nb: a40`,
    `let a0 = []\n${Array.from({ length: 70 }, (_, i) => `let a${i + 1} = [a${i}]`).join('\n')}\nb: a70`,
    Array.from({ length: 10_000 }, (_, i) => `a${i}: a${i + 1}`).join('\n'),
    `let l = [${'0,'.repeat(1_000)}]\na: [for x in l {b: [for y in l {c: [for z in l {}]}]}]`,
    `let l = [${'0,'.repeat(1_000)}]\na: [for x in l {let b = [for y in l {let c = [for z in l {}]}]}]`,
  ]) {
    t.match(refusal(text), /^ERR_CUE_LIMIT/, text.slice(0, 40));
  }
  t.end();
});

test('names of objects mean nothing', (t) => {
  const data = read('"__proto__": polluted: 1\nconstructor: 2, toString: 3') as Record<
    string,
    unknown
  >;
  t.same(Object.keys(data), ['__proto__', 'constructor', 'toString']);
  t.equal(Object.getPrototypeOf(data), null);
  t.equal(({} as Record<string, unknown>)['polluted'], undefined);
  t.equal(refusal('a: hasOwnProperty'), 'ERR_CUE_REFERENCE 1:4');
  t.end();
});

/** Ten times the text may take fifty times as long, not a hundred; the least of several runs counts. */
test('the time grows with the text, not with its square', (t) => {
  const shapes: readonly ((n: number) => string)[] = [
    (n) => 'a: 1\n'.repeat(n),
    (n) => Array.from({ length: n }, (_, i) => `a${i}: x: ${i}`).join('\n'),
    (n) => `a: [${'{b: "c"},'.repeat(n)}]`,
    (n) => `a: "${'\\n'.repeat(n)}"`,
    (n) => `a: #"${'\\n'.repeat(n)}"#`,
    (n) => `a: """\n${'\tx\n'.repeat(n)}\t"""`,
    (n) => `a: ${'#'.repeat(n)}"${'"#'.repeat(n)}`,
    (n) => `${'\n// x'.repeat(n)}\na: 1`,
    (n) => `let x = 1\na: [${'x,'.repeat(n)}]`,
  ];
  const time = (text: string): number => {
    const times = Array.from({ length: 3 }, () => {
      const before = performance.now();
      refusal(text);
      return performance.now() - before;
    });
    return Math.max(Math.min(...times), 1);
  };
  for (const shape of shapes) {
    const [short, long] = [time(shape(2_000)), time(shape(20_000))];
    t.ok(
      long < 50 * short,
      `${shape(1).slice(0, 30)}: ${short.toFixed(1)} ms, ${long.toFixed(1)} ms`,
    );
  }
  t.end();
});
