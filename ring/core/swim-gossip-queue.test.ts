import { test } from 'tap';
import { GossipQueue, type Told, toTell } from './swim-gossip.ts';

const news = (id: string, state: 'alive' | 'suspect' = 'alive'): Told => ({
  update: { id, state, incarnation: 1 },
});
const idsOf = (updates: readonly { id: string }[]): string[] => updates.map(({ id }) => id);

test('what is told first counts for all who hear it, and once', (t) => {
  const queue = new GossipQueue();
  queue.add(news('a'), true);
  queue.add(news('b'), false);
  t.ok(queue.isFresh);
  t.strictSame(idsOf(toTell(queue.takeFresh(16, 3, 4), 'z')), ['a']);
  t.notOk(queue.isFresh);
  t.ok(queue.isUrgent, 'it is told on');
  t.strictSame(queue.takeFresh(16, 3, 4), []);
  t.strictSame(idsOf(queue.take(16, 4, false)), ['a', 'b']);
  t.notOk(queue.isUrgent, 'told four times in all');
  t.strictSame(idsOf(queue.take(16, 4, false)), ['b']);
  queue.add(news('b', 'suspect'), true);
  t.strictSame(
    idsOf(toTell(queue.takeFresh(16, 4, 4), 'z')),
    ['b'],
    'other news of the same member is new',
  );
  t.equal(queue.size, 0);
  t.end();
});

test('neighbours are told of what is new once, and who is forgotten is not', (t) => {
  const queue = new GossipQueue();
  for (const id of ['a', 'b', 'c']) queue.add(news(id), true);
  queue.forget('a');
  t.strictSame(idsOf(toTell(queue.takeUrgent(1), 'z')), ['b']);
  t.ok(queue.isFresh);
  t.strictSame(idsOf(toTell(queue.takeUrgent(16), 'z')), ['c']);
  t.notOk(queue.isFresh || queue.isUrgent);
  t.end();
});

test('nobody needs to be told that it is alive', (t) => {
  const queue = new GossipQueue();
  queue.add(news('a'), true);
  t.strictSame([queue.isFreshTo('a'), queue.isFreshTo('b')], [false, true]);
  queue.takeFresh(16, 1, 4);
  t.strictSame([queue.isFreshTo('a'), queue.isFreshTo('b')], [false, false]);
  queue.add(news('b', 'suspect'), true);
  t.strictSame([queue.isFreshTo('a'), queue.isFreshTo('b')], [true, true], 'but of an accusation');
  t.end();
});

test('who told a piece of news is not told it', (t) => {
  const queue = new GossipQueue();
  queue.add(news('a', 'suspect'), true, 'x');
  queue.add(news('b', 'suspect'), true, 'y');
  queue.add(news('c', 'suspect'), false, 'x');
  queue.heard('a', 'y');
  const taken = queue.takeUrgent(16);
  t.strictSame(
    ['x', 'y', 'z'].map((to) => idsOf(toTell(taken, to))),
    [['b'], [], ['a', 'b']],
  );
  queue.add(news('a'), true, 'z');
  const [newer] = queue.takeUrgent(16);
  t.strictSame(newer?.tellers, ['z'], 'who told what is older by now is told');
  t.end();
});

test('who tells it again and again is kept once', (t) => {
  const queue = new GossipQueue();
  queue.add(news('a', 'suspect'), true, 'x');
  for (const by of ['y', 'x', 'y']) queue.heard('a', by);
  t.strictSame(queue.takeUrgent(16)[0]?.tellers, ['x', 'y']);
  t.end();
});
