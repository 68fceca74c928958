/** Revoking and replacing keys on real nodes. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { keyTag, parseTokenText } from './core/token.ts';
import { successor } from './core/root-key.ts';
import { mintJoinToken, type Ring } from './index.ts';
import { openKeyFile, readKeyFile } from './io/keys.ts';
import { areWhole, CALL, echoes, impostor, kept, opener, until } from './lattice.testkit.ts';

type Open = ReturnType<typeof opener>;

const folder = (t: Test, name: string): string => join(t.testdirName, name);

/** The first of so many storage nodes founds. */
async function lattice(t: Test, open: Open, ...names: string[]): Promise<Ring[]> {
  const [first = 'a', ...others] = names;
  const founder = await open(first);
  const token = mintJoinToken(folder(t, first), { uses: 9 });
  const rings = [founder];
  for (const name of others) rings.push(await open(name, { join: [founder.address], token }));
  await until(() => areWhole(...rings));
  return rings;
}

const text = new TextEncoder();
const keys = Array.from({ length: 30 }, (_, i) => `key ${i}`);

async function write(ring: Ring): Promise<void> {
  await ring.kv.createBucket('things', { class: 'eventual', replicas: 3 });
  await Promise.all(keys.map((key) => ring.kv.bucket('things').put(key, text.encode(key))));
}

async function missing(ring: Ring): Promise<string[]> {
  const found = await Promise.all(keys.map((key) => ring.kv.bucket('things').get(key)));
  return keys.filter((key, i) => new TextDecoder().decode(found[i]?.value) !== key);
}

test(
  'a revoked node is out everywhere, unasked, and its part goes to the others',
  { timeout: 90_000 },
  async (t) => {
    const open = opener(t);
    const [a, b, c, d] = (await lattice(t, open, 'a', 'b', 'c', 'd')) as [Ring, Ring, Ring, Ring];
    const others = [a, c, d];
    await write(a);
    await until(() => a.epoch().issuers.length === 3);
    // Not by its own doing: somebody has its key and its certificate.
    const thief = impostor(
      t,
      readKeyFile(join(folder(t, 'b'), 'node.key')),
      a.lattice,
      kept(t, 'b'),
    );
    const closed = new Set<string>();
    thief.onLinkDown((node) => closed.add(node));
    for (const ring of others) {
      thief.setAddress(ring.id, ring.address);
      t.equal(await thief.call(ring.id, 'echo', 1, CALL), 1);
    }

    const end = new Promise<string>((done) => {
      b.onChange((change) => {
        if (change.kind === 'refused') done(change.error.code);
      });
    });
    await a.authority.revoke(b.id);
    t.ok(a.epoch().revoked.includes(b.id));
    await until(() => others.every((ring) => ring.epoch().revoked.includes(b.id)));
    await until(() => closed.size === others.length);
    for (const ring of others) {
      t.notOk(
        ring.members().some(({ id }) => id === b.id),
        `${ring.name} shows it no more`,
      );
      t.notOk(ring.isAlive(b.id));
      await t.rejects(ring.rpc.call(b.id, 'echo', 1, CALL), { code: 'ERR_RING_UNREACHABLE' });
      await t.rejects(thief.callAddress(ring.address, 'epoch.get', null, CALL), {
        code: 'ERR_RING_REVOKED',
      });
      await t.rejects(thief.callAddress(ring.address, 'certificate.renew', {}, CALL), {
        code: 'ERR_RING_REVOKED',
      });
    }
    t.equal(await end, 'ERR_RING_REVOKED', 'it is told, and ends');

    await until(() => areWhole(...others));
    t.notOk(
      a.epoch().members.some(({ id }) => id === b.id),
      'nor has it a place in the ring',
    );
    t.notOk(a.epoch().issuers.some(({ node }) => node === b.id));
    await until(() => a.epoch().voters.every((voter) => voter !== b.id));
    for (const ring of others) t.strictSame(await missing(ring), [], ring.name);
    await echoes(...others);

    await b.close();
    fs.mkdirSync(folder(t, 'again'), { mode: 0o700 });
    fs.copyFileSync(join(folder(t, 'b'), 'node.key'), join(folder(t, 'again'), 'node.key'));
    const token = mintJoinToken(folder(t, 'a'));
    await t.rejects(open('again', { join: [c.address], token }), { code: 'ERR_RING_REVOKED' });
    // Each voter mints with a key of its own.
    await until(() => d.epoch().issuers.some(({ node }) => node === d.id));
    const another = mintJoinToken(folder(t, 'd'), { roles: ['compute'] });
    await open('e', { join: [c.address], token: another });
    const { number } = a.epoch();
    await a.authority.revoke(b.id);
    t.equal(a.epoch().number, number, 'asking twice is asking once');
    await t.rejects(a.authority.revoke(a.id), { code: 'ERR_RING_REVOKE_SELF' });
    await t.rejects(a.authority.revoke('nobody'), { code: 'ERR_RING_NODE_NOT_FOUND' });
  },
);

test(
  'of two nodes one revokes the other, and goes on with what both had',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const [a, b] = (await lattice(t, open, 'a', 'b')) as [Ring, Ring];
    await write(a);
    // Both vote, and it does not vote against itself.
    await until(() => a.epoch().voters.length === 2);
    await a.authority.revoke(b.id);
    await until(() => areWhole(a));
    t.strictSame(await missing(a), []);
  },
);

test(
  'a revoked token lets nobody in, and who came in with it stays',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const token = mintJoinToken(folder(t, 'a'), { uses: 5, roles: ['compute', 'relay'] });
    const at = { join: [a.address], token };
    const b = await open('b', at);
    await t.rejects(b.authority.revoke(a.id), {
      code: 'ERR_RING_NOT_ISSUER',
      hint: /--api: a \(127/,
    });
    t.strictSame(b.epoch().members.find(({ id }) => id === b.id)?.roles, ['compute', 'relay']);
    await a.authority.revokeToken(parseTokenText(token).token.grant.id);
    await t.rejects(open('c', at), { code: 'ERR_RING_TOKEN_REVOKED' });
    await until(() => areWhole(a, b));
    await b.close();
    await until(() => !a.isAlive(b.id));
    const again = await open('b');
    await until(() => areWhole(a, again));
    const voter = mintJoinToken(folder(t, 'a'), { roles: ['voter'] });
    await open('c', { ...at, token: voter });
  },
);

test(
  'an issuer key is replaced without a gap, and what the old one signed lets nobody in',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const data = folder(t, 'a');
    const token = mintJoinToken(data, { uses: 2, roles: ['compute'] });
    const b = await open('b', { join: [a.address], token });
    await until(() => areWhole(a, b));
    const before = readKeyFile(join(data, 'issuer.key')).publicKey;
    const { number } = a.epoch();
    const publicKey = await a.authority.rotateIssuer();
    t.notSame(publicKey, before);
    t.strictSame(readKeyFile(join(data, 'issuer.key')).publicKey, publicKey);
    t.notOk(fs.existsSync(join(data, 'issuer.next.key')));
    await echoes(a, b);
    await until(() => [a, b].every((ring) => (ring.certificate()?.epoch ?? 0) > number));
    await until(() =>
      a.members().every(({ certificateEpoch }) => (certificateEpoch ?? 0) > number),
    );
    await echoes(a, b);
    await t.rejects(open('c', { join: [a.address], token }), {
      code: 'ERR_RING_TOKEN_ISSUER_UNKNOWN',
    });
    const next = mintJoinToken(data, { roles: ['compute'] });
    t.strictSame(parseTokenText(next).token.signer, keyTag(publicKey));
    await open('c', { join: [b.address], token: next });

    // It stopped after the epoch had listed the next key, and before it was the key on disk.
    await a.close();
    fs.renameSync(join(data, 'issuer.key'), join(data, 'issuer.next.key'));
    fs.copyFileSync(join(data, 'node.key'), join(data, 'issuer.key'));
    t.ok(mintJoinToken(data));
    await open('a');
    t.strictSame(readKeyFile(join(data, 'issuer.key')).publicKey, publicKey);
  },
);

test(
  'the root is replaced by its own word, once, and the old one leads no newcomer astray',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const data = folder(t, 'a');
    const early = mintJoinToken(data, { roles: ['compute'] });
    const [old, next] = [readKeyFile(join(data, 'root.key')), openKeyFile(folder(t, 'next.key'))];
    t.equal(a.authority.roots().founder, a.id);
    const root = successor(a.authority.roots(), old, next);
    await a.authority.rotateRoot(root);
    await a.authority.rotateRoot(root);
    t.equal(a.authority.roots().roots.length, 2);
    const stolen = successor(a.authority.roots(), old, openKeyFile(folder(t, 'x.key')));
    await t.rejects(a.authority.rotateRoot(stolen), { code: 'ERR_RING_ROOT_FORGED' });

    const b = await open('b', { join: [a.address], token: early });
    t.equal(b.lattice, a.lattice, 'the lattice keeps its name');
    await until(() => areWhole(a, b));
    await b.close();
    await until(() => !a.isAlive(b.id));
    await open('b');

    fs.mkdirSync(folder(t, 'fake'), { mode: 0o700 });
    fs.copyFileSync(join(data, 'root.key'), join(folder(t, 'fake'), 'root.key'));
    const fake = await open('fake');
    t.equal(fake.lattice, a.lattice);
    const signed = await fake.rpc.call(fake.id, 'epoch.get', null, CALL);
    fake.rpc.serve('join', () => ({ signed }));
    const token = mintJoinToken(data, { roles: ['compute'], uses: 2 });
    await t.rejects(open('c', { join: [fake.address], token }), { code: 'ERR_RING_ROOT_FORGED' });
    await open('d', { join: [a.address], token });
  },
);
