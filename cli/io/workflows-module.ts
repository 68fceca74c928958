import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { EngineOptions } from '../../engine/index.ts';
import { AetherError } from '../../spec/error.ts';

/**
 * Imports the module that `--workflows` names.
 *
 * @param path of a module whose default export is a list of workflows
 * @throws AetherError ERR_WORKFLOWS_MODULE
 */
export async function loadWorkflows(path: string): Promise<EngineOptions['workflows']> {
  const module: { default?: unknown } = await import(pathToFileURL(resolve(path)).href).catch(
    (error: unknown) => {
      throw new AetherError(`${path} cannot be imported: ${(error as Error).message}`, {
        code: 'ERR_WORKFLOWS_MODULE',
        hint: 'name a JavaScript or TypeScript module',
        cause: error,
      });
    },
  );
  const list = module.default;
  if (!Array.isArray(list) || !list.every(isWorkflow)) {
    throw new AetherError(`${path} has no list of workflows as its default export`, {
      code: 'ERR_WORKFLOWS_MODULE',
      hint: 'export default [workflow(…), …]',
    });
  }
  return list;
}

function isWorkflow(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'name' in value && 'body' in value;
}
