import { newAcceptorState, written } from '../../../ring/core/acceptor-state.ts';
import {
  type Configuration,
  everyVoter,
  firstConfiguration,
  isQuorum,
} from '../../../ring/core/configuration.ts';
import { type RegisterEffect, type RegisterOutcome } from '../../../ring/core/epoch-register.ts';
import { hasPosition, type Position, type Snapshot } from '../../../ring/core/fenced-log.ts';
import type { AcceptorEffect, AcceptorEvent } from '../../../ring/core/fenced-log-acceptor.ts';
import { type Random, randomInt, seededRandom } from '../../../spec/random.ts';
import { ballotKey, Checker, type Sees, type Value } from './checker.ts';
import {
  emptyDisk,
  GENERATION,
  type Message,
  type Node,
  type Parts,
  type Process,
  type SendEffect,
  startProcess,
  sync,
} from './node.ts';
import { EventQueue } from './queue.ts';
import type { Handover } from '../../../ring/core/handover.ts';
import { digestOf, firstValue } from '../../../ring/core/register-value.ts';

/** The nodes of a simulated register, their disks, and the network between them. */
export abstract class Lattice {
  protected readonly random: Random;
  protected readonly queue: EventQueue = new EventQueue();
  protected readonly nodes: Map<string, Node> = new Map<string, Node>();
  protected readonly founding: Snapshot<Value>;
  protected readonly checker: Checker;
  /** The log has a user that appends much at once, in place of a register. */
  protected readonly isJournal: boolean;
  /** How often what has happened. */
  protected readonly seen: Record<string, number> = {};
  protected loss = 0;
  protected duplication = 0;
  protected delayMsMax = 10;
  /** Share of messages that come much later. */
  protected late = 0;
  protected lateMsMax = 0;
  /** Who sent something last. */
  protected busy: string | undefined;
  /** Which messages are lost now. */
  protected cut: (from: string, to: string) => boolean = () => false;
  protected hash: number = 0x811c9dc5;
  readonly #parts: Parts;
  readonly #size: number;
  readonly #batchMax: number;
  readonly #signatures = new WeakMap<Uint8Array, string>();

  constructor(seed: number, parts: Parts, sees: Sees) {
    this.#parts = parts;
    this.random = seededRandom(seed);
    this.isJournal = seed % 4 === 0;
    this.#batchMax = this.pick([1, 2, 64]);
    this.#size = 3 + this.int(5);
    const voters = this.int(3) === 0 ? ['n0', 'n1', 'n2'] : ['n0'];
    this.founding = {
      index: 1,
      ballot: { counter: 0, node: 'n0', run: 0 },
      configuration: firstConfiguration(voters),
      state: firstValue(''),
    };
    this.checker = new Checker(
      this.founding,
      sees,
      (handover) => this.#isCertified(handover),
      this.isJournal,
    );
  }

  /** Makes and starts the first nodes. */
  protected found(): void {
    const voters = this.founding.configuration?.voters ?? [];
    for (let i = 0; i < this.#size; i++) {
      const node = this.addNode();
      if (voters.includes(node.id)) {
        node.disk = newAcceptorState(GENERATION, this.founding);
        node.past[0] = node.disk;
      }
      this.start(node, true);
    }
  }

  /** A request was answered. */
  protected abstract onOutcome(id: string, outcome: RegisterOutcome<string>): void;
  /** A voter answers. @returns how much later that arrives, when it is not as usual. */
  protected abstract onAnswer(voter: Node, to: string): number | undefined;
  protected abstract onAppend(owner: Node, to: string): void;
  /** @param isHeld the entry is on the disks of a quorum. */
  protected abstract onCommitted(owner: Node, snapshot: Snapshot<Value>, isHeld: boolean): void;

  protected addNode(): Node {
    const disk = emptyDisk();
    const node: Node = {
      id: `n${this.nodes.size}`,
      disk,
      past: [disk],
      isDamaged: false,
      known: this.founding,
      process: undefined,
      pausedUntilMs: 0,
    };
    this.nodes.set(node.id, node);
    return node;
  }

  protected node(id: string): Node {
    return this.nodes.get(id) as Node;
  }

  protected start(node: Node, isVouched: boolean): void {
    this.count(isVouched ? 'vouched start' : 'start');
    const process = startProcess(node, this.#parts, {
      random: this.random,
      run: 1 + this.int(2 ** 40),
      isJournal: this.isJournal,
      batchMax: this.#batchMax,
    });
    node.process = process;
    this.#stepAcceptor(node, process, { kind: 'start', isVouched, nonce: this.int(2 ** 40) });
    this.#schedule(node, process);
  }

  #stepAcceptor(node: Node, process: Process, event: AcceptorEvent<Value>): void {
    const { acceptor } = process;
    let before = acceptor.state;
    const effects = acceptor.step(event, this.queue.nowMs);
    for (const effect of effects) this.#performAcceptor(node, process, effect);
    const writes = effects.filter((effect) => effect.kind === 'write').map(({ write }) => write);
    for (const [i, write] of writes.entries()) {
      const after = i === writes.length - 1 ? acceptor.state : written(before, write);
      this.checker.changed(node.id, before, write, after);
      before = after;
    }
    this.#sync(node, process);
    this.#schedule(node, process);
  }

  #performAcceptor(node: Node, process: Process, effect: AcceptorEffect<Value>): void {
    if (effect.kind === 'write') process.unsynced.push(effect.write);
    else if (process.unsynced.length === 0 || this.#parts.answersEarly) this.#leave(node, effect);
    else process.held.push({ after: process.synced + process.unsynced.length, effect });
  }

  #sync(node: Node, process: Process): void {
    const writes = process.unsynced.length;
    if (process.isSyncing || writes === 0) return;
    process.isSyncing = true;
    const takesMs = this.random.next() * (this.int(50) === 0 ? 200 : 5);
    const done = (): void => {
      if (node.process !== process) return;
      if (this.queue.nowMs < node.pausedUntilMs) {
        this.queue.at(node.pausedUntilMs, done);
        return;
      }
      process.isSyncing = false;
      sync(node, process, writes);
      while (process.held.length > 0 && (process.held[0]?.after ?? 0) <= process.synced)
        this.#leave(node, (process.held.shift() as { effect: SendEffect }).effect);
      this.#sync(node, process);
    };
    this.queue.after(takesMs, done);
  }

  /** An answer of a voter leaves, signed. */
  #leave(node: Node, { to, message, attests = [] }: SendEffect): void {
    const signatures = attests.map(({ index, entry: { ballot, value, configuration } }) => {
      const signature = new Uint8Array(0);
      this.#signatures.set(
        signature,
        statement(node.id, { index, ballot }, configuration, digestOf(value)),
      );
      return { index, signature };
    });
    const isSigned = message.kind === 'accepted' && signatures.length > 0;
    const whole = isSigned ? { ...message, signatures } : message;
    const lateMs = this.onAnswer(node, to);
    if (lateMs === undefined) this.#transmit(node.id, to, whole);
    else this.queue.after(lateMs, () => this.deliver(node.id, to, whole));
  }

  protected stepRegister(
    node: Node,
    process: Process,
    event: Parameters<Process['register']['step']>[0],
  ): void {
    for (const effect of process.register.step(event, this.queue.nowMs))
      this.#performRegister(node, effect);
    this.#schedule(node, process);
  }

  #performRegister(node: Node, effect: RegisterEffect<string>): void {
    if (effect.kind === 'send') {
      this.#transmit(node.id, effect.to, effect.message);
      if (effect.message.kind === 'accept') this.onAppend(node, effect.to);
    } else if (effect.kind === 'answer') {
      // Clients go on in a turn of their own.
      this.queue.after(0, () => this.onOutcome(effect.id, effect.outcome));
    } else {
      const { snapshot, signatures } = effect;
      const { index, state, configuration } = snapshot;
      const digest = digestOf(state as Value);
      const signers = new Set<string>();
      for (const [voter, signature] of signatures)
        if (this.#hasSigned(voter, signature, snapshot, configuration, digest)) signers.add(voter);
      const holds = (voter: string): boolean => {
        const { disk, isDamaged } = this.node(voter);
        return isDamaged || disk.log.snapshot.index >= index || hasPosition(disk.log, snapshot);
      };
      const isHeld = this.checker.committed(node.id, snapshot, holds, signers);
      if (index > node.known.index) node.known = snapshot;
      this.onCommitted(node, snapshot, isHeld);
    }
  }

  #hasSigned(
    voter: string,
    signature: Uint8Array,
    position: Position,
    configuration: Configuration | undefined,
    digest: Uint8Array,
  ): boolean {
    const made = statement(voter, position, configuration, digest);
    return this.#signatures.get(signature) === made;
  }

  /** Whether a majority of both sets has signed it. */
  #isCertified(handover: Handover): boolean {
    const { configuration, digest, signatures } = handover;
    return isQuorum(configuration, (voter) =>
      signatures.some(
        ({ node, signature }) =>
          node === voter && this.#hasSigned(node, signature, handover, configuration, digest),
      ),
    );
  }

  #schedule(node: Node, process: Process): void {
    const wakeMs = Math.max(
      this.queue.nowMs + 1,
      Math.min(process.acceptor.wakeMs, process.register.wakeMs),
    );
    if (wakeMs >= process.wakeMs || wakeMs === Infinity) return;
    process.wakeMs = wakeMs;
    this.queue.at(wakeMs, () => this.#tick(node, process, wakeMs));
  }

  #tick(node: Node, process: Process, wakeMs: number): void {
    if (node.process !== process || process.wakeMs !== wakeMs) return;
    if (this.queue.nowMs < node.pausedUntilMs) {
      this.queue.at(node.pausedUntilMs, () => this.#tick(node, process, wakeMs));
      return;
    }
    process.wakeMs = Infinity;
    this.#stepAcceptor(node, process, { kind: 'tick' });
    this.stepRegister(node, process, { kind: 'tick' });
  }

  // The network.

  #transmit(from: string, to: string, message: Message): void {
    if (from === to) {
      this.queue.after(0, () => this.deliver(from, to, message));
      return;
    }
    const random = this.random;
    if (message.kind === 'accept' || message.kind === 'accepted') this.busy = from;
    if (random.next() < this.loss) return;
    const copies = random.next() < this.duplication ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const isLate = random.next() < this.late;
      const delayMs = 0.2 + random.next() * (isLate ? this.lateMsMax : this.delayMsMax);
      this.queue.after(delayMs, () => this.deliver(from, to, message));
    }
  }

  protected deliver(from: string, to: string, message: Message): void {
    const node = this.nodes.get(to);
    if (node?.process === undefined || this.cut(from, to)) return;
    if (this.queue.nowMs < node.pausedUntilMs) {
      this.queue.at(node.pausedUntilMs + 0.1, () => this.deliver(from, to, message));
      return;
    }
    this.mix(`${this.queue.nowMs} ${from} ${to} ${message.kind}`);
    switch (message.kind) {
      case 'promised':
      case 'accepted':
      case 'mismatched':
      case 'refused':
        this.stepRegister(node, node.process, { kind: 'message', from, message });
        break;
      case 'prepare':
      case 'accept':
      case 'register':
      case 'registered':
      case 'outdated':
        this.#stepAcceptor(node, node.process, { kind: 'message', from, message });
    }
  }

  protected int(below: number): number {
    return randomInt(this.random, below);
  }

  protected pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)] as T;
  }

  protected count(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1;
  }

  protected mix(text: string): void {
    let hash = this.hash;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.hash = hash;
  }
}

function statement(
  voter: string,
  { index, ballot }: Position,
  configuration: Configuration | undefined,
  digest: Uint8Array,
): string {
  const voters = configuration === undefined ? '' : everyVoter(configuration).join();
  return `${voter} ${index} ${ballotKey(ballot)} ${configuration?.number} ${voters} ${digest.join()}`;
}
