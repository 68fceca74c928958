/** A whole node in the test's own process: how it starts, how it fails to, and what hostile clients and components get. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { submitDeploy } from '../../particle/index.ts';
import { type LatticeNode, type NodeOptions, startNode } from './node.ts';

const TINY = readFileSync(new URL('../../samples/tiny/tiny.wasm', import.meta.url));
const PROBE = readFileSync(new URL('../../particle/fixtures/probe.wasm', import.meta.url));

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'aether-node-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function node(t: Test, options: Partial<NodeOptions> = {}): Promise<LatticeNode> {
  const started = await startNode({
    data: join(folder(t), 'node'),
    ingress: '127.0.0.1:0',
    ...options,
  });
  t.teardown(() => started.close());
  return started;
}

const TALLIES = '{kind: "kv", bucket: "tallies", ops: ["get", "set", "list"]}';

/** @param particles their fields, by name. */
function source(version: string, particles: Record<string, string>): string {
  const fields = Object.entries(particles).map(
    ([name, text]) => `${name}: {source: path: "${name}.wasm", ${text}}`,
  );
  return `package aether

app: #App & {
	aether: "v1alpha1"
	name: "shop"
	version: "${version}"
	kv: tallies: {}
	particles: {
		${fields.join('\n\t\t')}
	}
}
`;
}

/** Deploys and waits for the end. */
async function deploy(
  on: LatticeNode,
  text: string,
  components: Record<string, Uint8Array>,
): Promise<unknown> {
  const bundle = { source: text, file: 'Aetherfile', components };
  const { workflow } = await submitDeploy(bundle, on.id, on.lifecycle, on.engine);
  return on.engine.get(workflow).result();
}

async function ask(on: LatticeNode, path: string): Promise<string> {
  const answer = await fetch(`http://${on.addresses.ingress}${path}`);
  return `${answer.status} ${(await answer.text()).trim()}`;
}

/** What keeps this process alive. What runs in the next turn of the event loop anyhow does not count. */
function held(): string[] {
  return process
    .getActiveResourcesInfo()
    .filter((kind) => kind !== 'Immediate')
    .toSorted();
}

test('a start that fails at any step leaves nothing open, and the folder of use', async (t) => {
  const data = join(folder(t), 'node');
  const first = await startNode({ data });
  await first.close();
  const before = held();
  const good = new Map(
    ['effects.db', 'engine.db'].map((name) => [name, readFileSync(join(data, name))]),
  );
  for (const [name, bytes] of good) {
    for (const suffix of ['-wal', '-shm']) rmSync(join(data, name + suffix), { force: true });
    writeFileSync(
      join(data, name),
      'this is no database, and long enough to be looked at'.repeat(99),
    );
    await t.rejects(startNode({ data }), /./, name);
    writeFileSync(join(data, name), bytes);
  }
  mkdirSync(join(data, 'taken'));
  await t.rejects(startNode({ data, api: join(data, 'taken') }), { code: 'ERR_ADDRESS' });
  t.same(held(), before, 'threads, sockets and timers');
  const again = await node(t, { data });
  t.equal(again.id, first.id);
});

test('a node tells of its certificate, and how long those are good for that it gives', async (t) => {
  const { certificate } = await (await node(t, { certificateLifeMs: 120_000 })).status();
  t.match(certificate, { epoch: 1, heard: true, isOverdue: false });
  t.equal((certificate?.expiresSeconds ?? 0) - (certificate?.issuedSeconds ?? 0), 120);
});

test('a node is closed to its end, whatever of it fails to close', async (t) => {
  const data = join(folder(t), 'node');
  const first = await startNode({ data });
  const close = first.engine.close.bind(first.engine);
  first.engine.close = async () => {
    await close();
    throw new Error('will not');
  };
  await t.rejects(first.close(), /will not/);
  await first.closed;
  t.equal((await node(t, { data })).id, first.id, 'the folder is free');
});

test('a socket on which another node listens is not taken over', async (t) => {
  const api = join(folder(t), 'api.sock');
  await node(t, { api });
  await t.rejects(startNode({ data: join(folder(t), 'node'), api }), { code: 'ERR_PORT_IN_USE' });
});

test('a particle calls another by name when it is granted, and not otherwise', async (t) => {
  const single = await node(t);
  const invoke = (name: string): string => `{kind: "invoke", particle: "${name}"}`;
  const caller = (grant: string): string => `grants: [${TALLIES}, ${grant}], routes: [{path: "/"}]`;
  const callee = `grants: [${TALLIES}]`;
  const components = { web: PROBE, other: TINY, third: TINY };
  await deploy(
    single,
    source('1.0.0', { web: caller(invoke('other')), other: callee, third: callee }),
    components,
  );
  t.equal(await ask(single, '/out/other.aether'), '200 status 200');
  t.match(await ask(single, '/out/third.aether'), /^200 error/, 'a particle that it may not call');
  t.match(await ask(single, '/out/elsewhere.example'), /^200 error/);
  t.match(single.lifecycle.datapath.flows(), [
    { from: 'shop/web', to: 'shop/other', verdict: 'allowed', rule: 'invoke grant' },
    { from: 'world', to: 'shop/web' },
    { from: 'world' },
    { from: 'world' },
  ]);
  await deploy(
    single,
    source('1.1.0', { web: caller(invoke('third')), other: callee, third: callee }),
    components,
  );
  t.match(await ask(single, '/out/other.aether'), /^200 error/, 'the grant was taken away');
  t.equal(await ask(single, '/out/third.aether'), '200 status 200');
});

test('a particle that a new version does not have any more is gone', async (t) => {
  const single = await node(t);
  const particle = (path: string): string =>
    `grants: [${TALLIES}], routes: [{path: "${path}", strip: true}]`;
  const both = { web: particle('/'), extra: particle('/extra') };
  await deploy(single, source('1.0.0', both), { web: TINY, extra: TINY });
  t.match(await ask(single, '/extra'), /^200/);
  await deploy(single, source('1.1.0', { web: both.web }), { web: TINY });
  const names = (await single.lifecycle.instances()).map(({ particle: name }) => name);
  t.same(names, ['web']);
  await deploy(single, source('1.2.0', both), { web: TINY, extra: TINY });
  t.match(await ask(single, '/extra'), /^200/, 'and can come back');
});

test('a component that does not start ends its deploy, and the version before stays', async (t) => {
  const single = await node(t);
  const web = `grants: [${TALLIES}], routes: [{path: "/"}]`;
  await deploy(single, source('1.0.0', { web }), { web: TINY });
  const small = `grants: [${TALLIES}, {kind: "invoke", particle: "web"}], limits: memory: "64Ki"`;
  await t.rejects(deploy(single, source('1.1.0', { web: small }), { web: PROBE }), {
    message: /memory/,
  });
  t.equal(await ask(single, '/hit'), '200 {"count":1}');
  t.same(
    (await single.lifecycle.instances()).map(({ version }) => version.split('+')[0]),
    ['1.0.0'],
  );
});

function call(
  api: string,
  options: { method?: string; path: string; headers?: Record<string, string>; body?: string },
): Promise<{ status: number; text: string }> {
  const [hostname, port] = api.split(':');
  return new Promise((resolve, reject) => {
    const { body, ...rest } = options;
    const req = request({ hostname, port, ...rest }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

test('pages of other sites cannot use a control API on loopback', async (t) => {
  const single = await node(t, { api: '127.0.0.1:0' });
  const { api } = single.addresses;
  const path = '/v1/status';
  t.equal((await call(api, { path })).status, 200);
  t.equal((await call(api, { path, headers: { origin: `http://${api}` } })).status, 200);
  for (const headers of [
    { host: 'rebound.example' },
    { host: '127.evil.example' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
  ]) {
    t.match(await call(api, { path, headers }), { status: 403, text: /ERR_API_ORIGIN/ });
  }
});

test('what is malformed is refused with a reason, and the node goes on', async (t) => {
  const single = await node(t, { api: '127.0.0.1:0' });
  const { api } = single.addresses;
  const multipart = 'multipart/form-data; boundary=b';
  const cases: [options: Parameters<typeof call>[1], status: number, code: RegExp][] = [
    [{ method: 'POST', path: '/v1/apps', body: '{}' }, 400, /ERR_API_BODY/],
    [{ method: 'POST', path: '/v1/apps', headers: { 'content-type': multipart } }, 400, /BODY/],
    [
      {
        method: 'POST',
        path: '/v1/apps',
        headers: { 'content-type': multipart },
        body: '--b\r\nContent-Disposition: form-data; name="__proto__"\r\n\r\nsha256:0\r\n--b--\r\n',
      },
      422,
      /ERR_(CUE|AETHERFILE)_/,
    ],
    [{ path: '//' }, 404, /ERR_API_NOT_FOUND/],
    [{ path: '/v1/kv/a/%00' }, 400, /ERR_KV_KEY_INVALID/],
    [{ path: '/v1/kv/a/%2e%2e%2f%2e%2e' }, 404, /ERR_KV_BUCKET_UNKNOWN/],
    [{ path: '/v1/kv/%2e%2e/x' }, 404, /ERR_API_NOT_FOUND/],
    [{ path: `/v1/kv/a/${'x'.repeat(5_000)}` }, 400, /ERR_KV_KEY_INVALID/],
    [{ path: '/v1/apps/..%2f..' }, 404, /ERR_APP_NOT_FOUND/],
    [{ path: '/v1/apps/__proto__' }, 404, /ERR_APP_NOT_FOUND/],
    [{ method: 'OPTIONS', path: '/v1/status' }, 405, /ERR_API_METHOD/],
    [{ method: 'POST', path: '/v1/workflows', body: '{"name":1}' }, 400, /ERR_API_PARAMETER/],
    [{ method: 'POST', path: '/v1/workflows', body: '\xff' }, 400, /ERR_API_BODY/],
  ];
  for (const [options, status, text] of cases) {
    t.match(await call(api, options), { status, text }, JSON.stringify(options).slice(0, 90));
  }
  t.equal((await call(api, { path: '/v1/status' })).status, 200);
});

test('a reader of events that takes none is let go', async (t) => {
  const single = await node(t, { api: '127.0.0.1:0' });
  const [hostname, port] = single.addresses.api.split(':');
  const socket = connect(Number(port), hostname);
  t.teardown(() => socket.destroy());
  const reader = { isGone: false };
  socket.on('error', () => {}).on('close', () => (reader.isGone = true));
  socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await new Promise((resolve) => {
    socket.once('data', resolve);
  });
  socket.pause();
  const service = { app: 'none', particle: 'none' };
  const path = `/${'x'.repeat(8_000)}`;
  const body = new Uint8Array();
  const exchange = { method: 'GET', scheme: 'http', authority: 'a', path, headers: [], body };
  // Each is a flow of 8 kB; what the sockets of a system hold is less than all of them.
  for (let flows = 0; flows < 5_000; flows++) {
    await single.lifecycle.exchange({ kind: 'world' }, service, exchange).catch(() => {});
    if (flows % 100 === 0) await new Promise(setImmediate);
  }
  socket.resume();
  while (!reader.isGone) await new Promise(setImmediate);
  t.pass('the node ended the connection');
});

test('who asks for the apps while they are read gets a read of their own, shared', async (t) => {
  const { lifecycle } = await node(t);
  const current = lifecycle.catalog.current.bind(lifecycle.catalog);
  let reads = 0;
  lifecycle.catalog.current = () => {
    reads += 1;
    return current();
  };
  await Promise.all([lifecycle.refresh(), lifecycle.refresh(), lifecycle.refresh()]);
  t.equal(reads, 2);
  await lifecycle.refresh();
  t.equal(reads, 3);
});
