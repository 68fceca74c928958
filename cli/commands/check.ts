/** `aether check`: whether an Aetherfile is valid, without a lattice. */
import type { Context } from '../context.ts';
import { readApp } from '../io/app-file.ts';

export async function checkFile({ out }: Context, file: string): Promise<void> {
  const { app } = await readApp(file);
  const particles = Object.keys(app.particles);
  out.result(
    { file, ok: true, app: app.name, version: app.version, particles },
    () => `${file} is valid: ${app.name} ${app.version}, particles ${particles.join(', ')}`,
  );
}
