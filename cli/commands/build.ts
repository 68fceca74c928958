/** `aether build`: a TypeScript or JavaScript module becomes a component. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, parse, resolve } from 'node:path';
import { buildComponent } from '../../particle/index.ts';
import type { Context } from '../context.ts';

export interface BuildOptions {
  /** Where the component goes. Default: beside the module, named after it. */
  output?: string;
  /** Folder of components built before. */
  cache: string;
  /** Folder with the component's own WIT, and the world in it. Default: Aether's `http`. */
  wit?: string;
  world?: string;
  /** Whether it may send HTTP, which an `http` or `invoke` grant has to allow. */
  outgoing?: boolean;
}

export async function build(
  { out }: Context,
  entry: string,
  { output, cache, ...options }: BuildOptions,
): Promise<void> {
  const { dir, name } = parse(resolve(entry));
  const file = output ?? resolve(dir, `${name}.wasm`);
  const started = performance.now();
  const { bytes } = await buildComponent({
    source: resolve(entry),
    cache: resolve(cache),
    ...options,
  });
  await mkdir(dirname(resolve(file)), { recursive: true });
  await writeFile(file, bytes);
  out.result({ file, bytes: bytes.length }, () => file);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  out.say(`${(bytes.length / 1024).toFixed(0)} KiB in ${seconds} s`);
}
