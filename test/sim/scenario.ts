/**
 * Faults as text, one a line: `AT what`, AT in seconds of virtual time, nodes by number, `a-b` or `*`.
 *
 *     loss P | stream-loss P | delay A B | duplicate P | reorder P        shares from 0 to 1, milliseconds
 *     kill N | start N | wipe N | leave N | stall N FOR | sleep N FOR | skew N SPEED
 *     cut N N | cut-one-way N N | heal
 *     churn N EVERY                                   one after the other is killed and started again
 */
import type { SwimLattice } from './swim-lattice.ts';

export interface Scenario {
  readonly name: string;
  readonly nodes: number;
  /** When it must be one view again, in seconds. */
  readonly end: number;
  readonly text: string;
  /** Nodes that are away for long: they may be declared dead, and what they think of the others does not count. */
  readonly mayDie?: string;
}

/** @throws Error for a line that is not understood. */
export function play(scenario: Scenario, lattice: SwimLattice): void {
  for (const line of scenario.text.trim().split('\n')) {
    const [at, verb, ...args] = line.trim().split(/\s+/);
    lattice.after(Number(at) * 1_000, () => act(lattice, verb ?? '', args));
  }
  lattice.run(scenario.end * 1_000);
}

/** Numbers of the nodes that are named. */
export function nodesOf(names: string | undefined, size: number): number[] {
  if (names === undefined || names === '') return [];
  if (names === '*') return Array.from({ length: size }, (_, index) => index);
  return names.split(',').flatMap((each) => {
    const [from = NaN, to = from] = each.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

function act(lattice: SwimLattice, verb: string, args: readonly string[]): void {
  const { network } = lattice;
  const [first = '', second = ''] = args;
  const chosen = (): number[] => nodesOf(first, lattice.size);
  const sets = (): [Set<number>, Set<number>] => [
    new Set(nodesOf(first, lattice.size)),
    new Set(nodesOf(second, lattice.size)),
  ];
  switch (verb) {
    case 'loss':
    case 'stream-loss':
      network.loss = Number(first);
      network.isStream = verb === 'stream-loss';
      return;
    case 'delay':
      network.delayMs = [Number(first), Number(second)];
      return;
    case 'duplicate':
      network.duplication = Number(first);
      return;
    case 'reorder':
      network.reordering = Number(first);
      return;
    case 'kill':
      for (const index of chosen()) lattice.kill(index);
      return;
    case 'start':
    case 'wipe':
      for (const index of chosen()) lattice.start(index, verb === 'start');
      return;
    case 'leave':
      for (const index of chosen()) lattice.leave(index);
      return;
    case 'stall':
      for (const index of chosen()) lattice.stall(index, Number(second) * 1_000);
      return;
    case 'sleep':
      for (const index of chosen()) lattice.sleep(index, Number(second) * 1_000);
      return;
    case 'skew':
      for (const index of chosen()) lattice.skew(index, Number(second));
      return;
    case 'cut': {
      const [ones, others] = sets();
      network.canReach = (from, to) =>
        !((ones.has(from) && others.has(to)) || (others.has(from) && ones.has(to)));
      return;
    }
    case 'cut-one-way': {
      const [ones, others] = sets();
      network.canReach = (from, to) => !(ones.has(from) && others.has(to));
      return;
    }
    case 'heal':
      network.canReach = () => true;
      return;
    case 'churn':
      chosen().forEach((index, turn) => {
        const everyMs = Number(second) * 1_000;
        lattice.after(turn * everyMs + 1, () => lattice.kill(index));
        lattice.after((turn + 1) * everyMs, () => lattice.start(index));
      });
      return;
    default:
      throw new Error(`not a fault: ${verb}`);
  }
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'all at once from the roster alone',
    nodes: 50,
    end: 20,
    text: '0 delay 1 30',
  },
  {
    name: 'loss, delay, duplication, reordering',
    nodes: 50,
    end: 200,
    text: `
      5 loss 0.1
      5 duplicate 0.1
      5 reorder 0.2
      60 delay 20 60
      150 loss 0
    `,
  },
  {
    name: 'a split of 25 into 14 and 11, healed',
    nodes: 25,
    end: 90,
    mayDie: '*',
    text: `
      5 cut 0-13 14-24
      60 heal
    `,
  },
  {
    name: 'three parts, one after the other cut off',
    nodes: 30,
    end: 150,
    mayDie: '*',
    text: `
      5 cut 0-9 10-29
      40 cut 10-19 0-9,20-29
      80 cut 20-29 0-19
      120 heal
    `,
  },
  {
    name: 'one way cut: a tenth does not hear the others',
    nodes: 30,
    end: 120,
    mayDie: '0-2',
    text: `
      5 cut-one-way 3-29 0-2
      60 heal
    `,
  },
  {
    name: 'pauses of 3 s through the whole lattice, under loss',
    nodes: 30,
    end: 120,
    text: `
      5 loss 0.05
      10 stall 0-2 3
      20 stall 3-5 3
      30 stall 6-8 3
      40 stall 9-11 3
      50 stall 12-14 3
      90 loss 0
    `,
  },
  {
    name: 'crashes with and without disk',
    nodes: 30,
    end: 120,
    mayDie: '1-6',
    text: `
      5 kill 1-3
      5 kill 4-6
      30 start 1-3
      31 wipe 4-6
      60 kill 1-3
      61 wipe 1-3
    `,
  },
  {
    name: 'half of the lattice sleeps for a minute',
    nodes: 20,
    end: 120,
    mayDie: '0-9',
    text: '5 sleep 0-9 60',
  },
  {
    name: 'clocks 20 % too fast and too slow, under loss',
    nodes: 30,
    end: 200,
    text: `
      1 skew 0-4 1.2
      1 skew 5-9 0.8
      5 stream-loss 0.05
      150 stream-loss 0
    `,
  },
  {
    name: 'churn: a node is killed and started again every 2 s, under loss',
    nodes: 40,
    end: 120,
    mayDie: '0-39',
    text: `
      5 stream-loss 0.02
      5 churn 0-39 2
      90 stream-loss 0
    `,
  },
];
