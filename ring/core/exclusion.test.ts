import { test } from 'tap';
import { Exclusion } from './exclusion.ts';

test('E1: more than half of the other voters must say so, each counted once', (t) => {
  const four = new Exclusion('a');
  const voters = ['a', 'b', 'c', 'd', 'e'];
  t.notOk(four.hear('b', voters));
  t.notOk(four.hear('b', voters), 'again');
  t.notOk(four.hear('x', voters), 'no voter');
  t.notOk(four.hear('c', voters), 'half is not more than half');
  t.ok(four.hear('d', voters));
  t.ok(new Exclusion('a').hear('b', ['a', 'b']), 'there is no other');
  t.notOk(new Exclusion('a').hear('b', ['a']), 'nobody else votes');
  t.end();
});
