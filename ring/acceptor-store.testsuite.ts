/** What every acceptor store keeps (ring/acceptor-store.ts, A1 and A2). */
import type { Test } from 'tap';
import { type Random, randomInt, seededRandom } from '../spec/random.ts';
import type { AcceptorStore } from './acceptor-store.ts';
import {
  type AcceptorState,
  type AcceptorWrite,
  newAcceptorState,
  written,
} from './core/acceptor-state.ts';
import type { Ballot } from './core/ballot.ts';
import { type Entry, lastIndex, snapshotAt } from './core/fenced-log.ts';

export interface AcceptorStoreUnderTest {
  /** A new, empty store; closed by the test. */
  readonly open: (t: Test) => AcceptorStore;
  /** What is durable now, in a new instance, as after a crash: `store` was not closed. */
  readonly reopen: (t: Test, store: AcceptorStore) => AcceptorStore;
}

type State = AcceptorState<unknown>;

const ballot = (counter: number): Ballot => ({ counter, node: 'n1', run: 2 ** 40 + counter });
const entry = (counter: number): Entry<unknown> => ({
  ballot: ballot(counter),
  value: { number: counter, record: `record ${counter}`, requests: ['ü'] },
});
const founding: State = newAcceptorState<unknown>(3, {
  index: 1,
  ballot: ballot(0),
  configuration: { number: 1, voters: ['n1'] },
  state: 'founded',
});

/** Writes as an acceptor makes them. */
function randomWrite(random: Random, state: State, step: number): AcceptorWrite<unknown> {
  const { log } = state;
  const first = log.snapshot.index;
  const last = lastIndex(log);
  const keepThrough = first + randomInt(random, last - first + 1);
  const entries = Array.from({ length: randomInt(random, 4) }, () => entry(step));
  const boot = { number: step, nonce: step };
  const writes: AcceptorWrite<unknown>[] = [
    { promised: ballot(step) },
    { boot, isRegistered: false, boots: { ...state.boots, [`n${step % 3}`]: boot } },
    { isRegistered: true, isRefused: step % 7 === 0 },
    { log: { entries } },
    { promised: ballot(step), log: { keepThrough, entries } },
    { log: { snapshot: snapshotAt(log, keepThrough, (_, value) => value) } },
    {
      log: {
        snapshot: { index: last + 2, ballot: ballot(step), state: step },
        keepThrough: last + 2,
        entries,
      },
    },
  ];
  return writes[randomInt(random, writes.length)] as AcceptorWrite<unknown>;
}

export function acceptorStoreTestSuite(
  suite: Test,
  { open, reopen }: AcceptorStoreUnderTest,
): void {
  void suite.test('a group begins once, with what it is given', async (t) => {
    const store = open(t);
    t.equal(store.load('a'), undefined);
    await store.create('a', founding);
    t.strictSame(store.load('a'), founding);
    t.equal(store.load('b'), undefined);
    await t.rejects(store.create('a', newAcceptorState(4)), { code: 'ERR_RING_GROUP_EXISTS' });
    t.strictSame(reopen(t, store).load('a'), founding);
  });

  void suite.test('a group begins, and is written to, in one turn', async (t) => {
    const store = open(t);
    const begun = store.create('a', founding);
    await store.write('a', [{ log: { entries: [entry(1)] } }]);
    await begun;
    const state = written(founding, { log: { entries: [entry(1)] } });
    t.strictSame(reopen(t, store).load('a'), state);
  });

  void suite.test('A1, A2: what was written is there after a crash, in order', async (t) => {
    const random = seededRandom(1);
    let store = open(t);
    const groups = ['a', 'b'];
    const states = new Map<string, State>(groups.map((group) => [group, founding]));
    for (const [group, state] of states) await store.create(group, state);
    for (let step = 1; step <= 300; step++) {
      const group = groups[randomInt(random, 2)] as string;
      const writes: AcceptorWrite<unknown>[] = [];
      let state = states.get(group) as State;
      for (let i = randomInt(random, 3); i >= 0; i--) {
        const write = randomWrite(random, state, step);
        state = written(state, write);
        writes.push(write);
      }
      states.set(group, state);
      const done = store.write(group, writes);
      // Some turns have many writes.
      if (randomInt(random, 3) === 0) {
        await done;
        if (randomInt(random, 4) === 0) {
          store = reopen(t, store);
          for (const each of groups)
            t.strictSame(store.load(each), states.get(each), `step ${step}`);
        }
      }
    }
    for (const each of groups) t.strictSame(store.load(each), states.get(each));
  });
}
