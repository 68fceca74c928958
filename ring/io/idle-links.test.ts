import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import type { WebSocket } from 'ws';
import type { Clock } from '../../spec/clock.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { FULL_MESH } from '../core/link-cache.ts';
import { KEEP } from './peers.ts';
import { frame, idOf, open, type Opened, raw, TIMEOUT } from './peers.testkit.ts';

const LINKS_MAX = 16;
const FIRST = 10;
const IDLE_MS = 3_000_000;

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(1);
}

interface Crowded extends Opened {
  /** Opens one more link, of a node of its own. */
  more(): Promise<WebSocket>;
  /** Ends of links that were closed for being idle, in order. */
  closed: number[];
  down: string[];
  /** Lets time go by at once. */
  wait(ms: number): void;
  /** The look that is due at a later time; none: undefined. */
  later(): (() => void) | undefined;
}

/** A node whose clock goes on by a millisecond with each look at it: no two links were used at once. */
async function crowded(t: Test, linksMax = LINKS_MAX): Promise<Crowded> {
  let nowMs = 0;
  let look: (() => void) | undefined;
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => ++nowMs,
    after: (delayMs, wake) => {
      if (delayMs !== IDLE_MS / 4) return systemClock.after(delayMs, wake);
      look = wake;
      return () => (look = undefined);
    },
  };
  const limits = {
    linksMax,
    linkIdleMs: IDLE_MS,
    strangerBurst: 1_000,
    handshakeBurstPerIp: 1_000,
    castsPerSecond: 1_000_000,
  };
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
  const later = (): (() => void) | undefined => {
    const due = look;
    look = undefined;
    return due;
  };
  return { ...opened, more, closed, down, wait: (ms) => void (nowMs += ms), later };
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
  one.wait(60_000);
  await one.more();
  await until(() => one.closed.length === LINKS_MAX + 3);
  t.ok(one.closed.includes(FIRST + 1), 'and it is not kept for ever');
});

test('a link on which something waits to be written is not closed', async (t) => {
  const one = await crowded(t);
  const deaf = await one.more();
  deaf.pause();
  const full = new Uint8Array(1 << 20);
  while (one.peers.counts().queuedBytes === 0) {
    for (let i = 0; i < 4; i++) one.peers.cast(idOf(FIRST), 'any', full);
    await pause(20);
  }
  for (let i = 0; i < LINKS_MAX; i++) await one.more();
  await until(() => one.closed.length === 1);
  t.strictSame(one.closed, [FIRST + 1]);
  deaf.terminate();
});

test('above a full mesh links are looked at from time to time, and go when they are idle', async (t) => {
  const one = await crowded(t, FULL_MESH * 2);
  for (let i = 0; i < FULL_MESH + 2; i++) await one.more();
  one.later()?.();
  t.strictSame(one.closed, [], 'none is idle yet');
  one.wait(IDLE_MS);
  one.later()?.();
  await until(() => one.closed.length === 2);
  t.strictSame(new Set(one.closed), new Set([FIRST, FIRST + 1]));
  t.equal(one.peers.counts().open.members, FULL_MESH);
  one.later()?.();
  t.equal(one.later(), undefined, 'then there is nothing to look at any more');
});
