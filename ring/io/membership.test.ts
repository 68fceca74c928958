import type { Worker } from 'node:worker_threads';
import { test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import { isGone } from '../core/swim-message.ts';
import { transportLimits } from '../core/transport-limits.ts';
import { createCertificate } from './certificate.ts';
import { onMainLoop, openMembership } from './membership.ts';
import {
  certificateOf,
  LATTICE,
  membershipSuite,
  type Node,
  nodes,
  rosterOf,
} from './membership.testsuite.ts';
import { key, pem } from './peers.testkit.ts';
import type { SwimSockets } from './swim-protocol.ts';

test('on the main loop', { timeout: 120_000 }, (t) => membershipSuite(t, onMainLoop));
test('in a thread of its own', { timeout: 120_000 }, (t) => membershipSuite(t, openMembership));

const socketsOf = (number: number): SwimSockets => ({
  host: '127.0.0.1',
  key: pem(key(number)),
  certificate: createCertificate(key(number)),
  lattice: LATTICE,
  limits: transportLimits(),
});
const castsOf = ({ membership }: Node): number => membership.counts()?.received.cast ?? 0;

test('it speaks by sockets of its own', { timeout: 60_000 }, async (t) => {
  const [a, b] = (await nodes(t, 2, openMembership)) as [Node, Node];
  await Promise.all([a.sees('alive', b), b.sees('alive', a)]);
  // The first words may have gone by the control lane.
  let before: number;
  do {
    const own = castsOf(a);
    before = a.peers.counts().received.cast;
    await a.until(() => castsOf(a) > own + 5);
  } while (a.peers.counts().received.cast > before);
  t.match(a.membership.counts(), { open: { guests: 0 }, unsent: { cast: 0 } });
  t.ok((a.membership.counts()?.open.members ?? 0) > 0);
  t.type(a.store.swimAddresses().get(b.id), 'string', 'it will find the other there again');

  const port = b.store.swimPort();
  await b.membership.stop();
  await a.sees('dead', b);
  b.reopen();
  b.membership.setRoster(rosterOf(a, b));
  await Promise.all([a.sees('alive', b), b.sees('alive', a)]);
  t.equal(b.store.swimPort(), port, 'and it is there again');
});

test(
  'where its sockets do not lead, it goes by the control lane',
  { timeout: 60_000 },
  async (t) => {
    // They listen on another host than the one that is told.
    const made = await nodes(t, 3, openMembership, (number) => ({
      sockets: { ...socketsOf(number), host: '127.0.0.2' },
    }));
    const [a, b, c] = made as [Node, Node, Node];
    await Promise.all([a.sees('alive', b, c), b.sees('alive', a, c), c.sees('alive', a, b)]);
    await a.until(() => a.membership.counts() !== undefined);
    t.match(a.membership.counts(), { received: { cast: 0 }, open: { members: 0 } });
    await c.membership.stop();
    await Promise.all([a.sees('dead', c), b.sees('dead', c)]);
    t.equal(a.of(b)?.state, 'alive');
    b.membership.leave();
    await b.membership.stop();
    await a.until(() => isGone(a.of(b)?.state));
    t.equal(a.of(b)?.state, 'left', 'also what it says last');
  },
);

test('its sockets are for those whose certificates hold', { timeout: 60_000 }, async (t) => {
  let certificate: Uint8Array | undefined;
  const [a, b] = (await nodes(t, 2, openMembership, (number) =>
    number === 2 ? { certificate: () => certificate } : {},
  )) as [Node, Node];
  await Promise.all([a.sees('alive', b), b.sees('alive', a)]);
  const before = a.peers.counts().received.cast;
  await a.until(() => a.peers.counts().received.cast > before + 20);
  t.equal(castsOf(a), 0, 'by the control lane alone');
  certificate = certificateOf(b.id);
  b.membership.certified();
  await a.until(() => castsOf(a) > 0);
  t.equal(a.of(b)?.state, 'alive');
});

test('a thread that ends is started again, above what it was', { timeout: 60_000 }, async (t) => {
  const threads: Worker[] = [];
  const note = (worker: Worker): unknown => threads.push(worker);
  process.on('worker', note);
  t.teardown(() => process.off('worker', note));
  const errors: string[] = [];
  const log = { ...silentLog, error: (_: object, message: string) => errors.push(message) };
  const [a, b] = (await nodes(t, 2, openMembership, () => ({ log }))) as [Node, Node];
  await Promise.all([a.sees('alive', b), b.sees('alive', a)]);
  const before = a.of(b)?.incarnation ?? Infinity;
  t.equal(threads.length, 1, 'nodes of one process share it');
  await threads[0]?.terminate();
  await a.until(() => (a.of(b)?.incarnation ?? 0) > before);
  await Promise.all([a.sees('alive', b), b.sees('alive', a)]);
  t.match(errors, [/started again/, /started again/]);
  t.equal(threads.length, 2);

  await a.membership.stop();
  t.not(threads[1]?.threadId, -1, 'one node is left in it');
  await b.membership.stop();
  t.equal(threads[1]?.threadId, -1, 'it ends with the last');
});

test('who has nowhere to listen costs its neighbours nothing', { timeout: 60_000 }, async (t) => {
  const errors: string[] = [];
  const log = { ...silentLog, error: (_: object, message: string) => errors.push(message) };
  const host = '203.0.113.1';
  const [a, b] = (await nodes(t, 3, openMembership, (number) =>
    number === 3 ? { log, sockets: { ...socketsOf(3), host } } : {},
  )) as [Node, Node];
  await Promise.all([a.sees('alive', b), b.sees('alive', a)]);
  await a.until(() => errors.some((error) => error.includes('nowhere to listen')));
  const before = castsOf(a);
  await a.until(() => castsOf(a) > before + 20);
  t.equal(a.of(b)?.state, 'alive');
});
