/** What an operator types, against real nodes: who is in the lattice, why it is seen so, and moving a node's share. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import type { LatticeNode } from '../cli/daemon/node.ts';
import { ControlClient, segment } from '../cli/io/control-client.ts';
import { EXIT } from '../cli/io/exit-code.ts';
import type { EffectRow } from '../particle/index.ts';
import { type MemberView, mintJoinToken } from '../ring/index.ts';
import { client, deployTiny, folder, lattice, node } from './nodes.ts';

const MAIN = fileURLToPath(new URL('../cli/main.ts', import.meta.url));

const LOOK_MS = 20;

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `aether` to its end, against a node. */
function aether(at: LatticeNode, ...args: string[]): Promise<Ended> {
  const env = { ...process.env, NO_COLOR: '1', AETHER_API: at.addresses.api };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

/** Round trips change without a word: so it is looked for. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause(LOOK_MS);
}

/** Waits until a node sees another so. */
async function sees(
  by: LatticeNode,
  id: string,
  isSo: (member: MemberView) => boolean,
): Promise<void> {
  await until(() => by.ring.members().some((each) => each.id === id && isSo(each)));
}

test('status has a line for the lattice and one for each node', async (t) => {
  const [first, second] = await lattice(t);
  await sees(
    first,
    second.id,
    ({ state, load, rttMs }) => state === 'alive' && load !== undefined && rttMs !== undefined,
  );
  await until(() => first.ring.voters().nodes.length === 3);
  const { stdout, code } = await aether(first, 'ring', 'status');
  t.equal(code, EXIT.ok);
  t.match(
    stdout,
    /^lattice l[a-z2-7]{52} \(tag [a-z2-7]{26}\)\nepoch \d+ \(settled\) {2}voters: n\d, n\d, n\d \(tolerates 1 failure\)\n/,
  );
  const [titles = '', own = '', other = ''] = stdout.split('\n').slice(2);
  t.match(titles, /^NODE +ID +STATE +RING +WEIGHT +LOAD +RTT +INC +ZONE +ROLES +ADDRESS +WHY$/);
  t.match(own, /^n1 .* alive +[\d.]+% +1 +[\d.]+% +\d+ .*voter/);
  t.match(other, /^n[23] +n[a-z2-7]{11} +alive +[\d.]+% +1 +.*[\d.]+ ms +\d+ +z[23] /);

  const json = JSON.parse((await aether(first, 'ring', 'status', '--json')).stdout) as object;
  t.match(json, { self: first.id, voters: { length: 3 }, tolerates: 1 });

  const single = await node(t, { name: 'one' });
  t.match((await aether(single, 'ring', 'status')).stdout, /\(tolerates no failure\)/);
  t.match(
    (await aether(single, 'ring', 'why', 'one')).stdout,
    /\n {2}it is the node that was asked\n$/,
  );
});

/** A lattice of n1, a folder for n2, and a file with a token for it. */
async function founded(
  t: Test,
  grant: Parameters<typeof mintJoinToken>[1] = {},
): Promise<{ first: LatticeNode; data: string; token: string }> {
  const place = folder(t);
  const [data, founder, token] = ['n2', 'n1', 'token'].map((name) => join(place, name)) as [
    string,
    string,
    string,
  ];
  const first = await node(t, { data: founder, name: 'n1' });
  writeFileSync(token, mintJoinToken(founder, grant));
  return { first, data, token };
}

test('a node that is put out ends, and says why', async (t) => {
  const { first, data, token } = await founded(t, { roles: ['compute'] });
  const options = ['--data', data, '--name', 'n2', '--join', first.address, '--token', token];
  const child = spawn(process.execPath, [MAIN, 'up', ...options]);
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  await once(child.stdout, 'data');
  t.equal((await aether(first, 'cap', 'revoke', 'n2')).code, EXIT.ok);
  const [code] = (await once(child, 'exit')) as [number];
  t.equal(code, EXIT.denied);
  t.match(
    said,
    /error ERR_RING_REVOKED: .*\nhint: start on an empty data folder with a new token\n/,
  );
});

test('a node joins by the command line; owners are called by name, also those of a key in a bucket', async (t) => {
  const { first, data, token } = await founded(t);
  const child = spawn(
    process.execPath,
    [MAIN, 'node', 'join', first.address, '--data', data, '--name', 'n2', '--token', token],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  await first.kv.createBucket('lone', { class: 'eventual', replicas: 1 });
  const names = new Map(first.ring.members().map(({ id, name }) => [id, name]));
  const owners = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await aether(first, 'ring', 'owners', 'key', ...args);
    return stdout.trimEnd().split('\n').slice(1);
  };
  const ofRing = first.ring.owners('key').map((id) => `${names.get(id)}    ${id}  alive`);
  t.same(await owners(), ofRing);
  const [keeper = ''] = await first.kv.owners('lone', 'key');
  t.same(await owners('--bucket', 'lone'), [`${names.get(keeper)}    ${keeper}  alive`]);
  const unknown = await aether(first, 'ring', 'owners', 'key', '--bucket', 'none');
  t.match(unknown, { code: EXIT.notFound, stderr: /ERR_KV_BUCKET_UNKNOWN/ });
  t.equal((await aether(first, 'ring', 'owners', '')).code, EXIT.usage);
  child.kill('SIGTERM');
  await once(child, 'exit');
});

test('why tells what led to a state, by a name or the first letters of an id', async (t) => {
  const [first, second, third] = await lattice(t);
  await third.close();
  await sees(first, third.id, ({ state }) => state === 'left');
  const { stdout, code } = await aether(first, 'ring', 'why', 'n3');
  t.equal(code, EXIT.ok);
  const [head = '', ...trail] = stdout.trimEnd().split('\n');
  t.match(head, new RegExp(`^n3 \\(${third.id}\\) is left, incarnation \\d+$`));
  for (const line of trail)
    t.match(line, /^ {2}\d{4}-\d\d-\d\dT[\d:.]+Z {2}(alive|suspect|left): /);
  t.match(trail.at(-1), /left: /);
  t.notMatch(stdout.replace(third.id, ''), /n[a-z2-7]{52}/, 'nodes are called by their names');

  const prefix = second.id.slice(0, 10);
  t.match((await aether(first, 'ring', 'why', prefix)).stdout, /^n2 \(.*\) is (alive|suspect)/);
  t.match((await aether(first, 'ring', 'why', 'n1')).stdout, /^n1 \(.*\) is alive/);
  const {
    by,
    member,
    trail: marks,
  } = JSON.parse((await aether(first, 'ring', 'why', 'n3', '--json')).stdout) as {
    by: string;
    member: MemberView;
    trail: { atMs: number; text: string }[];
  };
  t.equal(by, first.id);
  t.match(member, { id: third.id, state: 'left' });
  t.ok(marks.every(({ atMs }) => Math.abs(Date.now() - atMs) < 600_000));

  const alive = await aether(first, 'node', 'remove', 'n2');
  t.equal(alive.code, EXIT.conflict);
  t.match(alive.stderr, /ERR_RING_NODE_ALIVE/);
  const removed = await aether(first, 'node', 'remove', 'n3');
  t.equal(removed.code, EXIT.ok, removed.stderr);
  t.match(removed.stdout, /^removed n3 in [\d.]+ s\n$/);
  t.notOk(first.ring.members().some(({ id }) => id === third.id));

  for (const command of [
    ['node', 'remove'],
    ['ring', 'why'],
    ['node', 'drain'],
  ]) {
    const stranger = await aether(first, ...command, 'n9');
    t.equal(stranger.code, EXIT.notFound);
    t.match(stranger.stderr, /ERR_RING_NODE_NOT_FOUND: .*"n9"\nhint: .*n1, n2\n/);
  }
});

test('a drained node keeps and runs nothing and stays a member, until it is given a share again', async (t) => {
  const nodes = await lattice(t);
  const [first] = nodes;
  t.equal((await deployTiny(first, '1.0.0')).status, 'completed');
  const [owner = ''] = first.ring.owners('particle:tiny/web', 3);
  // The voter may be the owner: then its drain is asked of another node.
  const drained = nodes.find(({ id }) => id === owner) as LatticeNode;
  const through = nodes.find(({ id }) => id !== owner) as LatticeNode;
  await through.kv.createBucket('kept', { class: 'eventual', replicas: 3 });
  await through.kv.bucket('kept').put('key', new TextEncoder().encode('value'));

  const { name } = drained.ring;
  const drain = await aether(through, 'node', 'drain', name);
  t.equal(drain.code, EXIT.ok, drain.stderr);
  t.match(
    drain.stdout,
    new RegExp(`^drained ${name} in [\\d.]+ s; aether node weigh ${name} WEIGHT`),
  );
  t.match(
    drain.stderr,
    new RegExp(
      `prepare tiny/web on n\\d\n.*take the share of ${name}\n.*release what ${name} runs\n$`,
    ),
  );
  const own = through.ring.members().find(({ id }) => id === drained.id);
  t.match(own, { state: 'alive', weight: 0, ownership: 0 });
  t.notOk(through.ring.owners('particle:tiny/web', 3).includes(drained.id));
  t.same(drained.lifecycle.host.list(), []);
  t.equal(new TextDecoder().decode((await drained.kv.bucket('kept').get('key'))?.value), 'value');
  const answered = await fetch(`http://${drained.addresses.ingress}/`);
  t.equal(answered.status, 200);
  t.not(answered.headers.get('aether-node'), name);

  const again = await aether(through, 'node', 'drain', drained.id.slice(0, 12), '--detach');
  t.equal(again.code, EXIT.stillRunning);
  const weighed = await aether(through, 'node', 'weigh', name, '1');
  t.equal(weighed.code, EXIT.ok, weighed.stderr);
  await sees(through, drained.id, ({ weight, ownership }) => weight === 1 && ownership > 0.2);
});

test('a drain whose node is killed between an effect and its record goes on when it is back', async (t) => {
  const place = folder(t);
  const [data, founder] = [join(place, 'owner'), join(place, 'n1')];
  const first = await node(t, { data: founder, name: 'n1' });
  const token = mintJoinToken(founder, { uses: 2 });
  const other = await node(t, { name: 'n2', join: [first.address], token });
  const start = async (setting: string): Promise<ChildProcess> => {
    const args = ['up', '--data', data, '--name', 'owner', '--join', first.address, '--token', '-'];
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, AETHER_FAILPOINT: setting },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    child.stdin.end(token);
    await once(child.stdout, 'data');
    return child;
  };
  const api = new ControlClient(join(data, 'api.sock'));
  // The steps: plan, share, release.
  const killed = await start('after-effect:1');
  const ended = once(killed, 'exit');
  const { workflow } = await api.json<{ workflow: string }>('/ring/nodes/n2/drain', {
    method: 'POST',
  });
  t.same(await ended, [null, 'SIGKILL']);

  const again = await start('after-effect:99');
  const run = await api.json(`/workflows/${segment(workflow)}`, { query: { wait: '30s' } });
  t.match(run, { status: 'completed', result: { weight: 0, released: true } });
  await sees(first, other.id, ({ weight, ownership }) => weight === 0 && ownership === 0);
  const { effects } = await api.json<{ effects: EffectRow[] }>('/effects', { query: { workflow } });
  t.same(effects.map(({ kind, deliveries }) => `${kind} ${deliveries}`).toSorted(), [
    'release 1',
    'weigh 2',
  ]);
  again.kill('SIGTERM');
  await once(again, 'exit');
});

test(
  'a voter that came back with its machine says that it waits, and votes at the operator’s word',
  { skip: process.platform === 'linux' ? false : 'nothing vouches elsewhere than on Linux' },
  async (t) => {
    const place = folder(t);
    const [first, data] = [join(place, 'n1'), join(place, 'n2')];
    const n1 = await node(t, { data: first, name: 'n1' });
    const seeds = [n1.address];
    const token = mintJoinToken(first, { uses: 2 });
    const n2 = await node(t, { data, name: 'n2', join: seeds, token });
    const n3 = await node(t, { name: 'n3', join: seeds, token });
    await until(() => [n1, n2, n3].every(({ ring }) => ring.voters().nodes.length === 3));
    await Promise.all([n2.close(), n3.close()]);
    await sees(n1, n3.id, ({ state }) => state === 'left');
    const restartMachine = (): void =>
      rmSync(join('/dev/shm', `aether-${process.getuid?.()}`, n2.id));
    restartMachine();
    const waiting = await node(t, { data, name: 'n2', join: seeds });
    await sees(waiting, n3.id, ({ state }) => state !== 'alive');
    const { stdout } = await aether(waiting, 'ring', 'status');
    t.match(stdout, /does not vote yet: .*waits for n3\n.*--trust-disk\n/);
    await waiting.close();
    restartMachine();
    const child = spawn(
      process.execPath,
      [MAIN, 'up', '--data', data, '--join', n1.address, '--trust-disk'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    t.teardown(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    t.match(await new ControlClient(join(data, 'api.sock')).json('/status'), {
      standing: 'voting',
    });
    child.kill('SIGTERM');
    await once(child, 'exit');
  },
);

test('a node that nobody else could stand in for is not drained', async (t) => {
  const single = await node(t, { name: 'one' });
  const { code, stderr } = await aether(single, 'node', 'drain', 'one');
  t.equal(code, EXIT.conflict);
  t.match(stderr, /ERR_RING_CHANGE_REFUSED: no other node would keep what one keeps/);
  t.match(await client(single).json('/status'), { members: [{ weight: 1, ownership: 1 }] });
  const heavy = await aether(single, 'node', 'weigh', 'one', '99');
  t.equal(heavy.code, EXIT.usage, heavy.stderr);
});
