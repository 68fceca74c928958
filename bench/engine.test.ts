import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { againstCeiling, againstPeers } from './engine/bounds.ts';
import { CASES } from './engine/cases.ts';
import { Field } from './engine/field.ts';
import { type Command, Keeper } from './engine/keeper.ts';
import { openworkflow } from './engine/peers/openworkflow.ts';
import { Medians } from './medians.ts';

function emptyFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-bench-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('the bound against peers', (t) => {
  const peers = new Map([
    ['slow', 10],
    ['fast', 100],
  ]);
  t.match(
    againstPeers(8, 800, peers, []),
    { holds: true, text: /at least 8 times the best peer; measured 8\.00 times fast/ },
    'is asserted against the best when all ran',
  );
  t.match(againstPeers(8, 799, peers, []), { holds: false }, 'and is broken below it');
  const leftOut = [{ name: 'gone', why: 'no database' }];
  const undecided = againstPeers(8, 800, peers, leftOut);
  t.equal(undecided.holds, undefined, 'one that was left out might have been the best');
  t.match(undecided, { text: /measured 8\.00 times fast/, why: /gone: no database/ });
  t.equal(againstPeers(8, 799, peers, leftOut).holds, false, 'those that ran can break it');
  t.match(againstPeers(8, 800, new Map(), leftOut), { holds: undefined, why: /gone/ });
  t.end();
});

test('the bounds against the ceiling', (t) => {
  const bound = (name: string, ours: number, ceiling: number): boolean | undefined => {
    const found = CASES.find((one) => one.name === name)?.ceiling;
    return found && againstCeiling(found, ours, ceiling).holds;
  };
  t.equal(bound('steps10-c64', 25, 100), true);
  t.equal(bound('steps10-c64', 24.9, 100), false);
  t.equal(bound('steps10-c1', 2, 1), true);
  t.equal(bound('steps10-c1', 2.01, 1), false);
  t.equal(bound('signal', 3, 1), true);
  t.equal(bound('signal', 3.01, 1), false);
  t.equal(bound('signal', Number.NaN, 1), false, 'what was not measured does not hold');
  t.end();
});

test('medians are of one case, subject and metric', (t) => {
  const medians = new Medians();
  for (const value of [3, 1, 200]) medians.add('case', 'a', 'p50Ms', value);
  for (const value of [1, 2]) medians.add('case', 'b', 'p50Ms', value);
  t.equal(medians.value('case', 'a', 'p50Ms'), 3);
  t.equal(medians.value('case', 'b', 'p50Ms'), 1.5);
  t.ok(Number.isNaN(medians.value('case', 'a', 'p99Ms')));
  t.end();
});

test('a peer that cannot be opened is left out with the reason', async (t) => {
  const folder = emptyFolder(t);
  const said: string[] = [];
  const field = new Field(folder, folder, (text) => void said.push(text));
  await field.open(openworkflow);
  t.notOk(field.has(openworkflow));
  t.match(field.leftOut, [{ name: 'openworkflow', why: /Cannot find module 'openworkflow/ }]);
  t.match(said, [/^left out: openworkflow: .*Cannot find module/]);
});

/** A program whose own child holds a connection to the test for as long as it lives. */
async function withGrandchild(
  t: Test,
  folder: string,
): Promise<{ command: Command; connected: Promise<unknown>; gone: Promise<void> }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const connected = once(server, 'connection');
  const gone = async (): Promise<void> => {
    const [socket] = (await connected) as [Socket];
    await once(socket.on('error', () => {}).resume(), 'close');
  };
  const command: Command = {
    program: 'sh',
    args: ['-c', '"$0" -e "$1" & wait', process.execPath, `net.connect(${port}, '127.0.0.1')`],
    folder,
    endSignal: 'SIGTERM',
  };
  return { command, connected, gone: gone() };
}

for (const how of ['stop', 'kill'] as const) {
  test(`${how} ends a kept program with its children`, async (t) => {
    const folder = emptyFolder(t);
    const { command, connected, gone } = await withGrandchild(t, folder);
    const keeper = new Keeper(command, join(folder, 'log'));
    await connected;
    await keeper[how]();
    await gone;
    t.pass('the child of the child has ended');
  });
}

test('a kept program ends with a benchmark that is killed', async (t) => {
  const folder = emptyFolder(t);
  const { command, connected, gone } = await withGrandchild(t, folder);
  const module = join(import.meta.dirname, 'engine', 'keeper.ts');
  const script = `import { Keeper } from ${JSON.stringify(module)};
    new Keeper(${JSON.stringify(command)}, ${JSON.stringify(join(folder, 'log'))});`;
  const bench = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
  await connected;
  bench.kill('SIGKILL');
  await gone;
  t.pass('the child of the child has ended');
});

test('a benchmark that is told to end leaves nothing', async (t) => {
  const folder = emptyFolder(t);
  const main = join(import.meta.dirname, 'main.ts');
  const bench = spawn(process.execPath, [main, 'engine', 'steps10-c1'], {
    env: { ...process.env, AETHER_BENCH_DIR: folder, XDG_CACHE_HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  for await (const chunk of bench.stderr.setEncoding('utf8')) {
    said += String(chunk);
    if (said.includes('round 1/3')) break;
  }
  t.match(said, /left out: restate: not installed; --with-peers installs it/);
  t.strictSame(readdirSync(folder).length, 1, 'it has a folder while it runs');
  bench.kill('SIGTERM');
  const [code] = await once(bench, 'exit');
  t.equal(code, 128 + 15);
  t.strictSame(readdirSync(folder), []);
});
