import { test } from 'tap';
import { isDialable, NO_ADDRESS, relayAddress, Ways } from './ways.ts';

const HOST = '10.0.0.1:7400';
const [R1, R2, OWN] = ['r1', 'r2', 'self'].map(relayAddress) as [string, string, string];

test('direct ways come first, what is no way is left out', (t) => {
  const ways = new Ways('self');
  ways.set('n', [R1, HOST, 'none', OWN, R2, HOST]);
  t.strictSame(ways.to('n', 0), [HOST, R1, R2]);
  t.strictSame(ways.directTo('n', 0), [HOST]);
  t.ok(ways.isRelayed('n'));
  ways.set('n', [HOST]);
  t.notOk(ways.isRelayed('n'));
  ways.set('n', ['none']);
  t.strictSame(ways.to('n', 0), []);
  t.strictSame(ways.to('stranger', 0), []);
  t.ok(ways.isRelayed('stranger'), 'others may know a way to it');
  t.strictSame([HOST, R1, NO_ADDRESS].filter(isDialable), [HOST]);
  t.end();
});

test('a way that failed is passed over for a while that doubles', (t) => {
  const ways = new Ways('self');
  ways.set('n', [HOST, R1]);
  ways.failed('n', HOST, 0);
  t.strictSame(ways.to('n', 4_999), [R1]);
  t.strictSame(ways.directTo('n', 4_999), []);
  t.strictSame(ways.to('n', 5_000), [HOST, R1]);
  ways.failed('n', HOST, 5_000);
  t.strictSame(ways.to('n', 14_999), [R1]);
  ways.set('n', [R1, HOST]);
  t.strictSame(ways.to('n', 14_999), [R1], 'what is told again is no news');
  ways.set('n', ['10.0.0.2:7400', R1]);
  t.strictSame(ways.to('n', 14_999), ['10.0.0.2:7400', R1], 'another address is');
  ways.set('n', [HOST, R1]);
  t.strictSame(ways.to('n', 14_999), [HOST, R1], 'and so is one that was given up meanwhile');
  ways.set('n', ['10.0.0.2:7400', R1]);
  for (let times = 0; times < 20; times++) ways.failed('n', R1, 0);
  t.strictSame(ways.to('n', 300_000), ['10.0.0.2:7400', R1], 'never longer than five minutes');
  ways.failed('n', R1, 0);
  ways.worked('n', R1);
  t.strictSame(ways.to('n', 0), ['10.0.0.2:7400', R1]);
  t.end();
});

test('when all have failed, all are tried', (t) => {
  const ways = new Ways('self');
  ways.set('n', [HOST, R1]);
  for (const address of [HOST, R1]) ways.failed('n', address, 0);
  t.strictSame(ways.to('n', 1), [HOST, R1]);
  t.end();
});
