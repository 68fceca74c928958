/** The package as it ships: built, and installed in a project that has little else. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { folder } from './nodes.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');
const CONTRACT = 'spec/api/engine.d.ts';
const PROGRAMS = [
  'engine/contract.testchild.ts',
  'examples/order-saga.ts',
  'examples/approval.ts',
  'examples/cron-report.ts',
];

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Node as a project runs it: the test runner puts modules of its own into every child through NODE_OPTIONS. */
function run(cwd: string, args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      'env',
      ['-u', 'NODE_OPTIONS', process.execPath, ...args],
      { cwd },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

/** What the engine may ask of others: the interface through which its spans go to whoever wants them. */
const ENGINE_NEEDS = '@opentelemetry/api';

/** A project with the built package and Node's types; of the package's dependencies it has the engine's alone. */
async function project(t: Test): Promise<string> {
  const path = folder(t);
  const installed = join(path, 'node_modules/aether');
  const build = await run(ROOT, [
    TSC,
    '-p',
    'tsconfig.build.json',
    '--outDir',
    join(installed, 'dist'),
  ]);
  t.same(build, { code: 0, stdout: '', stderr: '' });
  cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
  for (const name of ['@types/node', 'undici-types', ENGINE_NEEDS]) {
    mkdirSync(join(path, 'node_modules', dirname(name)), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', name), join(path, 'node_modules', name));
  }
  writeFileSync(join(path, 'package.json'), '{"type":"module"}');
  return path;
}

test('the package as a project gets it', async (t) => {
  const path = await project(t);

  await t.test('declarations compile, and hold what the contract says', async (compiled) => {
    for (const file of [CONTRACT, ...PROGRAMS]) {
      mkdirSync(join(path, dirname(file)), { recursive: true });
      cpSync(join(ROOT, file), join(path, file));
    }
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2024',
      lib: ['es2024', 'esnext.disposable'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
    };
    const config = { compilerOptions, files: [CONTRACT, ...PROGRAMS] };
    writeFileSync(join(path, 'tsconfig.json'), JSON.stringify(config));
    compiled.same(await run(path, [TSC, '-p', '.']), { code: 0, stdout: '', stderr: '' });
  });

  await t.test('aether/engine loads nothing but itself', async (alone) => {
    writeFileSync(join(path, 'loaded.js'), LOADED);
    const own = /\/node_modules\/aether\/dist\/(?:engine|spec)\/(?!io\/sqlite|cue|aetherfile)/;
    for (const name of ['aether/engine', 'aether/engine/testing']) {
      const { code, stdout, stderr } = await run(path, ['loaded.js', name]);
      alone.same({ code, stderr }, { code: 0, stderr: '' });
      const { loaded } = JSON.parse(stdout) as { loaded: string[] };
      alone.ok(
        loaded.some((url) => url.endsWith('/engine/engine.js')),
        'it lists what is loaded',
      );
      const foreign = loaded.filter((url) => !url.startsWith('node:') && !own.test(url));
      alone.same(
        foreign.filter((url) => !url.includes(`/node_modules/${ENGINE_NEEDS}/`)),
        [],
      );
    }
    const { stderr } = await run(path, ['loaded.js', 'aether/engine/sqlite']);
    alone.match(stderr, /Cannot find package 'better-sqlite3'/, 'a store is another matter');
  });
});

/** Imports what it is told to and says which modules that loaded, by `import` and by `require`. */
const LOADED = `
import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({
  load(url, context, next) {
    loaded.push(url);
    return next(url, context);
  },
});
await import(process.argv[2]);
console.log(JSON.stringify({ loaded }));
`;

test('the contract is held in every name', (t) => {
  const names = (text: string): string[] =>
    Array.from(
      text.matchAll(/^export (?:declare )?(?:function|class|interface|type) (\w+)/gm),
      ([, name = '']) => name,
    );
  const held = readFileSync(join(ROOT, 'engine/contract.testchild.ts'), 'utf8');
  const all = names(readFileSync(join(ROOT, CONTRACT), 'utf8'));
  t.ok(all.length > 40);
  t.same(
    all.filter((name) => !new RegExp(`\\bcontract\\.${name}\\b`).test(held)),
    [],
  );
  t.end();
});
