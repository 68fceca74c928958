/** The programs in `examples/`, run as a reader runs them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const EXAMPLES = fileURLToPath(new URL('../examples/', import.meta.url));

/** A folder for `--state` that goes with the test. */
export function stateFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-example-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Runs what `npm run example -- NAME` runs, to its end. Not through the script itself: its set-up may install packages,
 * and would do so under the test that runs.
 *
 * @param killAt it kills itself with -9 as soon as it has said a line that begins so, before anything else happens
 * @returns its lines on stdout, and its exit code; null once it was killed
 */
export async function runExample(
  name: string,
  args: readonly string[],
  killAt?: string,
): Promise<{ said: string[]; code: unknown }> {
  const program = join(EXAMPLES, `${name}.ts`);
  const preload =
    killAt === undefined ? [] : ['--import', `data:text/javascript,${killing(killAt)}`];
  const options = ['--conditions=aether-source', ...preload];
  const child = spawn(process.execPath, [...options, program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const said: string[] = [];
  for await (const line of createInterface(child.stdout)) said.push(line);
  const [code] = await exited;
  return { said, code };
}

/** A kill from outside would come some time later, and find the program elsewhere. */
function killing(killAt: string): string {
  return encodeURIComponent(`
    const { log } = console;
    console.log = (line) => {
      log(line);
      if (line.startsWith(${JSON.stringify(killAt)})) process.kill(process.pid, 'SIGKILL');
    };
  `);
}
