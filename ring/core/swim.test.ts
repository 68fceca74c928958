import { test } from 'tap';
import { seededRandom } from '../../spec/random.ts';
import { Swim } from './swim.ts';
import type { SwimEffect } from './swim-event.ts';
import type { SwimMessage, Update } from './swim-message.ts';
import type { OwnFacts } from './swim-self.ts';
import { type SwimOptions, swimOptions } from './swim-options.ts';
import { Roster } from './swim-view.ts';

const random = seededRandom(1);
const ids = (count: number): string[] => 'abcdefghijklmnopqrstuvwxyz'.slice(0, count).split('');
const rosterOf = (count: number): Roster =>
  new Roster(ids(count).map((id) => ({ id, address: `${id}:1` })));
const facts: OwnFacts = { addresses: ['a:1'], protocol: [1, 1], certificateEpoch: 1 };

/** Node a, which has heard that the others are alive with incarnation 1. */
function nodeA(nodes = 3, options: Partial<SwimOptions> = {}): Swim {
  const self = { id: 'a', incarnation: 5, facts };
  const swim = new Swim(self, swimOptions(options), 0, random);
  swim.step({ kind: 'roster', roster: rosterOf(nodes) }, 0, random);
  for (const id of ids(nodes).slice(1))
    swim.step(said(id, { id, state: 'alive', incarnation: 1 }), 1, random);
  return swim;
}

type MessageEvent = { kind: 'message'; from: string; message: SwimMessage };

function said(from: string, claim: Update, kind: 'gossip' | 'sync' = 'gossip'): MessageEvent {
  const request = kind === 'sync' ? { kind, step: 'tell' as const } : { kind };
  return { kind: 'message', from, message: { ...request, incarnation: 1, updates: [claim] } };
}

function sent(effects: SwimEffect[]): { to: string; message: SwimMessage }[] {
  return effects.filter((effect) => effect.kind === 'send');
}

/** Ticks as a driver does, until the time; `answer` says what comes back for what was sent, at once. */
function tickUntil(
  swim: Swim,
  untilMs: number,
  answer: (to: string, message: SwimMessage) => MessageEvent[] = () => [],
): (SwimEffect & { atMs: number })[] {
  const effects: (SwimEffect & { atMs: number })[] = [];
  for (let nowMs = swim.wakeMs; nowMs <= untilMs; nowMs = Math.max(nowMs + 1, swim.wakeMs)) {
    const caused = swim.step({ kind: 'tick' }, nowMs, random);
    for (const { to, message } of sent(caused))
      for (const event of answer(to, message)) caused.push(...swim.step(event, nowMs, random));
    for (const effect of caused) effects.push({ ...effect, atMs: nowMs });
  }
  return effects;
}

function ack(from: string, seq: number, target?: string): MessageEvent {
  const request = { kind: 'ack' as const, seq, ...(target === undefined ? {} : { target }) };
  return { kind: 'message', from, message: { ...request, incarnation: 1, updates: [] } };
}

/** When the state of b was said to change, by its trail. */
function atMs(swim: Swim, start: string): number {
  const marks = swim.member('b')?.trail ?? [];
  return marks.findLast(({ text }) => text.startsWith(start))?.atMs ?? Number.NaN;
}

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

test('a suspicion lasts long while one node alone accuses, and is cut short by others', (t) => {
  const { suspicionPeriods, probeIntervalMs, suspicionFactorMax } = swimOptions();
  const least = suspicionPeriods * probeIntervalMs;
  /** How long b is suspect when so many accuse it. Nobody else answers badly. */
  const lastsMs = (accusers: string[], options: Partial<SwimOptions> = {}): number => {
    const swim = nodeA(8, { indirectProbes: 0, ...options });
    const isOther = (to: string): boolean => to !== 'b';
    for (const by of accusers)
      swim.step(said(by, { id: 'b', state: 'suspect', incarnation: 1, accusers: [by] }), 2, random);
    // Who accuses it here is not this node: it gets its answers.
    tickUntil(swim, least * 10, (to, message) =>
      message.kind === 'ping' && (isOther(to) || accusers.length > 0) ? [ack(to, message.seq)] : [],
    );
    return atMs(swim, 'dead') - atMs(swim, 'suspect: ');
  };
  const [one, two, three] = [['c'], ['c', 'd'], ['c', 'd', 'e']].map((by) => lastsMs(by));
  t.equal(one, least * suspicionFactorMax);
  t.ok((two ?? 0) < (one ?? 0) && (two ?? 0) > (three ?? 0), `${one} > ${two} > ${three}`);
  t.equal(three, least);
  t.equal(lastsMs(['c', 'c', 'c']), one, 'saying it again is not another accuser');
  t.equal(lastsMs(['c'], { lifeguard: false }), least);
  t.end();
});

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

test('I4: who stood still gives the lost time back; who slept asks for news before it probes', (t) => {
  for (const [lostMs, hasSlept] of [
    [3_000, false],
    [20_000, true],
  ] as const) {
    const swim = nodeA(6);
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
  const refuted = swim.step(accused, 13_001, random);
  t.match(refuted, [{ kind: 'incarnation', incarnation: 6 }]);
  t.end();
});

test('who finds its links broken after sleep tells of itself anew, and probes nobody yet', (t) => {
  const swim = nodeA(6);
  const answer = (to: string, message: SwimMessage): MessageEvent[] =>
    message.kind === 'ping' ? [ack(to, message.seq)] : [];
  tickUntil(swim, 5_000, answer);
  const wokenMs = swim.wakeMs + 20_000;
  swim.step({ kind: 'tick' }, wokenMs, random);
  // It reads that it was given up, and answers on links that nobody reads any more.
  const effects = ids(6)
    .slice(1)
    .flatMap((id) =>
      swim.step(said(id, { id: 'a', state: 'dead', incarnation: 5 }), wokenMs, random),
    )
    .concat(tickUntil(swim, wokenMs + 500));
  t.ok(sent(effects).some(({ message }) => message.updates.some(({ id }) => id === 'a')));
  for (const id of ids(6).slice(1)) swim.step({ kind: 'link-lost', id }, wokenMs + 501, random);
  const again = sent(tickUntil(swim, wokenMs + 900));
  const heard = again.filter(({ message }) =>
    message.updates.some(({ id, incarnation }) => id === 'a' && incarnation === 6),
  );
  t.ok(new Set(heard.map(({ to }) => to)).size >= 3, 'several hear it');
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

test('I5, I6: strangers are not tracked, and what only the roster says is not passed on', (t) => {
  const swim = new Swim({ id: 'a', incarnation: 1, facts }, swimOptions(), 0, random);
  const greetings = sent(swim.step({ kind: 'roster', roster: rosterOf(3) }, 0, random));
  t.strictSame(greetings.map(({ to }) => to).toSorted(), ['b', 'c'], 'it greets b and c');
  const spread = sent(tickUntil(swim, 100)).flatMap(({ message }) => message.updates);
  t.ok(spread.length > 0 && spread.every(({ id }) => id === 'a'), 'it tells what it knows: itself');
  swim.step(said('b', { id: 'x', state: 'alive', incarnation: 9 }), 101, random);
  t.equal(swim.member('x'), undefined);
  t.strictSame(swim.step(said('x', { id: 'x', state: 'alive', incarnation: 9 }), 101, random), []);
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

test('news is sent a bounded number of times', (t) => {
  const swim = nodeA();
  const spread = sent(tickUntil(swim, 400)).filter(
    ({ message }) => message.kind !== 'sync' && message.updates.some(({ id }) => id === 'c'),
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
      .map(({ message }) => ({ kind: 'send', to: 'm1', message }));
  // Each is of an incarnation with facts of which the roster knows nothing.
  talk('m0', slept());
  t.equal(talk('m0', slept()), 0, 'equal views tell nothing');
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
    { atMs: 40, text: 'left: it says so itself (incarnation 2)' },
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
