import { test } from 'tap';
import { suggest } from './suggest.ts';

test('slips of the finger', (t) => {
  const words = ['replicas', 'routes', 'rollout', 'scale', 'grants', 'kv', 'env'];
  const slips = [
    ['replica', 'replicas'],
    ['rotues', 'routes'],
    ['Scale', 'scale'],
    ['gramts', 'grants'],
    ['kw', 'kv'],
  ] as const;
  for (const [slip, word] of slips) t.equal(suggest(slip, words), word, slip);
  for (const other of ['', 'x', 'network', 'x'.repeat(100_000)]) {
    t.equal(suggest(other, words), undefined, other.slice(0, 20));
  }
  t.end();
});
