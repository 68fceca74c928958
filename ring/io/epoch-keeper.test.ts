import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import type { Epoch, EpochMember } from '../core/epoch.ts';
import { withMembers } from '../core/epoch-change.ts';
import { openEpoch, toSignedEpoch } from '../core/epoch-record.ts';
import { epochOf, idOf, LATTICE as lattice, signedEpoch as signed } from '../epoch.testkit.ts';
import { EpochKeeper } from './epoch-keeper.ts';
import type { Peers } from './peers.ts';
import { RingStore } from './ring-store.ts';

const member = (name: string): EpochMember => ({
  id: idOf(name),
  name,
  address: `${name}:1`,
  roles: ['compute'],
  weight: 0,
  tokens: [],
});

function withMember(epoch: Epoch, name: string): Epoch {
  const use = { token: new Uint8Array(16), node: idOf(name), expiresSeconds: 1 };
  return withMembers(epoch, [{ member: member(name), use }], 0);
}

const first = withMember(epochOf([member('a')]), 'b');
const second = withMember(first, 'c');
const third = withMember(second, 'd');

function openKeeper(t: Test): EpochKeeper {
  const store = new RingStore(join(t.testdir(), 'ring.db'));
  t.teardown(() => store.close());
  const keeper = new EpochKeeper(store, silentLog);
  keeper.adopt(signed(first), lattice);
  return keeper;
}

/** Offers to node b, answered when the test says so, by number of the epoch; the others answer at once. */
class Offers {
  readonly numbers: number[] = [];
  readonly #answers: ((error?: Error) => void)[] = [];

  get peers(): Peers {
    const call = async (node: string, _method: string, body: unknown): Promise<void> => {
      if (node !== idOf('b')) return;
      this.numbers.push(openEpoch(toSignedEpoch(body), lattice).number);
      await new Promise<void>((done, fail) => {
        this.#answers.push((error) => (error === undefined ? done() : fail(error)));
      });
    };
    return { self: idOf('a'), call } as unknown as Peers;
  }

  async answer(error?: Error): Promise<void> {
    while (this.#answers.length === 0) await setImmediate();
    this.#answers.shift()?.(error);
  }
}

test('offers to a node under way and to come carry the newest epoch once', async (t) => {
  const keeper = openKeeper(t);
  const offers = new Offers();
  const spread = (): Promise<void> => keeper.spread(offers.peers, [idOf('b')]);
  const begun = spread();
  await offers.answer();
  await begun;
  t.strictSame(offers.numbers, [first.number]);

  const before = spread();
  while (offers.numbers.length < 2) await setImmediate();
  keeper.compare(offers.peers, idOf('b'), 1);
  keeper.adopt(signed(second), lattice);
  const waiting = [spread(), spread()];
  keeper.adopt(signed(third), lattice);
  await offers.answer();
  await before;
  await offers.answer();
  await Promise.all(waiting);
  t.strictSame(offers.numbers, [first.number, first.number, third.number]);
});

test('who has just heard of the newest epoch is not told again', async (t) => {
  const keeper = openKeeper(t);
  const offers = new Offers();
  const both = [keeper.spread(offers.peers, []), keeper.spread(offers.peers, [])];
  while (offers.numbers.length === 0) await setImmediate();
  both.push(keeper.spread(offers.peers, []));
  await offers.answer();
  await Promise.all(both);
  t.strictSame(offers.numbers, [first.number]);

  // Whoever has lost what it heard is told again later.
  const again = keeper.spread(offers.peers, []);
  await offers.answer();
  await again;
  t.strictSame(offers.numbers, [first.number, first.number]);
});

test('an offer that was not taken is made again by whoever waits', async (t) => {
  const keeper = openKeeper(t);
  const offers = new Offers();
  const failed = keeper.spread(offers.peers, []);
  while (offers.numbers.length === 0) await setImmediate();
  const waiting = keeper.spread(offers.peers, []);
  await offers.answer(new Error('no connection'));
  await failed;
  await offers.answer();
  await waiting;
  t.strictSame(offers.numbers, [first.number, first.number]);
});
