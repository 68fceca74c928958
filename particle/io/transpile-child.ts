/**
 * Turns a component into JavaScript and core modules, in a process of its own: what a hostile component does to the
 * tools, it does to this process only.
 *
 * Arguments: the component's file, an empty folder for the output.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { transpile } from '@bytecodealliance/jco';
import { readComponent } from '../core/component.ts';
import { describeFunction, exportedFunctionNames } from '../core/exported-functions.ts';
import { SUSPENDING } from './guest/suspending.ts';
import { writeManifest } from './transpile-cache.ts';

const [, , source, folder] = process.argv as [string, string, string, string];
const component = await readFile(source);
const names = exportedFunctionNames(component, readComponent(component).exports);
const generated = await transpile(component, {
  name: 'guest',
  instantiation: 'async',
  asyncMode: 'jspi',
  asyncImports: [...SUSPENDING],
  asyncExports: names,
  base64Cutoff: 0,
  nodejsCompat: false,
});

const files: Record<string, Uint8Array> = {};
const declarations: string[] = [];
for (const [name, bytes] of Object.entries(generated.files)) {
  if (name.endsWith('.d.ts')) declarations.push(new TextDecoder().decode(bytes));
  else files[name] = bytes;
}
for (const [name, bytes] of Object.entries(files)) await writeFile(path.join(folder, name), bytes);
await writeManifest(
  folder,
  files,
  Object.fromEntries(names.map((name) => [name, describeFunction(name, declarations)])),
);
// jco keeps handles open.
process.exit(0);
