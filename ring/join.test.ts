import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { Clock } from '../spec/clock.ts';
import { silentLog } from '../spec/log.ts';
import { seededRandom } from '../spec/random.ts';
import { systemClock } from '../spec/system-clock.ts';
import { mintJoinToken, Ring } from './index.ts';
import { keyFromSeed } from './io/keys.ts';
import { askToJoin } from './join.ts';
import { areWhole, impostor, opener, until } from './lattice.testkit.ts';

const PATIENCE_MS = 60_000;
/** For the answer of a member that is asked whether it can dial this one. */
const REACH_TIMEOUT_MS = 10_000;

/** A program at an address that is no node yet. */
async function server(t: Test, taken: (socket: Socket) => void): Promise<[Server, string]> {
  const listening = createServer((socket) => {
    socket.on('error', () => {});
    taken(socket);
  });
  await once(listening.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => listening.close());
  return [listening, `127.0.0.1:${(listening.address() as AddressInfo).port}`];
}

/** Asks at the address by a clock on which every rest is over at once. */
async function asks(t: Test, address: string, seed = 1): Promise<{ waitedMs: number[] }> {
  const a = await opener(t)('a');
  const token = mintJoinToken(join(t.testdirName, 'a'));
  const key = keyFromSeed(new Uint8Array(32).fill(seed));
  const peers = impostor(t, key, a.lattice);
  let nowMs = 0;
  const waitedMs: number[] = [];
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => nowMs,
    after(forMs, wake) {
      waitedMs.push(forMs);
      nowMs += forMs;
      setImmediate(wake);
      return () => {};
    },
  };
  const asked = askToJoin(
    peers,
    () => Promise.resolve([address]),
    token,
    key,
    { node: peers.self, name: 'b', address: 'none' },
    { clock, random: seededRandom(seed), log: silentLog, patienceMs: PATIENCE_MS },
  );
  await t.rejects(asked, { code: 'ERR_RING_UNREACHABLE' });
  return { waitedMs };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);

test('where nobody is a newcomer gives up soon', async (t) => {
  const [closed, address] = await server(t, () => {});
  closed.close();
  const { waitedMs } = await asks(t, address);
  t.ok(sum(waitedMs) >= 15_000 && sum(waitedMs) < 25_000, String(waitedMs));
});

test('so it does where something else than a node is', async (t) => {
  const [, address] = await server(t, (socket) => void socket.end('HTTP/1.1 400 no\r\n\r\n'));
  const { waitedMs } = await asks(t, address);
  t.ok(sum(waitedMs) < 25_000, String(waitedMs));
});

test('who is there and has no time is asked for longer, after rests that grow and differ', async (t) => {
  let calls = 0;
  const [, address] = await server(t, (socket) => {
    calls++;
    socket.resetAndDestroy();
  });
  const { waitedMs } = await asks(t, address);
  t.ok(sum(waitedMs) >= PATIENCE_MS, String(waitedMs));
  t.equal(calls, waitedMs.length + 1);
  t.ok((waitedMs[0] ?? 0) < 1_000 && (waitedMs.at(-1) ?? 0) >= 4_000);
  const other = await asks(t, address, 2);
  t.not(waitedMs[0], other.waitedMs[0]);
});

test('a newcomer is patient for a second at least', async (t) => {
  const data = t.testdir();
  await t.rejects(Ring.open({ data, joinPatienceMs: 999 }), { code: 'ERR_RING_OPTION' });
});

test(
  'who was dialled when it was let in is not dialled again at once',
  { timeout: 60_000 },
  async (t) => {
    const open = opener(t);
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 1 });
    /** What rests by chance rests for good: until the others are asked to dial it, too. */
    const afterMs: number[] = [];
    const clock: Clock = {
      ...systemClock,
      after: (ms, done) => {
        afterMs.push(ms);
        return Number.isInteger(ms) || ms < 1_000 ? systemClock.after(ms, done) : () => {};
      },
    };
    const b = await open('b', { join: [a.address], token, clock });
    await until(() => areWhole(a, b));
    t.notOk(afterMs.includes(REACH_TIMEOUT_MS), 'nobody is asked yet');
    await b.close();
    const again = await open('b', { clock });
    await until(() => areWhole(a, again));
    t.ok(afterMs.includes(REACH_TIMEOUT_MS), 'who comes back may be elsewhere');
  },
);
