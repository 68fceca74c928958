import { createServer } from 'node:http';
import { type Test, test } from 'tap';
import { AetherError } from '../../spec/error.ts';
import { seededRandom } from '../../spec/random.ts';
import { type Route, Router } from './router.ts';

async function serve(t: Test, routes: Route[]): Promise<string> {
  const router = new Router(routes, (code) => (code === 'ERR_TEA' ? 418 : 500), seededRandom(1));
  const server = createServer((req, res) => void router.answer(req, res));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

test('named segments are decoded and never span a slash', async (t) => {
  const url = await serve(t, [
    {
      method: 'GET',
      path: '/kv/:bucket/:key',
      handler: ({ params, query }) => ({ status: 200, json: { ...params, q: query.get('q') } }),
    },
  ]);
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const answer = await fetch(`${url}/kv/a/b%2Fc%20d?q=1`, {
    headers: { traceparent: `00-${trace}-00f067aa0ba902b7-01` },
  });
  t.match(answer.headers.get('traceparent'), trace, 'the trace goes on');
  t.same(await answer.json(), { bucket: 'a', key: 'b/c d', q: '1' });
  t.equal((await fetch(`${url}/kv/a/b/c`)).status, 500);
  t.equal((await fetch(`${url}/kv/a/%ff`)).status, 500, 'text that is not UTF-8 is no segment');
});

test('bodies, statuses and headers pass', async (t) => {
  const url = await serve(t, [
    {
      method: 'POST',
      path: '/json',
      handler: async ({ json }) => ({ status: 201, json: await json(), headers: { etag: '"1"' } }),
    },
    {
      method: 'POST',
      path: '/bytes',
      handler: async ({ body }) => ({ status: 200, bytes: await body() }),
    },
    { method: 'DELETE', path: '/bytes', handler: () => ({ status: 204 }) },
  ]);
  const json = await fetch(`${url}/json`, { method: 'POST', body: '{"a":1}' });
  t.equal(json.status, 201);
  t.equal(json.headers.get('etag'), '"1"');
  t.same(await json.json(), { a: 1 });
  const bytes = await fetch(`${url}/bytes`, { method: 'POST', body: new Uint8Array([0, 255]) });
  t.same(new Uint8Array(await bytes.arrayBuffer()), new Uint8Array([0, 255]));
  t.equal((await fetch(`${url}/bytes`, { method: 'DELETE' })).status, 204);
});

test('every refusal is an error body', async (t) => {
  const url = await serve(t, [
    {
      method: 'GET',
      path: '/tea',
      handler: () => {
        throw new AetherError('short and stout', { code: 'ERR_TEA', hint: 'coffee' });
      },
    },
    {
      method: 'POST',
      path: '/json',
      handler: async ({ json }) => ({ status: 200, json: await json() }),
    },
    {
      method: 'GET',
      path: '/foreign',
      handler: () => {
        throw new Error('broken');
      },
    },
  ]);
  const code = async (path: string, init?: RequestInit): Promise<string> => {
    const { error } = (await (await fetch(url + path, init)).json()) as { error: { code: string } };
    return error.code;
  };
  const tea = await fetch(`${url}/tea`);
  t.equal(tea.status, 418);
  t.same(await tea.json(), {
    error: { code: 'ERR_TEA', message: 'short and stout', hint: 'coffee' },
  });
  t.equal(await code('/nothing'), 'ERR_API_NOT_FOUND');
  t.equal(await code('/tea', { method: 'POST' }), 'ERR_API_METHOD');
  t.equal(await code('/json', { method: 'POST', body: 'no' }), 'ERR_API_BODY');
  t.equal(await code('/json', { method: 'POST', body: '[1]' }), 'ERR_API_BODY');
  t.equal(await code('/foreign'), 'ERR_INTERNAL');
});
