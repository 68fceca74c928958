/** The set-up with an npm that is made for the test: which steps run, and what an interruption leaves. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';

const BOOTSTRAP = fileURLToPath(new URL('.', import.meta.url));

/** Removes node_modules as `npm ci` does, writes half of it, waits while the file `hang` exists, writes the rest. */
const FAKE_NPM = `
  const fs = require('node:fs');
  fs.appendFileSync('calls', process.argv.slice(2).filter((a) => !a.startsWith('--prefix')).join(' ') + '\\n');
  if (process.env.npm_config_nodedir !== undefined) fs.appendFileSync('calls', 'nodedir\\n');
  fs.rmSync('node_modules', { recursive: true, force: true });
  fs.mkdirSync('node_modules/.bin', { recursive: true });
  fs.writeFileSync('node_modules/half', '');
  const finish = () => {
    if (fs.existsSync('hang')) return setTimeout(finish, 10);
    if (fs.existsSync('fail')) process.exit(1);
    for (const [name, text] of [['tap', 'tap $@'], ['oxfmt', 'oxfmt $@']]) {
      fs.writeFileSync('node_modules/.bin/' + name, '#!/bin/sh\\necho "' + text + '"\\nexit \${STUB_EXIT:-0}\\n', { mode: 0o755 });
    }
  };
  finish();`;

/** A checkout that has the bootstrap and nothing else of the project. */
function checkout(t: Test): string {
  const root = mkdtempSync(join(tmpdir(), 'aether-setup-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  cpSync(BOOTSTRAP, join(root, 'cli', 'bootstrap'), {
    recursive: true,
    filter: (path) => !path.includes('node_modules') && !path.endsWith('.test.ts'),
  });
  writeFileSync(join(root, 'package-lock.json'), '{"packages":{"":{},"node_modules/tap":{}}}');
  writeFileSync(join(root, '.taprc'), '');
  mkdirSync(join(root, 'fake'));
  writeFileSync(join(root, 'fake', 'npm-cli.js'), FAKE_NPM);
  chmodSync(join(root, 'fake', 'npm-cli.js'), 0o755);
  return root;
}

function start(
  t: Test,
  root: string,
  args: string[],
  env: Record<string, string> = {},
): ChildProcess {
  const child = spawn(process.execPath, [join(root, 'cli/bootstrap/run.cjs'), ...args], {
    cwd: root,
    env: { ...process.env, npm_execpath: join(root, 'fake', 'npm-cli.js'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

async function ended(child: ChildProcess): Promise<Ended> {
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => (text.stdout += chunk));
  child.stderr?.on('data', (chunk) => (text.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...text };
}

const run = (t: Test, root: string, args: string[], env?: Record<string, string>): Promise<Ended> =>
  ended(start(t, root, args, env));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const calls = (root: string): string[] =>
  readFileSync(join(root, 'calls'), 'utf8').trim().split('\n');

test('sets up once, without install scripts and without a foreign nodedir, then runs the command', async (t) => {
  const root = checkout(t);
  const first = await run(t, root, ['format', 'spec'], { npm_config_nodedir: '/usr' });
  t.match(first, { code: 0, stdout: 'oxfmt spec\n', stderr: /✓ 1 packages of package-lock.json/ });
  t.equal(calls(root).length, 1);
  t.match(calls(root)[0], /^ci .*--ignore-scripts/);

  const second = await run(t, root, ['format']);
  t.match(second, { code: 0, stdout: 'oxfmt \n', stderr: '' });
  t.equal(calls(root).length, 1);
});

test('another lock file sets up anew', async (t) => {
  const root = checkout(t);
  await run(t, root, ['format']);
  writeFileSync(join(root, 'package-lock.json'), '{"packages":{"":{}}}');
  await run(t, root, ['format']);
  t.equal(calls(root).length, 2);
});

test('an install that was killed in the middle is done again', async (t) => {
  const root = checkout(t);
  writeFileSync(join(root, 'hang'), '');
  const killed = start(t, root, ['format']);
  await until(() => existsSync(join(root, 'node_modules/half')));
  killed.kill('SIGKILL');
  await once(killed, 'exit');

  const next = start(t, root, ['format']);
  const result = ended(next);
  rmSync(join(root, 'hang'));
  t.match(await result, { code: 0, stdout: 'oxfmt \n' });
  t.equal(calls(root).length, 2);
});

test('an interrupted install says so and leaves no lock', async (t) => {
  const root = checkout(t);
  writeFileSync(join(root, 'hang'), '');
  const child = start(t, root, ['format']);
  const result = ended(child);
  await until(() => existsSync(join(root, 'node_modules/half')));
  child.kill('SIGTERM');
  t.match(await result, { code: 143, stderr: /error ERR_SETUP_INTERRUPTED: / });
  t.notOk(existsSync(join(root, '.aether/setup.lock')));
});

test('two at once install once', async (t) => {
  const root = checkout(t);
  writeFileSync(join(root, 'hang'), '');
  const first = run(t, root, ['format', 'a']);
  await until(() => existsSync(join(root, 'node_modules/half')));
  const second = start(t, root, ['format', 'b']);
  const other = ended(second);
  await once(second.stderr as NonNullable<ChildProcess['stderr']>, 'data');
  rmSync(join(root, 'hang'));
  t.match(await first, { code: 0, stdout: 'oxfmt a\n' });
  t.match(await other, {
    code: 0,
    stdout: 'oxfmt b\n',
    stderr: /waiting for the one that process \d+ is doing/,
  });
  t.equal(calls(root).length, 1);
});

test('an install that fails has a code, a hint and no stamp', async (t) => {
  const root = checkout(t);
  writeFileSync(join(root, 'fail'), '');
  t.match(await run(t, root, ['format']), {
    code: 1,
    stderr: /error ERR_SETUP_NPM: npm ci ended with 1\nhint: /,
  });
  rmSync(join(root, 'fail'));
  t.match(await run(t, root, ['format']), { code: 0 });
  t.equal(calls(root).length, 2);
});

test('packages behind a link are left alone', async (t) => {
  const root = checkout(t);
  const elsewhere = join(root, 'elsewhere');
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, 'package'), '');
  symlinkSync(elsewhere, join(root, 'node_modules'));
  t.match(await run(t, root, ['format']), {
    code: 1,
    stderr: /error ERR_SETUP_LINKED: /,
    stdout: '',
  });
  t.ok(existsSync(join(elsewhere, 'package')));
});

test("the program's exit code is kept", async (t) => {
  const root = checkout(t);
  await run(t, root, ['format']);
  t.equal((await run(t, root, ['test', '--jobs=1'], { STUB_EXIT: '3' })).code, 3);
});

test('a script that does not exist is named before anything is installed', async (t) => {
  const root = checkout(t);
  t.match(await run(t, root, ['tset']), { code: 2, stderr: /no such script: tset/ });
  t.notOk(existsSync(join(root, 'node_modules')));
});
