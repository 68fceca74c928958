import * as fc from 'fast-check';
import { test } from 'tap';
import { capMemories } from './memory-cap.ts';

/** A module with one memory or table section. */
function module(section: number[]): Uint8Array {
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section]);
}

function growable(bytes: Uint8Array): number {
  const memory = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports['m'] as {
    grow(pages: number): number;
  };
  let grown = 0;
  try {
    for (; grown < 100; grown++) memory.grow(1);
  } catch {
    return grown;
  }
  return grown;
}

const EXPORT_M = [7, 5, 1, 1, 0x6d, 2, 0];

test('a memory without maximum gets one, and the engine keeps it', (t) => {
  const open = module([5, 3, 1, 0, 2, ...EXPORT_M]);
  t.equal(growable(open), 100);
  const [capped] = capMemories([{ bytes: open, instances: 1 }], 5);
  t.equal(growable(capped as Uint8Array), 3, '2 pages at first, 5 at most');
  t.end();
});

test('a lower maximum of its own stays', (t) => {
  const [capped] = capMemories(
    [{ bytes: module([5, 4, 1, 1, 1, 2, ...EXPORT_M]), instances: 1 }],
    50,
  );
  t.equal(growable(capped as Uint8Array), 1);
  t.end();
});

test('all instances together stay within the limit', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 1, max: 4 })), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.integer({ min: 1, max: 200 }),
      (memories, limit) => {
        const modules = memories.map(([pages, instances]) => ({
          bytes: module([5, 3, 1, 0, pages, ...EXPORT_M]),
          instances,
        }));
        const used = memories.reduce((sum, [pages, instances]) => sum + pages * instances, 0);
        if (used > limit) {
          t.throws(() => capMemories(modules, limit), { code: 'ERR_PARTICLE_MEMORY_LIMIT' });
          return;
        }
        const capped = capMemories(modules, limit);
        const most = capped.reduce((sum, bytes, index) => {
          const [pages, instances] = memories[index] as [number, number];
          return sum + (pages + growable(bytes)) * instances;
        }, 0);
        if (most > limit) throw new Error(`${most} pages of ${limit}`);
      },
    ),
    { numRuns: 50 },
  );
  t.end();
});

test('a table cannot grow without end either', (t) => {
  const table = module([4, 4, 1, 0x70, 0, 1, 7, 5, 1, 1, 0x74, 1, 0]);
  const [capped] = capMemories([{ bytes: table, instances: 1 }], 1);
  const { t: grown } = new WebAssembly.Instance(new WebAssembly.Module(capped as Uint8Array))
    .exports as {
    t: { grow(count: number): number };
  };
  t.equal(grown.grow(1_000), 1);
  t.throws(() => grown.grow(100_000));
  t.end();
});

test('tables are capped together, from their first size on', (t) => {
  const huge = module([4, 6, 1, 0x70, 0, 0xc0, 0x84, 0x3d]);
  t.throws(() => capMemories([{ bytes: huge, instances: 1 }], 1), {
    code: 'ERR_PARTICLE_MEMORY_LIMIT',
    message: /1000000 table entries/,
  });
  const table = module([4, 4, 1, 0x70, 0, 1, 7, 5, 1, 1, 0x74, 1, 0]);
  const [capped] = capMemories([{ bytes: table, instances: 8 }], 1);
  const { t: grown } = new WebAssembly.Instance(new WebAssembly.Module(capped as Uint8Array))
    .exports as { t: { grow(count: number): number } };
  t.throws(() => grown.grow(8_193), 'an eighth each');
  t.equal(grown.grow(8_192), 1);
  t.end();
});
