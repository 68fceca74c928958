/**
 * A register over nodes that crash, stand still, lose disks and messages, while voters change.
 *
 * One seed is one run: faults for a while, then everything is mended and the register must serve.
 */
import type { AcceptorState } from '../../../ring/core/acceptor-state.ts';
import { type Configuration, majorityOf } from '../../../ring/core/configuration.ts';
import type { RegisterOutcome, RegisterRequest } from '../../../ring/core/epoch-register.ts';
import {
  configurationOf,
  hasPosition,
  lastIndex,
  type Position,
  type Snapshot,
} from '../../../ring/core/fenced-log.ts';
import { shuffled } from '../../../spec/random.ts';
import { type Sees, type Value, Violation } from './checker.ts';
import { Lattice } from './lattice.ts';
import { emptyDisk, newestKnown, type Node, type Parts, PARTS, sync } from './node.ts';

export interface ClusterOptions {
  readonly seed: number;
  readonly parts?: Parts;
  readonly sees?: Sees;
}

export interface ClusterResult {
  readonly seed: number;
  readonly writes: number;
  readonly events: number;
  readonly traceHash: string;
  /** What went wrong, if anything did. */
  readonly violation: string | undefined;
  readonly seen: Readonly<Record<string, number>>;
}

/** How long faults go on. */
const FAULTS_MS = 12_000;
/** The register must serve within this after everything is mended. */
const MENDED_MS = 60_000;
/** How often an operator looks at what waits once everything is mended. */
const VOUCH_MS = 10_000;
const EVENTS_MAX = 400_000;
/** How often voters are chosen again whose record or configuration was another by then. */
const VOTERS_TRIES = 20;
const NODES_MAX = 12;

interface Client {
  readonly name: string;
  count: number;
  known: number;
  request: RegisterRequest<string> | undefined;
  tries: number;
}

export class Cluster extends Lattice {
  readonly #seed: number;
  readonly #clients: Client[] = [];
  readonly #asking = new Map<
    string,
    { client: Client; node: string; request: RegisterRequest<string> }
  >();
  /** How many voters the next configuration may have. */
  #sizes: readonly number[] = [];
  /** Share of commits, votes and appends that are answered by a fault made for them. */
  #ambushes = 0;
  /** How often a disk is damaged when it may be. */
  #damages = 0;
  #ambushed: { readonly owner: string; readonly voter: string } | undefined;
  #isMended = false;
  #hasServed = false;
  #changes = 0;
  /** Voters that somebody was asked to change to lately. */
  #targets: { readonly atMs: number; readonly voters: readonly string[] }[] = [];
  #events = 0;

  constructor({ seed, parts = PARTS, sees = 'everything' }: ClusterOptions) {
    super(seed, parts, sees);
    this.#seed = seed;
    this.found();
  }

  run(): ClusterResult {
    let violation: string | undefined;
    try {
      this.#begin();
      this.#runUntil(FAULTS_MS, () => false);
      this.#mend();
      this.#runUntil(FAULTS_MS + MENDED_MS, () => this.#hasServed);
      if (!this.#hasServed)
        throw new Violation('the register does not serve, though all is mended');
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      violation = `${Math.round(this.queue.nowMs)} ms: ${error.message}`;
    }
    return {
      seed: this.#seed,
      writes: this.checker.writes,
      events: this.#events,
      traceHash: (this.hash >>> 0).toString(16).padStart(8, '0'),
      violation,
      seen: this.seen,
    };
  }

  #runUntil(endMs: number, isOver: () => boolean): void {
    while (!isOver() && this.queue.runNext(endMs)) {
      if (++this.#events > EVENTS_MAX) throw new Violation('it does not come to rest');
    }
  }

  // Faults.

  #begin(): void {
    this.loss = this.pick([0, 0.02, 0.1, 0.25]);
    this.duplication = this.pick([0, 0.05, 0.2]);
    this.delayMsMax = this.pick([3, 10, 40]);
    this.late = this.pick([0.01, 0.05, 0.2]);
    this.lateMsMax = this.pick([200, 1_000, 3_000]);
    this.#sizes = this.pick([[1, 2, 3, 3, 4, 5], [3, 5], [5]]);
    this.#ambushes = this.pick([0, 0.05, 0.25]);
    this.#damages = this.pick([0, 0.2, 1]);
    const clients = 1 + this.int(4);
    for (let i = 0; i < clients; i++) {
      const client = { name: `c${i}`, count: 0, known: 1, request: undefined, tries: 0 };
      this.#clients.push(client);
      this.queue.after(this.int(100), () => this.#ask(client));
    }
    const faultEveryMs = this.pick([100, 300, 1_000]);
    const changeEveryMs = this.pick([300, 1_000, 3_000]);
    this.#repeat(faultEveryMs, () => this.#fault());
    this.#repeat(changeEveryMs, () => this.#changeVoters());
    this.#repeat(300, () => this.#gossip());
  }

  #repeat(meanMs: number, act: () => void): void {
    this.queue.after(meanMs * (0.2 + 1.6 * this.random.next()), () => {
      if (this.#isMended) return;
      act();
      this.#repeat(meanMs, act);
    });
  }

  #fault(): void {
    // Most of what can go wrong does so around who writes and who votes.
    const isAimed = this.busy !== undefined && this.int(2) === 0;
    const node = isAimed ? this.node(this.busy as string) : this.pick([...this.nodes.values()]);
    const kind = this.int(10);
    if (kind < 3) this.#crash(node, this.pick([0, 50, 1_500]));
    else if (kind < 5 && this.random.next() < this.#damages) this.#damage(node);
    else if (kind < 7) this.#pause(node);
    else this.#partition();
  }

  #crash(node: Node, downMs: number): void {
    const { process } = node;
    if (process === undefined) return;
    this.count('crash');
    // What was on its way to the disk may have come to it or not.
    sync(node, process, this.int(process.unsynced.length + 1));
    node.process = undefined;
    for (const [id, asked] of this.#asking) {
      if (asked.node !== node.id) continue;
      this.#asking.delete(id);
      this.queue.after(10, () => this.#unanswered(asked.client, asked.request));
    }
    const isVouched = !node.isDamaged && this.random.next() < 0.5;
    this.queue.after(this.random.next() * downMs, () => {
      if (node.process === undefined) this.start(node, isVouched && !node.isDamaged);
    });
  }

  /** The disk is emptied or put back to what it was. */
  #damage(node: Node): void {
    const { past } = node;
    const back = this.pick([1, 2, 5, 20, past.length]);
    const older = past[Math.max(0, past.length - 1 - back)] as AcceptorState<Value>;
    this.#replaceDisk(node, this.int(3) === 0 ? emptyDisk() : older, this.pick([0, 20, 500]));
  }

  /** @returns false when no more disks may be damaged now. */
  #replaceDisk(node: Node, disk: AcceptorState<Value>, downMs = 0): boolean {
    if (node.process === undefined || !this.#mayDamage(node.id, disk)) return false;
    const isEmpty = lastIndex(disk.log) === 0;
    this.count(isEmpty ? 'lost disk' : 'rolled-back disk');
    this.#crash(node, downMs);
    node.disk = disk;
    node.past.push(disk);
    node.isDamaged = true;
    if (isEmpty) node.known = this.founding;
    return true;
  }

  /**
   * Just committed: those who have the entry are cut off from those who do not; some of them forget it
   * before, and stay with the others.
   */
  #ambushCommit(position: Position): void {
    const has = ({ log }: AcceptorState<Value>): boolean =>
      log.snapshot.index >= position.index || hasPosition(log, position);
    const holders = [...this.nodes.values()].filter(({ disk }) => has(disk));
    const others = new Set(holders);
    for (const victim of shuffled(this.random, holders).slice(0, this.pick([0, 1, 1, 2]))) {
      const before = victim.past.findLast((disk) => !has(disk));
      if (before !== undefined && this.#replaceDisk(victim, before)) others.delete(victim);
    }
    this.count('ambush of a commit');
    const ids = new Set([...others].map(({ id }) => id));
    this.#cutFor((from, to) => ids.has(from) !== ids.has(to), this.pick([500, 1_500]));
  }

  /** It took another owner's entry for committed: what it makes itself comes to nobody. */
  #ambushOwner({ id }: Node): void {
    this.#cutFor((from, to) => (from === id) !== (to === id), 1_500);
  }

  /** Only this voter gets to hear of the append; see #ambushVote. */
  #ambushAppend(owner: string, voter: string): void {
    const { voters } = this.checker.configuration;
    // The others must be enough to start again without the owner.
    if (voters.length < (voters.includes(owner) ? 5 : 3)) return;
    this.#ambushed = { owner, voter };
    this.#cutFor((from, to) => from === owner && to !== voter && to !== owner, 250);
  }

  /**
   * Its vote is under way when the voter forgets it, and starts again before anybody else votes: then
   * the others do, and the vote arrives.
   */
  #ambushVote(voter: Node, owner: string): boolean {
    const before = voter.past.at(-2);
    if (before === undefined || !this.#replaceDisk(voter, before)) return false;
    this.count('ambush of a vote');
    const sinceMs = this.queue.nowMs;
    const isStill = (): boolean => this.queue.nowMs < sinceMs + 250;
    const isOwner = (to: string): boolean => to === owner;
    this.#cutFor(
      (from, to) => from === owner && !isOwner(to) && (to === voter.id || isStill()),
      1_500,
    );
    return true;
  }

  /**
   * Fewer than a majority of each set of voters may be damaged at once. That holds for sets of the
   * past too, from the one that a disk is put back to: its voters are who must tell that it is over.
   */
  #mayDamage(id: string, disk: AcceptorState<Value>): boolean {
    const damaged = [...this.nodes.values()].filter((node) => node.isDamaged && node.id !== id);
    const numbers = [disk, ...damaged.map((node) => node.disk)].map(
      ({ log }) => configurationOf(log)?.number ?? Infinity,
    );
    const first = Math.min(this.checker.configuration.number, ...numbers);
    const sets = this.#configurations()
      .filter(({ number }) => number >= first)
      .flatMap(({ voters, previous }) => (previous === undefined ? [voters] : [voters, previous]));
    return [...sets, ...this.#targets.map(({ voters }) => voters)].every((set) => {
      const lost = damaged.filter((node) => set.includes(node.id)).length;
      return !set.includes(id) || lost + 1 <= set.length - majorityOf(set.length);
    });
  }

  /** Those that decide or decided, and those that may come to. */
  #configurations(): Configuration[] {
    const found = [...this.checker.configurations];
    for (const { disk, process } of this.nodes.values()) {
      for (const { log } of process === undefined ? [disk] : [disk, process.acceptor.state])
        for (const { configuration } of [log.snapshot, ...log.entries])
          if (
            configuration !== undefined &&
            configuration.number > this.checker.configuration.number
          )
            found.push(configuration);
    }
    return found;
  }

  #pause(node: Node): void {
    this.count('pause');
    node.pausedUntilMs = this.queue.nowMs + this.random.next() * this.pick([100, 1_000, 3_000]);
  }

  #partition(): void {
    this.count('partition');
    const ids = shuffled(this.random, [...this.nodes.keys()]);
    const side = new Set(ids.slice(0, 1 + this.int(ids.length - 1)));
    const isOneWay = this.int(3) === 0;
    const cut = (from: string, to: string): boolean =>
      isOneWay ? side.has(from) && !side.has(to) : side.has(from) !== side.has(to);
    this.#cutFor(cut, this.random.next() * this.pick([200, 1_000, 3_000]));
  }

  #cutFor(cut: (from: string, to: string) => boolean, forMs: number): void {
    this.cut = cut;
    this.queue.after(forMs, () => {
      if (this.cut === cut) this.cut = () => false;
    });
  }

  #changeVoters(): void {
    const { configuration } = this.checker;
    const isFit = (id: string): boolean => !this.node(id).isDamaged;
    const fit = [...this.nodes.keys()].filter(isFit);
    while (fit.length < 6 && this.nodes.size < NODES_MAX) {
      const node = this.addNode();
      this.start(node, this.int(2) === 0);
      fit.push(node.id);
    }
    const size = Math.min(this.pick(this.#sizes), fit.length);
    const stay = shuffled(this.random, configuration.voters.filter(isFit));
    const come = shuffled(
      this.random,
      fit.filter((id) => !stay.includes(id)),
    );
    const kept = this.int(3) === 0 ? this.int(stay.length + 1) : stay.length;
    const voters = [...stay.slice(0, kept), ...come].slice(0, size).toSorted();
    if (voters.length === 0) return;
    const asked = this.pick([...this.nodes.values()]);
    const atMs = this.queue.nowMs;
    this.#targets = this.#targets.filter((target) => target.atMs > atMs - 8_000);
    this.#targets.push({ atMs, voters });
    const client = { name: 'admin', count: 0, known: 0, request: undefined, tries: 0 };
    this.#askForVoters(client, asked, voters);
  }

  /** For what the node knows then. */
  #askForVoters(client: Client, asked: Node, voters: readonly string[]): void {
    const { state, configuration } = asked.process?.register.known ?? asked.known;
    this.#send(client, asked, {
      kind: 'voters',
      id: `v${this.#changes++}`,
      deadlineMs: this.queue.nowMs + 2_000,
      expected: configuration?.number ?? 1,
      under: state?.number ?? 1,
      voters,
    });
  }

  /** Somebody hears of the newest epoch that another one knows. */
  #gossip(): void {
    const [from, to] = [this.pick([...this.nodes.values()]), this.pick([...this.nodes.values()])];
    const snapshot = from.process?.register.known;
    if (snapshot !== undefined && !this.cut(from.id, to.id)) this.#learn(to, snapshot);
  }

  #learn(node: Node, snapshot: Snapshot<Value>): void {
    if (snapshot.index > node.known.index) node.known = snapshot;
    if (node.process !== undefined)
      this.stepRegister(node, node.process, { kind: 'learn', snapshot });
  }

  /** Everything runs and reaches everything. */
  #mend(): void {
    this.#isMended = true;
    this.loss = 0;
    this.duplication = 0;
    this.late = 0;
    this.delayMsMax = 10;
    this.cut = () => false;
    for (const node of this.nodes.values()) node.pausedUntilMs = 0;
    const newest = this.#vouch();
    const client = {
      name: 'last',
      count: 0,
      known: newest.state?.number ?? 1,
      request: undefined,
      tries: 0,
    };
    this.#clients.push(client);
    this.queue.after(3_000, () => this.#ask(client));
  }

  /** An operator vouches for disks that are whole; again later, as a voter may hear only then of a later boot of its own (B6). */
  #vouch(): Snapshot<Value> {
    const newest = [...this.nodes.values()]
      .flatMap((node) => [newestKnown(node), node.process?.register.known ?? node.known])
      .reduce((a, b) => (b.index > a.index ? b : a));
    for (const node of this.nodes.values()) {
      if (node.process?.acceptor.standing === 'waiting' && !node.isDamaged)
        node.process = undefined;
      if (node.process === undefined) this.start(node, !node.isDamaged);
      this.#learn(node, newest);
    }
    this.queue.after(VOUCH_MS, () => void this.#vouch());
    return newest;
  }

  // Clients.

  #ask(client: Client): void {
    const isLast = client.name === 'last';
    if (this.#isMended && !isLast) return;
    const node = this.pick([...this.nodes.values()]);
    const deadlineMs = this.queue.nowMs + this.pick([500, 1_500, 4_000]);
    const id = `${client.name}-${client.count++}`;
    const known =
      this.random.next() < 0.7 ? (node.process?.register.known.state?.number ?? 1) : client.known;
    const ahead = !isLast && this.int(12) === 0 ? known + 1 : known;
    const expected = this.isJournal ? -1 : ahead;
    const under = node.process?.register.known.configuration?.number ?? 1;
    const isRead = !isLast && this.int(8) === 0;
    client.request = isRead
      ? { kind: 'read', id, deadlineMs }
      : { kind: 'write', id, deadlineMs, expected, under, record: id };
    client.tries = 0;
    this.#send(client, node, client.request);
  }

  #send(client: Client, node: Node, request: RegisterRequest<string>): void {
    const { process } = node;
    if (process === undefined || this.queue.nowMs < node.pausedUntilMs) {
      this.queue.after(20, () => this.#unanswered(client, request));
      return;
    }
    this.checker.asked(request);
    this.#asking.set(request.id, { client, node: node.id, request });
    this.stepRegister(node, process, { kind: 'request', request });
  }

  #answered(id: string, outcome: RegisterOutcome<string>): void {
    const asked = this.#asking.get(id);
    if (asked === undefined) return;
    this.#asking.delete(id);
    const { client, request, node } = asked;
    this.checker.answered(request, outcome);
    this.mix(`${id} ${outcome.kind}`);
    this.count(`${request.kind} ${outcome.kind}`);
    if (outcome.kind === 'unknown') {
      this.#unanswered(client, request);
      return;
    }
    if (client.name === 'last' && outcome.kind === 'committed') this.#hasServed = true;
    client.known = Math.max(client.known, outcome.value.number);
    const isAgain = outcome.kind === 'conflict' && client.tries++ < VOTERS_TRIES;
    if (request.kind === 'voters' && isAgain)
      this.queue.after(this.int(30), () =>
        this.#askForVoters(client, this.node(node), request.voters),
      );
    if (client.name !== 'admin') this.queue.after(this.int(150), () => this.#ask(client));
  }

  /** Asks again, elsewhere, with the same id; or gives up. */
  #unanswered(client: Client, request: RegisterRequest<string>): void {
    if (client.name === 'admin') return;
    if (client.tries++ > 5 || this.isJournal) {
      this.queue.after(50, () => this.#ask(client));
      return;
    }
    const deadlineMs = this.queue.nowMs + this.pick([500, 1_500]);
    const node = this.pick([...this.nodes.values()]);
    this.queue.after(this.int(100), () =>
      this.#send(client, node, { ...request, deadlineMs: deadlineMs + 100 }),
    );
  }

  #isAmbush(): boolean {
    return !this.#isMended && this.random.next() < this.#ambushes;
  }

  // What the nodes do.

  protected override onOutcome(id: string, outcome: RegisterOutcome<string>): void {
    this.#answered(id, outcome);
  }

  protected override onAnswer(voter: Node, to: string): number | undefined {
    if (this.#ambushed?.voter !== voter.id || this.#ambushed.owner !== to) return undefined;
    this.#ambushed = undefined;
    return this.#ambushVote(voter, to) ? 250 + this.int(700) : undefined;
  }

  protected override onAppend(owner: Node, to: string): void {
    if (to === owner.id || !this.#isAmbush()) return;
    if (this.int(3) === 0) this.queue.after(this.int(10), () => this.#crash(owner, 0));
    else this.#ambushAppend(owner.id, to);
  }

  /** What should not have been committed is not let pass. */
  protected override onCommitted(owner: Node, snapshot: Snapshot<Value>, isHeld: boolean): void {
    if (this.#isMended) return;
    if (snapshot.ballot.node !== owner.id) this.#ambushOwner(owner);
    else if (this.#isAmbush() || !isHeld) this.queue.after(0, () => this.#ambushCommit(snapshot));
  }
}
