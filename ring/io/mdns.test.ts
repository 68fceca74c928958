import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type Test, test } from 'tap';
import { systemClock } from '../../spec/system-clock.ts';
import { systemRandom } from '../../spec/system-random.ts';
import { silentLog } from '../../spec/log.ts';
import { SERVICE } from '../core/announcement.ts';
import { decodeDnsMessage, encodeDnsMessage } from '../core/dns-message.ts';
import { Announcer, browse, type MdnsOptions } from './mdns.ts';

const HOST = '127.0.0.1';
const [OURS, THEIRS] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
const node = (letter: string): string => `n${letter.repeat(52)}`;

/** With a port that nobody else has now. */
async function options(): Promise<MdnsOptions & { port: number }> {
  const socket = createSocket('udp4').bind(0, HOST);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return { clock: systemClock, random: systemRandom, log: silentLog, port };
}

async function announce(
  t: Test,
  of: MdnsOptions,
  letter: string,
  port: number,
  lattice = OURS,
): Promise<Announcer> {
  const announcer = await Announcer.open({ node: node(letter), host: HOST, port, lattice }, of);
  t.teardown(() => announcer.close());
  return announcer;
}

test('a newcomer finds the members of its lattice that let themselves be found', async (t) => {
  const of = await options();
  t.same(await browse(OURS, of), [], 'nobody');
  await Promise.all([
    announce(t, of, 'a', 7_001),
    announce(t, of, 'b', 7_002),
    announce(t, of, 'c', 7_003, THEIRS),
  ]);
  t.same((await browse(OURS, of)).toSorted(), [`${HOST}:7001`, `${HOST}:7002`]);
  t.same(await browse(THEIRS, of), [`${HOST}:7003`]);
});

test('a member says once more who it is when it goes, and answers no more', async (t) => {
  const of = await options();
  const announcer = await Announcer.open(
    { node: node('a'), host: HOST, port: 7_001, lattice: OURS },
    of,
  );
  const socket = createSocket({ type: 'udp4', reuseAddr: true }).bind(of.port);
  t.teardown(() => socket.close());
  await once(socket, 'listening');
  socket.addMembership('224.0.0.251', HOST);
  const gone = once(socket, 'message');
  await announcer.close();
  const [bytes] = (await gone) as [Buffer];
  t.match(decodeDnsMessage(bytes), {
    id: 0,
    isResponse: true,
    records: [{ name: SERVICE, ttlSeconds: 0 }],
  });
  t.same(await browse(OURS, of), []);
});

test('an answer has the question that was asked; what is no question is not answered', async (t) => {
  const of = await options();
  await announce(t, of, 'a', 7_001);
  const socket = createSocket('udp4').bind(0, HOST);
  t.teardown(() => socket.close());
  await once(socket, 'listening');
  const heard: Buffer[] = [];
  socket.on('message', (bytes) => heard.push(bytes));
  const ask = (name: string, isResponse = false): Uint8Array =>
    encodeDnsMessage({ id: 99, isResponse, questions: [{ name, type: 'PTR' }], records: [] });
  const question = ask(SERVICE);
  for (const bytes of [
    ask('_other._tcp.local'),
    ask(SERVICE, true),
    question.subarray(0, question.length - 3),
    Buffer.alloc(2_000, 0xff),
    question,
  ])
    socket.send(bytes, of.port, HOST);
  await once(socket, 'message');
  t.match(decodeDnsMessage(heard[0] as Buffer), {
    id: 99,
    questions: [{ name: SERVICE }],
    records: [{ type: 'PTR' }, { port: 7_001 }, { type: 'TXT' }, { address: HOST }],
  });

  // A flood of questions: as many are answered as the rate lets, those before included.
  for (let i = 0; i < 400; i++) socket.send(question, of.port, HOST);
  await once(socket, 'message');
  t.same(await browse(OURS, { ...of }), [`${HOST}:7001`], 'it goes on answering');
  t.ok(heard.length < 100, `${heard.length} answers`);
});

test('a node is announced on a network of this machine only', async (t) => {
  const of = await options();
  for (const host of ['192.0.2.1', '::1', 'example.com'])
    await t.rejects(Announcer.open({ node: node('a'), host, port: 1, lattice: OURS }, of), {
      code: 'ERR_RING_OPTION',
    });
});
