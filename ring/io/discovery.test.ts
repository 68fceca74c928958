import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { systemRandom } from '../../spec/system-random.ts';
import { decodeDnsMessage, type DnsRecord, encodeDnsMessage } from '../core/dns-message.ts';
import { mintJoinToken, Ring } from '../index.ts';
import { findSeeds, parseSeed } from './discovery.ts';

/** A DNS server. @param zone changes as the test goes on. @returns its address */
async function dnsServer(t: Test, zone: DnsRecord[]): Promise<string> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  t.teardown(() => socket.close());
  await once(socket, 'listening');
  socket.on('message', (bytes, from) => {
    const query = decodeDnsMessage(bytes);
    const [question] = query?.questions ?? [];
    if (query === undefined || question === undefined) return;
    const { id, questions } = query;
    const records = zone.filter(
      ({ name, type }) => name === question.name && type === question.type,
    );
    socket.send(
      encodeDnsMessage({ id, isResponse: true, questions, records }),
      from.port,
      from.address,
    );
  });
  return `127.0.0.1:${socket.address().port}`;
}

/** @param server none: as the machine is set up */
async function find(server: string | undefined, ...seeds: string[]): Promise<string[]> {
  return findSeeds(seeds.map(parseSeed), {
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    ...(server === undefined ? {} : { dnsServers: [server] }),
    lattice: new Uint8Array(16),
  });
}

const ttlSeconds = 1;
const srv = (target: string, port: number, priority: number, weight = 0): DnsRecord => ({
  name: '_aether._tcp.ring.test',
  ttlSeconds,
  type: 'SRV',
  target,
  port,
  priority,
  weight,
});
const a = (name: string, address: string): DnsRecord => ({ name, ttlSeconds, type: 'A', address });

test('seeds are addresses, names and what is announced', (t) => {
  t.same(parseSeed('host:7400'), { kind: 'address', address: 'host:7400' });
  t.same(parseSeed('[::1]:7400'), { kind: 'address', address: '[::1]:7400' });
  t.same(parseSeed('dns:ring.test'), { kind: 'service', name: 'ring.test' });
  t.same(parseSeed('dns:ring.test:7400'), { kind: 'host', name: 'ring.test', port: 7_400 });
  t.same(parseSeed('mdns:'), { kind: 'mdns' });
  t.match(parseSeed(`mdns:l${'a'.repeat(52)}`), { kind: 'mdns', lattice: Uint8Array });
  for (const text of [
    '',
    'host',
    'host:70000',
    'dns:',
    'dns::7400',
    'dns:a b',
    'dns:host:0',
    'dns:host:70000',
    `dns:${'a.'.repeat(140)}b`,
    'mdns:home',
    'mdns:l',
  ])
    t.throws(() => parseSeed(text), { code: 'ERR_ADDRESS' }, text);
  t.end();
});

test('a name leads to its addresses, or by its service records to those of others, the preferred first', async (t) => {
  const server = await dnsServer(t, [
    a('ring.test', '10.0.0.1'),
    a('ring.test', '10.0.0.2'),
    { name: 'ring.test', ttlSeconds, type: 'AAAA', address: '2001:db8::1' },
    srv('late.test', 7_003, 20),
    srv('light.test', 7_002, 10, 1),
    srv('heavy.test', 7_001, 10, 9),
    srv('nowhere.test', 7_004, 10, 99),
    a('heavy.test', '10.0.1.1'),
    a('light.test', '10.0.1.2'),
    a('late.test', '10.0.1.3'),
  ]);
  t.same(await find(server, 'dns:ring.test:7400'), [
    '10.0.0.1:7400',
    '10.0.0.2:7400',
    '[2001:db8::1]:7400',
  ]);
  t.same(await find(server, 'dns:ring.test', 'host:1', 'dns:other.test:1'), [
    '10.0.1.1:7001',
    '10.0.1.2:7002',
    '10.0.1.3:7003',
    'host:1',
  ]);
  t.same(await find(server), []);
  await t.rejects(find(server, 'dns:other.test', 'dns:other.test:1'), {
    code: 'ERR_RING_SEEDS_NOT_FOUND',
    message: /DNS for other.test: ENODATA/,
  });
});

test('without servers of its own a name leads where it does for every program of the machine', async (t) => {
  t.ok((await find(undefined, 'dns:localhost:7400')).includes('127.0.0.1:7400'), '/etc/hosts');
  await t.rejects(find(undefined, 'dns:no-such-host.invalid:7400'), {
    code: 'ERR_RING_SEEDS_NOT_FOUND',
    message: /DNS for no-such-host\.invalid: E/,
  });
});

test('a name may lead to many; not all are tried', async (t) => {
  const many = Array.from({ length: 90 }, (_, i) => a('ring.test', `10.0.0.${i}`));
  const server = await dnsServer(t, many);
  t.equal((await find(server, 'dns:ring.test:7400')).length, 64);
});

test('a node joins at a name that leads to a member only after a while', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-discovery-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const founder = await Ring.open({ data: join(folder, 'a') });
  t.teardown(() => founder.close());
  const token = mintJoinToken(join(folder, 'a'));
  const zone: DnsRecord[] = [];
  const joined = Ring.open({
    data: join(folder, 'b'),
    join: ['dns:ring.test'],
    dnsServers: [await dnsServer(t, zone)],
    token,
    log: {
      ...silentLog,
      // It has tried in vain.
      info: () => {
        if (zone.length > 0) return;
        const port = Number(founder.address.split(':')[1]);
        zone.push(srv('a.test', port, 1), a('a.test', '127.0.0.1'));
      },
    },
  });
  const newcomer = await joined;
  t.teardown(() => newcomer.close());
  t.same(newcomer.members().length, 2);
});

test('a seed that cannot be meant is refused before anything is begun', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-discovery-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const data = join(folder, 'a');
  await t.rejects(Ring.open({ data, join: ['mdns:home'], token: 't' }), { code: 'ERR_ADDRESS' });
  await t.rejects(Ring.open({ data, listen: '[::1]:0', mdns: true }), { code: 'ERR_RING_OPTION' });
  const founder = await Ring.open({ data });
  await founder.close();
});
