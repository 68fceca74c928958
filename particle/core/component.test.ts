import * as fc from 'fast-check';
import { test } from 'tap';
import { readFixture } from '../fixtures/fixture.ts';
import { readComponent } from './component.ts';
import { describeFunction, exportedFunctionNames } from './exported-functions.ts';

const header = (layer: number): number[] => [
  0,
  0x61,
  0x73,
  0x6d,
  layer === 1 ? 0x0d : 1,
  0,
  layer,
  0,
];

test('imports and exports are read off the binary', async (t) => {
  const { imports, exports } = readComponent(await readFixture('tiny'));
  t.same(imports, [
    'wasi:keyvalue/store@0.2.0-draft',
    'wasi:io/error@0.2.12',
    'wasi:io/streams@0.2.12',
    'wasi:http/types@0.2.12',
  ]);
  t.same(exports, ['wasi:http/incoming-handler@0.2.12']);
});

test('names of every form, and types of every sort, are read', (t) => {
  const importSection = [
    10, 26, 5,
    0, 1, 0x61, 0x00, 0x11, 0, // core module
    0, 1, 0x62, 0x03, 0x00, 5, // type, equal to another
    1, 1, 0x63, 0x03, 0x01, // type, new resource
    2, 1, 0x64, 0, 0x01, 3, // function, with an empty version suffix
  ]; // prettier-ignore
  importSection[2] = 4;
  importSection[1] = importSection.length - 2;
  const exportSection = [11, 11, 2, 0, 1, 0x65, 0x00, 0x11, 0, 0, 0, 1, 0x66, 0x05, 1, 1, 0x05, 7];
  exportSection[1] = exportSection.length - 2;
  const names = readComponent(Uint8Array.from([...header(1), ...importSection, ...exportSection]));
  t.same(names.imports, ['a', 'b', 'c', 'd']);
  t.same(names.exports, ['e', 'f']);
  t.end();
});

test('what is no component is refused by name', async (t) => {
  const cases: [string, string][] = [
    ['', 'ERR_PARTICLE_NOT_A_COMPONENT'],
    ['not wasm at all', 'ERR_PARTICLE_NOT_A_COMPONENT'],
    [String.fromCharCode(...header(0)), 'ERR_PARTICLE_CORE_MODULE'],
    [String.fromCharCode(...header(7)), 'ERR_PARTICLE_NOT_A_COMPONENT'],
    [String.fromCharCode(...header(1), 10, 200), 'ERR_PARTICLE_NOT_A_COMPONENT'],
  ];
  for (const [text, code] of cases) {
    const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
    t.throws(() => readComponent(bytes), { code });
  }
});

test('damage never does worse than a refusal', async () => {
  const whole = await readFixture('probe');
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, byte, cut) => {
      const damaged = whole.slice(0, Math.max(8, cut));
      if (at >= 8 && at < damaged.length) damaged[at] = byte;
      try {
        readComponent(damaged);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_PARTICLE_NOT_A_COMPONENT') throw error;
      }
    }),
    { numRuns: 2_000 },
  );
});

test('exported functions and the kinds of their parameters', async (t) => {
  const bytes = await readFixture('adder');
  const names = exportedFunctionNames(bytes, readComponent(bytes).exports);
  t.same(names.toSorted(), ['add', 'check', 'greet']);
  const world = 'export interface Root {\n  add(a: bigint, b: number): Promise<bigint>,\n}';
  t.same(describeFunction('add', [world]), { path: ['add'], params: ['bigint', 'plain'] });
  const api =
    '/** @module Interface a:b/api@1.0.0 **/\nexport function putAll(rows: Uint8Array): void;';
  t.same(describeFunction('a:b/api@1.0.0#put-all', [world, api]), {
    path: ['a:b/api@1.0.0', 'putAll'],
    params: ['bytes'],
  });
});
