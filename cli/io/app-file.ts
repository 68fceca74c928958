import { readFile } from 'node:fs/promises';
import type { App } from '../../spec/aetherfile/app.ts';
import { readAetherfile } from '../../spec/aetherfile/index.ts';
import { AetherError } from '../../spec/error.ts';

/**
 * Reads and checks an Aetherfile.
 *
 * @throws AetherError ERR_AETHERFILE_NOT_READ, or what `readAetherfile` refuses, with line and column
 */
export async function readApp(file: string): Promise<{ app: App; source: string }> {
  const source = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new AetherError(`${file} cannot be read: ${(error as Error).message}`, {
      code: 'ERR_AETHERFILE_NOT_READ',
      hint: 'name an Aetherfile that can be read',
      cause: error,
    });
  });
  return { app: readAetherfile(source, file), source };
}
