import { test } from 'tap';
import type { SwimMessage } from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import {
  ack,
  ids,
  type MessageEvent,
  nodeA,
  random,
  rosterOf,
  said,
  sent,
  tickUntil,
} from './swim.testkit.ts';

test('local health: missed acks and nacks slow the prober down, answers bring it back', (t) => {
  const alone = nodeA(2);
  tickUntil(alone, 3_000);
  t.ok(alone.healthFactor > 1, 'no ack, and nobody to ask');

  // Others say that they try and get no answer either: the fault is not here.
  const nacked = nodeA(6);
  const reply = (to: string, message: SwimMessage): MessageEvent[] => {
    if (message.kind === 'ping' && to !== 'b') return [ack(to, message.seq)];
    if (message.kind !== 'ping-req') return [];
    const nack = { kind: 'nack' as const, seq: message.seq, incarnation: 1, updates: [] };
    return [{ kind: 'message', from: to, message: nack }];
  };
  tickUntil(nacked, 4_000, reply);
  t.equal(nacked.member('b')?.state, 'suspect');
  t.equal(nacked.healthFactor, 1);

  const unheard = nodeA(6);
  const effects = tickUntil(unheard, 10_000, (to, message) =>
    message.kind === 'ping' && to !== 'b' ? [ack(to, message.seq)] : [],
  );
  const pingsMs = effects
    .filter((effect) => effect.kind === 'send' && effect.message.kind === 'ping')
    .map((effect) => effect.atMs);
  const gaps = pingsMs.slice(1).map((each, i) => each - (pingsMs[i] ?? 0));
  t.ok(Math.max(...gaps) >= 2 * swimOptions().probeIntervalMs, 'its periods are longer');
  tickUntil(unheard, 60_000, (to, message) =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [],
  );
  t.equal(unheard.healthFactor, 1, 'answers bring it back');
  t.equal(nodeA(2, { lifeguard: false }).healthFactor, 1);
  t.end();
});

test('who is asked to probe says that it tries when there is no answer yet, and passes the answer on', (t) => {
  for (const answers of [false, true]) {
    const swim = nodeA();
    const request = { kind: 'ping-req' as const, seq: 9, target: 'c', incarnation: 1, updates: [] };
    const event = { kind: 'message' as const, from: 'b', message: request };
    const [ping] = sent(swim.step(event, 10, random));
    t.match(ping, { to: 'c', message: { kind: 'ping' } });
    const { seq } = (ping as { message: { seq: number } }).message;
    if (answers) {
      const [passed] = sent(swim.step(ack('c', seq), 20, random));
      t.match(passed, { to: 'b', message: { kind: 'ack', seq: 9, target: 'c' } });
      t.strictSame(sent(swim.step(ack('c', seq), 21, random)), [], 'once');
    }
    const nacks = sent(tickUntil(swim, 300)).filter(({ message }) => message.kind === 'nack');
    t.equal(nacks.length, answers ? 0 : 1);
  }
  t.end();
});

test('who begins anew while it is probed is asked again before it is accused', (t) => {
  const swim = nodeA(20);
  tickUntil(swim, 2_000, (to, message) => (message.kind === 'ping' ? [ack(to, message.seq)] : []));
  let ping: { to: string; message: SwimMessage } | undefined;
  for (let nowMs = swim.wakeMs; ping?.message.kind !== 'ping'; nowMs = swim.wakeMs)
    [ping] = sent(swim.step({ kind: 'tick' }, nowMs, random));
  const { to } = ping;
  const askedMs = swim.wakeMs;
  const other = to === 'b' ? 'c' : 'b';
  swim.step(said(other, { id: to, state: 'alive', incarnation: 2 }), askedMs, random);
  const answer = (from: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' && from !== to ? [ack(from, message.seq)] : [];
  const { ackTimeoutMs } = swimOptions();
  const soon = sent(tickUntil(swim, askedMs + 2 * ackTimeoutMs, answer));
  t.equal(swim.member(to)?.state, 'alive');
  t.ok(soon.some(({ to: id, message }) => id === to && message.kind === 'ping'));
  tickUntil(swim, askedMs + 5_000, answer);
  t.equal(swim.member(to)?.state, 'suspect');
  t.end();
});

test('a tick that comes a little late does not end both waits of a probe at once', (t) => {
  const swim = nodeA();
  tickUntil(swim, 2_000, (to, message) => (message.kind === 'ping' ? [ack(to, message.seq)] : []));
  let ping: { to: string; message: SwimMessage } | undefined;
  for (let nowMs = swim.wakeMs; ping?.message.kind !== 'ping'; nowMs = swim.wakeMs)
    [ping] = sent(swim.step({ kind: 'tick' }, nowMs, random));
  const lateMs = swim.wakeMs + swimOptions().stallMs;
  const effects = swim.step({ kind: 'tick' }, lateMs, random);
  t.ok(sent(effects).some(({ message }) => message.kind === 'ping-req'));
  swim.step(ack(ping.to, ping.message.seq), lateMs + 1, random);
  t.equal(swim.member(ping.to)?.state, 'alive', 'the answer that lay there counts');
  t.equal(swim.healthFactor, 1);
  t.end();
});

test('I9: who is being connected to is not accused, and is probed once that is over', (t) => {
  for (const answers of [false, true]) {
    const swim = nodeA(20);
    const isThere = (to: string): boolean => to !== 'b' || answers;
    const answer = (to: string, message: SwimMessage): MessageEvent[] =>
      message.kind === 'ping' && isThere(to) ? [ack(to, message.seq)] : [];
    swim.step({ kind: 'dialling', id: 'b', isUnderWay: true }, 2, random);
    const silentB = (to: string, message: SwimMessage): MessageEvent[] =>
      to === 'b' ? [] : answer(to, message);
    const meanwhile = sent(tickUntil(swim, 20_000, silentB));
    t.ok(meanwhile.filter(({ to, message }) => to === 'b' && message.kind === 'ping').length > 0);
    t.notOk(meanwhile.some(({ message }) => message.kind === 'ping-req'));
    t.equal(swim.member('b')?.state, 'alive');
    t.equal(swim.healthFactor, 1);
    swim.step({ kind: 'dialling', id: 'b', isUnderWay: true }, 20_001, random);
    swim.step({ kind: 'dialling', id: 'b', isUnderWay: false }, 20_001, random);
    const soon = sent(tickUntil(swim, 20_001 + swimOptions().probeIntervalMs, answer));
    t.ok(soon.some(({ to, message }) => to === 'b' && message.kind === 'ping'));
    tickUntil(swim, 23_000, answer);
    t.equal(swim.member('b')?.state, answers ? 'alive' : 'suspect');
  }
  t.end();
});

test('while others come those are asked to probe to whom there are links', (t) => {
  const asked = (lost: string[], come = 21): string[] => {
    const swim = nodeA(20);
    for (const id of lost) swim.step({ kind: 'link-lost', id }, 2, random);
    swim.step({ kind: 'roster', roster: rosterOf(come) }, 2, random);
    const requests = sent(tickUntil(swim, 1_500)).filter(
      ({ message }) => message.kind === 'ping-req',
    );
    return [...new Set(requests.map(({ to }) => to))].toSorted();
  };
  const isLinked = (id: string): boolean => 'bc'.includes(id);
  const unlinked = asked(ids(20).slice(3));
  t.ok(unlinked.length > 0 && unlinked.every(isLinked), unlinked.join());
  t.notOk(asked(ids(20).slice(3), 20).every(isLinked), 'else as many as are wanted');
  t.ok(asked(ids(20).slice(1)).length > 0, 'any, where there are none');
  t.end();
});

test('a lost link is a reason to look at once, and no more', (t) => {
  const swim = nodeA(20);
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  tickUntil(swim, 5_000, answer);
  swim.step({ kind: 'link-lost', id: 'q' }, 5_001, random);
  t.equal(swim.member('q')?.state, 'alive');
  const [ping] = sent(tickUntil(swim, 5_002, answer));
  t.match(ping, { to: 'q', message: { kind: 'ping' } });
  t.end();
});

test('news that comes after quiet is not taken for a stall', (t) => {
  const swim = nodeA(6);
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  tickUntil(swim, 10_000, answer);
  swim.step(said('b', { id: 'c', state: 'alive', incarnation: 2 }), 10_001, random);
  tickUntil(swim, 10_200, answer);
  t.equal(swim.healthFactor, 1);
  t.end();
});
