import { test } from 'tap';
import { Swim } from './swim.ts';
import { swimOptions } from './swim-options.ts';
import { facts, ids, nodeA, random, rosterOf, sent, tickUntil } from './swim.testkit.ts';

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

test('news goes by the links that are there, once these are enough', (t) => {
  const linked = ids(8).slice(1);
  const listeners = (lost: string[]): string[] => {
    const swim = nodeA(20);
    tickUntil(swim, 3_000);
    for (const id of lost) swim.step({ kind: 'link-lost', id }, swim.wakeMs, random);
    swim.step({ kind: 'facts', facts: { ...facts, types: ['order'] } }, swim.wakeMs, random);
    const messages = sent(tickUntil(swim, swim.wakeMs + 2_000));
    const news = messages.filter(({ message: { kind } }) => kind === 'gossip');
    return [...new Set(news.map(({ to }) => to))].toSorted();
  };
  const isLinked = (id: string): boolean => linked.includes(id);
  const others = ids(20).slice(8);
  const told = listeners(others);
  t.ok(told.length > 3 && told.every(isLinked), told.join());
  const rest = [...others, ...linked.slice(2)];
  t.notOk(listeners(rest).every(isLinked), 'two are not enough');
  t.end();
});
