import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import type { WebSocket } from 'ws';
import { systemClock } from '../../spec/system-clock.ts';
import { KEEP } from './peers.ts';
import { frame, open, type Opened, raw, TIMEOUT } from './peers.testkit.ts';

const LINKS_MAX = 16;
const FIRST = 10;

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(1);
}

interface Crowded extends Opened {
  /** Opens one more link, of a node of its own. */
  more(): Promise<WebSocket>;
  /** Ends of links that were closed for being idle, in order. */
  closed: number[];
  down: string[];
}

/** A node whose clock goes on by a millisecond with each look at it: no two links were used at once. */
async function crowded(t: Test): Promise<Crowded> {
  let nowMs = 0;
  const clock = { ...systemClock, monotonicMs: () => ++nowMs };
  const limits = { linksMax: LINKS_MAX, strangerBurst: 1_000, castsPerSecond: 1_000_000 };
  const opened = await open(t, 1, { clock, limits, isMember: () => true });
  const down: string[] = [];
  opened.peers.onLinkDown((node) => down.push(node));
  const closed: number[] = [];
  let next = FIRST;
  const more = async (): Promise<WebSocket> => {
    const number = next++;
    const socket = raw(opened.address, number);
    t.teardown(() => socket.terminate());
    socket.on('close', (code, reason) => {
      if (code === 1000 && reason.toString() === 'idle') closed.push(number);
    });
    await once(socket, 'open');
    return socket;
  };
  return { ...opened, more, closed, down };
}

test('above the limit the least recently used link is closed, and opened again when it is needed', async (t) => {
  const one = await crowded(t);
  one.peers.serve('echo', (body) => body);
  const two = await open(t, 2, { isMember: () => true });
  const down: string[] = [];
  two.peers.onLinkDown((node) => down.push(node));
  two.peers.setAddress(one.peers.self, one.address);
  await two.peers.call(one.peers.self, 'echo', 1, TIMEOUT);
  for (let i = 1; i <= LINKS_MAX; i++) await one.more();
  await until(() => two.peers.counts().open.members === 0);
  t.equal(one.peers.counts().open.members, LINKS_MAX);
  t.equal(await two.peers.call(one.peers.self, 'echo', 2, TIMEOUT), 2);
  await until(() => one.closed.length === 1);
  t.strictSame(one.closed, [FIRST], 'the next one is the oldest of the others');
  t.strictSame([one.down, down], [[], []], 'nobody is to be looked after');
});

test('a link that carries a call, or keeps a node within reach, is not closed', async (t) => {
  const one = await crowded(t);
  const { promise: answered, resolve: answer } = Promise.withResolvers<string>();
  let waiting = 0;
  one.peers.serve('wait', () => {
    waiting++;
    return answered;
  });
  const first = await one.more();
  first.send(frame([[0, 1, 'wait', null]]));
  const second = await one.more();
  second.send(frame([[0, 1, KEEP, null]]));
  await once(second, 'message');
  await until(() => waiting === 1);
  for (let i = 0; i < LINKS_MAX; i++) await one.more();
  await until(() => one.closed.length === 2);
  t.strictSame(one.closed, [FIRST + 2, FIRST + 3]);
  const told = once(first, 'message');
  answer('late');
  t.match(String((await told)[0]), /late/);
  await until(() => first.readyState === first.OPEN);
  for (let i = 0; i < LINKS_MAX; i++) await one.more();
  await until(() => one.closed.length === LINKS_MAX + 2);
  t.notOk(one.closed.includes(FIRST + 1), 'it is kept');
  t.ok(one.closed.includes(FIRST), 'this one has done its work');
});
