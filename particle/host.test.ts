import { appendFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'tap';
import type { Grant } from '../spec/aetherfile/app.ts';
import type { AetherError } from '../spec/error.ts';
import type { HttpRequest } from '../spec/http.ts';
import {
  INVOKE_OTHER,
  ManualClock,
  PROBE_GRANTS,
  ask,
  deploy,
  get,
  makeParticle,
  openHost,
  readFixture,
  stateOf,
  temporaryFolder,
  until,
} from './fixtures/fixture.ts';

test('a component counts in a bucket over HTTP', async (t) => {
  const { host, keyValue } = await openHost(t);
  await deploy(host, 'tiny');
  t.equal(await ask(host, '/hit'), '{"count":1}');
  t.equal(await ask(host, '/hit?again'), '{"count":2}');
  t.equal(await ask(host, '/count'), '{"count":2}');
  t.match(await ask(host, '/'), /GET \/hit counts/);
  t.equal((await host.handle('tally', 'web', get('/nowhere'))).status, 404);
  t.equal(new TextDecoder().decode(keyValue.rows.get('tally.tallies/hits')), '2');
});

test('a waiting host call does not hold up the worker', async (t) => {
  const { host, keyValue } = await openHost(t, { workers: 1 });
  await deploy(host, 'tiny');
  let waiting = 0;
  const open = Promise.withResolvers<void>();
  keyValue.before = () => {
    waiting++;
    return open.promise;
  };
  const counts = [ask(host, '/count'), ask(host, '/count'), ask(host, '/count')];
  await until(() => waiting === 3);
  t.match(await ask(host, '/'), /GET \/hit counts/, 'answered while three wait');
  open.resolve();
  t.same(await Promise.all(counts), Array(3).fill('{"count":0}'));
});

test('an import without its grant is refused, with the line to add', async (t) => {
  const { host } = await openHost(t);
  const bytes = await readFixture('tiny');
  const refusal = await host
    .prepare('tally', 'v1', makeParticle({ grants: [] }), bytes)
    .catch((error: unknown) => error as AetherError);
  t.match(refusal, {
    code: 'ERR_PARTICLE_UNGRANTED_IMPORT',
    message: /wasi:keyvalue\/store@0\.2\.0-draft/,
    hint: /\{kind: "kv", bucket: "NAME", ops: \["get", "set"\]\}/,
  });
  t.same(host.list(), [], 'nothing is left of it');
});

test('grants hold at every call', async (t) => {
  const { host, keyValue } = await openHost(t);
  const grants: Grant[] = [
    { kind: 'kv', bucket: 'tallies', keys: ['a:*', 'b'], ops: ['get', 'list'] },
    { kind: 'kv', bucket: 'tallies', keys: ['a:w'], ops: ['set'] },
    INVOKE_OTHER,
  ];
  await deploy(host, 'probe', { grants });
  for (const key of ['a:1', 'b', 'bb', 'c']) {
    keyValue.rows.set(`tally.tallies/${key}`, new TextEncoder().encode(key));
  }
  t.equal(await ask(host, '/get/a:1'), 'a:1');
  t.equal(await ask(host, '/get/a:none'), 'none');
  t.equal(await ask(host, '/get/c'), 'error 1', 'key is not granted');
  t.equal(await ask(host, '/get/bb'), 'error 1', 'an exact key is no prefix');
  t.equal(await ask(host, '/set/a:w'), 'set');
  t.equal(await ask(host, '/set/b'), 'error 1', 'operation is not granted for the key');
  t.equal(await ask(host, '/open/tallies'), 'open');
  t.equal(await ask(host, '/open/secrets'), 'error 1', 'bucket is not granted');
  t.equal(await ask(host, '/list'), 'a:1 a:w', 'lists what is granted, prefix by prefix');
});

test('a component sees the environment of its Aetherfile and none of the host', async (t) => {
  process.env['AETHER_TEST_CANARY'] = 'canary';
  t.teardown(() => delete process.env['AETHER_TEST_CANARY']);
  const { host } = await openHost(t);
  await deploy(host, 'probe', { grants: PROBE_GRANTS, env: { GREETING: 'hello' } });
  t.equal(await ask(host, '/env'), 'GREETING=hello');
});

test('outgoing HTTP goes where the grants say', async (t) => {
  const dialled: [string, HttpRequest][] = [];
  const { host } = await openHost(t, {
    dial(from, request) {
      dialled.push([`${from.app}/${from.particle}`, request]);
      return Promise.resolve({ status: 204, headers: [], body: new Uint8Array() });
    },
  });
  await deploy(host, 'probe', { grants: PROBE_GRANTS });
  t.equal(await ask(host, '/out/other.aether'), 'status 204');
  t.match(dialled, [['tally/web', { method: 'GET', authority: 'other.aether', path: '/' }]]);
  t.equal(await ask(host, '/out/third.aether'), 'error 15', 'HTTP-request-denied');
  t.equal(await ask(host, '/out/example.org'), 'error 15', 'HTTP-request-denied');
  t.equal(dialled.length, 1, 'what is refused is not dialled');
  t.match(
    host.logs().map(({ line }) => line),
    [/add \{kind: "invoke", particle: "third"\}/, /./],
  );
});

test('idle instances go, and the next request wakes one', async (t) => {
  const clock = new ManualClock();
  const { host } = await openHost(t, { clock, idleMs: 60_000 });
  await deploy(host, 'tiny');
  t.equal(stateOf(host), 'warm 1');
  clock.advance(59_999);
  t.equal(await ask(host, '/hit'), '{"count":1}');
  clock.advance(59_999);
  t.equal(stateOf(host), 'warm 1', 'the request has made it young again');
  clock.advance(1);
  t.equal(stateOf(host), 'idle 0');
  t.equal(await ask(host, '/hit'), '{"count":2}');
  t.equal(stateOf(host), 'warm 1');
});

test('one component is transpiled once, also over restarts', async (t) => {
  const cache = temporaryFolder(t);
  const first = await openHost(t, { cache });
  await Promise.all([
    deploy(first.host, 'tiny', { name: 'a' }),
    deploy(first.host, 'tiny', { name: 'b' }),
  ]);
  t.equal(first.host.transpiled, 1);
  await first.host.close();
  const second = await openHost(t, { cache });
  await deploy(second.host, 'tiny');
  t.equal(second.host.transpiled, 0, 'from the cache');
  t.equal(await ask(second.host, '/hit'), '{"count":1}');
});

test('a damaged cache entry is made again', async (t) => {
  const cache = temporaryFolder(t);
  const first = await openHost(t, { cache });
  await deploy(first.host, 'tiny');
  await first.host.close();
  const [entry] = await readdir(cache);
  await appendFile(path.join(cache, entry as string, 'guest.core.wasm'), 'x');
  const second = await openHost(t, { cache });
  await deploy(second.host, 'tiny');
  t.equal(second.host.transpiled, 1);
  t.equal(await ask(second.host, '/hit'), '{"count":1}');
});

test('a revision that was prepared and never used goes with the next one', async (t) => {
  const { host } = await openHost(t);
  await deploy(host, 'tiny');
  await host.prepare('tally', 'v2', makeParticle({ env: { X: '2' } }), await readFixture('tiny'));
  await deploy(host, 'tiny', { env: { X: '3' } }, 'v3');
  await until(() => host.list().length === 1);
  t.match(host.list(), [{ version: 'v3' }]);
});

test('a new revision takes over while the old one ends its requests', async (t) => {
  const { host, keyValue } = await openHost(t);
  await deploy(host, 'tiny');
  const open = Promise.withResolvers<void>();
  let isWaiting = false;
  keyValue.before = () => {
    isWaiting = true;
    return open.promise;
  };
  const old = ask(host, '/count');
  await until(() => isWaiting);
  await deploy(host, 'tiny', { env: { X: '2' } }, 'v2');
  t.match(host.list(), [
    { version: 'v1', state: 'draining' },
    { version: 'v2', state: 'warm' },
  ]);
  open.resolve();
  t.equal(await old, '{"count":0}');
  await until(() => host.list().length === 1);
  await Promise.all([host.retire('tally', 'web'), host.retire('tally', 'web')]);
  t.same(host.list(), []);
  await t.rejects(host.handle('tally', 'web', get('/')), { code: 'ERR_PARTICLE_NOT_ACTIVE' });
});

test('own exports are called with JSON values', async (t) => {
  const { host } = await openHost(t);
  await deploy(host, 'adder', { name: 'adder', world: 'aether:fixtures/adder', grants: [] });
  const call = (name: string, ...args: unknown[]): Promise<unknown> =>
    host.invoke('tally', 'adder', name, args);
  t.equal(await call('add', '9007199254740993', 1), '9007199254740994', '64 bits as text');
  t.equal(await call('greet', 'you'), 'hello you');
  t.equal(await call('check', 2), 2);
  await t.rejects(call('check', 3), { code: 'ERR_PARTICLE_RESULT', details: 'odd' });
  await t.rejects(call('nothing'), { code: 'ERR_PARTICLE_NO_EXPORT', hint: /add, greet, check/ });
});

test('names that could leave their place are refused', async (t) => {
  const { host } = await openHost(t);
  const bytes = await readFixture('tiny');
  const refused = { code: 'ERR_PARTICLE_NAME' };
  await t.rejects(host.prepare('../tally', 'v1', makeParticle(), bytes), refused);
  await t.rejects(host.prepare('tally', '../v1', makeParticle(), bytes), refused);
  await t.rejects(host.prepare('tally', 'v1', makeParticle({ name: 'a/../b' }), bytes), refused);
});

test('a request that is no HTTP is refused before it reaches the component', async (t) => {
  const { host } = await openHost(t);
  await deploy(host, 'tiny');
  const bad = { ...get('/hit'), headers: [['x', 'a\r\nb']] as [string, string][] };
  t.equal((await host.handle('tally', 'web', bad)).status, 400);
  const large = { ...get('/hit'), body: new Uint8Array(8 * 2 ** 20 + 1) };
  t.equal((await host.handle('tally', 'web', large)).status, 413);
  t.equal(await ask(host, '/count'), '{"count":0}');
});
