/** Nodes that do not listen, as members. */
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { relayAddress } from './core/ways.ts';
import { isGone, type MemberView, mintJoinToken, Ring, type RingOptions } from './index.ts';

const swim = {
  probeIntervalMs: 200,
  ackTimeoutMs: 100,
  suspicionPeriods: 5,
  reconnectIntervalMs: 300,
};
const TIMEOUT = { timeoutMs: 10_000 };

/** A call that is on its way as its relay stops is not made again by itself: it may have been heard. */
async function asked(from: Ring, to: Ring): Promise<unknown> {
  for (;;) {
    try {
      return await from.rpc.call(to.id, 'who', 'again', TIMEOUT);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_RING_TIMEOUT') throw error;
    }
  }
}

async function until(rings: Ring[], holds: (ring: Ring) => boolean): Promise<void> {
  await Promise.all(
    rings.map(
      (ring) =>
        new Promise<void>((done) => {
          const look = (): void => {
            if (!holds(ring)) return;
            stop();
            done();
          };
          const stop = ring.onChange(look);
          look();
        }),
    ),
  );
}

const viewOf = (ring: Ring, { id }: Ring): MemberView | undefined =>
  ring.members().find((member) => member.id === id);
const isWhole = (count: number) => (ring: Ring) =>
  ring.epoch().previous === undefined &&
  ring.members().length === count &&
  ring.members().every(({ state }) => state === 'alive');

interface Lattice {
  dialled: Ring[];
  hidden: Ring[];
  open: (name: string, options?: Partial<RingOptions>) => Promise<Ring>;
  /** One more that does not listen. */
  hide: (name: string) => Promise<Ring>;
}

/** Three nodes that can be dialled, and two that do not listen. */
async function lattice(t: Test, roles: string[] = ['storage', 'compute']): Promise<Lattice> {
  const folder = t.testdir();
  const rings = new Set<Ring>();
  t.teardown(() => Promise.all([...rings].map((ring) => ring.close())));
  const open: Lattice['open'] = async (name, options) => {
    const ring = await Ring.open({ data: join(folder, name), name, swim, ...options });
    rings.add(ring);
    return ring;
  };
  const a = await open('a');
  const token = mintJoinToken(join(folder, 'a'), { uses: 9, roles });
  const b = await open('b', {
    join: [a.address],
    token,
    zone: 'z2',
    roles: ['storage', 'compute'],
  });
  const c = await open('c', { join: [a.address], token, zone: 'z3' });
  const off = { join: [b.address], token, listen: 'none', roles: ['storage', 'compute'] };
  const hide: Lattice['hide'] = (name) => open(name, off);
  const hidden = [await hide('u'), await hide('v')];
  await until([a, b, c, ...hidden], isWhole(5));
  return { dialled: [a, b, c], hidden, open, hide };
}

test('nodes that do not listen are members', { timeout: 60_000 }, async (t) => {
  const { dialled, hidden, open } = await lattice(t);
  const [a, b] = dialled as [Ring, Ring, Ring];
  const [u, v] = hidden as [Ring, Ring];
  const all = [...dialled, ...hidden];
  t.equal(u.address, 'none');
  t.match(
    a.epoch().members.find(({ id }) => id === u.id),
    { address: 'none', weight: 0, tokens: [], roles: ['storage', 'compute'] },
    'it keeps no data',
  );
  await until(all, (ring) => [u, v].every((each) => ways(ring, each) === 3 || each === ring));
  t.match(viewOf(a, u)?.address, /^relay\/n/);

  for (const ring of all) ring.rpc.serve('who', (body, from) => ({ body, from }));
  for (const [from, to] of all.flatMap((one) => all.map((two) => [one, two] as const))) {
    const answer = await from.rpc.call(to.id, 'who', from.name, TIMEOUT);
    t.strictSame(answer, { body: from.name, from: from.id }, `${from.name} calls ${to.name}`);
  }
  const relay = viewOf(u, v)?.via;
  t.ok(relay !== undefined && ['a', 'b', 'c'].includes(relay), `u and v speak by ${relay}`);
  t.equal(viewOf(v, u)?.via, relay);
  t.equal(viewOf(u, a)?.via, undefined);
  const body = new Uint8Array(4 << 20).fill(9);
  for (const [from, to] of [
    [u, v],
    [a, u],
    [u, b],
  ] as const) {
    const answer = await from.rpc.call(to.id, 'who', body, { timeoutMs: 30_000 });
    t.ok((answer as { body: Uint8Array }).body.length === body.length);
  }

  await u.kv.createBucket('b', { class: 'eventual' });
  await u.kv.bucket('b').put('key', Buffer.from('value'));
  t.match(await v.kv.bucket('b').get('key'), { value: new Uint8Array(Buffer.from('value')) });

  const dead = new Set<string>();
  for (const ring of [a, b, u, v])
    ring.onChange((change) => {
      if (change.kind === 'member' && change.member.state === 'dead') dead.add(change.member.name);
    });
  const carrier = dialled.find(({ name }) => name === relay) as Ring;
  await carrier.close();
  const left = all.filter((ring) => ring !== carrier);
  await until(left, (ring) => isGone(viewOf(ring, carrier)?.state));
  await until(left, (ring) => [u, v].every((each) => each === ring || ways(ring, each) === 2));
  t.match(await asked(u, v), { from: u.id });
  t.match(await asked(v, u), { from: v.id });
  t.not(viewOf(u, v)?.via, relay);
  dead.delete(carrier.name);
  t.strictSame([...dead], [], 'nobody else was taken for dead');

  await v.close();
  await until(
    left.filter((ring) => ring !== v),
    (ring) => isGone(viewOf(ring, v)?.state),
  );
  const back = await open('v', { listen: 'none' });
  await until([u], (ring) => viewOf(ring, back)?.state === 'alive' && ways(ring, back) > 0);
  back.rpc.serve('who', () => 'back');
  t.equal(await u.rpc.call(back.id, 'who', null, TIMEOUT), 'back');
});

test('who has the role of a relay is chosen before others', { timeout: 60_000 }, async (t) => {
  const { dialled, hidden, hide } = await lattice(t, ['storage', 'compute', 'relay']);
  const [u] = hidden as [Ring, Ring];
  const c = dialled[2] as Ring;
  t.strictSame(viewOf(u, c)?.roles, ['storage', 'compute', 'relay'], 'as the token grants');
  const isByC = (ring: Ring): boolean => viewOf(ring, u)?.address === relayAddress(c.id);
  await until(dialled, isByC);
  // One that has had no other way to it before.
  const v = await hide('w');
  await until([v], isByC);
  u.rpc.serve('who', (_body, from) => from);
  t.equal(await v.rpc.call(u.id, 'who', null, TIMEOUT), v.id);
  t.equal(viewOf(v, u)?.via, 'c');
});

test('options that do not go with having no address are refused', async (t) => {
  const options = { data: join(t.testdir(), 'x'), listen: 'none', join: ['127.0.0.1:1'] };
  await t.rejects(Ring.open({ ...options, token: 'aec1.a.a', roles: ['voter', 'storage'] }), {
    code: 'ERR_RING_OPTION',
  });
});

/** How many relays the ring knows to lead to the node. */
function ways(ring: Ring, { id }: Ring): number {
  return ring.members().find((member) => member.id === id)?.relays?.length ?? 0;
}
