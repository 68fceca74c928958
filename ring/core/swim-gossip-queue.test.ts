import { test } from 'tap';
import { GossipQueue, type Told } from './swim-gossip.ts';

const news = (id: string, state: 'alive' | 'suspect' = 'alive'): Told => ({
  update: { id, state, incarnation: 1 },
});
const idsOf = (updates: readonly { id: string }[]): string[] => updates.map(({ id }) => id);

test('what is told first counts for all who hear it, and once', (t) => {
  const queue = new GossipQueue();
  queue.add(news('a'), true);
  queue.add(news('b'), false);
  t.ok(queue.isFresh);
  t.strictSame(idsOf(queue.takeFresh(16, 3, 4)), ['a']);
  t.notOk(queue.isFresh);
  t.ok(queue.isUrgent, 'it is told on');
  t.strictSame(queue.takeFresh(16, 3, 4), []);
  t.strictSame(idsOf(queue.take(16, 4, false)), ['a', 'b']);
  t.notOk(queue.isUrgent, 'told four times in all');
  t.strictSame(idsOf(queue.take(16, 4, false)), ['b']);
  queue.add(news('b', 'suspect'), true);
  t.strictSame(idsOf(queue.takeFresh(16, 4, 4)), ['b'], 'other news of the same member is new');
  t.equal(queue.size, 0);
  t.end();
});

test('neighbours are told of what is new once, and who is forgotten is not', (t) => {
  const queue = new GossipQueue();
  for (const id of ['a', 'b', 'c']) queue.add(news(id), true);
  queue.forget('a');
  t.strictSame(idsOf(queue.takeUrgent(1)), ['b']);
  t.ok(queue.isFresh);
  t.strictSame(idsOf(queue.takeUrgent(16)), ['c']);
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
