/** Three nodes with real sockets, real disks and a real component. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { segment } from '../cli/io/control-client.ts';
import { TINY, ask, client, deployTiny, folder, lattice, node, tinyApp } from './nodes.ts';
import { postBundle } from '../cli/io/bundle.ts';

const PROBE = readFileSync(new URL('../particle/fixtures/probe.wasm', import.meta.url));

test('a component deployed through one node answers through each, with one state', async (t) => {
  const nodes = await lattice(t);
  const run = await deployTiny(nodes[1], '1.0.0');
  t.match(run, { status: 'completed', result: { app: 'tiny', version: '1.0.0', generation: 1 } });
  let count = 0;
  for (const each of nodes) {
    count += 1;
    t.same(JSON.parse((await ask(each, '/hit')).text), { count });
  }
  for (const each of nodes) {
    t.same(JSON.parse((await ask(each, '/count')).text), { count }, `through ${each.address}`);
  }
  const { status } = await ask(nodes[0], '/');
  t.equal(status, 200);

  const flows = nodes.flatMap((each) => each.lifecycle.datapath.flows());
  t.ok(flows.length >= 7, 'every exchange went through the datapath');
  t.ok(flows.every(({ verdict, rule }) => verdict === 'allowed' && rule === 'web.routes'));
});

test('the same content again is the same deploy; new content replaces it', async (t) => {
  const nodes = await lattice(t);
  await deployTiny(nodes[0], '1.0.0');
  const bundle = { source: tinyApp('1.0.0'), file: 'Aetherfile', components: { web: TINY } };
  const again = await postBundle(client(nodes[2]), bundle);
  t.match(again, { existing: true, generation: 1 });
  t.match(await deployTiny(nodes[2], '1.1.0'), { status: 'completed', result: { generation: 2 } });
  for (const each of nodes) {
    t.match(each.lifecycle.directory.record('tiny'), { generation: 2, app: { version: '1.1.0' } });
  }
  t.equal((await ask(nodes[1], '/hit')).text, '{"count":1}');
});

test('each step of a deploy has its effect once, in the log of the node that did it', async (t) => {
  const nodes = await lattice(t);
  const { id } = await deployTiny(nodes[0], '1.0.0');
  const { effects } = await client(nodes[1]).json<{
    effects: { name: string; node: string; deliveries: number }[];
  }>('/effects', { query: { workflow: id } });
  const { events } = await client(nodes[0]).json<{ events: { kind: string; name?: string }[] }>(
    `/workflows/${segment(id)}/history`,
  );
  const steps = events.filter(({ kind }) => kind === 'step-completed').map(({ name = '' }) => name);
  t.same(
    effects.map(({ name }) => name).toSorted(),
    steps.filter((name) => name !== 'plan').toSorted(),
  );
  t.ok(effects.every(({ deliveries }) => deliveries === 1));
  t.same(
    new Set(effects.map((effect) => effect.node)),
    new Set(nodes.map((each) => each.id)),
    'all three nodes did something',
  );
});

test('key and value: written through one node, read through another, also with a node gone', async (t) => {
  const [first, second, third] = await lattice(t);
  await client(first).json('/kv/notes', { method: 'PUT', json: { class: 'eventual' } });
  const put = await client(first).call('/kv/notes/a%2Fb', {
    method: 'PUT',
    body: new TextEncoder().encode('one'),
  });
  const got = await client(second).call('/kv/notes/a%2Fb');
  t.equal(new TextDecoder().decode(got.body), 'one');
  t.equal(got.headers['etag'], put.headers['etag']);

  await third.close();
  await client(second).call('/kv/notes/c', {
    method: 'PUT',
    body: new TextEncoder().encode('two'),
  });
  t.equal(new TextDecoder().decode((await client(first).call('/kv/notes/c')).body), 'two');
  t.equal(new TextDecoder().decode((await client(first).call('/kv/notes/a%2Fb')).body), 'one');
  const { keys } = await client(first).json<{ keys: { key: string }[] }>('/kv/notes');
  t.same(
    keys.map(({ key }) => key),
    ['a/b', 'c'],
  );
  await t.rejects(client(first).call('/kv/notes/absent'), { code: 'ERR_KV_KEY_NOT_FOUND' });
});

test('a node that comes back has its app, its data and its place', async (t) => {
  const data = join(folder(t), 'node');
  const before = await node(t, { data });
  await deployTiny(before, '1.0.0');
  await ask(before, '/hit');
  const { id } = before;
  await before.close();

  const after = await node(t, { data });
  t.equal(after.id, id);
  t.equal((await ask(after, '/hit')).text, '{"count":2}');
});

test('a Particle is seen and heard through every node', async (t) => {
  const nodes = await lattice(t);
  const grants = '[{kind: "kv", bucket: "tallies"}, {kind: "invoke", particle: "web"}]';
  const source = tinyApp('1.0.0').replace(/grants: .*/, `grants: ${grants}`);
  const { workflow } = await postBundle(client(nodes[0]), {
    source,
    file: 'Aetherfile',
    components: { web: PROBE },
  });
  const path = `/workflows/${segment(workflow)}`;
  t.match(await client(nodes[0]).json(path, { query: { wait: '30s' } }), { status: 'completed' });
  for (const each of nodes.slice(0, 2)) t.equal((await ask(each, '/trap')).status, 500);
  for (const each of nodes) {
    const { particles } = await client(each).json<{ particles: { requests: number }[] }>(
      '/particles',
    );
    const requests = particles.reduce((sum, one) => sum + one.requests, 0);
    t.equal(requests, 2, 'requests of all nodes');
    const { lines } = await client(each).json<{ lines: { line: string; nodeName: string }[] }>(
      '/logs',
      { query: { app: 'tiny' } },
    );
    const trapped = lines.filter(({ line }) => line.startsWith('ERR_PARTICLE_TRAP'));
    t.equal(trapped.length, 2, 'lines of the node that served, whoever is asked');
    t.match(trapped[0]?.nodeName, /^n[123]$/);
    const other = await client(each).json('/logs', { query: { app: 'other' } });
    t.same(other, { lines: [] });
  }
});

test('who has stopped is not asked what it runs, nor what was said there', async (t) => {
  const [first, second, third] = await lattice(t);
  await deployTiny(first, '1.0.0');
  await third.close();
  const { ring } = first;
  await new Promise<void>((done) => {
    const look = (): void => {
      if (ring.members().some(({ id, state }) => id === third.id && state === 'left')) done();
    };
    t.teardown(ring.onChange(look));
    look();
  });
  const { args: calls } = t.capture(ring.rpc, 'call', ring.rpc.call.bind(ring.rpc));
  const { particles } = await client(first).json<{ particles: { nodeName: string }[] }>(
    '/particles',
  );
  await client(first).json('/logs');
  // A node reads what it is to run at times of its own.
  const questions = calls().filter(([, method]) => method.startsWith('particle.'));
  const asked = Object.groupBy(questions, ([to]) => to);
  t.match(asked[second.id], [
    [second.id, 'particle.list'],
    [second.id, 'particle.logs'],
  ]);
  t.equal(asked[third.id], undefined);
  const gone = particles.filter(({ nodeName }) => nodeName === third.ring.name);
  t.match(gone, [{ state: 'unknown', why: 'the node has stopped' }]);
});
