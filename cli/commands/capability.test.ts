/** `aether cap` as a user runs it, against real nodes. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { mintJoinToken } from '../../ring/index.ts';
import { type LatticeNode, type NodeOptions, startNode } from '../daemon/node.ts';
import { EXIT } from '../io/exit-code.ts';
import { aether, temporary } from '../run.testkit.ts';

async function started(t: Test, options: NodeOptions): Promise<LatticeNode> {
  const node = await startNode(options);
  t.teardown(() => node.close());
  return node;
}

const modeOf = (file: string): number => fs.statSync(file).mode & 0o777;

test(
  'a token is read without its secret, and revoked by itself or its id',
  { timeout: 90_000 },
  async (t) => {
    const folder = temporary(t);
    const data = join(folder, 'a');
    const { addresses, address } = await started(t, { data, name: 'a' });
    const { api } = addresses;
    const minted = await aether(t, [
      'cap',
      'mint',
      'join',
      '--data',
      data,
      '--role',
      'compute',
      '--uses',
      '3',
    ]);
    const text = minted.stdout.trim();
    const file = join(folder, 'token');
    fs.writeFileSync(file, text, { mode: 0o600 });

    const shown = await aether(t, ['cap', 'inspect', file]);
    t.match(shown, { code: 0, stdout: /roles +compute\n/ });
    const status = await aether(t, ['ring', 'status'], { api });
    const [, tag] = /^lattice l\S+ \(tag (\S+)\)\n/.exec(status.stdout) ?? [];
    t.match(shown.stdout, new RegExp(`^lattice tag +${tag}$`, 'm'), 'it is called so in both');
    t.notMatch(shown.stdout, text.split('.')[2], 'the secret is not shown');
    const piped = await aether(t, ['cap', 'inspect', '-', '--json'], { stdin: text });
    const summary = JSON.parse(piped.stdout) as { id: string; uses: number; roles: string[] };
    t.match(summary, { uses: 3, roles: ['compute'] });
    t.match(await aether(t, ['cap', 'inspect', 'nothing']), {
      code: EXIT.usage,
      stderr: /neither a token nor a file/,
    });
    t.match(await aether(t, ['cap', 'inspect', 'aec1.x.y']), {
      code: EXIT.denied,
      stderr: /ERR_RING_TOKEN_MALFORMED/,
    });

    t.match(await aether(t, ['cap', 'revoke', file], { api }), {
      code: 0,
      stdout: `${summary.id}\n`,
    });
    t.match(await aether(t, ['cap', 'revoke', summary.id], { api }), { code: 0 }, 'asked again');
    const late = ['up', '--data', join(folder, 'b'), '--join', address, '--token', file];
    t.match(await aether(t, late), {
      code: EXIT.denied,
      stderr: /ERR_RING_TOKEN_REVOKED: .*\nhint: /,
    });
  },
);

test('a node is revoked by its name, at a voter', { timeout: 90_000 }, async (t) => {
  const folder = temporary(t);
  const data = join(folder, 'a');
  const a = await started(t, { data, name: 'a' });
  const token = mintJoinToken(data, { roles: ['compute'], uses: 2 });
  const b = await started(t, { data: join(folder, 'b'), name: 'b', join: [a.address], token });
  const [at, elsewhere] = [a.addresses.api, b.addresses.api];
  t.match(await aether(t, ['cap', 'revoke', 'a'], { api: elsewhere }), {
    code: EXIT.denied,
    stderr: /ERR_RING_NOT_ISSUER: .*\nhint: .* a voter, with its --api: a \(127\.0\.0\.1:\d+\)\n/,
  });
  const refused = await aether(t, ['cap', 'mint', 'join', '--data', join(folder, 'b')]);
  t.match(refused, { code: EXIT.denied, stderr: /ERR_RING_NOT_ISSUER: .*\nhint: .*--data: a \(/ });
  t.match(await aether(t, ['cap', 'revoke', 'nobody'], { api: at }), { code: EXIT.notFound });
  t.match(await aether(t, ['cap', 'revoke', 'a'], { api: at }), {
    code: EXIT.conflict,
    stderr: /ERR_RING_REVOKE_SELF/,
  });
  const { code, stdout } = await aether(t, ['cap', 'revoke', 'b', '--json'], { api: at });
  t.equal(code, EXIT.ok);
  t.match(JSON.parse(stdout), { revoked: b.id });
  t.strictSame(
    (await a.status()).members.map(({ name }) => name),
    ['a'],
  );
  t.match(await aether(t, ['cap', 'revoke', b.id], { api: at }), { code: 0 }, 'asked again');
});

test(
  'the root key leaves the machine, and is replaced by its own word',
  { timeout: 90_000 },
  async (t) => {
    const folder = temporary(t);
    const data = join(folder, 'a');
    const { addresses, address } = await started(t, { data, name: 'a' });
    const { api } = addresses;
    const [root, next] = [join(folder, 'root.pem'), join(folder, 'next.pem')];
    const exportTo = (file: string): ReturnType<typeof aether> =>
      aether(t, ['cap', 'export-root', file, '--data', data]);

    t.match(await exportTo(join(data, 'other.pem')), { code: EXIT.usage, stderr: /ROOT_PLACE/ });
    t.match(await exportTo(join(folder, 'none', 'root.pem')), {
      code: EXIT.usage,
      stderr: /no folder/,
    });
    fs.writeFileSync(root, 'something');
    t.match(await exportTo(root), { code: EXIT.conflict, stderr: /ERR_RING_ROOT_EXISTS/ });
    t.equal(fs.readFileSync(root, 'utf8'), 'something', 'it is not overwritten');
    fs.rmSync(root);
    const printed = await exportTo('-');
    t.equal(printed.stdout, fs.readFileSync(join(data, 'root.key'), 'utf8'));
    t.match(await exportTo(root), { code: 0, stdout: `${root}\n` });
    t.equal(fs.readFileSync(root, 'utf8'), printed.stdout);
    t.equal(modeOf(root), 0o600);
    t.notOk(fs.existsSync(join(data, 'root.key')));
    t.match(await exportTo(join(folder, 'again.pem')), {
      code: EXIT.notFound,
      stderr: /ERR_RING_NO_ROOT/,
    });

    // Without it: let in, restarted, let in again.
    const token = mintJoinToken(data, { roles: ['compute'], uses: 2 });
    await (await startNode({ data: join(folder, 'b'), name: 'b', join: [address], token })).close();

    const rotate = (from: string, to: string): ReturnType<typeof aether> =>
      aether(t, ['cap', 'rotate-root', '--root', from, '--new', to], { api });
    t.match(await rotate(root, next), { code: 0, stdout: `${next}\n` });
    t.equal(modeOf(next), 0o600);
    t.match(await rotate(root, next), { code: 0 }, 'asked again');
    const stale = join(folder, 'stale.pem');
    t.match(await rotate(root, stale), { code: EXIT.conflict, stderr: /ERR_RING_ROOT_REPLACED/ });
    t.notOk(fs.existsSync(stale), 'no key was made');
    t.match(await rotate(next, join(folder, 'third.pem')), { code: 0 });
    await started(t, { data: join(folder, 'c'), name: 'c', join: [address], token });
  },
);

test('a voter’s issuer key is replaced', { timeout: 90_000 }, async (t) => {
  const data = join(temporary(t), 'a');
  const { addresses } = await started(t, { data, name: 'a' });
  const before = fs.readFileSync(join(data, 'issuer.key'), 'utf8');
  t.match(await aether(t, ['cap', 'rotate-issuer'], { api: addresses.api }), {
    code: 0,
    stdout: /^[a-z2-7]{52}\n$/,
  });
  t.not(fs.readFileSync(join(data, 'issuer.key'), 'utf8'), before);
  t.ok(mintJoinToken(data));
});
