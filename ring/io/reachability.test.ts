/** Whether others can dial a node, and its relays while they cannot: real peers, and a clock that the test moves. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import { seededRandom } from '../../spec/random.ts';
import { systemClock } from '../../spec/system-clock.ts';
import type { RelayCandidate } from '../core/relay-choice.ts';
import { relayAddress } from '../core/ways.ts';
import { KEEP, type Peers } from './peers.ts';
import { idOf, open, openBehind, type Opened, TIMEOUT } from './peers.testkit.ts';
import { Reachability } from './reachability.ts';

const CHECKED_MS = 900_000;
const MISSED_MS = 30_000;
const KEPT_MS = 15_000;
const OUT_OF_REACH_MS = 1_000;

/** Where somebody listens and says nothing. */
async function silentAddress(t: Test): Promise<string> {
  const held: Socket[] = [];
  const server = createServer((socket) => held.push(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of held) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A node whose rounds are made one by one. */
class Reached {
  readonly announced: string[][] = [];
  readonly reachability: Reachability;
  nowMs = 0;
  #next: { delayMs: number; wake: () => void } | undefined;
  #scheduled: () => void = () => {};

  constructor(
    peers: Peers,
    address: string | undefined,
    candidates: () => RelayCandidate[],
    isFound = false,
  ) {
    this.reachability = new Reachability({
      peers,
      address,
      isFound,
      candidates,
      clock: {
        ...systemClock,
        monotonicMs: () => this.nowMs,
        after: (delayMs, wake) => {
          this.#next = { delayMs, wake };
          this.#scheduled();
          return () => (this.#next = undefined);
        },
      },
      random: seededRandom(1),
      log: silentLog,
      announce: (addresses) => this.announced.push(addresses),
    });
  }

  get isWaiting(): boolean {
    return this.#next !== undefined;
  }

  /** Does something that makes a round, to its end. @returns when the next is due. */
  async round(begin: () => void): Promise<number> {
    const over = new Promise<void>((done) => (this.#scheduled = done));
    begin();
    await over;
    return this.#next?.delayMs ?? Number.NaN;
  }

  /** The next round, when it is due. */
  async next(): Promise<number> {
    const { delayMs = 0, wake = (): void => {} } = this.#next ?? {};
    this.nowMs += delayMs;
    return this.round(wake);
  }
}

/** Members that answer what the test says, and count what they are asked. */
class Others {
  readonly opened: Opened[] = [];
  /** Whether each can dial the node. */
  readonly dials = new Map<string, boolean>();
  reached = 0;
  /** Asked at once. */
  most = 0;
  #asked = 0;

  async add(t: Test, number: number, limits = {}): Promise<Opened> {
    const other = await open(t, number, { limits });
    const { self } = other.peers;
    this.dials.set(self, true);
    other.peers.serve('reach', async () => {
      this.reached++;
      this.most = Math.max(this.most, ++this.#asked);
      await pause(10);
      this.#asked--;
      return this.dials.get(self);
    });
    this.opened.push(other);
    return other;
  }

  candidates(): RelayCandidate[] {
    return this.opened.map(({ peers }, i) => ({ id: peers.self, roles: ['storage'], rttMs: i }));
  }

  /** All of them. */
  dial(...can: boolean[]): void {
    this.opened.forEach(({ peers }, i) => this.dials.set(peers.self, can[i] ?? false));
  }
}

async function start(t: Test, members: number): Promise<{ self: Opened; others: Others }> {
  const self = await open(t, 1);
  const others = new Others();
  for (let number = 2; number < 2 + members; number++) {
    const other = await others.add(t, number);
    self.peers.setAddress(other.peers.self, other.address);
  }
  return { self, others };
}

test('who is dialled says where it listens, who is missed says which relays lead to it too', async (t) => {
  const { self, others } = await start(t, 3);
  const node = new Reached(self.peers, self.address, () => others.candidates());
  const relays = others.opened.map(({ peers }) => relayAddress(peers.self));
  const round = (): Promise<number> => node.round(() => node.reachability.recheck());

  t.equal(await node.round(() => node.reachability.start()), KEPT_MS);
  t.equal(others.reached, 3);
  t.strictSame(node.announced, [], 'that was said from the beginning');
  for (let ms = KEPT_MS; ms < CHECKED_MS; ms += KEPT_MS) await node.next();
  t.equal(others.reached, 3, 'it is not asked again soon');
  await node.next();
  t.equal(others.reached, 6);

  others.dial(true, false, true);
  await round();
  t.strictSame(node.announced.splice(0), [[self.address, ...relays]], 'one of them cannot');
  for (let ms = KEPT_MS; ms < MISSED_MS; ms += KEPT_MS) await node.next();
  t.equal(others.reached, 9);
  others.dial(false, false, false);
  await node.next();
  t.equal(others.reached, 12, 'who is missed asks again sooner');
  t.strictSame(node.announced.splice(0), [relays], 'none can');
  await round();
  t.strictSame(node.announced, [], 'what is as it was is not said again');
  others.dial(true, true, true);
  await round();
  t.strictSame(node.announced.splice(0), [[self.address]]);
  others.dial(false, false, false);
  for (const { peers } of others.opened) await peers.close();
  await round();
  t.strictSame(node.announced, [], 'without an answer nothing is different');
  node.reachability.stop();
});

test('who was dialled when it was let in asks the others a little later', async (t) => {
  const { self, others } = await start(t, 3);
  const node = new Reached(self.peers, self.address, () => others.candidates(), true);
  const delayMs = await node.round(() => node.reachability.start());
  node.reachability.review(idOf(2), false);
  t.ok(node.isWaiting, 'also when a member is there');
  t.equal(others.reached, 0);
  t.ok(delayMs < KEPT_MS);
  await node.next();
  t.equal(others.reached, 3);
  node.reachability.stop();
});

test('a round is made at a time, and one more for what came meanwhile; none after the stop', async (t) => {
  const { self, others } = await start(t, 3);
  let isEmpty = true;
  const node = new Reached(self.peers, self.address, () => (isEmpty ? [] : others.candidates()));
  await node.round(() => node.reachability.start());
  isEmpty = false;
  await node.round(() => node.reachability.review(idOf(2), false));
  t.equal(others.reached, 3, 'the first members are asked as soon as they are there');
  await node.round(() => {
    node.reachability.recheck();
    node.reachability.recheck();
  });
  t.equal(others.reached, 9);
  t.equal(others.most, 3);
  others.dial(false, false, false);
  node.reachability.recheck();
  node.reachability.stop();
  // Answers come in turn.
  for (const { peers } of others.opened) await self.peers.call(peers.self, 'reach', null, TIMEOUT);
  t.equal(others.reached, 15);
  t.strictSame(node.announced, []);
});

test('of many members three are asked, and each dials who asks and nobody else', async (t) => {
  const { self, others } = await start(t, 5);
  const node = new Reached(self.peers, self.address, () => others.candidates());
  await node.round(() => node.reachability.start());
  t.equal(others.reached, 3);
  node.reachability.stop();

  const dialler = await open(t, 8, { limits: { handshakeTimeoutMs: 500 } });
  new Reached(dialler.peers, dialler.address, () => []).reachability.stop();
  self.peers.setAddress(dialler.peers.self, dialler.address);
  const reach = (address: string): Promise<unknown> =>
    self.peers.call(dialler.peers.self, 'reach', address, TIMEOUT);
  t.equal(await reach(self.address), true);
  t.equal(await reach(others.opened[0]?.address ?? ''), false, 'another answers there');
  t.equal(await reach('127.0.0.1:1'), false);
  const silent = await silentAddress(t);
  const many = await Promise.allSettled(Array.from({ length: 9 }, () => reach(silent)));
  const refused = many.filter(({ status }) => status === 'rejected');
  t.match(refused, [{ reason: { code: 'ERR_RING_BUSY' } }], 'eight at a time');
  t.equal(await reach(self.address), true, 'and others after them');
});

test('who does not listen keeps three relays; one that does not serve is left out for a while', async (t) => {
  const others = new Others();
  const first = await others.add(t, 2, { tunnelsMax: 0 });
  for (const number of [3, 4, 5]) await others.add(t, number);
  const self = await openBehind(t, 1, { address: first.address, node: first.peers.self });
  for (const { peers, address } of others.opened) self.peers.setAddress(peers.self, address);
  const node = new Reached(self.peers, undefined, () => others.candidates());
  const ids = [3, 4, 5].map(idOf);
  t.equal(await node.round(() => node.reachability.start()), KEPT_MS);
  t.equal(others.reached, 0, 'who listens nowhere asks nobody to dial it');
  t.strictSame(node.announced.splice(0), [ids.map(relayAddress)], 'the nearest is no relay');

  const last = others.opened[3] as Opened;
  let kept = 0;
  last.peers.serve(KEEP, () => void kept++);
  const newest = await others.add(t, 6);
  self.peers.setAddress(newest.peers.self, newest.address);
  node.reachability.review(newest.peers.self, false);
  await node.round(() => node.reachability.recheck());
  t.equal(kept, 1, 'who has three looks for no other');
  others.opened.pop();

  // One goes; the one that did not serve is not asked before its time is over.
  const gone = others.opened.splice(1, 1)[0] as Opened;
  await gone.peers.close();
  node.nowMs = 9_999;
  await node.round(() => node.reachability.review(gone.peers.self, true));
  t.strictSame(node.announced.splice(0), [ids.slice(1).map(relayAddress)]);
  kept = 0;
  node.reachability.review(first.peers.self, false);
  await node.round(() => node.reachability.recheck());
  t.equal(kept, 1, 'nor is it waited for');
  first.peers.serve(KEEP, () => {});
  node.nowMs = 10_000;
  t.equal(await node.round(() => node.reachability.recheck()), KEPT_MS);
  t.strictSame(node.announced.splice(0), [[...ids.slice(1), first.peers.self].map(relayAddress)]);

  for (const { peers } of others.opened.splice(0)) await peers.close();
  t.equal(await node.next(), OUT_OF_REACH_MS, 'without a relay it tries again soon');
  t.strictSame(node.announced.splice(0), [['none']]);
  others.opened.push(newest);
  await node.round(() => node.reachability.review(newest.peers.self, false));
  t.strictSame(node.announced.splice(0), [[relayAddress(newest.peers.self)]]);
  newest.peers.serve(KEEP, () => void kept++);
  kept = 0;
  node.reachability.review(newest.peers.self, false);
  node.reachability.review(idOf(9), true);
  await node.round(() => node.reachability.recheck());
  t.equal(kept, 1, 'a relay that is there, and who is none, make no round');
  node.reachability.stop();
  t.notOk(node.isWaiting);
});

test('a relay that is silent is called anew before it is given up', async (t) => {
  const others = new Others();
  const relay = await others.add(t, 2);
  const self = await openBehind(t, 1, { address: relay.address, node: relay.peers.self });
  let asked = 0;
  relay.peers.serve(KEEP, () => (++asked === 1 ? new Promise(() => {}) : null));
  const lost: string[] = [];
  self.peers.onLinkDown((_node, why) => lost.push(why));
  const node = new Reached(self.peers, undefined, () => others.candidates());
  await node.round(() => node.reachability.start());
  t.equal(asked, 2);
  t.match(lost, [/it does not answer/], 'by another link');
  t.strictSame(node.announced, [[relayAddress(relay.peers.self)]]);
  node.reachability.stop();
});
