/**
 * Runs componentize-js in a process of its own, because it blocks for seconds.
 *
 * Arguments: the script, the folder of WIT, the world, the output, and the features to leave out.
 */
import { writeFile } from 'node:fs/promises';
import { registerHooks } from 'node:module';
import { _addPreopen } from '@bytecodealliance/preview2-shim/filesystem';

type Feature = 'stdio' | 'random' | 'clocks' | 'http' | 'fetch-event';

const [, , sourcePath, witPath, worldName, output, ...features] = process.argv as [
  string,
  string,
  string,
  string,
  string,
  string,
  ...string[],
];
// componentize-js imports the shim without depending on it: it gets the one of this package, wherever that was installed.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith('@bytecodealliance/preview2-shim')
      ? next(specifier, { ...context, parentURL: import.meta.url })
      : next(specifier, context),
});
const { componentize } = await import('@bytecodealliance/componentize-js');
// The tools are components themselves and read their input through this shim; no guest runs in this process.
(_addPreopen as unknown as (at: string, folder: string) => void)('/', '/');
try {
  const { component } = await componentize({
    sourcePath,
    witPath,
    worldName,
    disableFeatures: features as Feature[],
  });
  await writeFile(output, component);
  process.exit(0);
} catch (error) {
  process.stderr.write(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
