import { test } from 'tap';
import { Swim } from './swim.ts';
import type { SwimMessage } from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import {
  ack,
  facts,
  ids,
  nodeA,
  type MessageEvent,
  random,
  rosterOf,
  said,
  sent,
  tickUntil,
} from './swim.testkit.ts';

const newcomer = (): Swim => new Swim({ id: 'a', incarnation: 1, facts }, swimOptions(), 0, random);

/** Whom it asks for their view when it hears of so many members. */
const asked = (swim: Swim, members: number, near?: string[]): string[] => {
  const event = { kind: 'roster', roster: rosterOf(members), ...(near && { near }) } as const;
  return sent(swim.step(event, swim.wakeMs, random)).map(({ to }) => to);
};

test('a newcomer asks those to whom a way is open, or a few where none is', (t) => {
  t.strictSame(asked(newcomer(), 20, ['k']), ['k']);
  const few = asked(newcomer(), 20);
  t.ok(few.length > 0 && few.length < 5 && !few.includes('a'), few.join());
  t.end();
});

test('who comes into a lattice is asked only by those to whom a way is open', (t) => {
  t.strictSame(asked(nodeA(3), 20), []);
  t.strictSame(asked(nodeA(3), 20, ['b', 'k']), ['k']);
  t.end();
});

test('news goes by the links that are there, and, but while others come, to whoever is next on the rings', (t) => {
  const linked = new Set(ids(8).slice(1));
  const listeners = (lost: string[], come = 20): string[] => {
    const swim = nodeA(20);
    tickUntil(swim, 3_000);
    for (const id of lost) swim.step({ kind: 'link-lost', id }, swim.wakeMs, random);
    swim.step({ kind: 'roster', roster: rosterOf(come) }, swim.wakeMs, random);
    swim.step({ kind: 'facts', facts: { ...facts, types: ['order'] } }, swim.wakeMs, random);
    const messages = sent(tickUntil(swim, swim.wakeMs + 2_000));
    const news = messages.filter(({ message: { kind } }) => kind === 'gossip');
    return [...new Set(news.map(({ to }) => to))].toSorted();
  };
  const isOther = (id: string): boolean => !linked.has(id);
  const others = ids(20).slice(8);
  const told = listeners(others);
  const { gossipFanout } = swimOptions();
  t.ok(told.length > gossipFanout, told.join());
  t.ok(told.filter(isOther).length <= gossipFanout, 'others are the next on the rings');
  t.ok(told.some(isOther));
  const toldMeanwhile = listeners(others, 21);
  t.ok(toldMeanwhile.length > gossipFanout, toldMeanwhile.join());
  t.notOk(toldMeanwhile.some(isOther));
  t.ok(listeners(ids(20).slice(1)).length > gossipFanout, 'without links, by chance');
  t.end();
});

test('what this node was behind with it tells on by links that are there', (t) => {
  const hearers = (swim: Swim, step: 'ask' | 'tell'): string[] => {
    const updates = ids(20).slice(1);
    const message: SwimMessage = {
      kind: 'sync',
      alive: 20,
      incarnation: 2,
      updates: updates.map((id) => ({ id, state: 'alive', incarnation: 2 })),
      ...(step === 'tell' ? { step } : { step, parts: 1, differing: new Uint8Array([1]) }),
    };
    swim.step({ kind: 'message', from: 'b', message }, swim.wakeMs, random);
    const told = sent(tickUntil(swim, swim.wakeMs + 200));
    return [
      ...new Set(told.filter(({ message: { kind } }) => kind === 'gossip').map(({ to }) => to)),
    ];
  };
  const begun = (): Swim => {
    const swim = newcomer();
    swim.step({ kind: 'roster', roster: rosterOf(20), near: ['b'] }, 0, random);
    return swim;
  };
  const settled = nodeA(20);
  t.strictSame(hearers(begun(), 'tell'), ['b'], 'it has asked for it');
  t.strictSame(hearers(begun(), 'ask'), ['b'], 'it has just come');
  t.ok(hearers(settled, 'ask').length > 1, 'else it goes along the rings');
  t.end();
});

test('who comes says so with its first message, and whom it tells passes that on to all who are near', (t) => {
  const roster = rosterOf(20);
  const [first] = sent(newcomer().step({ kind: 'roster', roster, near: ['b'] }, 0, random));
  t.match(first, { to: 'b', message: { step: 'compare', updates: [{ id: 'a', incarnation: 1 }] } });

  const near = ids(12).slice(1);
  const answered = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  const told = (from: string): string[] => {
    const swim = nodeA(12);
    tickUntil(swim, 3_000, answered);
    swim.step({ kind: 'roster', roster }, swim.wakeMs, random);
    swim.step(said(from, { id: 'm', state: 'alive', incarnation: 1 }), swim.wakeMs, random);
    const soon = sent(tickUntil(swim, swim.wakeMs + swimOptions().gossipIntervalMs / 2));
    const isTold = ({ message }: (typeof soon)[number]): boolean =>
      message.kind === 'gossip' && message.updates.some(({ id }) => id === 'm');
    return soon
      .filter(isTold)
      .map(({ to }) => to)
      .toSorted();
  };
  t.strictSame(told('m'), near, 'each once, and not who said it');
  t.strictSame(told('b'), [], 'of what others say they have told some');
  t.end();
});

test('a view with many more members alive is asked for whole', (t) => {
  const answered = (alive: number): SwimMessage[] => {
    const message = { kind: 'sync', step: 'compare', alive, digest: [1, 2] } as const;
    const event = {
      kind: 'message',
      from: 'b',
      message: { ...message, incarnation: 1, updates: [] },
    } as const;
    return sent(nodeA(20).step(event, 2, random)).map((each) => each.message);
  };
  t.match(answered(20), [{ step: 'hashes', updates: [] }]);
  t.match(answered(2), [{ step: 'ask', parts: 1, updates: { length: 20 } }]);
  t.match(answered(26), [{ step: 'ask', parts: 1 }]);
  t.end();
});

test('while members are unheard of, others are asked soon, and then more and more seldom', (t) => {
  const { gossipIntervalMs, syncIntervalMs } = swimOptions();
  const asksMs = (hears: boolean): number[] => {
    const swim = newcomer();
    swim.step({ kind: 'roster', roster: rosterOf(20), near: ['b'] }, 0, random);
    const heard = hears ? ids(20).slice(1) : ['b', 'c'];
    for (const id of heard) swim.step(said(id, { id, state: 'alive', incarnation: 1 }), 1, random);
    const compared = tickUntil(swim, syncIntervalMs / 2).filter(
      (effect) =>
        effect.kind === 'send' && effect.message.kind === 'sync' && heard.includes(effect.to),
    );
    return compared.map(({ atMs }) => atMs);
  };
  const soon = asksMs(false);
  t.strictSame(
    soon.slice(0, 7),
    [1, 2, 4, 8, 16, 32, 64].map((times) => (times * gossipIntervalMs) / 2),
  );
  t.ok(asksMs(true).length <= 2, 'once, and as usual');
  t.end();
});

test('who asks is told what it has not said itself', (t) => {
  const updates = ids(20)
    .slice(1, 12)
    .map((id) => ({ id, state: 'alive' as const, incarnation: id === 'c' ? 2 : 1 }));
  const request = {
    kind: 'sync',
    step: 'ask',
    alive: 12,
    parts: 1,
    differing: new Uint8Array([1]),
  } as const;
  const message: SwimMessage = { ...request, incarnation: 1, updates };
  const [answer] = sent(nodeA(20).step({ kind: 'message', from: 'b', message }, 2, random));
  const told = answer?.message.updates.map(({ id }) => id).toSorted();
  t.strictSame(told, ['a', ...ids(20).slice(12)]);
  t.end();
});
