import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { postBundle } from './bundle.ts';
import {
  ApiError,
  ApiUnreachableError,
  ControlClient,
  defaultApis,
  segment,
} from './control-client.ts';

type Handler = (req: IncomingMessage, res: ServerResponse) => Promise<void> | void;

/** A server on a unix socket for the length of a test. */
async function serve(
  t: Test,
  handler: Handler,
): Promise<{ client: ControlClient; server: Server }> {
  const folder = mkdtempSync(join(tmpdir(), 'aether-client-'));
  const server = createServer((req, res) => void handler(req, res)).listen(
    join(folder, 'api.sock'),
  );
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });
  return { client: new ControlClient(join(folder, 'api.sock')), server };
}

const readAll = async (req: IncomingMessage): Promise<Buffer> => Buffer.concat(await req.toArray());

function answerJson(res: ServerResponse, value: unknown, status = 200): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

test('a call has its method, path, query and body', async (t) => {
  const { client } = await serve(t, async (req, res) => {
    const body = await readAll(req);
    answerJson(res, {
      method: req.method,
      url: req.url,
      body: body.toString(),
      type: req.headers['content-type'],
    });
  });
  const answer = await client.json(`/kv/${segment('a/b')}`, {
    method: 'PUT',
    query: { prefix: 'x y', after: undefined, limit: 3 },
    json: { class: 'eventual' },
  });
  t.same(answer, {
    method: 'PUT',
    url: '/v1/kv/a%2Fb?prefix=x+y&limit=3',
    body: '{"class":"eventual"}',
    type: 'application/json',
  });
});

test('bytes come back as they are, with the headers', async (t) => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const { client } = await serve(t, async (req, res) => {
    res.writeHead(200, { etag: '"7"' }).end(await readAll(req));
  });
  const { body, headers, status } = await client.call('/kv/b/k', { method: 'PUT', body: bytes });
  t.same([...body], [...bytes]);
  t.equal(headers['etag'], '"7"');
  t.equal(status, 200);
});

test("a refusal is the node's own error with its status", async (t) => {
  const { client } = await serve(t, (_, res) =>
    answerJson(
      res,
      { error: { code: 'ERR_KV_CONFLICT', message: 'not that version', hint: 'read again' } },
      412,
    ),
  );
  const error = await client.json('/kv/b/k').catch((e: unknown) => e);
  t.ok(error instanceof ApiError);
  t.match(error, {
    code: 'ERR_KV_CONFLICT',
    message: 'not that version',
    hint: 'read again',
    status: 412,
  });
});

test('an answer of something else is an error too', async (t) => {
  const { client } = await serve(t, (_, res) => {
    res.writeHead(502).end('<html>');
  });
  await t.rejects(client.json('/status'), { code: 'ERR_API', status: 502 });
});

test('no socket, a closed connection and silence are unreachable', async (t) => {
  const absent = new ControlClient(join(tmpdir(), 'aether-no-such.sock'));
  await t.rejects(absent.json('/status'), {
    code: 'ERR_API_UNREACHABLE',
    message: /no node listens on/,
  });

  const { client } = await serve(t, (req, res) => {
    if (req.url === '/v1/broken') res.destroy();
    if (req.url === '/v1/half')
      res.writeHead(200, { 'content-length': '10' }).write('half', () => res.destroy());
  });
  await t.rejects(client.json('/broken'), ApiUnreachableError);
  await t.rejects(client.json('/half'), ApiUnreachableError);
  await t.rejects(client.json('/silent', { idleTimeoutMs: 50 }), {
    code: 'ERR_API_UNREACHABLE',
    message: /no answer for 50 ms/,
  });
});

test('an aborted call is an interruption, not a lost node', async (t) => {
  const controller = new AbortController();
  const { client } = await serve(t, () => controller.abort());
  await t.rejects(client.json('/status', { signal: controller.signal }), {
    code: 'ERR_INTERRUPTED',
  });
});

test('events are read until the reader has enough, which ends the connection', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { client } = await serve(t, (_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('data: 1\n\ndata: 2\n\n');
    res.once('close', closed.resolve);
  });
  const seen: string[] = [];
  for await (const { data } of client.events('/logs')) {
    seen.push(data);
    if (seen.length === 2) break;
  }
  t.same(seen, ['1', '2']);
  await closed.promise;
});

test('events over an interrupted connection', async (t) => {
  const controller = new AbortController();
  const { client } = await serve(t, (_, res) => {
    res.writeHead(200).write('data: 1\n\n');
  });
  const read = async (): Promise<void> => {
    for await (const event of client.events('/logs', { signal: controller.signal })) {
      t.equal(event.data, '1');
      controller.abort();
    }
  };
  await t.rejects(read(), { code: 'ERR_INTERRUPTED' });
});

test('the address may be a host and port', async (t) => {
  const server = createServer((req, res) => answerJson(res, { url: req.url })).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  t.same(await new ControlClient(`127.0.0.1:${port}`).json('/status'), { url: '/v1/status' });
  t.same(await new ControlClient(`http://127.0.0.1:${port}`).json('/status'), {
    url: '/v1/status',
  });
  t.throws(() => new ControlClient('ftp://somewhere'), { code: 'ERR_USAGE' });
});

test('a bundle is multipart: the Aetherfile by its name, a file per Particle or its digest', async (t) => {
  const { client } = await serve(t, async (req, res) => {
    const form = await new Response(await readAll(req), {
      headers: { 'content-type': req.headers['content-type'] ?? '' },
    }).formData();
    const fields: Record<string, unknown> = {};
    for (const [name, value] of form) {
      fields[name] = typeof value === 'string' ? value : [value.name, await value.text()];
    }
    answerJson(res, fields, 202);
  });
  const answer = await postBundle(client, {
    source: 'package aether\n',
    file: 'apps/Aetherfile',
    components: { web: new Uint8Array([0x61, 0x62]), counter: 'sha256:00' },
  });
  t.same(answer, {
    aetherfile: ['apps/Aetherfile', 'package aether\n'],
    web: ['web.wasm', 'ab'],
    counter: 'sha256:00',
  });
});

test('a node that is gone is passed over for the next; one that answers is not', async (t) => {
  const { server } = await serve(t, (_req, res) => answerJson(res, { ok: true }));
  const path = server.address() as string;
  const folder = mkdtempSync(join(tmpdir(), 'aether-client-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const gone = join(folder, 'gone.sock');
  t.same(await new ControlClient(gone, path).json('/status'), { ok: true });
  await t.rejects(new ControlClient(gone, `${gone}2`).json('/status'), {
    code: 'ERR_API_UNREACHABLE',
    message: /gone\.sock, .*gone\.sock2/,
  });
});

test('the nodes of a folder are those of its development lattice, or of a folder above', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-client-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const deep = join(folder, 'a', 'b');
  for (const place of ['a/b', '.aether/dev/n1', '.aether/dev/n2', '.aether/dev/cache']) {
    mkdirSync(join(folder, place), { recursive: true });
  }
  for (const node of ['n2', 'n1']) writeFileSync(join(folder, '.aether/dev', node, 'api.sock'), '');
  const sockets = ['n1', 'n2'].map((node) => join(folder, '.aether/dev', node, 'api.sock'));
  t.same(defaultApis(folder), sockets);
  t.same(defaultApis(deep), sockets, 'found from below');
  t.end();
});
