import { test } from 'tap';
import { Swim } from './swim.ts';
import type { SwimMessage, Update } from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import type { OwnFacts } from './swim-self.ts';
import { Roster } from './swim-view.ts';
import {
  ack,
  facts,
  type MessageEvent,
  nodeA,
  random,
  said,
  sent,
  tickUntil,
} from './swim.testkit.ts';

test('news is sent a bounded number of times', (t) => {
  const swim = nodeA();
  const spread = sent(tickUntil(swim, 400)).filter(
    ({ message }) =>
      message.kind !== 'sync' &&
      message.updates.some(({ id, state }) => id === 'c' && state === 'alive'),
  );
  t.ok(spread.length > 0 && spread.length <= swimOptions().gossipRepeats, `${spread.length}`);
  t.end();
});

test('load goes with probes and answers, types are told to all at once', (t) => {
  const swim = nodeA();
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  tickUntil(swim, 10_000, answer);
  const messages = (untilMs: number): SwimMessage[] =>
    sent(tickUntil(swim, untilMs, answer)).map(({ message }) => message);
  swim.step({ kind: 'facts', facts: { ...facts, load: 0.5 } }, 10_000, random);
  const later = messages(70_000);
  t.ok(later.some((message) => message.kind === 'ping' && message.load === 0.5));
  t.strictSame(
    later.filter(({ updates }) => updates.length > 0),
    [],
    'it is no news',
  );
  swim.step(
    { kind: 'facts', facts: { ...facts, load: 0.9, types: ['order'] } },
    swim.wakeMs,
    random,
  );
  const told = messages(71_000).flatMap(({ updates }) => updates);
  t.match(told[0], { id: 'a', facts: { load: 0.9, types: ['order'] } }, 'but it goes with what is');

  const ping = { kind: 'ping' as const, seq: 1, load: 0.3, incarnation: 1, updates: [] };
  const [reply] = sent(
    swim.step({ kind: 'message', from: 'b', message: ping }, swim.wakeMs, random),
  );
  t.match(reply?.message, { kind: 'ack', load: 0.9 });
  swim.step(
    said('b', {
      id: 'b',
      state: 'alive',
      incarnation: 1,
      facts: { ...facts, incarnation: 1, version: 1, load: 0.1 },
    }),
    swim.wakeMs,
    random,
  );
  t.equal(swim.member('b')?.facts?.load, 0.3, 'what it said itself counts');
  t.end();
});

test('in a lattice too large to probe everybody soon, load is told to all from time to time', (t) => {
  const id = (index: number): string => (index === 0 ? 'a' : `m${index}`);
  const start = (members: number): Swim => {
    const swim = new Swim({ id: 'a', incarnation: 1, facts }, swimOptions(), 0, random);
    const roster = new Roster(
      Array.from({ length: members }, (_, index) => ({
        id: id(index),
        address: 'm:1',
        known: { id: id(index), state: 'alive' as const, incarnation: 1 },
      })),
    );
    swim.step({ kind: 'roster', roster }, 0, random);
    const answer = (to: string, message: SwimMessage): MessageEvent[] =>
      message.kind === 'ping' ? [ack(to, message.seq)] : [];
    tickUntil(swim, 30_000, answer);
    swim.step({ kind: 'facts', facts: { ...facts, load: 0.5 } }, 30_000, random);
    tickUntil(swim, 30_000 + (swimOptions().factsIntervalMs * members) / 25, answer);
    return swim;
  };
  const toldLoad = (swim: Swim): number | undefined => swim.member('a')?.facts?.load;
  t.equal(toldLoad(start(600)), 0.5);
  t.equal(toldLoad(start(500)), undefined);
  t.end();
});

test('load that another tells rides on probes, its types have messages of their own', (t) => {
  const swim = nodeA();
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  const told = (version: number, more: Partial<OwnFacts>): Update => ({
    id: 'b',
    state: 'alive',
    incarnation: 1,
    facts: { ...facts, ...more, incarnation: 1, version },
  });
  const passedOn = (version: number, untilMs: number): string[] =>
    sent(tickUntil(swim, untilMs, answer))
      .filter(({ message }) =>
        message.updates.some(({ id, facts: of }) => id === 'b' && of?.version === version),
      )
      .map(({ message }) => message.kind);
  swim.step(said('b', told(1, {})), 5_000, random);
  t.ok(passedOn(1, 10_000).includes('gossip'));
  swim.step(said('b', told(2, { load: 0.7 })), 10_000, random);
  t.strictSame(new Set(passedOn(2, 15_000)), new Set(['ping']));
  swim.step(said('b', told(3, { load: 0.7, types: ['order'] })), 15_000, random);
  t.ok(passedOn(3, 20_000).includes('gossip'));
  t.end();
});

test('an accused member is told first of what it is accused of', (t) => {
  const swim = nodeA();
  swim.step(said('b', { id: 'c', state: 'suspect', incarnation: 1, accusers: ['b'] }), 2, random);
  const ping = { kind: 'ping' as const, seq: 1, incarnation: 1, updates: [] };
  const [answer] = sent(swim.step({ kind: 'message', from: 'c', message: ping }, 3, random));
  t.match(answer?.message, { kind: 'ack', updates: [{ id: 'c', state: 'suspect' }] });
  // Also when there is no other news any more.
  tickUntil(swim, 1_500, (to, message) => (message.kind === 'ping' ? [ack(to, message.seq)] : []));
  const [later] = sent(swim.step({ kind: 'message', from: 'c', message: ping }, 1_501, random));
  t.match(later?.message, { kind: 'ack', updates: [{ id: 'c', state: 'suspect' }] });
  t.end();
});
