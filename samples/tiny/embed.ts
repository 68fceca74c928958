/** Core module and WIT world to component: node embed.ts CORE WIT_FOLDER WORLD OUT */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { componentEmbed, componentNew } from '@bytecodealliance/jco';
import { _addPreopen } from '@bytecodealliance/preview2-shim/filesystem';

const [, , core, wit, world, out] = process.argv as [
  string,
  string,
  string,
  string,
  string,
  string,
];
// jco's WIT tools are components themselves; they read the WIT folder through this shim.
_addPreopen('/', '/');
const embedded = await componentEmbed({
  binary: await readFile(core),
  witPath: path.resolve(wit),
  world,
});
await writeFile(out, await componentNew(embedded, []));
process.exit(0);
