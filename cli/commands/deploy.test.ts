import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { EXIT } from '../io/exit-code.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
const WORKFLOW = 'deploy:tally:1:1.0.0';
const AETHERFILE = `package aether

app: #App & {
	aether:  "v1alpha1"
	name:    "tally"
	version: "1.0.0"
	particles: web: source: SOURCE
}
`;

interface Lattice {
  folder: string;
  /** Steps of the deploy that are done; its status. */
  steps: string[];
  status: string;
  /** What was posted as the component of `web`. */
  component: string | undefined;
  /** Resolves at the first look at the deploy. */
  looked: Promise<void>;
}

/** A folder with an Aetherfile, and a node whose one deploy is as far as the test says. */
async function lattice(t: Test, source: string): Promise<Lattice> {
  const folder = mkdtempSync(join(tmpdir(), 'aether-deploy-'));
  writeFileSync(join(folder, 'Aetherfile'), AETHERFILE.replace('SOURCE', source));
  const { promise: looked, resolve: look } = Promise.withResolvers<void>();
  const state: Lattice = { folder, steps: [], status: 'running', component: undefined, looked };
  const run = (): object => ({
    id: WORKFLOW,
    name: 'aether.deploy',
    version: '1',
    status: state.status,
    startedAt: 0,
    closedAt: 1500,
    events: 0,
    pending: [],
    ...(state.status === 'failed'
      ? {
          error: {
            code: 'ERR_DEPLOY_NO_NODE',
            message: 'no node could prepare it',
            hint: 'wait for one',
          },
        }
      : {}),
  });
  const server = createServer((req, res) => {
    void (async () => {
      const body = Buffer.concat(await req.toArray());
      const answer = (value: unknown): void => void res.end(JSON.stringify(value));
      if (req.method === 'POST') {
        const headers = { 'content-type': req.headers['content-type'] ?? '' };
        const web = (await new Response(body, { headers }).formData()).get('web');
        state.component = web instanceof Blob ? await web.text() : undefined;
        answer({
          app: 'tally',
          version: '1.0.0',
          generation: 1,
          workflow: WORKFLOW,
          existing: false,
        });
      } else if (req.url?.endsWith('/history') === true) {
        answer({
          events: state.steps.map((name, seq) => ({ seq, at: 0, kind: 'step-completed', name })),
        });
        look();
      } else answer(run());
    })();
  }).listen(join(folder, 'api.sock'));
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });
  return state;
}

function start(t: Test, { folder }: Lattice, args: string[] = []): ChildProcess {
  const child = spawn(
    process.execPath,
    [MAIN, 'deploy', '--api', join(folder, 'api.sock'), ...args],
    {
      cwd: folder,
      env: { ...process.env, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

async function ended(
  child: ChildProcess,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => (text.stdout += chunk));
  child.stderr?.on('data', (chunk) => (text.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, ...text };
}

test('a deploy is shown step by step, each step once, to its end', async (t) => {
  const state = await lattice(t, '{path: "web.wasm"}');
  writeFileSync(join(state.folder, 'web.wasm'), 'bytes of web');
  state.steps = ['claim', 'push web'];
  const result = ended(start(t, state));
  await Promise.race([state.looked, result]);
  state.steps = ['claim', 'push web', 'publish'];
  state.status = 'completed';
  const { code, stdout, stderr } = await result;
  t.equal(code, EXIT.ok);
  t.equal(stdout, 'deployed tally 1.0.0 in 1.50 s\n');
  t.equal(stderr, `submitted: tally 1.0.0 (${WORKFLOW})\n✓ 1 claim\n✓ 2 push web\n✓ 3 publish\n`);
  t.equal(state.component, 'bytes of web');
});

test('Ctrl-C lets go of the deploy, which goes on', async (t) => {
  const state = await lattice(t, '{path: "web.wasm"}');
  writeFileSync(join(state.folder, 'web.wasm'), '');
  const child = start(t, state);
  const result = ended(child);
  await Promise.race([state.looked, result]);
  child.kill('SIGINT');
  const { code, stderr } = await result;
  t.equal(code, EXIT.stillRunning);
  t.match(stderr, `still running: aether wf show ${WORKFLOW}\n`);
});

test('--detach ends as soon as the deploy is durable', async (t) => {
  const state = await lattice(t, '{path: "web.wasm"}');
  writeFileSync(join(state.folder, 'web.wasm'), '');
  const { code, stdout } = await ended(start(t, state, ['--detach', '--json']));
  t.equal(code, EXIT.stillRunning);
  t.match(JSON.parse(stdout), { workflow: WORKFLOW, status: 'running' });
});

test("a deploy that failed ends with the node's reason", async (t) => {
  const state = await lattice(t, '{path: "web.wasm"}');
  writeFileSync(join(state.folder, 'web.wasm'), '');
  state.status = 'failed';
  const { code, stderr } = await ended(start(t, state));
  t.equal(code, EXIT.failed);
  t.match(
    stderr,
    'error ERR_DEPLOY_NO_NODE: the deploy failed: no node could prepare it\nhint: wait for one\n',
  );
});

test('a component is built where the Aetherfile says so', async (t) => {
  const state = await lattice(
    t,
    '{build: {command: ["sh", "-c", "echo made > web.wasm; echo talk"], output: "web.wasm"}}',
  );
  state.status = 'completed';
  const { code, stdout } = await ended(start(t, state));
  t.equal(code, EXIT.ok);
  t.equal(state.component, 'made\n');
  t.equal(stdout, 'deployed tally 1.0.0 in 1.50 s\n');
});

test('nothing is sent where a component is missing, a build fails or the Aetherfile is wrong', async (t) => {
  const missing = await lattice(t, '{path: "web.wasm"}');
  t.match(await ended(start(t, missing)), {
    code: EXIT.invalidConfig,
    stderr: /ERR_AETHERFILE_SOURCE/,
  });

  const broken = await lattice(t, '{build: {command: ["sh", "-c", "exit 9"], output: "web.wasm"}}');
  t.match(await ended(start(t, broken)), {
    code: EXIT.failed,
    stderr: /ERR_BUILD: .* ended with 9/,
  });

  const registry = await lattice(t, '{oci: "registry.example/web:1"}');
  t.match(await ended(start(t, registry)), { code: EXIT.failed, stderr: /ERR_NOT_AVAILABLE/ });

  const wrong = await lattice(t, '{path: }');
  t.match(await ended(start(t, wrong)), { code: EXIT.invalidConfig, stderr: /Aetherfile:7:\d+/ });
  for (const state of [missing, broken, registry, wrong]) t.equal(state.component, undefined);
});
