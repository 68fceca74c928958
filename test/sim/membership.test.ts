import { test } from 'tap';
import { ACTIVE_MAX, ACTIVE_WANTED } from '../../ring/core/partial-view.ts';
import { swimOptions } from '../../ring/core/swim-options.ts';
import { failuresOf } from './membership.ts';
import { SCENARIOS } from './scenario.ts';
import { SwimLattice } from './swim-lattice.ts';

type Change = { atMs: number; observer: number; member: number; state: string };

function start(options: ConstructorParameters<typeof SwimLattice>[0]): {
  lattice: SwimLattice;
  all: number[];
  changes: Change[];
} {
  const lattice = new SwimLattice({ sampleEvery: 4, ...options });
  const changes: Change[] = [];
  lattice.changed = (observer, member, state) =>
    changes.push({ atMs: lattice.nowMs, observer, member, state });
  const all = Array.from({ length: lattice.size }, (_, index) => index);
  return { lattice, all, changes };
}

test('a killed node is suspected, then dead everywhere; restarted, it is alive again', (t) => {
  for (const nodes of [3, 5, 25]) {
    for (const hasDisk of [true, false]) {
      const { lattice, all, changes } = start({ nodes, seed: nodes });
      const whole = (): boolean => lattice.allSee(all, all, 'alive');
      t.ok(lattice.runUntil(whole, 5_000), 'all find each other');
      lattice.run(5_000);
      lattice.kill(1);
      const rest = all.filter((index) => index !== 1);
      const killedMs = lattice.nowMs;
      t.ok(
        lattice.runUntil(() => lattice.allSee(rest, [1], 'dead'), 15_000),
        `dead at ${nodes}`,
      );
      const told = changes.filter(({ atMs, member }) => atMs > killedMs && member !== 1);
      t.strictSame(told, [], 'nobody else was accused');
      lattice.start(1, hasDisk);
      t.ok(lattice.runUntil(whole, 5_000), `and back ${hasDisk ? 'with' : 'without'} its disk`);
      t.equal(lattice.view(0, 1)?.incarnation, 2);
    }
  }
  t.end();
});

test('nobody is declared dead wrongly at 10 % loss', (t) => {
  for (const [nodes, isStream] of [
    [3, false],
    [25, false],
    [25, true],
  ] as const) {
    const { lattice, changes } = start({ nodes, seed: 2 });
    lattice.network.loss = 0.1;
    lattice.network.isStream = isStream;
    lattice.run(180_000);
    t.equal(changes.filter(({ state }) => state === 'dead').length, 0, `${nodes} nodes`);
    t.ok(
      changes.some(({ atMs, state }) => atMs > 10_000 && state === 'suspect'),
      'loss was felt',
    );
  }
  t.end();
});

test('a lattice of 25 split 14 to 11 is one again within 30 s, and so is one split in half', (t) => {
  for (const [nodes, left, seed] of [
    [25, 14, 1],
    [25, 14, 2],
    [25, 14, 3],
    [25, 14, 4],
    [24, 12, 5],
  ] as const) {
    const { lattice, all, changes } = start({ nodes, seed });
    lattice.run(5_000);
    const [ones, others] = [all.slice(0, left), all.slice(left)];
    lattice.network.canReach = (from, to) => from < left === to < left;
    lattice.run(60_000);
    t.ok(
      lattice.allSee(ones, others, 'dead') && lattice.allSee(others, ones, 'dead'),
      'it was split',
    );
    lattice.network.canReach = () => true;
    const before = changes.length;
    const healMs = lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 30_000);
    t.ok(healMs, `healed in ${healMs} ms`);
    if (left * 2 === nodes) continue;
    const refuted = changes.slice(before).filter(({ observer, member, state }) => {
      return state !== 'alive' && observer < left && member < left;
    });
    t.strictSame(refuted, [], 'the majority accused none of its own for it');
  }
  t.end();
});

test('one direction cut between two nodes kills neither', (t) => {
  const { lattice, changes } = start({ nodes: 5, seed: 4 });
  lattice.run(5_000);
  lattice.network.canReach = (from, to) => !(from === 0 && to === 1);
  lattice.run(60_000);
  t.equal(changes.filter(({ state }) => state === 'dead').length, 0);
  t.end();
});

test('a node that stands still for 3 s accuses nobody and is not declared dead', (t) => {
  for (const nodes of [3, 5, 25]) {
    for (let seed = 0; seed < 10; seed++) {
      const { lattice, changes } = start({ nodes, seed });
      lattice.run(8_000);
      const before = changes.length;
      lattice.stall(2, 3_000);
      lattice.run(30_000);
      const after = changes.slice(before);
      t.strictSame(
        after.filter(({ member, state }) => member !== 2 && state !== 'alive'),
        [],
        'it accuses nobody',
      );
      t.notOk(
        after.some(({ state }) => state === 'dead'),
        'and lives',
      );
    }
  }
  t.end();
});

test('a node that stays blocked is silent, and declared dead', (t) => {
  const { lattice, all, changes } = start({ nodes: 5, seed: 6 });
  lattice.run(8_000);
  lattice.stall(2, 600_000);
  const rest = all.filter((index) => index !== 2);
  t.ok(lattice.runUntil(() => lattice.allSee(rest, [2], 'dead'), 15_000));
  t.notOk(changes.some(({ observer, atMs }) => observer === 2 && atMs > 8_000));
  t.end();
});

test('a machine that slept suspects nobody, hears that it was given up, and is back', (t) => {
  const { lattice, all, changes } = start({ nodes: 25, seed: 8 });
  lattice.run(8_000);
  lattice.sleep(3, 60_000);
  const rest = all.filter((index) => index !== 3);
  t.ok(lattice.runUntil(() => lattice.allSee(rest, [3], 'dead'), 30_000));
  lattice.run(68_000 - lattice.nowMs - 1);
  const before = changes.length;
  const backMs = lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 5_000);
  t.ok(backMs, `back in ${backMs} ms`);
  lattice.run(10_000);
  const accused = changes.slice(before).filter(({ member, state }) => {
    return member !== 3 && state !== 'alive';
  });
  t.strictSame(accused, []);
  t.end();
});

test('what is new is known to all before anybody repeats it, also who woke up', (t) => {
  const { gossipIntervalMs } = swimOptions();
  for (let seed = 1; seed <= 10; seed++) {
    const { lattice, all } = start({ nodes: 25, seed, isSettled: true });
    lattice.run(20_000);
    const facts = { addresses: ['10.0.0.9:1'], protocol: [1, 1], certificateEpoch: 9 } as const;
    lattice.event(2, { kind: 'facts', facts });
    const others = all.filter((index) => index !== 2);
    const isTold = (): boolean =>
      others.every((index) => lattice.view(index, 2)?.facts?.certificateEpoch === 9);
    const toldMs = lattice.runUntil(isTold, 5_000) ?? Infinity;
    lattice.sleep(3, 30_000);
    lattice.run(29_999);
    const backMs = lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 5_000) ?? Infinity;
    if (Math.max(toldMs, backMs) >= gossipIntervalMs) t.fail(`${seed}: ${toldMs}, ${backMs} ms`);
  }
  t.end();
});

test('one member that lies about all others buries nobody who answers', (t) => {
  const nodes = 12;
  const { lattice, all, changes } = start({ nodes, seed: 10, isSettled: true });
  const liar = nodes - 1;
  const lie = (): void => {
    for (const to of all) {
      if (to === liar) continue;
      const updates = all
        .filter((member) => member !== liar && member !== to)
        .map((member) => ({
          id: lattice.ids[member] ?? '',
          state: 'dead' as const,
          incarnation: lattice.view(to, member)?.incarnation ?? 1,
        }));
      const suspects = updates.map((update) => ({
        ...update,
        state: 'suspect' as const,
        accusers: lattice.ids.slice(0, 6),
      }));
      const from = lattice.ids[liar] ?? '';
      const message = {
        kind: 'gossip' as const,
        incarnation: 1,
        updates: [...suspects, ...updates],
      };
      lattice.event(to, { kind: 'message', from, message });
    }
    lattice.after(200, lie);
  };
  lattice.after(1_000, lie);
  lattice.run(60_000);
  const believed = changes.filter(
    ({ observer, member, state }) => state === 'dead' && observer !== liar && member !== liar,
  );
  t.strictSame(believed, []);
  t.ok(
    changes.some(({ state }) => state === 'suspect'),
    'they were accused',
  );
  t.end();
});

test('in a lattice too large for a full mesh news goes along neighbours, and a healed cut is one view', (t) => {
  const nodes = 60;
  const { lattice, all, changes } = start({ nodes, seed: 11, swim: { fullMeshMembersMax: 20 } });
  t.ok(
    lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 5_000),
    'all find each other',
  );
  lattice.run(20_000);
  const neighbors = (): number[] => all.map((index) => lattice.neighbors(index).length);
  t.ok(neighbors().every((count) => count <= ACTIVE_MAX));
  // Who gives one up for another has one less for a moment.
  const isWhole = (): boolean => neighbors().every((count) => count >= ACTIVE_WANTED);
  t.not(lattice.runUntil(isWhole, 5_000), undefined, neighbors().join(' '));
  const received = new Map<number, number>();
  lattice.kill(1);
  const rest = all.filter((index) => index !== 1);
  lattice.network.delayMs = [2, 2];
  const heardMs = new Map<string, number>();
  let toldBack = 0;
  lattice.sent = (from, to, message) => {
    if (message.kind !== 'gossip') return;
    received.set(to, (received.get(to) ?? 0) + 1);
    if (message.updates.every(({ state }) => state !== 'dead')) return;
    if ((heardMs.get(`${to} ${from}`) ?? Infinity) < lattice.nowMs) toldBack++;
    heardMs.set(`${from} ${to}`, lattice.nowMs + 2);
  };
  t.ok(lattice.runUntil(() => lattice.allSee(rest, [1], 'dead'), 20_000));
  t.equal(toldBack, 0, 'nobody is told of the death by whom it told');
  const each = rest.map((index) => received.get(index) ?? 0);
  // A suspicion, up to two who confirm it, and a death: each from every neighbour and some by chance.
  t.ok(Math.max(...each) <= 4 * (ACTIVE_MAX + 4), `${Math.max(...each)} messages at most`);
  const spread = changes.filter(({ member, state }) => member === 1 && state === 'dead');
  const tookMs = (spread.at(-1)?.atMs ?? NaN) - (spread[0]?.atMs ?? NaN);
  t.ok(tookMs < 200, `all heard of the death in ${tookMs} ms`);

  lattice.network.canReach = (from, to) => from < 10 === to < 10;
  lattice.run(60_000);
  lattice.network.canReach = () => true;
  t.ok(
    lattice.runUntil(() => lattice.allSee(rest, rest, 'alive'), 10_000),
    'one view',
  );
  lattice.run(20_000);
  t.ok(
    rest.some((index) => index < 10 && lattice.neighbors(index).some((other) => other >= 10)),
    'and one overlay',
  );
  t.end();
});

test('clocks that go 20 % too fast or too slow accuse nobody', (t) => {
  const { lattice, changes } = start({ nodes: 10, seed: 9 });
  lattice.skew(1, 1.2);
  lattice.skew(2, 0.8);
  lattice.run(120_000);
  t.notOk(changes.some(({ state }) => state === 'dead'));
  t.end();
});

test('who leaves is gone at once, and nobody suspects it', (t) => {
  const { lattice, all } = start({ nodes: 10, seed: 5 });
  lattice.run(5_000);
  lattice.leave(4);
  const rest = all.filter((index) => index !== 4);
  t.ok(lattice.runUntil(() => lattice.allSee(rest, [4], 'left'), 1_000));
  lattice.run(30_000);
  t.ok(lattice.allSee(rest, [4], 'left'));
  lattice.start(4);
  t.ok(
    lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 5_000),
    'it can come back',
  );
  t.end();
});

test('one seed gives one run', (t) => {
  const trace = (seed: number): number => {
    const { lattice } = start({ nodes: 9, seed });
    Object.assign(lattice.network, { loss: 0.05, duplication: 0.05, reordering: 0.1 });
    lattice.run(20_000);
    lattice.kill(3);
    lattice.run(20_000);
    return lattice.traceHash;
  };
  t.equal(trace(7), trace(7));
  t.not(trace(7), trace(8));
  t.end();
});

for (const scenario of SCENARIOS)
  test(`one view and no false death after: ${scenario.name}`, (t) => {
    t.strictSame(failuresOf(scenario, 1), [], scenario.text);
    t.end();
  });

test('without Lifeguard nodes that stall declare healthy ones dead, with it they do not', (t) => {
  const failed = (lifeguard: boolean): number => {
    const { lattice, changes } = start({
      nodes: 30,
      seed: 1,
      isSettled: true,
      swim: { lifeguard },
    });
    const stall = (index: number): void => {
      lattice.stall(index, 15_000);
      lattice.after(15_004, () => stall(index));
    };
    for (const index of [0, 1, 2]) lattice.after(1_000 + index, () => stall(index));
    lattice.run(300_000);
    return changes.filter(({ member, state }) => state === 'dead' && member > 2).length;
  };
  t.equal(failed(true), 0);
  t.ok(failed(false) > 0);
  t.end();
});

test('what an idle node sends does not grow with the lattice', (t) => {
  const bytes = (nodes: number): number => {
    const lattice = new SwimLattice({ nodes, seed: 1, isSettled: true, sampleEvery: 1 });
    lattice.run(30_000);
    return lattice.bytes / nodes / 30;
  };
  const [small, large] = [bytes(10), bytes(300)];
  t.ok(large < small * 1.2 && large < 150, `${small} and ${large} bytes a second`);
  t.end();
});
