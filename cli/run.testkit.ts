/** The command line as a user runs it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `aether` to its end, in a folder of its own where none is given. */
export async function aether(
  t: Test,
  args: string[],
  options: { cwd?: string; api?: string; stdin?: string } = {},
): Promise<Ended> {
  const cwd = options.cwd ?? temporary(t);
  const env = { ...process.env, NO_COLOR: '1', AETHER_API: options.api ?? '' };
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [MAIN, ...args],
      { cwd, env },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
    child.stdin?.end(options.stdin ?? '');
  });
}

export function temporary(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}
