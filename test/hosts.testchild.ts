/** A lattice of five hosts under loss, cuts and pulled links; the tests go on from one another's end. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'tap';
import { type MemberState, mintJoinToken, type RingOptions } from '../ring/index.ts';
import { RingStore } from '../ring/io/ring-store.ts';
import { HostNode, untilSeen } from './host-node.ts';
import { type Host, Network } from './hosts.ts';

/** Suspicion is short here, so that what would end in a death does so soon. */
const SWIM: RingOptions['swim'] = { suspicionPeriods: 3 };
/** How long the network is ill: longer than a suspect lives whom one node alone accuses, 18 periods of 500 ms. */
const ILL_MS = 11_000;
const HEALED_MS = 30_000;

/** Says whether an address can be dialled, or why not. */
const DIAL = `const [host, port] = process.argv[1].split(':');
require('node:net').connect(port, host)
  .on('connect', function () { process.stdout.write('open'); this.destroy(); })
  .on('error', ({ code }) => process.stdout.write(code));`;

const network = new Network();
const hosts = ['n1', 'n2', 'n3', 'n4', 'n5'].map((name) => network.host(name));
const nodes: HostNode[] = [];

test('five hosts that know no address become a lattice', async (t) => {
  const data = (name: string): string => join(network.folder, name);
  const [first, ...others] = hosts;
  if (first === undefined) throw new Error('no host');
  const founder = await HostNode.start(first, { data: data(first.name), swim: SWIM, mdns: true });
  // Hosts of one network need no address.
  const seeds = ['mdns:'];
  const token = mintJoinToken(founder.data, { uses: others.length });
  nodes.push(
    founder,
    ...(await Promise.all(
      others.map((host) =>
        HostNode.start(host, { data: data(host.name), swim: SWIM, join: seeds, token }),
      ),
    )),
  );
  await one();
  t.pass('all see all');
});

test('a tenth of all packets is lost, and nobody is declared dead', async (t) => {
  const since = marks();
  network.lose(10);
  await pause(ILL_MS);
  t.ok(network.lost() > 0, `${network.lost()} packets were lost`);
  network.heal();
  await one();
  t.same(told(since, 'dead'), []);
});

test('two of five do not hear each other, in one direction, and nobody is declared dead', async (t) => {
  const since = marks();
  network.cutOneWay(hosts.slice(0, 1), hosts.slice(1, 2));
  await pause(ILL_MS);
  t.same(told(since, 'dead'), []);
  // Others vouch for them: without indirect probes they would suspect one another again and again.
  const suspicions = told(since, 'suspect').length;
  t.ok(suspicions <= 4, `${suspicions} suspicions`);
  network.heal();
  await one();
});

test('a lattice in two parts is one again, with one view and one epoch', async (t) => {
  const [some, others] = [nodes.slice(0, 3), nodes.slice(3)];
  network.cut(hosts.slice(0, 3), hosts.slice(3));
  await Promise.all([untilSeen(some, others, 'dead'), untilSeen(others, some, 'dead')]);
  network.heal();
  const healedMs = performance.now();
  await one();
  t.ok(performance.now() - healedMs < HEALED_MS);
  const epochs = new Set(
    (await Promise.all(nodes.map((node) => node.see()))).map(({ epoch }) => epoch),
  );
  t.equal(epochs.size, 1);
});

test('a host whose link is pulled is dead to the others, and alive when it is back', async (t) => {
  const [pulled, ...others] = nodes.toReversed();
  if (pulled === undefined) throw new Error('no node');
  pulled.host.plug('out');
  await untilSeen(others, [pulled], 'dead');
  pulled.host.plug('in');
  await one();
  t.pass('alive');
});

test('a firewall drops the port of membership: it goes by the control lane, and back after', async (t) => {
  const walled = nodes.at(-1);
  if (walled === undefined) throw new Error('no node');
  const since = marks();
  wall(
    walled.host,
    nodes.map(({ data }) => swimPort(data)),
  );
  await pause(ILL_MS);
  t.ok(packets(walled.host, 'dropped') > 0, 'nothing gets through');
  t.same(told(since, 'dead'), [], 'and nobody is declared dead');

  // Who starts behind it has no link of membership at all.
  await walled.kill();
  nodes.pop();
  await untilSeen(nodes, [walled], 'dead');
  nodes.push(await HostNode.start(walled.host, { data: walled.data, swim: SWIM }));
  await one();
  const sinceAgain = marks();
  await pause(ILL_MS);
  t.same(told(sinceAgain, 'dead'), []);
  t.ok(packets(walled.host, 'control') > 0);

  walled.host.run('nft', 'flush', 'chain', 'ip', 'wall', 'drops');
  await onOwnLinks(walled.host);
  await one();
});

test('who is behind a router reaches the others and is not reached', async (t) => {
  const { host } = network.hostBehindRouter('laptop');
  const [first] = nodes;
  if (first === undefined) throw new Error('no node');
  const dials = (from: Host, to: string): string => from.run(process.execPath, '--eval', DIAL, to);
  t.equal(dials(host, first.address), 'open');
  t.match(dials(first.host, `${host.address}:22`), 'ENETUNREACH');
});

test('the nodes stop', async (t) => {
  await Promise.all(nodes.map((node) => node.close()));
  t.pass('they have');
});

/** Where the node's membership listens. */
function swimPort(data: string): number {
  const store = new RingStore(join(data, 'ring.db'));
  const port = store.swimPort();
  store.close();
  if (port === undefined) throw new Error('it listens nowhere');
  return port;
}

/** Drops at the host what goes to these ports or comes from them, and counts what comes in besides. */
function wall(host: Host, ports: readonly number[]): void {
  const at = `{ ${ports.join(', ')} }`;
  const rule = (match: string): string => `tcp dport ${at} ${match}; tcp sport ${at} ${match};`;
  host.run(
    'nft',
    `table ip wall {
      counter dropped {}; counter own {}; counter control {};
      chain drops { ${rule('counter name dropped drop')} }
      chain in { type filter hook input priority 0; jump drops; ${rule('counter name own accept')} meta l4proto tcp counter name control; }
      chain out { type filter hook output priority 0; jump drops; }
    }`,
  );
}

/** How many packets a counter of the wall has seen since the last look. */
function packets(host: Host, counter: 'dropped' | 'own' | 'control'): number {
  const said = host.run('nft', 'reset', 'counter', 'ip', 'wall', counter);
  return Number(/packets (\d+)/.exec(said)?.[1]);
}

/** Waits until the host hears membership by its own links alone. */
async function onOwnLinks(host: Host): Promise<void> {
  let isQuiet = false;
  while (!isQuiet) {
    packets(host, 'own');
    packets(host, 'control');
    await pause(2_000);
    isQuiet = packets(host, 'own') > 0 && packets(host, 'control') === 0;
  }
}

/** How much each node has told so far. */
function marks(): number[] {
  return nodes.map(({ heard }) => heard.length);
}

/** Whom which node has found in this state since. */
function told(since: readonly number[], which: MemberState): string[] {
  return nodes.flatMap(({ host, heard }, i) =>
    heard
      .slice(since[i])
      .filter(({ state }) => state === which)
      .map(({ name, why }) => `${host.name}: ${name}: ${why}`),
  );
}

/** All see all alive. */
async function one(): Promise<void> {
  await untilSeen(nodes, nodes, 'alive');
}
