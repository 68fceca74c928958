import { test } from 'tap';
import { FamiliarOrigins } from './familiar-origins.ts';

test('an origin is familiar as long as a member is there', (t) => {
  const familiar = new FamiliarOrigins();
  familiar.note('m', 'address', 'one');
  familiar.note('m', 'call', 'one');
  familiar.note('n', 'address', 'one');
  t.ok(familiar.has('one'));
  t.notOk(familiar.has('two'));
  familiar.note('m', 'call', 'two');
  familiar.note('m', 'address', 'three');
  familiar.note('m', 'address', 'three');
  for (const origin of ['one', 'two', 'three']) t.ok(familiar.has(origin), origin);
  familiar.note('n', 'address', 'three');
  t.notOk(familiar.has('one'), 'all have moved');
  familiar.review(() => false);
  t.ok(familiar.has('two'), 'it was told a moment ago');
  familiar.review((node) => node === 'n');
  t.notOk(familiar.has('two'));
  t.ok(familiar.has('three'));
  familiar.review(() => false);
  t.notOk(familiar.has('three'));
  t.end();
});
