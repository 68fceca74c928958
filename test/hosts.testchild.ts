/** A lattice of five hosts under loss, cuts and pulled links; the tests go on from one another's end. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'tap';
import { type MemberState, mintJoinToken, type RingOptions } from '../ring/index.ts';
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
