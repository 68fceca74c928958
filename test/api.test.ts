/** The control API against a real node: shapes, statuses and codes that programs are written against. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { segment } from '../cli/io/control-client.ts';
import type { LatticeNode, LatticeStatus } from '../cli/daemon/node.ts';
import { workflow } from '../engine/index.ts';
import { ask, client, deployTiny, folder, lattice, node } from './nodes.ts';

const greet = workflow('greet', async (ctx, input: { name: string }) => {
  const greeting = await ctx.step('greet', () => `hello ${input.name}`);
  const ending = await ctx.receive<string>('end');
  return `${greeting}${ending}`;
});

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

test('the socket is its owner’s alone, and status tells the lattice', async (t) => {
  const data = join(folder(t), 'node');
  const single = await node(t, { data, name: 'one', zone: 'z1' });
  t.equal(statSync(join(data, 'api.sock')).mode & 0o777, 0o600);
  t.equal(statSync(data).mode & 0o777, 0o700);
  const status = await client(single).json('/status');
  t.match(status, {
    lattice: /^l[a-z2-7]{52}$/,
    self: single.id,
    epoch: 1,
    members: [{ id: single.id, name: 'one', state: 'alive', zone: 'z1', weight: 1, ownership: 1 }],
    datapath: { tier: 'userspace', why: [/kernel programs/] },
  });
  t.same(await client(single).json('/ring/owners', { query: { key: 'a' } }), {
    epoch: 1,
    owners: [single.id],
  });
});

test('buckets and keys', async (t) => {
  const api = client(await node(t));
  const create = { method: 'PUT', json: { class: 'eventual', replicas: 3 } } as const;
  t.equal((await api.call('/kv/notes', create)).status, 201);
  t.equal((await api.call('/kv/notes', create)).status, 200, 'the same again');
  await t.rejects(
    api.call('/kv/notes', { method: 'PUT', json: { class: 'eventual', replicas: 2 } }),
    {
      code: 'ERR_KV_BUCKET_EXISTS',
      status: 409,
    },
  );
  await t.rejects(api.call('/kv/locks', { method: 'PUT', json: { class: 'strong' } }), {
    status: 501,
    code: 'ERR_NOT_AVAILABLE',
  });

  const put = await api.call('/kv/notes/a', { method: 'PUT', body: bytes('one') });
  t.match(put.headers['etag'], /^".+"$/);
  const got = await api.call('/kv/notes/a', { query: { consistency: 'one' } });
  t.equal(got.headers['etag'], put.headers['etag']);
  t.equal(new TextDecoder().decode(got.body), 'one');
  await t.rejects(api.call('/kv/notes/a', { query: { consistency: 'most' } }), {
    code: /./,
    status: 400,
  });
  await t.rejects(api.call('/kv/unknown/a'), { code: 'ERR_KV_BUCKET_UNKNOWN', status: 404 });

  for (const key of ['b', 'c', 'x/y']) {
    await api.call(`/kv/notes/${segment(key)}`, { method: 'PUT', body: bytes(key) });
  }
  const page = await api.json<{ keys: { key: string }[]; next: string }>('/kv/notes', {
    query: { limit: 2, after: 'a' },
  });
  t.same(
    page.keys.map(({ key }) => key),
    ['b', 'c'],
  );
  t.equal(page.next, 'c');
  t.match(await api.json('/kv/notes', { query: { prefix: 'x' } }), { keys: [{ key: 'x/y' }] });

  t.equal((await api.call('/kv/notes/a', { method: 'DELETE' })).status, 204);
  await t.rejects(api.call('/kv/notes/a'), { status: 404, code: 'ERR_KV_KEY_NOT_FOUND' });
});

test('workflows of the node’s own', async (t) => {
  const api = client(await node(t, { workflows: [greet] }));
  const start = {
    method: 'POST',
    json: { name: 'greet', input: { name: 'ada' }, id: 'g1' },
  } as const;
  const started = await api.call('/workflows', start);
  t.equal(started.status, 201);
  const again = await api.call('/workflows', start);
  t.equal(again.status, 200, 'asking twice is asking once');
  t.same(
    JSON.parse(new TextDecoder().decode(again.body)),
    JSON.parse(new TextDecoder().decode(started.body)),
  );
  await t.rejects(api.call('/workflows', { method: 'POST', json: { name: 'nobody' } }), {
    code: /./,
    status: 404,
  });
  await t.rejects(api.call('/workflows', { method: 'POST', json: {} }), { code: /./, status: 400 });

  const signal = {
    method: 'POST',
    body: bytes('"!"'),
    headers: { 'idempotency-key': 's1' },
  } as const;
  t.equal((await api.call('/workflows/g1/signals/end', signal)).status, 202);
  const run = await api.json('/workflows/g1', { query: { wait: '10s' } });
  t.match(run, { id: 'g1', name: 'greet', status: 'completed', result: 'hello ada!' });
  t.match(await api.json('/workflows', { query: { name: 'greet', status: 'completed' } }), {
    workflows: [{ id: 'g1' }],
  });
  const history = await api.json<{ events: { kind: string; name?: string }[] }>(
    '/workflows/g1/history',
  );
  t.ok(history.events.some(({ kind, name }) => kind === 'step-completed' && name === 'greet'));

  await api.call('/workflows', {
    method: 'POST',
    json: { name: 'greet', input: { name: 'b' }, id: 'g2' },
  });
  const open = await api.json<{ status: string }>('/workflows/g2', { query: { wait: '50ms' } });
  t.match(open.status, /running|sleeping/);
  const cancel = { method: 'POST', json: { reason: 'enough' } } as const;
  t.equal((await api.call('/workflows/g2/cancel', cancel)).status, 202);
  t.match(await api.json('/workflows/g2', { query: { wait: '10s' } }), {
    status: 'cancelled',
    error: { code: 'ERR_ENGINE_CANCELLED', message: /enough/ },
  });
  await t.rejects(api.json('/workflows/nobody'), { status: 404, code: 'ERR_ENGINE_NOT_FOUND' });
});

test('apps, their particles, flows, logs and figures', async (t) => {
  const single = await node(t);
  const api = client(single);
  await deployTiny(single, '1.0.0');
  await ask(single, '/hit');
  t.match(await api.json('/apps'), { apps: [{ app: 'tiny', version: '1.0.0', generation: 1 }] });
  t.match(await api.json('/apps/tiny'), {
    state: 'published',
    buckets: ['tiny.tallies'],
    instances: [{ particle: 'web', state: 'warm', requests: 1, nodeName: single.ring.name }],
  });
  await t.rejects(api.json('/apps/nobody'), { status: 404, code: 'ERR_APP_NOT_FOUND' });
  t.match(await api.json('/particles'), { particles: [{ app: 'tiny', node: single.id }] });
  t.match(await api.json('/flows'), { flows: [{ from: 'world', to: 'tiny/web', status: 200 }] });
  t.match(await api.json('/logs'), { lines: [] });
  const metrics = new TextDecoder().decode((await api.call('/metrics')).body);
  t.match(
    metrics,
    /aether_exchanges_total\{from="world",to="tiny\/web",verdict="allowed",status="200"\} 1/,
  );
  t.match(metrics, /aether_members\{state="alive"\} 1/);
  t.match(metrics, /aether_ring_over_rate_total\{class="guest"\} 0/);
  t.match(metrics, /aether_ring_links\{state="members"\} 0/);
  t.match(metrics, /^aether_engine_runs_closed_total\{workflow="\S+",status="completed"\} \d+$/m);
  const invoke = { method: 'POST', json: { export: 'nothing' } } as const;
  await t.rejects(api.call('/particles/tiny/web/invoke', invoke), {
    code: 'ERR_PARTICLE_NO_EXPORT',
  });
  await t.rejects(api.call('/particles/tiny/nobody/invoke', invoke), {
    status: 404,
    code: 'ERR_PARTICLE_NOT_FOUND',
  });
});

test('events tell flows and deploys as they happen', async (t) => {
  const single = await node(t);
  const heard: string[] = [];
  const isOver = (async () => {
    for await (const { event } of client(single).events('/events')) {
      heard.push(event);
      if (event === 'flow') break;
    }
  })();
  // A subscription has no answer of its own: things happen until one of them is heard.
  for (let n = 0; !heard.includes('deploy'); n++) await deployTiny(single, `1.0.${n}`);
  await ask(single, '/hit');
  await isOver;
  t.same(heard.at(-1), 'flow');
});

test('what is not in this release says so', async (t) => {
  const api = client(await node(t));
  for (const path of ['/ring/repair', '/kv/notes', '/kv/notes/a/increment']) {
    await t.rejects(
      api.call(path, { method: 'POST' }),
      { status: 501, code: 'ERR_NOT_AVAILABLE' },
      path,
    );
  }
  await t.rejects(api.call('/kv/notes', { query: { watch: 1 } }), { code: 'ERR_NOT_AVAILABLE' });
});

async function until(of: LatticeNode, holds: (status: LatticeStatus) => boolean): Promise<void> {
  await new Promise<void>((done) => {
    const look = async (): Promise<void> => {
      if (!holds(await of.status())) return;
      stop();
      done();
    };
    const stop = of.ring.onChange(() => void look());
    void look();
  });
}

test('a node that is lost is removed, one that lives is not', async (t) => {
  const [first, second, third] = await lattice(t);
  const remove = (of: typeof first): Promise<unknown> =>
    client(second).json(`/ring/nodes/${of.id}/remove`, { method: 'POST' });
  await t.rejects(remove(third), { code: 'ERR_RING_NODE_ALIVE' });
  await until(second, ({ voters }) => voters.length === 3);
  await first.close();
  await until(second, ({ members }) =>
    members.some(({ id, state }) => id === first.id && state === 'left'),
  );
  t.match(await remove(first), { workflow: `remove:${first.id}` });
  await until(third, ({ members, voters }) => members.length === 2 && voters.length === 2);
});

test('a node that leaves is gone from the lattice, and closes', async (t) => {
  const [first, second, third] = await lattice(t);
  const leave = (of: typeof first): Promise<unknown> =>
    client(of).json('/node/leave', { method: 'POST' });
  const asked = await leave(third);
  t.same(asked, { workflow: `leave:${third.id}` });
  t.same(await leave(third), asked, 'asked again');
  const path = `/workflows/${segment(`leave:${third.id}`)}`;
  const run = await client(third).json(path, { query: { wait: '30s' } });
  t.match(run, { status: 'completed', result: { left: third.id, moved: [] } });
  await third.closed;
  t.ok(third.hasLeft);
  const { members } = await first.status();
  t.equal(members.length, 2);
  t.notOk(members.some(({ id }) => id === third.id));
  await first.leave();
  await t.rejects(leave(second), { code: 'ERR_RING_LAST_VOTER' });
});
