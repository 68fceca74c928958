import { test } from 'tap';
import { Swim } from './swim.ts';
import type { SwimEffect } from './swim-event.ts';
import type { MemberState, SwimMessage, Update } from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import { Roster } from './swim-view.ts';
import {
  ack,
  atMs,
  facts,
  ids,
  type MessageEvent,
  nodeA,
  random,
  rosterOf,
  said,
  sent,
  tickUntil,
} from './swim.testkit.ts';

test('I1: every order of the same claims ends in one view, and a replayed claim does nothing', (t) => {
  const claims = [
    said('b', { id: 'c', state: 'suspect', incarnation: 1, accusers: ['b'] }),
    said('b', { id: 'c', state: 'dead', incarnation: 1 }),
    said('c', { id: 'c', state: 'alive', incarnation: 2 }),
    said('b', { id: 'c', state: 'suspect', incarnation: 2, accusers: ['b'] }),
    said('c', { id: 'c', state: 'alive', incarnation: 3 }),
  ];
  const orders = [claims, claims.toReversed(), [2, 0, 4, 1, 3].map((i) => claims[i] ?? t.fail())];
  for (const order of orders) {
    const swim = nodeA();
    for (const claim of order) if (typeof claim === 'object') swim.step(claim, 2, random);
    t.match(swim.member('c'), { state: 'alive', incarnation: 3 });
    const again = swim.step(claims[1] as MessageEvent, 3, random);
    t.notOk(
      again.some((effect) => effect.kind === 'member'),
      'the old death notice changes nothing',
    );
  }
  t.end();
});

test('I1: of two sets of facts the newer stays, whatever the order, and what is unknown of it is passed on', (t) => {
  const told = (version: number, load: number): MessageEvent =>
    said('b', {
      id: 'c',
      state: 'alive',
      incarnation: 1,
      facts: {
        ...facts,
        incarnation: 1,
        version,
        load,
        addresses: ['c:2'],
        ext: { 77: new Uint8Array([version]) },
      },
    });
  for (const order of [
    [told(1, 0.1), told(2, 0.2)],
    [told(2, 0.2), told(1, 0.1)],
  ]) {
    const swim = nodeA();
    for (const event of order) swim.step(event, 2, random);
    t.match(swim.member('c'), { address: 'c:2', facts: { load: 0.2, version: 2 } });
    const spread = sent(tickUntil(swim, 400)).flatMap(({ message }) => message.updates);
    const passed = spread.find(({ id, facts: about }) => id === 'c' && about?.version === 2);
    t.strictSame(passed?.facts?.ext, { 77: new Uint8Array([2]) });
  }
  t.end();
});

test('I2: a node that hears itself accused raises its incarnation and says so', (t) => {
  const swim = nodeA();
  const effects = swim.step(said('b', { id: 'a', state: 'dead', incarnation: 7 }), 10, random);
  t.match(effects, [{ kind: 'incarnation', incarnation: 8 }]);
  t.equal(swim.healthFactor, 2, 'and takes it for a sign that it is slow');
  const spread = sent(tickUntil(swim, 400)).flatMap(({ message }) => message.updates);
  t.ok(spread.some((update) => update.id === 'a' && update.incarnation === 8));

  swim.step({ kind: 'leave' }, 500, random);
  const later = swim.step(said('b', { id: 'a', state: 'dead', incarnation: 9 }), 501, random);
  t.notOk(
    later.some(({ kind }) => kind === 'incarnation'),
    'who leaves does not object',
  );
  t.end();
});

test('I2: facts that another made up in its name are outbid', (t) => {
  const swim = nodeA();
  const forged = { ...facts, incarnation: 5, version: 99, addresses: ['evil:1'] };
  swim.step(said('b', { id: 'a', state: 'alive', incarnation: 5, facts: forged }), 10, random);
  t.match(swim.member('a'), { incarnation: 6, address: 'a:1' });
  t.end();
});

test('I3: a silent member is suspected after a probe and one through others, and dies after the suspicion', (t) => {
  const swim = nodeA();
  const sentMs = new Map<string, number>();
  const effects = tickUntil(swim, 20_000, (to, { kind, ...message }) => {
    if (to === 'b' || !('seq' in message)) return [];
    if (kind === 'ping') return [ack(to, message.seq)];
    const nack = { kind: 'nack' as const, seq: message.seq, incarnation: 1, updates: [] };
    return [{ kind: 'message', from: to, message: nack }];
  });
  for (const effect of effects) {
    if (effect.kind !== 'send') continue;
    const way = `${effect.message.kind} ${effect.to}`;
    if (!sentMs.has(way)) sentMs.set(way, effect.atMs);
  }
  const { suspicionPeriods, probeIntervalMs, ackTimeoutMs } = swimOptions();
  const probedMs = sentMs.get('ping b') ?? NaN;
  t.equal((sentMs.get('ping-req c') ?? NaN) - probedMs, ackTimeoutMs);
  t.equal(atMs(swim, 'suspect: it answered') - probedMs, ackTimeoutMs * 2);
  const livedMs = atMs(swim, 'dead') - atMs(swim, 'suspect: it answered');
  t.equal(livedMs, suspicionPeriods * probeIntervalMs);
  t.end();
});

test('I3: a death that another tells of is a suspicion, until this node has suspected long itself', (t) => {
  const { suspicionPeriods, probeIntervalMs } = swimOptions();
  const leastMs = suspicionPeriods * probeIntervalMs;
  const dead: Update = { id: 'c', state: 'dead', incarnation: 1 };
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  for (const kind of ['gossip', 'sync'] as const) {
    const swim = nodeA(4);
    swim.step(said('b', dead, kind), 2, random);
    t.match(swim.member('c'), { state: 'suspect', incarnation: 1 }, kind);
    t.match(swim.member('c')?.trail.at(-1)?.text, /^suspect: b says that it is dead/);
    tickUntil(swim, leastMs / 2 - 100, answer);
    swim.step(said('b', dead, kind), leastMs / 2 - 100, random);
    t.equal(swim.stateOf('c'), 'suspect', 'saying it again does not help');
    swim.step(said('c', { id: 'c', state: 'alive', incarnation: 2 }), leastMs / 2, random);
    t.equal(swim.stateOf('c'), 'alive', 'who is there refutes it');

    swim.step(said('b', { ...dead, incarnation: 2 }, kind), leastMs / 2 + 1, random);
    tickUntil(swim, leastMs + 2, answer);
    swim.step(said('d', { ...dead, incarnation: 2 }, kind), leastMs + 2, random);
    t.equal(swim.stateOf('c'), 'dead', 'who is not is buried');
  }
  t.end();
});

test('I5, I6: strangers are not tracked, and what only the roster says is not passed on', (t) => {
  const swim = new Swim({ id: 'a', incarnation: 1, facts }, swimOptions(), 0, random);
  const greetings = sent(swim.step({ kind: 'roster', roster: rosterOf(3) }, 0, random));
  t.strictSame(greetings.map(({ to }) => to).toSorted(), ['b', 'c'], 'it greets b and c');
  const spread = sent(tickUntil(swim, 2_000)).flatMap(({ message }) => message.updates);
  t.ok(spread.length > 0 && spread.every(({ id }) => id === 'a'), 'it tells what it knows: itself');
  swim.step(said('b', { id: 'x', state: 'alive', incarnation: 9 }), 101, random);
  t.equal(swim.member('x'), undefined);
  t.strictSame(swim.step(said('x', { id: 'x', state: 'alive', incarnation: 9 }), 101, random), []);
  t.end();
});

test('I5: what is said of a member before the roster names it counts once it does, and is told on', (t) => {
  const newOnes = ids(26).slice(3);
  const swim = nodeA(3);
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  tickUntil(swim, 5_000, answer);
  const claim = (id: string, state: MemberState = 'alive', incarnation = 4): Update => {
    const theirs = { ...facts, addresses: [`${id}:7`], incarnation, version: 1 };
    return { id, state, incarnation, facts: theirs };
  };
  for (const id of newOnes) swim.step(said('b', claim(id)), 5_001, random);
  swim.step(said('b', claim('d', 'alive', 3)), 5_002, random);
  swim.step(said('b', claim('d', 'alive', 2 ** 40)), 5_002, random);
  swim.step(said('b', claim('e', 'left')), 5_002, random);
  swim.step(said('b', claim('f', 'suspect')), 5_002, random);
  swim.step({ kind: 'roster', roster: rosterOf(26) }, 5_003, random);
  for (const id of newOnes.filter((one) => one !== 'e'))
    t.match(swim.member(id), { state: 'alive', incarnation: 4, address: `${id}:7` });
  t.equal(swim.member('e')?.incarnation, 0, 'who is gone again has not come');
  const soon = sent(tickUntil(swim, 5_003 + swimOptions().gossipIntervalMs / 2));
  const isToldOf = ({ message: { kind, updates } }: { message: SwimMessage }): boolean =>
    kind === 'gossip' && updates.some(({ id }) => id === 'd');
  t.notOk(soon.some(isToldOf), 'who said so has told the others too');
  const told = sent(tickUntil(swim, 8_000)).flatMap(({ message }) => message.updates);
  t.ok(told.some(({ id }) => id === 'd'));

  const flooded = nodeA(3);
  flooded.step(said('b', claim('d')), 100, random);
  flooded.step(said('b', claim('e')), 100, random);
  flooded.step(said('b', claim('d')), 100, random);
  for (let i = 0; i < 255; i++) flooded.step(said('b', claim(`stranger ${i}`)), 101, random);
  flooded.step({ kind: 'roster', roster: rosterOf(5) }, 102, random);
  t.equal(flooded.member('d')?.state, 'alive', 'said again, it is the newer one');
  t.equal(flooded.member('e')?.incarnation, 0, 'a flood of strangers is not kept');
  t.end();
});

test('I7: who was cut off forgets what it concluded, and does not accuse those who stayed', (t) => {
  const untilMs = 200_000;
  /** Only b answers; the others are silent until they are dead. */
  const cutOff = (): Swim => {
    const cut = nodeA(5);
    tickUntil(cut, untilMs, (to, message) =>
      message.kind === 'ping' && to === 'b' ? [ack(to, message.seq)] : [],
    );
    return cut;
  };
  const compare = (alive: number): MessageEvent => ({
    kind: 'message',
    from: 'c',
    message: {
      kind: 'sync',
      step: 'compare',
      alive,
      digest: [1, 2],
      incarnation: 1,
      updates: [],
    },
  });
  const swim = cutOff();
  for (const id of ['c', 'd', 'e']) t.equal(swim.stateOf(id), 'dead');
  const acked = sent(swim.step(ack('c', 99_999), untilMs, random));
  t.match(acked, [{ to: 'c', message: { kind: 'sync', step: 'compare' } }], 'it asks first');
  swim.step(compare(5), untilMs + 1, random);
  t.match(swim.member('c'), { state: 'suspect', incarnation: 0 });
  t.match(swim.member('c')?.trail.at(-1)?.text, 'suspect: this node was cut off');
  t.match(swim.member('b'), { state: 'alive', incarnation: 1 });
  t.notOk(
    sent(tickUntil(swim, untilMs + 250)).some(({ message }) =>
      message.updates.some(({ state }) => state !== 'alive'),
    ),
  );
  swim.step(said('c', { id: 'd', state: 'alive', incarnation: 1 }, 'sync'), untilMs + 251, random);
  t.equal(swim.member('d')?.state, 'alive', 'and hears anew that they live');

  const asBad = cutOff();
  asBad.step(compare(2), untilMs + 1, random);
  t.equal(asBad.member('c')?.state, 'dead', 'one who sees no more than it does proves nothing');
  t.end();
});

test('I7: one death and what another says of a second are no sign of being cut off', (t) => {
  const swim = nodeA(4, { confirmations: 1 });
  tickUntil(swim, 200_000, (to, message) =>
    message.kind === 'ping' && to !== 'd' ? [ack(to, message.seq)] : [],
  );
  t.equal(swim.stateOf('d'), 'dead');
  const forged: Update = { id: 'c', state: 'dead', incarnation: 1, accusers: ['a', 'b'] };
  for (const state of ['dead', 'suspect'] as const)
    swim.step(said('b', { ...forged, state }), 200_001, random);
  t.equal(swim.stateOf('c'), 'suspect');
  const all = { kind: 'sync', step: 'compare', alive: 4, digest: [1, 2] } as const;
  const message = { ...all, incarnation: 1, updates: [] };
  swim.step({ kind: 'message', from: 'b', message }, 200_002, random);
  t.equal(swim.stateOf('d'), 'dead', 'it forgets nothing');
  const ping = { kind: 'ping' as const, seq: 1, incarnation: 1, updates: [] };
  const [told] = sent(swim.step({ kind: 'message', from: 'c', message: ping }, 200_003, random));
  t.match(told?.message.updates[0], { id: 'c', state: 'suspect' }, 'and tells whom it concerns');
  t.end();
});

test('two views that differ in one member tell each other of its part alone', (t) => {
  const members = Array.from({ length: 500 }, (_, i) => {
    const id = `m${i}`;
    const known = { id, state: 'alive' as const, incarnation: 1 };
    return { id, address: `${id}:1`, known };
  });
  const roster = new Roster(members);
  const start = (id: string): Swim => {
    const swim = new Swim({ id, incarnation: 1, facts }, swimOptions(), 0, random);
    swim.step({ kind: 'roster', roster }, 0, random);
    return swim;
  };
  const pair = new Map(['m0', 'm1'].map((id) => [id, start(id)]));
  /** Hands messages to and fro until there are none. @returns the updates that were told. */
  const talk = (from: string, effects: SwimEffect[]): number =>
    sent(effects).reduce((told, { to, message }) => {
      const event = { kind: 'message' as const, from, message };
      const answers = pair.get(to)?.step(event, 5, random) ?? [];
      return told + message.updates.length + talk(to, answers);
    }, 0);
  const slept = (): SwimEffect[] =>
    sent(pair.get('m0')?.step({ kind: 'slept' }, 5, random) ?? [])
      .slice(0, 1)
      .map(({ message }) => ({ kind: 'send', to: 'm1', index: 1, message }));
  // Each is of an incarnation with facts of which the roster knows nothing.
  talk('m0', slept());
  for (const swim of pair.values()) tickUntil(swim, 5);
  t.equal(talk('m0', slept()), 1, 'equal views tell nothing but that the node is awake');
  pair.get('m1')?.step(said('m9', { id: 'm7', state: 'alive', incarnation: 3 }), 5, random);
  const told = talk('m0', slept());
  t.ok(told > 0 && told < 200, `${told} updates`);
  t.equal(pair.get('m0')?.member('m7')?.incarnation, 3);
  t.end();
});

test('a new roster keeps what is known of those who stay', (t) => {
  const swim = nodeA(5);
  swim.step(said('b', { id: 'c', state: 'suspect', incarnation: 1, accusers: ['b'] }), 2, random);
  const members = ['z', 'c', 'a', 'e'].map((id) => ({ id, address: `${id}:1` }));
  const effects = swim.step({ kind: 'roster', roster: new Roster(members) }, 3, random);
  t.match(
    effects.filter(({ kind }) => kind === 'member'),
    [{ id: 'z', before: undefined }],
  );
  t.equal(swim.member('b'), undefined);
  t.match(swim.member('c'), { state: 'suspect', incarnation: 1 });
  t.match(swim.member('c')?.trail.at(-1)?.text, 'suspect: b says so');
  t.match(swim.member('e'), { state: 'alive', incarnation: 1 });
  const later = tickUntil(swim, 40_000, (to, message) =>
    message.kind === 'ping' && to !== 'c' ? [ack(to, message.seq)] : [],
  );
  t.ok(
    later.some(
      (effect) => effect.kind === 'member' && effect.id === 'c' && effect.state === 'dead',
    ),
  );
  t.end();
});

test('a trail tells how a state came to be, of the last changes, and only of those who were accused', (t) => {
  const swim = nodeA(6);
  const trail = (id: string): string[] => (swim.member(id)?.trail ?? []).map(({ text }) => text);
  t.strictSame(trail('c'), [], 'nobody accused it');
  const suspect = (incarnation: number, ...accusers: string[]): Update => {
    return { id: 'b', state: 'suspect', incarnation, accusers };
  };
  swim.step(said('c', suspect(1, 'd')), 10, random);
  swim.step(said('c', suspect(1, 'e')), 20, random);
  swim.step(said('f', { id: 'b', state: 'alive', incarnation: 2 }), 30, random);
  swim.step(said('b', { id: 'b', state: 'left', incarnation: 2 }), 40, random);
  t.strictSame(swim.member('b')?.trail, [
    { atMs: 10, text: 'suspect: c says so, found silent by d (incarnation 1)' },
    { atMs: 20, text: 'suspect: c is not alone to say so, found silent by d, e (incarnation 1)' },
    { atMs: 30, text: 'alive: f has its refutation (incarnation 2)' },
    { atMs: 40, text: 'left: it was stopped (incarnation 2)' },
  ]);
  for (let incarnation = 3; incarnation < 30; incarnation++)
    swim.step(said('c', suspect(incarnation, 'd')), 40 + incarnation, random);
  t.equal(trail('b').length, 16);
  t.match(trail('b').at(-1), /incarnation 29/);

  swim.step(said('c', { id: 'a', state: 'dead', incarnation: 5 }), 100, random);
  swim.step({ kind: 'slept' }, 110, random);
  t.match(trail('a'), [
    'alive: c called it dead, which it refutes (incarnation 6)',
    'alive: this node slept (incarnation 6)',
  ]);
  t.match(trail('b').at(-1), 'suspect: this node slept, the suspicion begins anew');
  t.end();
});

test('an option out of its range is refused by name', (t) => {
  t.throws(() => swimOptions({ probeIntervalMs: 0 }), { code: 'ERR_RING_OPTION' });
  t.throws(() => swimOptions({ ackTimeoutMs: 251 }), { code: 'ERR_RING_OPTION' });
  t.throws(() => swimOptions({ gossipFanout: NaN }), { code: 'ERR_RING_OPTION' });
  t.throws(() => swimOptions({ stallMs: 6_000 }), { code: 'ERR_RING_OPTION' });
  t.end();
});

test('nobody is buried under a number that it cannot refute', async (t) => {
  const swim = nodeA(4);
  const far = 2 ** 48 - 1;
  const before = swim.member('b');
  swim.step(said('d', { id: 'b', state: 'dead', incarnation: far }), 10, random);
  t.match(swim.member('b'), { state: 'alive', incarnation: before?.incarnation });
  const effects = swim.step(said('d', { id: 'a', state: 'dead', incarnation: far }), 11, random);
  t.notOk(
    effects.some(({ kind }) => kind === 'incarnation'),
    'nor does it answer',
  );
  swim.step(said('d', { id: 'b', state: 'dead', incarnation: 1_000 }), 12, random);
  t.match(swim.member('b'), { state: 'suspect' }, 'what it can refute is heard');
  swim.step(said('b', { id: 'b', state: 'alive', incarnation: 2 ** 30 }), 13, random);
  t.match(swim.member('b'), { state: 'alive' }, 'and it may say of itself what it likes');
});
