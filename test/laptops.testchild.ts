/**
 * Three servers on a switch and two laptops, each behind a router of its own that translates addresses; the tests go on from
 * one another's end.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { type MemberView, mintJoinToken, type RingOptions } from '../ring/index.ts';
import { HostNode } from './host-node.ts';
import { Network } from './hosts.ts';

/** Who is walled off takes a short while to be found so. */
const SOON: Partial<RingOptions> = {
  swim: { suspicionPeriods: 4 },
  limits: { handshakeTimeoutMs: 2_500 },
};

const network = new Network();
const servers: HostNode[] = [];
const laptops: HostNode[] = [];
const [home, hotel] = ['home', 'hotel'].map((name) => network.hostBehindRouter(name)) as [
  ReturnType<Network['hostBehindRouter']>,
  ReturnType<Network['hostBehindRouter']>,
];
const token = (): string => mintJoinToken((servers[0] as HostNode).data, { uses: 9 });
const data = (name: string): string => join(network.folder, name);

test('laptops that others cannot dial become members', async (t) => {
  const hosts = ['s1', 's2', 's3'].map((name) => network.host(name));
  for (const [i, host] of hosts.entries()) {
    const joining = i === 0 ? {} : { join: [(servers[0] as HostNode).address], token: token() };
    servers.push(
      await HostNode.start(host, {
        data: data(host.name),
        ...SOON,
        zone: host.name,
        ...joining,
      }),
    );
  }
  const [, second] = servers as [HostNode, HostNode, HostNode];
  for (const [{ host }, more] of [
    // One listens where only its own network reaches it, the other nowhere.
    [home, {}],
    [hotel, { listen: 'none' }],
  ] as const) {
    const joining = { join: [second.address], token: token() };
    laptops.push(
      await HostNode.start(host, { data: data(host.name), ...SOON, ...joining, ...more }),
    );
  }
  await all([...servers, ...laptops], (by) =>
    [...servers, ...laptops].every((node) => view(by, node)?.state === 'alive'),
  );
  await all(servers, (by) => laptops.every((laptop) => view(by, laptop)?.relays?.length === 3));
  for (const laptop of laptops) {
    const seen = view(await seenBy(servers[2] as HostNode), laptop);
    t.match(seen, { weight: 0, ownership: 0 }, 'it keeps no data');
    t.match(seen?.address, /^relay\/n/, 'and says nothing of where it listens');
  }
});

test('everybody calls everybody, and laptops each other by way of a server', async (t) => {
  await everybodyCalls(t);
  const [one, two] = laptops as [HostNode, HostNode];
  t.match(view(await seenBy(one), two)?.via, /^s[123]$/);
  t.equal(await one.call(two, 4 << 20), undefined, 'with much to say');
  t.equal(await (servers[2] as HostNode).call(two, 4 << 20), undefined);
});

test('a server that starts again reaches the laptops', async (t) => {
  const third = servers[2] as HostNode;
  await third.kill();
  servers[2] = await HostNode.start(third.host, { data: third.data, ...SOON });
  await all([...servers, ...laptops], (by) =>
    [...servers, ...laptops].every((node) => view(by, node)?.state === 'alive'),
  );
  await everybodyCalls(t);
});

test('a router that starts again, with another address, brings its laptop back', async (t) => {
  const [one] = laptops as [HostNode];
  const epoch = (await (servers[0] as HostNode).see()).epoch;
  const outside = home.router.address;
  // The kernel forgets the translations of an address that is gone.
  home.router.run('ip', 'address', 'del', `${outside}/24`, 'dev', 'eth0');
  home.router.run('ip', 'address', 'add', '10.77.0.200/24', 'dev', 'eth0');
  for (const server of servers)
    t.equal(await reached(server, one), undefined, `${server.host.name} reaches it`);
  for (const server of servers)
    t.equal(await reached(one, server), undefined, `it reaches ${server.host.name}`);
  await all(
    [...servers, ...laptops],
    (by) => view(by, one)?.state === 'alive' && (view(by, one)?.relays?.length ?? 0) >= 2,
  );
  t.equal((await (servers[0] as HostNode).see()).epoch, epoch, 'and the epoch is as it was');
});

test('when the relay between them is gone, another one carries on', async (t) => {
  const [one, two] = laptops as [HostNode, HostNode];
  t.equal(await reached(one, two), undefined);
  const via = view(await seenBy(one), two)?.via;
  const relay = servers.find(({ host }) => host.name === via);
  t.ok(relay !== undefined, `it was ${via}`);
  const since = [one, two].map(({ heard }) => heard.length);
  await relay?.kill();
  t.equal(await reached(one, two), undefined);
  t.not(view(await seenBy(one), two)?.via, via);
  await all([one, two], (by) => by.some(({ name, state }) => name === via && state === 'dead'));
  const dead = [one, two].flatMap(({ heard }, i) =>
    heard.slice(since[i]).filter(({ state, name }) => state === 'dead' && name !== via),
  );
  t.same(dead, [], 'neither laptop was taken for dead by the other');
  if (relay === undefined) return;
  const again = await HostNode.start(relay.host, { data: relay.data, ...SOON });
  servers[servers.indexOf(relay)] = again;
});

test('a server behind a wall has relays until the wall is gone', async (t) => {
  const host = network.host('s4');
  host.run(
    'nft',
    'table ip wall { chain in { type filter hook input priority 0; iifname lo accept; ct state new drop; }; }',
  );
  const joining = { join: [(servers[1] as HostNode).address], token: token() };
  const walled = await HostNode.start(host, { data: data(host.name), ...SOON, ...joining });
  await all(servers, (by) => view(by, walled)?.relays !== undefined);
  host.run('nft', 'delete', 'table', 'ip', 'wall');
  await all(servers, (by) => {
    const seen = view(by, walled);
    return seen?.relays === undefined && seen?.address === walled.address;
  });
  t.equal(await (servers[0] as HostNode).call(walled, 1 << 20), undefined);
  await walled.close();
});

test('the nodes stop', async (t) => {
  await Promise.all([...servers, ...laptops].map((node) => node.close()));
  t.pass('they have');
});

async function everybodyCalls(t: Test): Promise<void> {
  const nodes = [...servers, ...laptops];
  for (const from of nodes)
    for (const to of nodes)
      if (from !== to)
        t.equal(await from.call(to), undefined, `${from.host.name} → ${to.host.name}`);
}

/** Calls until that is possible. */
async function reached(from: HostNode, to: HostNode): Promise<string | undefined> {
  let failure = await from.call(to);
  while (failure !== undefined) {
    await pause(100);
    failure = await from.call(to);
  }
  return failure;
}

async function seenBy(node: HostNode): Promise<readonly MemberView[]> {
  return (await node.see()).members;
}

function view(members: readonly MemberView[], { id }: HostNode): MemberView | undefined {
  return members.find((member) => member.id === id);
}

/** All of these see it so, sooner or later. */
async function all(
  nodes: readonly HostNode[],
  holds: (members: readonly MemberView[]) => boolean,
): Promise<void> {
  while (!(await Promise.all(nodes.map(seenBy))).every(holds)) await pause(50);
}
