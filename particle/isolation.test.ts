import { parse } from '@bytecodealliance/jco';
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

test('one block of memory passed a thousand times over is a trap, not a gigabyte', async (t) => {
  const { host } = await openHost(t, { workers: 1 });
  const limits = { memory: '4Mi', time: '60s', instances: 1, outbound: 1 };
  await deploy(host, 'probe', { grants: PROBE_GRANTS, limits });
  const beforeBytes = process.memoryUsage.rss();
  t.equal(await ask(host, '/copies'), '500 ERR_PARTICLE_TRAP');
  t.ok(process.memoryUsage.rss() - beforeBytes < 500 * 2 ** 20);
});

test('a list as long as memory is a trap, and the process lives', async (t) => {
  const { host } = await openHost(t, { workers: 1 });
  const limits = { memory: '128Mi', time: '60s', instances: 1, outbound: 1 };
  await deploy(host, 'probe', { grants: PROBE_GRANTS, limits });
  t.equal(await ask(host, '/crowd'), '500 ERR_PARTICLE_TRAP');
});

/** A component that runs `body` and may have more in its core module. */
const component = (body: string, more = ''): string => `(component
  (core module $m ${more} (func $f (export "run") ${body}))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))`;

test('what would fill the heap of the engine itself is not taken', async (t) => {
  const { host } = await openHost(t);
  const particle = makeParticle({ world: 'own:world/run', grants: [] });
  const array = '(type $a (array (mut i64)))';
  for (const [text, code] of [
    [component('(drop (array.new_default $a (i32.const 9)))', array), 'ERR_PARTICLE_UNCAPPABLE'],
    [component('', '(table 300000 funcref)'), 'ERR_PARTICLE_MEMORY_LIMIT'],
  ] as const) {
    await t.rejects(host.prepare('tally', 'v1', particle, await parse(text)), { code });
  }
});

test('waiting on memory that nobody writes, and calls without end, end in time', async (t) => {
  const { host } = await openHost(t);
  const limits = { memory: '2Mi', time: '500ms', instances: 1, outbound: 1 };
  const wait = '(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))';
  for (const [name, text, code] of [
    ['wait', component(wait, '(memory 1 1 shared)'), 'ERR_PARTICLE_TIMEOUT'],
    ['deep', component('(call $f) (call $f)'), 'ERR_PARTICLE_TRAP'],
  ] as const) {
    const particle = makeParticle({ name, world: 'own:world/run', grants: [], limits });
    await host.prepare('tally', 'v1', particle, await parse(text));
    host.activate('tally', name, 'v1');
    await t.rejects(host.invoke('tally', name, 'run', []), { code }, name);
  }
});

test('what an instance keeps over its requests is bounded', async (t) => {
  const { host } = await openHost(t, { workers: 1 });
  const limits = { memory: '4Mi', time: '60s', instances: 1, outbound: 1 };
  await deploy(host, 'probe', { grants: PROBE_GRANTS, limits });
  const answers: string[] = [];
  while (answers.length < 6 && answers.at(-1) !== '500 ERR_PARTICLE_TRAP') {
    answers.push(await ask(host, '/keep'));
  }
  t.same(answers, ['', '', '', '', '500 ERR_PARTICLE_TRAP'], '7 MiB each');
  t.equal(await ask(host, '/seen'), '1', 'the one that kept too much is gone');
});

test('answers that a component keeps are bounded too', async (t) => {
  const { host } = await openHost(t, {
    workers: 1,
    dial: () => Promise.resolve({ status: 200, headers: [], body: new Uint8Array(8 * 2 ** 20) }),
  });
  const limits = { memory: '4Mi', time: '60s', instances: 1, outbound: 1 };
  await deploy(host, 'probe', { grants: PROBE_GRANTS, limits });
  for (let n = 0; n < 3; n++) t.equal(await ask(host, '/out/other.aether'), 'status 200');
  t.match(await ask(host, '/out/other.aether'), /^error/);
});

test('what a component makes the host say is cut as its own words are', async (t) => {
  const { host } = await openHost(t);
  const limits = { memory: '4Mi', time: '60s', instances: 1, outbound: 1 };
  await deploy(host, 'probe', { grants: PROBE_GRANTS, limits });
  let lines = 0;
  host.onLog(({ stream }) => void (stream === 'host' && lines++));
  t.equal(await ask(host, '/shun'), '');
  t.ok(lines >= 1_000 && lines < 1_900, `${lines} of 2000 lines came through`);
});

test('a flood of one Particle leaves the lines of another', async (t) => {
  const { host, keyValue } = await openHost(t);
  keyValue.before = () => Promise.reject(new Error('no quorum'));
  await deploy(host, 'tiny', { name: 'quiet' });
  await ask(host, '/count', 'quiet');
  t.match(host.logs({ particle: 'quiet' }), [{ line: /kv-get failed/ }]);
  await deploy(host, 'probe', { grants: PROBE_GRANTS });
  await ask(host, '/flood');
  t.match(host.logs({ particle: 'quiet' }), [{ line: /kv-get failed/ }]);
});
