import { test } from 'tap';
import { Crowd } from './crowd.ts';
import { TokenBucket } from './token-bucket.ts';
import { FRAME_WEIGHT, Traffic } from './traffic.ts';
import { transportLimits } from './transport-limits.ts';

test('a bucket gives its burst, then its rate', (t) => {
  const bucket = new TokenBucket(10, 20, 0);
  const taken = (count: number, nowMs: number): number => {
    let got = 0;
    for (let i = 0; i < count; i++) if (bucket.tryTake(1, nowMs)) got++;
    return got;
  };
  t.equal(taken(50, 0), 20);
  t.equal(taken(50, 1_000), 10);
  t.equal(taken(50, 60_000), 20, 'no more than the burst is kept');
  t.equal(bucket.debtMs(60_000), 0);
  t.equal(bucket.charge(5, 60_000), false);
  t.equal(bucket.debtMs(60_000), 500);
  bucket.charge(1_000_000, 60_000);
  t.equal(bucket.debtMs(60_000), 1_000, 'a debt is paid within a second');
  t.equal(bucket.isFull(62_999), false);
  t.equal(bucket.isFull(63_000), true);
  t.equal(bucket.tryTake(21, 63_000), false, 'a clock that stands still gives nothing');
  t.end();
});

test('in a crowd the flooding origin gives way', (t) => {
  const crowd = new Crowd<string>(4, 3);
  for (const one of ['a1', 'a2', 'a3']) t.equal(crowd.add(one, 'a'), undefined);
  t.equal(crowd.add('a4', 'a'), 'a1', 'the oldest of its own');
  t.equal(crowd.add('b1', 'b'), undefined);
  t.equal(crowd.add('c1', 'c'), 'a2', 'then of who has most');
  t.equal(crowd.size, 4);
  t.strictSame([...crowd], ['a3', 'a4', 'b1', 'c1']);
  t.equal(crowd.delete('a2', 'a'), false, 'it is gone already');
  t.equal(crowd.delete('b1', 'b'), true);
  t.equal(crowd.size, 3);
  t.end();
});

test('who is no member shares one rate with all others who are none', (t) => {
  const limits = transportLimits({ guestMessagesPerSecond: 10, burstSeconds: 1 });
  const traffic = new Traffic(limits, 0);
  let admitted = 0;
  for (let i = 0; i < 1_000; i++) if (traffic.admit(undefined, 'guest', 0)) admitted++;
  t.equal(admitted, 10);
  t.match(traffic, { received: { guest: 1_000 }, overRate: { guest: 990, call: 0 } });
  t.equal(traffic.restMs(undefined, 'control', 0), 1_000);
  t.equal(traffic.admit('member', 'call', 0), true, 'members pay for themselves');
  t.equal(traffic.restMs('member', 'control', 0), 0);
  t.end();
});

test('a member has a rate for each class and lane, which a new connection does not renew', (t) => {
  const limits = transportLimits({
    castsPerSecond: 5,
    callsPerSecond: 7,
    bulkBytesPerSecond: 1 << 20,
    burstSeconds: 1,
  });
  const traffic = new Traffic(limits, 0);
  const admitted = (traffic_: 'cast' | 'call'): number =>
    Array.from({ length: 100 }, () => traffic.admit('m', traffic_, 0)).filter(Boolean).length;
  t.equal(admitted('cast'), 5);
  t.equal(admitted('call'), 7);
  t.equal(traffic.restMs('m', 'control', 0), 1_000);
  t.equal(traffic.restMs('m', 'bulk', 0), 0, 'the other lane goes on');
  traffic.frame('m', 'bulk', 3 << 19, 0);
  t.equal(traffic.restMs('m', 'bulk', 0), 500);
  traffic.review(() => true);
  t.equal(admitted('cast'), 0);
  traffic.review(() => false);
  t.equal(admitted('cast'), 5, 'who was removed is forgotten');
  t.end();
});

test('a frame costs, however little is in it', (t) => {
  const limits = transportLimits({ weightPerSecond: FRAME_WEIGHT * 1_000, burstSeconds: 1 });
  const traffic = new Traffic(limits, 0);
  for (let i = 0; i < 1_000; i++) traffic.frame('m', 'control', 1, 0);
  t.equal(traffic.restMs('m', 'control', 0), 0);
  for (let i = 0; i < 500; i++) traffic.frame('m', 'bulk', 1, 0);
  t.equal(traffic.restMs('m', 'control', 0), 500, 'on all lanes together');
  for (let i = 0; i < 10_000; i++) traffic.frame(undefined, 'control', 1, 0);
  t.ok(traffic.restMs(undefined, 'control', 0) > 1_000, 'a guest pays too');
  t.end();
});

test('a limit out of its range is refused by name', (t) => {
  for (const wrong of [{ guestsMax: 0 }, { castsPerSecond: NaN }, { handshakeTimeoutMs: 99 }])
    t.throws(() => transportLimits(wrong), {
      code: 'ERR_RING_OPTION',
      message: `limits.${Object.keys(wrong)[0]} is out of its range`,
    });
  t.end();
});
