/** A history goes from a running node into a file and is replayed against changed code, as a project's CI does it. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { ControlClient } from '../cli/io/control-client.ts';
import { EXIT } from '../cli/io/exit-code.ts';
import type { History } from '../engine/index.ts';
import { folder } from './nodes.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NODE = ['--conditions=aether-source', join(ROOT, 'cli/main.ts')];
const HISTORIES = join(ROOT, 'engine/histories');

const ORDERS = `
import { workflow } from 'aether/engine';

const order = workflow('order', async (ctx, input) => {
  await ctx.step('charge', () => input.cents);
  return ctx.step('ship', () => 'shipped');
}, { version: '7' });

const pages = workflow('pages', async (ctx, page) => {
  await ctx.step(\`page \${page}\`, () => page);
  if (page < 2) ctx.continueAsNew(page + 1);
  return page;
});

export default [order, pages];
`;

/** A project in a folder of its own that depends on the package. */
function project(t: Test): string {
  const path = folder(t);
  mkdirSync(join(path, 'node_modules'));
  symlinkSync(ROOT, join(path, 'node_modules/aether'));
  writeFileSync(join(path, 'package.json'), '{"type":"module"}');
  writeFileSync(join(path, 'orders.js'), ORDERS);
  return path;
}

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function aether(cwd: string, args: string[], api = ''): Promise<Ended> {
  const env = { ...process.env, NO_COLOR: '1', AETHER_API: api };
  return new Promise((resolve) => {
    execFile(process.execPath, [...NODE, ...args], { cwd, env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

/** `aether up` in a project. @returns its control API */
async function up(t: Test, cwd: string): Promise<string> {
  const args = [
    '--data',
    join(cwd, 'data'),
    '--ingress',
    '127.0.0.1:0',
    '--workflows',
    'orders.js',
  ];
  const child = spawn(process.execPath, [...NODE, 'up', ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGTERM');
    await exited;
  });
  const line = once(createInterface(child.stdout), 'line');
  const [ready] = (await Promise.race([line, exited])) as [string];
  const { api } = JSON.parse(ready.replace(/^ready /, '')) as { api: string };
  return api;
}

test('a run is exported, replayed, and found to differ once its code does', async (t) => {
  const cwd = project(t);
  const api = await up(t, cwd);
  const client = new ControlClient(api);
  for (const [id, name, input] of [
    ['o1', 'order', { cents: 5 }],
    ['p1', 'pages', 1],
  ] as const) {
    await client.call('/workflows', { method: 'POST', json: { id, name, input } });
    await client.json(`/workflows/${id}`, { query: { wait: '30s' } });
  }
  const { workflows } = await client.json<{ workflows: { id: string; runId: string }[] }>(
    '/workflows',
    { query: { name: 'pages' } },
  );
  const exported = async (file: string, args: string[]): Promise<History> => {
    const { code, stdout, stderr } = await aether(cwd, ['wf', 'history', ...args], api);
    t.same({ code, stderr }, { code: EXIT.ok, stderr: '' });
    mkdirSync(join(cwd, 'histories'), { recursive: true });
    writeFileSync(join(cwd, 'histories', file), stdout);
    return JSON.parse(stdout) as History;
  };
  t.match(await exported('o1.json', ['o1']), { format: 1, name: 'order', version: '7' });
  const last = await exported('p2.json', ['p1', '--json']);
  const first = workflows.find(({ runId }) => runId !== last.runId)?.runId ?? '';
  t.equal((await exported('p1.json', ['p1', '--run', first])).runId, first);
  t.equal((await aether(cwd, ['wf', 'history', 'nobody'], api)).code, EXIT.notFound);

  const replay = (...args: string[]) =>
    aether(cwd, ['wf', 'replay', 'histories', '--workflows', 'orders.js', ...args]);
  t.same(await replay(), {
    code: EXIT.ok,
    stdout: [
      'ok        histories/o1.json  order 7  6 events\n',
      'ok        histories/p1.json  pages 1  4 events\n',
      'ok        histories/p2.json  pages 1  4 events\n',
    ].join(''),
    stderr: '',
  });

  writeFileSync(join(cwd, 'orders.js'), ORDERS.replace("step('ship'", "step('send'"));
  const diverged = await replay();
  t.equal(diverged.code, EXIT.failed);
  const line = ORDERS.split('\n').findIndex((text) => text.includes("step('ship'")) + 1;
  t.match(
    diverged.stdout.split('\n')[0],
    new RegExp(
      `^diverged  histories/o1\\.json  order 7  operation 2: recorded step "ship", now step "send"  orders\\.js:${line}:\\d+$`,
    ),
  );
  t.match(diverged.stdout, /^ok .*p1\.json/m, 'and the others are replayed too');
  const { histories, ok } = JSON.parse((await replay('--json')).stdout) as Record<string, unknown>;
  t.equal(ok, false);
  t.match(histories, [
    {
      file: 'histories/o1.json',
      verdict: 'diverged',
      workflow: 'order',
      version: '7',
      events: 6,
      divergence: { seq: 2, recorded: 'step "ship"', actual: 'step "send"', at: /orders\.js/ },
    },
    { verdict: 'ok' },
    { verdict: 'ok' },
  ]);

  writeFileSync(join(cwd, 'orders.js'), ORDERS.replace("version: '7'", "version: '8'"));
  const missing = await replay();
  t.equal(missing.code, EXIT.notFound);
  t.match(missing.stdout, /^missing .*o1\.json  .*"order" version "7" .*registered: 8/m);

  const file = join(cwd, 'histories/p1.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"page 1"', '"page 9"'));
  writeFileSync(join(cwd, 'histories/text.json'), 'no\nJSON');
  const invalid = await replay();
  t.equal(invalid.code, EXIT.invalidConfig, 'the gravest decides');
  t.match(invalid.stdout, /^invalid   histories\/p1\.json  .*damaged/m);
  t.match(invalid.stdout, /^invalid   histories\/text\.json  it cannot be read: it is not JSON$/m);
});

test('histories of the releases replay from the command line', async (t) => {
  const module = join(HISTORIES, 'workflows.ts');
  const { code, stdout } = await aether(folder(t), [
    'wf',
    'replay',
    HISTORIES,
    '--workflows',
    module,
  ]);
  t.equal(code, EXIT.ok);
  t.notMatch(stdout, /^(?!ok )./m);
  t.match(stdout, /steps-1\.json/);
});

test('a command line that replays nothing is no success', async (t) => {
  const cwd = project(t);
  const replay = (...args: string[]) => aether(cwd, ['wf', 'replay', ...args]);
  const workflows = ['--workflows', 'orders.js'];
  t.match(await replay('nofile', ...workflows), {
    code: EXIT.notFound,
    stderr: /^error ERR_HISTORY_NOT_FOUND: nofile is not there\nhint: /,
  });
  mkdirSync(join(cwd, 'empty'));
  t.match(await replay('empty', ...workflows), { code: EXIT.notFound });
  t.match(await replay(...workflows), { code: EXIT.usage });
  t.match(await replay('nofile'), { code: EXIT.usage, stderr: /--workflows/ });
  writeFileSync(join(cwd, 'none.js'), 'export default [1]');
  for (const module of ['none.js', 'nomodule.js']) {
    t.match(await replay('empty', '--workflows', module), {
      code: EXIT.invalidConfig,
      stderr: /ERR_WORKFLOWS_MODULE/,
    });
  }
});
