import { test } from 'tap';
import { Swim } from './swim.ts';
import type { SwimMessage } from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import { facts, ids, nodeA, random, rosterOf, said, sent, tickUntil } from './swim.testkit.ts';

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

test('news goes by the links that are there, and to whoever is next on the rings', (t) => {
  const linked = new Set(ids(8).slice(1));
  const listeners = (lost: string[]): string[] => {
    const swim = nodeA(20);
    tickUntil(swim, 3_000);
    for (const id of lost) swim.step({ kind: 'link-lost', id }, swim.wakeMs, random);
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
  t.ok(listeners(ids(20).slice(1)).length > gossipFanout, 'without links, by chance');
  t.end();
});

test('what this node was behind with it tells on by links that are there', (t) => {
  const hearers = (step: 'ask' | 'tell'): string[] => {
    const swim = newcomer();
    swim.step({ kind: 'roster', roster: rosterOf(20), near: ['b'] }, 0, random);
    const updates = ids(20).slice(1);
    const message: SwimMessage = {
      kind: 'sync',
      alive: 20,
      incarnation: 1,
      updates: updates.map((id) => ({ id, state: 'alive', incarnation: 1 })),
      ...(step === 'tell' ? { step } : { step, parts: 1, differing: new Uint8Array([1]) }),
    };
    swim.step({ kind: 'message', from: 'b', message }, 1, random);
    const told = sent(tickUntil(swim, 200)).filter(({ message: { kind } }) => kind === 'gossip');
    return [...new Set(told.map(({ to }) => to))];
  };
  t.strictSame(hearers('tell'), ['b'], 'who has told it');
  t.ok(hearers('ask').length > 1, 'what it is told unasked goes along the rings');
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
    [1, 2, 3, 4, 6, 10, 18].map((times) => (times * gossipIntervalMs) / 4),
  );
  t.ok(asksMs(true).length <= 2, 'once, and as usual');
  t.end();
});
