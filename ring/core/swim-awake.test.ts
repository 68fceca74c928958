import { test } from 'tap';
import { seededRandom } from '../../spec/random.ts';
import { Swim } from './swim.ts';
import type { SwimEffect } from './swim-event.ts';
import type { SwimMessage, Update } from './swim-message.ts';
import { swimOptions } from './swim-options.ts';
import { Roster } from './swim-view.ts';

type Sent = { to: string; message: SwimMessage };

const random = seededRandom(1);
const facts = { addresses: ['m:1'], protocol: [1, 1], certificateEpoch: 1 } as const;

function lattice(size: number): Map<string, Swim> {
  const ids = Array.from({ length: size }, (_, index) => `m${index}`);
  const known = (id: string): Update => ({ id, state: 'alive', incarnation: 1 });
  const roster = new Roster(ids.map((id) => ({ id, address: `${id}:1`, known: known(id) })));
  const swims = ids.map((id): [string, Swim] => {
    const swim = new Swim({ id, incarnation: 1, facts }, swimOptions(), 0, random);
    swim.step({ kind: 'roster', roster }, 0, random);
    return [id, swim];
  });
  return new Map(swims);
}

/** What of its member is told so, by kind. */
function tells(effects: readonly SwimEffect[], id: string, kind: SwimMessage['kind']): Sent[] {
  const isOf = ({ id: of }: Update): boolean => of === id;
  return effects
    .filter((effect) => effect.kind === 'send')
    .filter(({ message }) => message.kind === kind && message.updates.some(isOf));
}

/** As a driver does until then; all that are not `dead` answer probes at once. */
function ticks(swim: Swim, untilMs: number, dead: readonly string[] = []): SwimEffect[] {
  const effects: SwimEffect[] = [];
  for (let nowMs = swim.wakeMs; nowMs <= untilMs; nowMs = Math.max(nowMs + 1, swim.wakeMs)) {
    for (const effect of swim.step({ kind: 'tick' }, nowMs, random)) {
      effects.push(effect);
      if (effect.kind !== 'send' || effect.message.kind !== 'ping') continue;
      if (dead.includes(effect.to)) continue;
      const { seq } = effect.message;
      const message = { kind: 'ack', seq, incarnation: 1, updates: [] } as const;
      swim.step({ kind: 'message', from: effect.to, message }, nowMs, random);
    }
  }
  return effects;
}

function gossip(
  from: string,
  ...updates: Update[]
): {
  kind: 'message';
  from: string;
  message: SwimMessage;
} {
  return { kind: 'message', from, message: { kind: 'gossip', incarnation: 1, updates } };
}

test('I2: who has slept outbids unasked what it was called meanwhile, and asks several at once', (t) => {
  const swim = lattice(26).get('m0') as Swim;
  ticks(swim, 50);
  const effects = swim.step({ kind: 'slept' }, 60, random);
  t.match(swim.member('m0'), { state: 'alive', incarnation: 2 });
  const kinds = effects.map(({ kind }) => kind);
  t.ok(kinds.indexOf('slept') < kinds.indexOf('send'), 'old connections are given up before');
  const told = tells(effects, 'm0', 'sync');
  t.equal(new Set(told.map(({ to }) => to)).size, 3);
  t.ok(told.every(({ message }) => message.updates.some(({ incarnation }) => incarnation === 2)));
  t.strictSame(tells(ticks(swim, 70), 'm0', 'gossip'), [], 'the same is not told twice at once');

  swim.step({ kind: 'leave' }, 80, random);
  t.notOk(
    swim.step({ kind: 'slept' }, 90, random).some(({ kind }) => kind === 'incarnation'),
    'but not who leaves',
  );
  t.end();
});

test('who slept is alive to all as soon as its word has gone round, by the first messages alone', (t) => {
  const swims = lattice(26);
  for (const [id, swim] of swims) {
    const accusers = ['m1', 'm2', 'm3', 'm4'];
    const suspect: Update = { id: 'm7', state: 'suspect', incarnation: 1, accusers };
    if (id !== 'm7') swim.step(gossip('m1', suspect), 1, random);
    ticks(swim, 15_000, ['m7']);
    t.equal(swim.stateOf('m7'), id === 'm7' ? 'alive' : 'dead');
  }
  const nowMs = 15_001;
  const inbox: [from: string, Sent][] = [];
  const send = (from: string, effects: SwimEffect[]): void => {
    for (const effect of effects) if (effect.kind === 'send') inbox.push([from, effect]);
  };
  send('m7', (swims.get('m7') as Swim).step({ kind: 'slept' }, nowMs, random));
  for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
    const [from, { to, message }] = next;
    const swim = swims.get(to) as Swim;
    send(to, swim.step({ kind: 'message', from, message }, nowMs, random));
    // Whatever is due without the time going on.
    if (swim.wakeMs <= nowMs) send(to, swim.step({ kind: 'tick' }, nowMs, random));
  }
  const unaware = [...swims].filter(([, swim]) => swim.stateOf('m7') !== 'alive');
  t.strictSame(
    unaware.map(([id]) => id),
    [],
  );
  t.end();
});

test('news does not wait for the turn of what is told already', (t) => {
  const swim = lattice(26).get('m0') as Swim;
  const { gossipIntervalMs, gossipFanout, gossipRepeats } = swimOptions();
  ticks(swim, 1_000);
  swim.step(gossip('m1', { id: 'm2', state: 'alive', incarnation: 2 }), 1_001, random);
  const first = tells(ticks(swim, 1_002), 'm2', 'gossip');
  t.equal(new Set(first.map(({ to }) => to)).size, gossipFanout, 'at once');
  t.notOk(
    first.some(({ to }) => to === 'm2'),
    'and not whom it is of',
  );
  swim.step(gossip('m1', { id: 'm3', state: 'alive', incarnation: 2 }), 1_003, random);
  const soon = ticks(swim, 1_001 + gossipIntervalMs / 2);
  t.equal(tells(soon, 'm3', 'gossip').length, gossipFanout);
  t.equal(tells(soon, 'm2', 'gossip').length, 0, 'what was told waits for its turn');
  // Some may ride on probes.
  const later = [...soon, ...ticks(swim, 5_000)].filter((effect) => effect.kind === 'send');
  const repeated = later.filter(({ message }) => message.updates.some(({ id }) => id === 'm2'));
  t.equal(first.length + repeated.length, gossipRepeats * 2, 'as often as ever: log10 of 27 is 2');
  t.end();
});

test('who compares views and is held for dead hears so with the first answer', (t) => {
  const swim = lattice(5).get('m0') as Swim;
  swim.step(gossip('m1', { id: 'm2', state: 'suspect', incarnation: 1 }), 10, random);
  const request = { kind: 'sync', step: 'compare', alive: 4, digest: [1, 2] } as const;
  const message: SwimMessage = { ...request, incarnation: 1, updates: [] };
  const answer = swim.step({ kind: 'message', from: 'm2', message }, 11, random);
  t.match(tells(answer, 'm2', 'sync'), [
    { to: 'm2', message: { step: 'hashes', updates: [{ id: 'm2', state: 'suspect' }] } },
  ]);
  t.strictSame(
    tells(swim.step({ kind: 'message', from: 'm3', message }, 12, random), 'm2', 'sync'),
    [],
    'others are told of the parts that differ',
  );
  t.end();
});
