/** Lattices in which nodes are killed, whose history is looked at: what each node has ever used. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Log, silentLog } from '../spec/log.ts';
import { SwimThread } from './io/swim-thread.ts';
import { isGone, type MemberState, mintJoinToken, Ring, type RingOptions } from './index.ts';

/** Quick to see a death; slow enough for a busy machine. */
const swim = {
  probeIntervalMs: 200,
  ackTimeoutMs: 100,
  suspicionPeriods: 5,
  reconnectIntervalMs: 300,
};

/** How far a change of voters has come. */
export const VOTER_CHANGE = [
  'the request',
  'the pending epoch',
  'the change of voters',
  'the end',
] as const;

/** A lattice in one process, which notes every epoch that any of its nodes has used. */
export class House {
  readonly folder: string;
  readonly rings: Map<string, Ring> = new Map();
  /** By number: the contents that nodes have used. */
  readonly epochs: Map<number, Set<string>> = new Map();

  constructor(t: Test) {
    this.folder = t.testdir();
    t.teardown(() => Promise.all([...this.rings.values()].map((ring) => ring.close())));
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  async open(name: string, options: Partial<RingOptions> = {}): Promise<Ring> {
    const ring = await Ring.open({ data: this.at(name), name, swim, ...options });
    this.rings.set(name, ring);
    this.#note(ring);
    ring.onChange(({ kind }) => {
      if (kind === 'epoch') this.#note(ring);
    });
    return ring;
  }

  /** Founds with the first of them, and lets the others in. */
  async lattice<Names extends string[]>(...names: Names): Promise<{ [at in keyof Names]: Ring }> {
    const [first, ...others] = names as string[];
    const founder = await this.open(first as string);
    const rings = await Promise.all(
      others.map((name) => this.join(name, founder, first as string)),
    );
    const all = [founder, ...rings];
    const voters = Math.min(3, all.length);
    await Promise.all(all.map((ring) => until(ring, () => isWhole(ring, all.length, voters))));
    return all as { [at in keyof Names]: Ring };
  }

  /** @param minter the node whose key signs the token. */
  join(
    name: string,
    through: Ring,
    minter: string,
    options: Partial<RingOptions> = {},
  ): Promise<Ring> {
    const token = mintJoinToken(this.at(minter));
    return this.open(name, { join: [through.address], token, ...options });
  }

  /** Ends a node as a kill does: nobody is told. */
  async kill(name: string): Promise<void> {
    const farewell = Object.getOwnPropertyDescriptor(SwimThread.prototype, 'leave');
    SwimThread.prototype.leave = () => {};
    const closing = this.rings.get(name)?.close();
    if (farewell !== undefined) Object.defineProperty(SwimThread.prototype, 'leave', farewell);
    await closing;
  }

  /**
   * d is to vote in the place of c. The founder a, who sees to it first, is killed at that stage.
   *
   * @returns `left`: the leave of c, which goes on.
   */
  async killWhileVotersChange(
    stage: (typeof VOTER_CHANGE)[number],
  ): Promise<{ a: Ring; b: Ring; d: Ring; left: Promise<void> }> {
    const voted = logged('the voters change');
    const [a, b, c] = await this.lattice('a', 'b', 'c');
    await this.kill('a');
    const again = await this.open('a', { log: voted.log });
    await until(again, () => [b, c].every((of) => stateOf(again, of) === 'alive'));
    for (const other of [b, c]) await until(other, () => stateOf(other, again) === 'alive');
    const d = await this.join('d', b, 'b');
    const { number } = d.epoch();
    const left = c.leave();
    if (stage === 'the pending epoch') await until(b, () => b.epoch().number > number);
    if (stage === 'the change of voters') await voted.seen;
    if (stage === 'the end') await until(b, () => b.epoch().number > number + 1);
    await this.kill('a');
    return { a, b, d, left };
  }

  /** No number has two contents. */
  isOneHistory(): boolean {
    return [...this.epochs.values()].every(({ size }) => size === 1);
  }

  #note(ring: Ring): void {
    const epoch = ring.epoch();
    const contents = this.epochs.get(epoch.number) ?? new Set();
    this.epochs.set(epoch.number, contents.add(JSON.stringify(epoch)));
  }
}

export async function until(ring: Ring, holds: () => boolean): Promise<void> {
  await new Promise<void>((done) => {
    const stop = ring.onChange(() => {
      if (!holds()) return;
      stop();
      done();
    });
    if (!holds()) return;
    stop();
    done();
  });
}

export const isWhole = (ring: Ring, count: number, voters: number): boolean =>
  ring.epoch().previous === undefined &&
  ring.epoch().members.length === count &&
  ring.epoch().voters.length === voters &&
  ring.epoch().issuers.length === voters;

export const stateOf = (ring: Ring, of: Ring): MemberState | undefined =>
  ring.members().find(({ id }) => id === of.id)?.state;
/** Killed, or refused and stopped again. */
export const isDown = (ring: Ring, of: Ring): Promise<void> =>
  until(ring, () => isGone(stateOf(ring, of)));

/** Fulfilled when a node logs this; its other options go with it. */
function logged(message: string): { log: Log; seen: Promise<void> } {
  const { promise: seen, resolve } = Promise.withResolvers<void>();
  const info = (_fields: object, text: string): void => {
    if (text === message) resolve();
  };
  return { log: { ...silentLog, info }, seen };
}
