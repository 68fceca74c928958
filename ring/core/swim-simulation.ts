/**
 * Many membership cores on one virtual clock and a network that loses, delays and splits.
 *
 * The cores are the ones that ship. One seed gives one run: `traceHash` tells two runs apart.
 */
import { type Random, randomInt, seededRandom } from '../../spec/random.ts';
import { Swim, type SwimMember } from './swim.ts';
import type { MemberState, SwimMessage } from './swim-message.ts';
import { type SwimOptions, swimOptions } from './swim-options.ts';

export interface SimulationOptions {
  nodes: number;
  seed: number;
  /** Share of messages that are lost, 0 to 1. */
  loss?: number;
  /** A message takes from 1 to this many milliseconds. */
  delayMsMax?: number;
  swim?: Partial<SwimOptions>;
}

/** One change in one node's view. */
export interface SimulatedChange {
  atMs: number;
  observer: string;
  id: string;
  state: MemberState;
}

interface Node {
  swim: Swim;
  incarnation: number;
  isRunning: boolean;
  /** Until then it stands still: what reaches it waits. */
  stalledUntilMs: number;
  /** The tick it waits for; an older one in the queue is void. */
  wakeMs: number;
}

type Due = { atMs: number; order: number; run: () => void };

export class SwimSimulation {
  readonly changes: SimulatedChange[] = [];
  nowMs = 0;
  #messages = 0;
  readonly #options: SwimOptions;
  readonly #random: Random;
  readonly #loss: number;
  readonly #delayMsMax: number;
  readonly #nodes = new Map<string, Node>();
  readonly #roster: { id: string; address: string }[];
  readonly #queue = new Heap();
  #order = 0;
  #hash = 0x811c9dc5;
  #canReach: (from: string, to: string) => boolean = () => true;

  constructor({ nodes, seed, loss = 0, delayMsMax = 5, swim }: SimulationOptions) {
    this.#options = swimOptions(swim);
    this.#random = seededRandom(seed);
    this.#loss = loss;
    this.#delayMsMax = delayMsMax;
    this.#roster = Array.from({ length: nodes }, (_, i) => ({ id: `n${i}`, address: `h${i}:1` }));
    for (const { id } of this.#roster) this.start(id);
  }

  get messages(): number {
    return this.#messages;
  }

  /** FNV-1a over every change of every view and every delivery, with its time. */
  get traceHash(): string {
    return (this.#hash >>> 0).toString(16);
  }

  get ids(): string[] {
    return this.#roster.map(({ id }) => id);
  }

  /** Starts a node, or starts it again; it has kept its incarnation. */
  start(id: string): void {
    const incarnation = (this.#nodes.get(id)?.incarnation ?? 0) + 1;
    const address = this.#roster.find((member) => member.id === id)?.address ?? '';
    const swim = new Swim(
      { id, address, incarnation },
      this.#options,
      seededRandom(randomInt(this.#random, 2 ** 32)),
      this.nowMs,
    );
    const node = { swim, incarnation, isRunning: true, stalledUntilMs: 0, wakeMs: Infinity };
    this.#nodes.set(id, node);
    this.#step(id, node, { kind: 'roster', members: this.#roster });
  }

  kill(id: string): void {
    this.#node(id).isRunning = false;
  }

  leave(id: string): void {
    this.#step(id, this.#node(id), { kind: 'leave' });
    this.#node(id).isRunning = false;
  }

  /** The node does nothing for so long; what reaches it waits. */
  stall(id: string, forMs: number): void {
    this.#node(id).stalledUntilMs = this.nowMs + forMs;
  }

  /** Who reaches whom from now on. */
  connect(canReach: (from: string, to: string) => boolean): void {
    this.#canReach = canReach;
  }

  run(forMs: number): void {
    const endMs = this.nowMs + forMs;
    for (let due = this.#queue.takeBefore(endMs); due; due = this.#queue.takeBefore(endMs)) {
      this.nowMs = due.atMs;
      due.run();
    }
    this.nowMs = endMs;
  }

  /** Runs until it holds. @returns the milliseconds it took, or undefined when the limit is over. */
  runUntil(holds: () => boolean, limitMs: number): number | undefined {
    const startMs = this.nowMs;
    while (this.nowMs - startMs <= limitMs) {
      if (holds()) return this.nowMs - startMs;
      this.run(10);
    }
    return undefined;
  }

  view(observer: string, id: string): SwimMember | undefined {
    return this.#node(observer).swim.member(id);
  }

  /** True when all `observers` see all `ids` in the state. */
  allSee(observers: readonly string[], ids: readonly string[], state: MemberState): boolean {
    return observers.every((observer) =>
      ids.every((id) => this.view(observer, id)?.state === state),
    );
  }

  #node(id: string): Node {
    return this.#nodes.get(id) as Node;
  }

  #step(id: string, node: Node, event: Parameters<Swim['step']>[0]): void {
    for (const effect of node.swim.step(event, this.nowMs)) {
      if (effect.kind === 'send') this.#send(id, effect.to, effect.message);
      else if (effect.kind === 'incarnation') node.incarnation = effect.incarnation;
      else this.#note(id, effect.member);
    }
    const wakeMs = Math.max(this.nowMs + 1, node.swim.wakeMs);
    if (wakeMs === node.wakeMs) return;
    node.wakeMs = wakeMs;
    this.#at(wakeMs, () => this.#tick(id, node, wakeMs));
  }

  #tick(id: string, node: Node, wakeMs: number): void {
    if (!node.isRunning || node.wakeMs !== wakeMs || this.#nodes.get(id) !== node) return;
    if (this.nowMs < node.stalledUntilMs) {
      // Its timers fire first when it moves again, before it reads what came meanwhile.
      this.#at(node.stalledUntilMs, () => this.#tick(id, node, wakeMs));
      return;
    }
    node.wakeMs = Infinity;
    this.#step(id, node, { kind: 'tick' });
  }

  #send(from: string, to: string, message: SwimMessage): void {
    this.#messages++;
    if (this.#random.next() < this.#loss) return;
    const delayMs = 1 + this.#random.next() * (this.#delayMsMax - 1);
    this.#at(this.nowMs + delayMs, () => this.#deliver(from, to, message));
  }

  #deliver(from: string, to: string, message: SwimMessage): void {
    const node = this.#node(to);
    if (!node.isRunning || !this.#canReach(from, to)) return;
    if (this.nowMs < node.stalledUntilMs) {
      this.#at(node.stalledUntilMs + 1, () => this.#deliver(from, to, message));
      return;
    }
    this.#mix(`${this.nowMs} ${from} ${to} ${message.kind}`);
    this.#step(to, node, { kind: 'message', from, message: structuredClone(message) });
  }

  #note(observer: string, { id, state }: SwimMember): void {
    this.changes.push({ atMs: this.nowMs, observer, id, state });
    this.#mix(`${this.nowMs} ${observer} ${id} ${state}`);
  }

  #at(atMs: number, run: () => void): void {
    this.#queue.add({ atMs, order: this.#order++, run });
  }

  #mix(text: string): void {
    for (let i = 0; i < text.length; i++)
      this.#hash = Math.imul(this.#hash ^ text.charCodeAt(i), 0x01000193);
  }
}

/** What is due next, by time and then by order of asking. */
class Heap {
  readonly #items: Due[] = [];

  add(due: Due): void {
    const items = this.#items;
    let at = items.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(items[at] as Due, items[parent] as Due)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  takeBefore(endMs: number): Due | undefined {
    const items = this.#items;
    const first = items[0];
    if (first === undefined || first.atMs > endMs) return undefined;
    const last = items.pop() as Due;
    if (items.length > 0) {
      items[0] = last;
      this.#sink();
    }
    return first;
  }

  #sink(): void {
    const items = this.#items;
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < items.length && isBefore(items[child] as Due, items[least] as Due))
          least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const items = this.#items;
    [items[a], items[b]] = [items[b] as Due, items[a] as Due];
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
}
