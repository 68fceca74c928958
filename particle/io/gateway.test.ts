import { connect } from 'node:net';
import { type Test, test } from 'tap';
import { AetherError } from '../../spec/error.ts';
import type { HttpRequest } from '../../spec/http.ts';
import { silentLog } from '../../spec/log.ts';
import { seededRandom } from '../../spec/random.ts';
import { systemClock } from '../../spec/system-clock.ts';
import type { RouteTarget } from '../lifecycle/directory.ts';
import { Gateway, type GatewayPorts } from './gateway.ts';

const TARGET: RouteTarget = {
  app: 'shop',
  particle: 'web',
  route: { host: '*', path: '/', methods: [], strip: false },
};

async function gateway(t: Test, ports: Partial<GatewayPorts>): Promise<string> {
  const open = new Gateway({
    route: () => TARGET,
    refresh: async () => {},
    exchange: async () => ({
      node: 'nb',
      response: { status: 200, headers: [], body: new Uint8Array() },
    }),
    nodeName: (node) => `name of ${node}`,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    ...ports,
  });
  t.teardown(() => open.close());
  return `http://${await open.listen('127.0.0.1', 0)}`;
}

test('a request arrives whole and its answer goes back', async (t) => {
  const seen: HttpRequest[] = [];
  const url = await gateway(t, {
    exchange: async (identity, service, request) => {
      t.same(identity, { kind: 'world' });
      t.match(service, { app: 'shop', particle: 'web' });
      seen.push(request);
      return {
        node: 'nb',
        response: {
          status: 201,
          headers: [
            ['set-cookie', 'a=1'],
            ['set-cookie', 'b=2'],
            ['content-type', 'text/plain'],
            ['transfer-encoding', 'chunked'],
          ],
          body: new TextEncoder().encode('made'),
        },
      };
    },
  });
  const answer = await fetch(`${url}/a/b?c=d`, {
    method: 'POST',
    body: 'payload',
    headers: { 'x-one': '1', te: 'trailers' },
  });
  t.equal(answer.status, 201);
  t.equal(await answer.text(), 'made');
  t.same(answer.headers.getSetCookie(), ['a=1', 'b=2']);
  t.equal(answer.headers.get('aether-node'), 'name of nb');
  const [request] = seen as [HttpRequest];
  t.match(request, { method: 'POST', path: '/a/b?c=d', authority: url.slice('http://'.length) });
  t.equal(new TextDecoder().decode(request.body), 'payload');
  t.ok(request.headers.some(([name, value]) => name === 'x-one' && value === '1'));
  t.same(
    request.headers.filter(([name]) => name === 'traceparent').map(([, value]) => value),
    [answer.headers.get('traceparent')],
    'one trace goes in and comes out',
  );
  t.notOk(
    request.headers.some(([name]) => name === 'te' || name === 'connection'),
    'headers of the connection stay on the connection',
  );
});

test('a route may strip its path', async (t) => {
  const paths: string[] = [];
  const url = await gateway(t, {
    route: () => ({ ...TARGET, route: { ...TARGET.route, path: '/api', strip: true } }),
    exchange: async (_identity, _service, request) => {
      paths.push(request.path);
      return { node: 'nb', response: { status: 200, headers: [], body: new Uint8Array() } };
    },
  });
  for (const path of ['/api', '/api/x', '/api?q']) await fetch(url + path);
  t.same(paths, ['/', '/x', '/?q']);
});

test('an unknown route reads the catalog again, and not for every request', async (t) => {
  let refreshed = 0;
  const url = await gateway(t, {
    route: () => (refreshed > 1 ? TARGET : undefined),
    refresh: async () => {
      refreshed += 1;
    },
    clock: { monotonicMs: () => 5 },
  });
  const answers = [await fetch(url), await fetch(url)];
  t.same(
    answers.map(({ status }) => status),
    [404, 404],
  );
  t.match(await answers[0]?.json(), { error: { code: 'ERR_GATEWAY_NO_ROUTE' } });
  t.equal(refreshed, 1);
});

test('errors have a fitting status, a code and a hint', async (t) => {
  for (const [code, status] of [
    ['ERR_DATAPATH_DENIED', 403],
    ['ERR_DATAPATH_NO_BACKEND', 503],
    ['ERR_RING_TIMEOUT', 504],
    ['ERR_PARTICLE_TRAP', 500],
    ['ERR_SOMETHING_ELSE', 502],
  ] as const) {
    const url = await gateway(t, {
      exchange: () => Promise.reject(new AetherError('why', { code, hint: 'what to do' })),
    });
    const answer = await fetch(url);
    t.equal(answer.status, status, code);
    t.same(await answer.json(), { error: { code, message: 'why', hint: 'what to do' } });
  }
});

test('a body over the limit is refused and never handed on', async (t) => {
  let exchanged = 0;
  const url = await gateway(t, {
    exchange: () => {
      exchanged += 1;
      return Promise.reject(new Error('never'));
    },
  });
  for (const bytes of [8 * 1024 * 1024 + 1, 64 * 1024 * 1024]) {
    const answer = await fetch(url, { method: 'POST', body: new Uint8Array(bytes) });
    t.equal(answer.status, 413);
    t.match(await answer.json(), { error: { code: 'ERR_GATEWAY_BODY_TOO_LARGE' } });
  }
  t.equal(exchanged, 0);
});

/** What comes back for a request written by hand. */
async function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.end(text.replaceAll('\n', '\r\n'));
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

test('a path that leads out of its route, or a target that is none, is refused', async (t) => {
  const seen: string[] = [];
  const url = await gateway(t, {
    exchange: async (_identity, _service, { authority, path }) => {
      seen.push(`${authority} ${path}`);
      return { node: 'nb', response: { status: 200, headers: [], body: new Uint8Array() } };
    },
  });
  for (const target of ['/a/../b', '/a/%2e%2E/b', '/a/.', '/..\\b', '/a/.%2e?q', '*', 'b']) {
    const answer = await raw(url, `OPTIONS ${target} HTTP/1.1\nHost: h\nConnection: close\n\n`);
    t.match(answer, /^HTTP\/1\.1 400 /, target);
  }
  const twice = await raw(url, 'GET / HTTP/1.1\nHost: a\nHost: b\nConnection: close\n\n');
  t.match(twice, /^HTTP\/1\.1 400 /);
  t.match(await raw(url, 'GET / HTTP/1.1\nConnection: close\n\n'), /^HTTP\/1\.1 400 /);
  t.same(seen, []);
  await raw(url, 'GET http://other.example/x?y=.. HTTP/1.1\nHost: h\nConnection: close\n\n');
  await raw(url, 'GET /...%2F/..x HTTP/1.0\n\n');
  t.same(seen, ['other.example /x?y=..', ' /...%2F/..x']);
});

test('what would smuggle a second request is refused', async (t) => {
  let exchanged = 0;
  const url = await gateway(t, {
    exchange: async () => {
      exchanged += 1;
      return { node: 'nb', response: { status: 200, headers: [], body: new Uint8Array() } };
    },
  });
  for (const head of [
    'Content-Length: 3\nTransfer-Encoding: chunked\n\n0\n\nGET /x HTTP/1.1\nHost: h\n\n',
    'Content-Length: 3\nContent-Length: 4\n\nabcd',
    'Transfer-Encoding: xchunked\n\n0\n\n',
    'X: y\n Transfer-Encoding: chunked\nContent-Length : 3\n\nabc',
  ]) {
    const answer = await raw(url, `POST / HTTP/1.1\nHost: h\nConnection: close\n${head}`);
    t.match(answer, /^HTTP\/1\.1 400 /, head);
  }
  t.equal(exchanged, 0);
});

test('HEAD has no body, whatever the component says', async (t) => {
  const url = await gateway(t, {
    exchange: async () => ({
      node: 'nb',
      response: {
        status: 200,
        headers: [['content-length', '99']],
        body: new TextEncoder().encode('four'),
      },
    }),
  });
  const answer = await raw(url, 'HEAD / HTTP/1.1\nHost: h\nConnection: close\n\n');
  t.match(answer, /^HTTP\/1\.1 200 /);
  t.notMatch(answer, /99/);
  t.match(answer, /\r\n\r\n$/);
});
