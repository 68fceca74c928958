import { test } from 'tap';
import { FairQueue } from './fair-queue.ts';

test('each origin has its turn, however many of another wait', (t) => {
  const queue = new FairQueue<string>();
  t.equal(queue.shift(), undefined);
  for (const one of ['a1', 'a2', 'a3', 'a4']) queue.push(one, 'a');
  t.equal(queue.shift(), 'a1');
  queue.push('b1', 'b');
  queue.push('c1', 'c');
  queue.push('c2', 'c');
  queue.delete('c1', 'c');
  queue.delete('c1', 'c');
  queue.delete('d1', 'd');
  t.strictSame(
    Array.from({ length: 5 }, () => queue.shift()),
    ['a2', 'b1', 'c2', 'a3', 'a4'],
  );
  queue.push('e1', 'e');
  queue.delete('e1', 'e');
  t.ok(queue.isEmpty);
  t.end();
});
