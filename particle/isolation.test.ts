import { test } from 'tap';
import {
  PROBE_GRANTS,
  ask,
  codeOf,
  deploy,
  get,
  makeParticle,
  openHost,
  readFixture,
  stateOf,
  until,
} from './fixtures/fixture.ts';

test('a runaway is ended in time and its neighbour keeps answering', async (t) => {
  const { host } = await openHost(t);
  const limits = { memory: '2Mi', time: '700ms', instances: 16, outbound: 1 };
  await deploy(host, 'probe', { name: 'evil', grants: PROBE_GRANTS, limits });
  await deploy(host, 'tiny');
  const startedMs = performance.now();
  const loop = { isOver: false };
  const loops = Promise.all(
    Array.from({ length: 4 }, () => host.handle('tally', 'evil', get('/loop'))),
  ).finally(() => (loop.isOver = true));
  let answered = 0;
  while (!loop.isOver) {
    t.match(await ask(host, '/'), /GET \/hit counts/);
    answered++;
  }
  const codes = (await loops).map(codeOf);
  t.same(codes, Array(4).fill('ERR_PARTICLE_TIMEOUT'));
  t.ok(performance.now() - startedMs < 5_000, 'all four within limits.time and a margin');
  t.ok(answered > 10, `the neighbour answered ${answered} times meanwhile`);
  t.equal(await ask(host, '/seen', 'evil'), '1', 'a fresh instance answers afterwards');
});

test('a single worker stuck in one Particle does not stop another', async (t) => {
  const { host } = await openHost(t, { workers: 1 });
  const limits = { memory: '2Mi', time: '1500ms', instances: 16, outbound: 1 };
  await deploy(host, 'probe', { name: 'evil', grants: PROBE_GRANTS, limits });
  await deploy(host, 'tiny');
  const loop = host.handle('tally', 'evil', get('/loop'));
  t.match(await ask(host, '/'), /GET \/hit counts/, 'a spare worker answers');
  t.equal(host.list().find(({ particle }) => particle === 'evil')?.requests, 1);
  t.equal(codeOf(await loop), 'ERR_PARTICLE_TIMEOUT');
});

test('a request with an effect is not run again when its worker is lost', async (t) => {
  const { host, keyValue } = await openHost(t, { workers: 1 });
  const limits = { memory: '2Mi', time: '500ms', instances: 16, outbound: 1 };
  await deploy(host, 'probe', { name: 'evil', grants: PROBE_GRANTS, limits });
  await deploy(host, 'tiny');
  const held = Promise.withResolvers<void>();
  const calls: string[] = [];
  const plainGet = keyValue.get.bind(keyValue);
  keyValue.get = async (bucket, key) => {
    calls.push('get');
    if (calls.length === 1) await held.promise;
    return await plainGet(bucket, key);
  };
  keyValue.set = async () => {
    calls.push('set');
    await new Promise(() => {});
  };
  const reader = ask(host, '/count');
  await until(() => calls.length === 1);
  const writer = ask(host, '/hit');
  await until(() => calls.includes('set'));
  const loop = host.handle('tally', 'evil', get('/loop'));
  t.equal(await writer, '503 ERR_PARTICLE_WORKER_LOST', 'it had written: not again');
  t.equal(await reader, '{"count":0}', 'it had only read: once more');
  t.equal(calls.filter((call) => call === 'set').length, 1);
  t.equal(codeOf(await loop), 'ERR_PARTICLE_TIMEOUT');
});

test('a component that waits too long is let go and its worker lives on', async (t) => {
  const { host, keyValue } = await openHost(t, { workers: 1 });
  const limits = { memory: '2Mi', time: '100ms', instances: 1, outbound: 1 };
  await deploy(host, 'tiny', { limits });
  keyValue.before = () => new Promise(() => {});
  t.equal(await ask(host, '/hit'), '504 ERR_PARTICLE_TIMEOUT');
  keyValue.before = () => {};
  await until(() => stateOf(host) === 'idle 0');
  t.equal(await ask(host, '/hit'), '{"count":1}');
});

test('linear memory ends at limits.memory', async (t) => {
  const { host } = await openHost(t);
  await deploy(host, 'probe', { grants: PROBE_GRANTS });
  t.equal(await ask(host, '/bomb'), '32 pages', '2Mi, not one page more');
  const limits = { memory: '64Ki', time: '1s', instances: 1, outbound: 1 };
  const particle = makeParticle({ name: 'small', grants: PROBE_GRANTS, limits });
  await t.rejects(host.prepare('tally', 'v1', particle, await readFixture('probe')), {
    code: 'ERR_PARTICLE_MEMORY_LIMIT',
  });
});

test('a trap is a 500 and costs one instance', async (t) => {
  const { host } = await openHost(t);
  await deploy(host, 'probe', { grants: PROBE_GRANTS });
  t.equal(await ask(host, '/seen'), '1');
  t.equal(await ask(host, '/seen'), '2', 'a warm instance serves again');
  t.equal(await ask(host, '/trap'), '500 ERR_PARTICLE_TRAP');
  t.match(host.list(), [{ why: /last request: ERR_PARTICLE_TRAP/, failures: 1 }]);
  t.equal(await ask(host, '/seen'), '1', 'the next one is fresh');
});

test('a log flood is cut', async (t) => {
  const { host } = await openHost(t);
  await deploy(host, 'probe', { grants: PROBE_GRANTS });
  let lines = 0;
  host.onLog(({ stream }) => void (stream === 'stdout' && lines++));
  t.equal(await ask(host, '/flood'), '');
  t.ok(lines >= 1_000 && lines < 2_500, `${lines} of 5000 lines came through`);
});

test('a loop of host calls that never wait is ended too', async (t) => {
  const { host } = await openHost(t);
  const limits = { memory: '2Mi', time: '500ms', instances: 16, outbound: 1 };
  await deploy(host, 'probe', { name: 'evil', grants: PROBE_GRANTS, limits });
  await deploy(host, 'tiny');
  const spin = host.handle('tally', 'evil', get('/spin'));
  t.match(await ask(host, '/'), /GET \/hit counts/);
  t.equal(codeOf(await spin), 'ERR_PARTICLE_TIMEOUT');
  t.equal(await ask(host, '/seen', 'evil'), '1');
});

test('a component that takes resources without end traps', async (t) => {
  const { host } = await openHost(t);
  const limits = { memory: '2Mi', time: '60s', instances: 16, outbound: 1 };
  await deploy(host, 'probe', { name: 'evil', grants: PROBE_GRANTS, limits });
  await deploy(host, 'tiny');
  t.equal(await ask(host, '/hoard', 'evil'), '500 ERR_PARTICLE_TRAP');
  t.equal(await ask(host, '/hit'), '{"count":1}');
});
