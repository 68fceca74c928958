import { test } from 'tap';
import type { Swim } from './swim.ts';
import type { SwimEffect } from './swim-event.ts';
import type { SwimMessage } from './swim-message.ts';
import {
  ack,
  ids,
  type MessageEvent,
  nodeA,
  random,
  said,
  sent,
  tickUntil,
} from './swim.testkit.ts';

test('I4: who stood still gives the lost time back; who slept asks for news before it probes', (t) => {
  for (const [lostMs, hasSlept] of [
    [3_000, false],
    [20_000, true],
  ] as const) {
    // No view is compared by chance meanwhile.
    const swim = nodeA(6, { syncIntervalMs: 600_000 });
    const accusers = ['c', 'd', 'e'];
    swim.step(said('c', { id: 'b', state: 'suspect', incarnation: 1, accusers }), 2, random);
    const isPing = (effect: SwimEffect): boolean =>
      effect.kind === 'send' && effect.message.kind === 'ping';
    tickUntil(swim, 600, (to, message) => (message.kind === 'ping' ? [ack(to, message.seq)] : []));
    // It stops right after it has sent a probe.
    let sentMs = swim.wakeMs;
    while (!swim.step({ kind: 'tick' }, sentMs, random).some(isPing))
      sentMs = Math.max(sentMs + 1, swim.wakeMs);
    const nowMs = sentMs + lostMs;
    const effects: SwimEffect[] = swim.step({ kind: 'tick' }, nowMs, random);
    t.ok(swim.healthFactor > 1);
    t.equal(
      effects.some(({ kind }) => kind === 'slept'),
      hasSlept,
    );
    const isSync = ({ message }: { message: SwimMessage }): boolean => message.kind === 'sync';
    t.equal(sent(effects).some(isSync), hasSlept);
    effects.push(...tickUntil(swim, nowMs + 900));
    const accused = effects.filter(
      (effect) => effect.kind === 'member' && effect.state !== 'alive',
    );
    t.strictSame(accused, [], 'it accuses nobody, and b has not died of it');
    t.equal(effects.some(isPing), !hasSlept);
  }
  const suspended = nodeA(6);
  const effects = suspended.step({ kind: 'slept' }, 10, random);
  t.ok(
    effects.some(({ kind }) => kind === 'slept'),
    'also when its own clock stood still',
  );
  t.end();
});

/** From 0 on the main loop is blocked, as the ticks of a quarter of a second each say; nobody answers. */
function standStill(swim: Swim, fromMs: number, untilMs: number): SwimEffect[] {
  const effects: SwimEffect[] = [];
  for (let lagMs = fromMs; lagMs <= untilMs; lagMs += 250) {
    effects.push(...swim.step({ kind: 'lag', lagMs }, lagMs, random));
    effects.push(...tickUntil(swim, lagMs));
  }
  return effects;
}

test('I4: a node whose main loop is blocked answers and accuses nobody', (t) => {
  const swim = nodeA(6, { stallMs: 3_000, sleepMs: 9_000 });
  const accusers = ['c', 'd', 'e'];
  swim.step(said('c', { id: 'b', state: 'suspect', incarnation: 1, accusers }), 2, random);
  const others = (): (string | undefined)[] =>
    ids(6)
      .slice(2)
      .map((id) => swim.stateOf(id));
  standStill(swim, 250, 2_250);
  const blocked = others();
  standStill(swim, 2_500, 7_500); // The suspicion would be over, and others be accused.
  t.ok(swim.healthFactor > 2, 'local health');
  t.strictSame(others(), blocked, 'nobody is accused');
  t.equal(swim.stateOf('b'), 'suspect', 'no death');
  const ping = { kind: 'ping', seq: 9, incarnation: 1, updates: [] } as const;
  const answer = swim.step({ kind: 'message', from: 'c', message: ping }, 7_501, random);
  t.match(sent(answer), [{ to: 'c', message: { kind: 'ack', seq: 9 } }]);
  const over = swim.step({ kind: 'lag', lagMs: 0 }, 7_502, random);
  t.notOk(over.some(({ kind }) => kind === 'slept'));
  tickUntil(swim, 7_510, (to, { kind, ...rest }) =>
    kind === 'ping' && 'seq' in rest ? [ack(to, rest.seq)] : [],
  );
  t.strictSame(others(), blocked);
  t.equal(swim.stateOf('b'), 'suspect', 'the lost time is given back');
  tickUntil(swim, 40_000);
  t.ok(others().includes('suspect'), 'afterwards it accuses as ever');
  t.equal(swim.stateOf('b'), 'dead');
  t.end();
});

test('I4: once its main loop is blocked for long a node is silent, until it goes on', (t) => {
  const swim = nodeA(6, { silenceMs: 3_000, stallMs: 3_000 });
  standStill(swim, 250, 3_500);
  const ping = { kind: 'ping', seq: 9, incarnation: 1, updates: [] } as const;
  t.strictSame(swim.step({ kind: 'message', from: 'c', message: ping }, 3_501, random), []);
  const accused = said('c', { id: 'a', state: 'dead', incarnation: 5 });
  t.strictSame(swim.step(accused, 3_502, random), [], 'it does not even refute its death');
  t.strictSame(sent(standStill(swim, 3_750, 12_500)), []);
  const over = swim.step({ kind: 'lag', lagMs: 0 }, 13_000, random);
  t.ok(
    over.some(({ kind }) => kind === 'slept'),
    'what it held for a time, it may hold no more',
  );
  t.ok(sent(over).some(({ message }) => message.kind === 'sync'));
  t.ok(
    over.some((effect) => effect.kind === 'incarnation' && effect.incarnation === 6),
    'and it refutes what it was called meanwhile',
  );
  t.end();
});

test('who finds its links broken after sleep probes nobody yet', (t) => {
  const swim = nodeA(6);
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  tickUntil(swim, 5_000, answer);
  const wokenMs = swim.wakeMs + 20_000;
  swim.step({ kind: 'tick' }, wokenMs, random);
  for (const id of ids(6).slice(1)) swim.step({ kind: 'link-lost', id }, wokenMs + 501, random);
  const again = sent(tickUntil(swim, wokenMs + 900));
  t.notOk(
    again.some(({ message }) => message.kind === 'ping'),
    'a broken link is nothing to look into now',
  );
  t.ok(
    sent(tickUntil(swim, wokenMs + 1_100)).some(({ message }) => message.kind === 'ping'),
    'but soon',
  );
  t.end();
});
