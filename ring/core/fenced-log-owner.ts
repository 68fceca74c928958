/**
 * The writing side of a fenced log: takes it over by ballot, appends, says what is committed.
 *
 * `step(event, nowMs)` returns what is to be done, in order; nothing of an owner needs a disk. After
 * a restart it is a new one, with a `run` of its own. Invariants are those of spec/epoch.md. What a
 * protected method decides, tests switch off to see that it is needed.
 */
import { type Ballot, compareBallots, higherBallot, isSameBallot } from './ballot.ts';
import { type Boot, type Boots, isSameBoot, isSuperseded, mergedBoots, notedBoot } from './boot.ts';
import {
  type Configuration,
  everyVoter,
  isJoint,
  isQuorum,
  jointConfiguration,
  settledConfiguration,
} from './configuration.ts';
import {
  comparePositions,
  configurationAt,
  configurationOf,
  type Entry,
  entryAt,
  type FencedLog,
  type Fold,
  hasPosition,
  lastIndex,
  lastPosition,
  type LogReport,
  type Position,
  reportedLog,
  type Snapshot,
  snapshotAt,
} from './fenced-log.ts';
import type {
  Accepted,
  Promised,
  ToAcceptorMessage,
  ToOwnerMessage,
} from './fenced-log-message.ts';

export interface OwnerOptions<V> {
  /** This node's id. */
  readonly self: string;
  /** A random integer, drawn when the process starts (L1). */
  readonly run: number;
  readonly generation: number;
  /**
   * A value that changes nothing, to follow what the log amounts to so far. With `joint`: it comes with the end
   * of the joint configuration that this entry was committed in.
   */
  readonly idle: (log: FencedLog<V>, joint?: CommittedEntry<V>) => V;
  /** What a committed prefix amounts to. Without it the log keeps all entries. */
  readonly fold?: Fold<V>;
  /** How long an answer is waited for before the question is sent again; doubled up to 16 times this. */
  readonly retryMs: number;
  /** Most entries in one message. */
  readonly batchMax: number;
}

export type OwnerEvent<V> =
  /** Begins to take the log over. `base`: what is known to be committed, with its voters. */
  | { readonly kind: 'acquire'; readonly base: Snapshot<V> }
  /** Appends values; only while established. */
  | { readonly kind: 'append'; readonly values: readonly V[] }
  /**
   * Wants to change the voters; only while established, and one change at a time (V3). It begins once
   * the new ones have the log, so that a voter that is not there does not stop the others.
   */
  | { readonly kind: 'change-voters'; readonly voters: readonly string[] }
  /** Does not want it any more. A change that has begun goes on. */
  | { readonly kind: 'keep-voters' }
  | { readonly kind: 'message'; readonly from: string; readonly message: ToOwnerMessage<V> }
  | { readonly kind: 'tick' }
  /** Stops trying or owning. What was appended may still become committed, by the next owner. */
  | { readonly kind: 'release' };

export type OwnerEffect<V> =
  | { readonly kind: 'send'; readonly to: string; readonly message: ToAcceptorMessage<V> }
  /** The log up to `index` is committed. The first time, the owner is established (L5). */
  | {
      readonly kind: 'committed';
      readonly index: number;
      /** Those of the voters that were counted, over the entry at `index` (R4). */
      readonly signatures: ReadonlyMap<string, Uint8Array>;
    }
  /** A higher ballot was promised: no longer the owner. */
  | { readonly kind: 'lost' };

/** What proves that an entry is committed (R4). */
export interface CommittedEntry<V> extends Position {
  /** The one that decides on it. */
  readonly configuration: Configuration;
  readonly value: V;
  /** By voter. */
  readonly signatures: ReadonlyMap<string, Uint8Array>;
}

/** A voter that is gone for long is asked every 16 `retryMs`. */
const DOUBLINGS_MAX = 4;

/** How far a voter's log is known to be the owner's. */
interface Progress {
  /** Up to here, as said under `boot`. */
  match: number;
  boot: Boot | undefined;
  /** What is sent next begins after this index. */
  sent: number;
  /** It is behind what the log still has in entries. */
  needsSnapshot: boolean;
  signatures: Map<number, Uint8Array>;
}

export class FencedLogOwner<V> {
  readonly #options: OwnerOptions<V>;
  #phase: 'idle' | 'preparing' | 'owning' = 'idle';
  #ballot: Ballot;
  /** The highest ballot heard of (L1). */
  #seen: Ballot;
  #base: Snapshot<V> | undefined;
  #boots: Boots = {};
  readonly #promises = new Map<string, Promised<V>>();
  #log: FencedLog<V>;
  #committed = 0;
  /** The newest entry of its own that is committed. */
  #proof: CommittedEntry<V> | undefined;
  readonly #progress = new Map<string, Progress>();
  /** Whom the next configuration shall have. */
  #wanted: readonly string[] | undefined;
  /** Who is asked. */
  #voters: readonly string[] = [];
  #wakeMs = Infinity;
  /** How often in a row something was asked again. */
  #retries = 0;
  #effects: OwnerEffect<V>[] = [];

  constructor(options: OwnerOptions<V>) {
    this.#options = options;
    this.#ballot = { counter: 0, node: options.self, run: options.run };
    this.#seen = this.#ballot;
    this.#log = { snapshot: { index: 0, ballot: this.#ballot }, entries: [] };
  }

  get phase(): 'idle' | 'preparing' | 'owning' {
    return this.#phase;
  }

  /** L5: an entry of its own ballot is committed, and so is all before it. */
  get isEstablished(): boolean {
    return this.#phase === 'owning' && this.isOwn(this.#committed);
  }

  get ballot(): Ballot {
    return this.#ballot;
  }

  /** The owner's log; while it does not own, the last one that it had. */
  get log(): FencedLog<V> {
    return this.#log;
  }

  get committed(): number {
    return this.#committed;
  }

  /** When the next tick is due. */
  get wakeMs(): number {
    return this.#wakeMs;
  }

  step(event: OwnerEvent<V>, nowMs: number): OwnerEffect<V>[] {
    this.#effects = [];
    switch (event.kind) {
      case 'acquire':
        this.#acquire(event.base, nowMs);
        break;
      case 'append':
        if (this.isEstablished)
          this.#append(
            event.values.map((value) => ({ value })),
            nowMs,
          );
        break;
      case 'change-voters':
        if (this.isEstablished) this.#want(event.voters, nowMs);
        break;
      case 'keep-voters':
        this.#wanted = undefined;
        this.#voters = this.#votersNow();
        break;
      case 'message':
        this.#receive(event.from, event.message, nowMs);
        break;
      case 'tick':
        if (nowMs >= this.#wakeMs) this.#retry(nowMs);
        break;
      case 'release':
        this.#stop();
    }
    return this.#effects;
  }

  /** L1. */
  protected nextBallot(seen: Ballot): Ballot {
    const { self, run } = this.#options;
    return { counter: seen.counter + 1, node: self, run };
  }

  /** L3: of the logs that were shown, the whole of the latest. */
  protected adopt(base: Snapshot<V>, reports: readonly LogReport<V>[]): FencedLog<V> {
    let best: FencedLog<V> = { snapshot: base, entries: [] };
    for (const report of reports)
      if (comparePositions(report.last, lastPosition(best)) > 0) best = reportedLog(base, report);
    return best;
  }

  /** V1. */
  protected deciding(adopted: FencedLog<V>, _base: Snapshot<V>): Configuration | undefined {
    return configurationOf(adopted);
  }

  /** V2, V4. */
  protected isQuorum(configuration: Configuration, agrees: (node: string) => boolean): boolean {
    return isQuorum(configuration, agrees);
  }

  /** B3. */
  protected isVoid(boot: Boot, known: Boot | undefined): boolean {
    return isSuperseded(boot, known);
  }

  /** L5. */
  protected isOwn(index: number): boolean {
    return hasPosition(this.#log, { index, ballot: this.#ballot });
  }

  /** V3. */
  protected mayChangeVoters(): boolean {
    return this.isEstablished && this.#settledNumber() === configurationOf(this.#log)?.number;
  }

  #acquire(base: Snapshot<V>, nowMs: number): void {
    this.#stop();
    this.#phase = 'preparing';
    this.#base = base;
    this.#see(base.ballot);
    this.#ballot = this.nextBallot(this.#seen);
    this.#see(this.#ballot);
    this.#voters = this.#votersNow();
    this.#retries = 0;
    this.#retry(nowMs);
  }

  #stop(): void {
    this.#phase = 'idle';
    this.#wanted = undefined;
    this.#promises.clear();
    this.#progress.clear();
    this.#wakeMs = Infinity;
  }

  #receive(from: string, message: ToOwnerMessage<V>, nowMs: number): void {
    if (this.#phase === 'idle' || message.generation !== this.#options.generation) return;
    if (message.kind === 'refused') this.#see(message.promised);
    if (!isSameBallot(message.ballot, this.#ballot)) return;
    if (message.kind === 'refused') {
      if (compareBallots(message.promised, this.#ballot) <= 0) return;
      this.#stop();
      this.#effects.push({ kind: 'lost' });
      return;
    }
    const boots = notedBoot(mergedBoots(this.#boots, message.boots), from, message.boot);
    if (boots !== this.#boots) {
      // What was said under earlier boots does not count any more: it is asked for again.
      this.#boots = boots;
      this.#wakeSoon(nowMs);
    }
    if (this.isVoid(message.boot, this.#boots[from])) return; // B3
    if (message.kind === 'promised') {
      if (this.#phase === 'preparing') this.#promised(from, message, nowMs);
      return;
    }
    if (this.#phase !== 'owning') return;
    const progress = this.#progressOf(from);
    if (message.kind === 'mismatched') {
      // What is committed there is committed here: from its end on they can differ.
      progress.sent = Math.max(progress.match, Math.min(message.committed, lastIndex(this.#log)));
      progress.needsSnapshot = progress.sent < this.#log.snapshot.index;
      this.#sendEntries(from, nowMs);
    } else {
      this.#accepted(from, progress, message, nowMs);
    }
  }

  #promised(from: string, message: Promised<V>, nowMs: number): void {
    const asked = this.#voters;
    this.#promises.set(from, message);
    for (const [node, { boot }] of this.#promises)
      if (this.isVoid(boot, this.#boots[node])) this.#promises.delete(node); // B3
    this.#voters = this.#votersNow();
    const base = this.#base as Snapshot<V>;
    const reports = [...this.#promises.values()].map(({ report }) => report);
    for (const { last } of reports) this.#see(last.ballot);
    const adopted = this.adopt(base, reports);
    const deciding = this.deciding(adopted, base);
    if (deciding === undefined) return;
    if (!this.isQuorum(deciding, (node) => this.#promises.has(node))) {
      // V1: the log names voters that were not asked.
      const unasked = this.#voters.filter((node) => !asked.includes(node));
      for (const to of unasked) this.#sendPrepare(to);
      return;
    }
    this.#phase = 'owning';
    this.#log = adopted;
    this.#committed = adopted.snapshot.index;
    this.#promises.clear();
    const configuration = configurationOf(adopted);
    const value = this.#options.idle(adopted);
    this.#append([{ value, ...(configuration === undefined ? {} : { configuration }) }], nowMs);
  }

  #append(values: readonly Omit<Entry<V>, 'ballot'>[], nowMs: number): void {
    const ballot = this.#ballot;
    const { snapshot, entries } = this.#log;
    const added = values.map((value) => ({ ...value, ballot }));
    this.#log = { snapshot, entries: [...entries, ...added] };
    this.#voters = this.#votersNow();
    this.#wakeSoon(nowMs);
    for (const to of this.#voters) this.#sendEntries(to, nowMs);
  }

  #want(voters: readonly string[], nowMs: number): void {
    if (this.#wanted !== undefined && String(this.#wanted) === String(voters)) return;
    this.#wanted = voters;
    this.#voters = this.#votersNow();
    this.#advanceChange(nowMs);
    if (this.#wanted === undefined) return;
    this.#retries = 0;
    this.#retry(nowMs);
  }

  /** Ends a joint configuration, or begins the one that is wanted. */
  #advanceChange(nowMs: number): void {
    const configuration = configurationOf(this.#log);
    if (configuration === undefined || !this.mayChangeVoters()) return; // V3
    let next: Configuration;
    let joint: CommittedEntry<V> | undefined;
    if (isJoint(configuration)) {
      next = settledConfiguration(configuration);
      joint = this.#proof; // C1
    } else {
      const isReady = (node: string): boolean =>
        configuration.voters.includes(node) || this.#holds(node, this.#committed);
      if (this.#wanted === undefined || !this.#wanted.every(isReady)) return;
      next = jointConfiguration(configuration, this.#wanted);
      this.#wanted = undefined;
    }
    this.#append([{ value: this.#options.idle(this.#log, joint), configuration: next }], nowMs);
  }

  #accepted(from: string, progress: Progress, message: Accepted, nowMs: number): void {
    const { index, boot, signatures = [] } = message;
    if (progress.boot === undefined || !isSameBoot(progress.boot, boot)) {
      progress.match = 0;
      progress.signatures.clear();
    }
    progress.boot = boot;
    progress.match = Math.max(progress.match, index);
    progress.sent = Math.max(progress.sent, index);
    progress.needsSnapshot = false;
    for (const { index: at, signature } of signatures) progress.signatures.set(at, signature);
    this.#review();
    this.#advanceChange(nowMs);
    if (progress.sent < lastIndex(this.#log)) this.#sendEntries(from, nowMs);
  }

  #holds(node: string, index: number): boolean {
    const progress = this.#progress.get(node);
    if (progress?.boot === undefined || progress.match < index) return false;
    return !this.isVoid(progress.boot, this.#boots[node]); // B3
  }

  /** Finds out what is committed: the last entry of its own that a quorum has (L5, V4). */
  #review(): void {
    for (let index = lastIndex(this.#log); index > this.#committed; index--) {
      const configuration = configurationAt(this.#log, index);
      if (configuration === undefined || !this.isOwn(index)) continue;
      if (this.isQuorum(configuration, (node) => this.#holds(node, index))) {
        this.#commit(index);
        return;
      }
    }
  }

  #commit(index: number): void {
    this.#committed = index;
    const signatures = new Map<string, Uint8Array>();
    for (const [node, { match, signatures: made }] of this.#progress) {
      const signature = made.get(index);
      if (signature !== undefined && match >= index) signatures.set(node, signature);
      for (const at of made.keys()) if (at <= index) made.delete(at);
    }
    const { value, ballot } = entryAt(this.#log, index) as Entry<V>;
    const configuration = configurationAt(this.#log, index) as Configuration;
    this.#proof = { index, ballot, configuration, value, signatures };
    this.#voters = this.#votersNow();
    this.#effects.push({ kind: 'committed', index, signatures });
    const { fold } = this.#options;
    if (fold !== undefined) {
      const entries = this.#log.entries.slice(index - this.#log.snapshot.index);
      this.#log = { snapshot: snapshotAt(this.#log, index, fold), entries };
    }
  }

  /** The number of the configuration that is committed. */
  #settledNumber(): number | undefined {
    return configurationAt(this.#log, this.#committed)?.number;
  }

  /** Those whose votes decide on something that is not committed, or may. */
  #votersNow(): string[] {
    const configurations =
      this.#phase === 'owning'
        ? [
            configurationAt(this.#log, this.#committed),
            ...this.#log.entries
              .slice(this.#committed - this.#log.snapshot.index)
              .map(({ configuration }) => configuration),
          ]
        : this.#logsShown().map(configurationOf);
    const voters = configurations.flatMap((each) => (each ? everyVoter(each) : []));
    return [...new Set([...voters, ...(this.#wanted ?? [])])];
  }

  #logsShown(): FencedLog<V>[] {
    const base = this.#base as Snapshot<V>;
    const shown = [...this.#promises.values()].map(({ report }) => reportedLog(base, report));
    return [{ snapshot: base, entries: [] }, ...shown];
  }

  /** Something new was asked, or something asked is void: it is not yet known who is slow to answer. */
  #wakeSoon(nowMs: number): void {
    this.#retries = 0;
    this.#wakeMs = Math.min(this.#wakeMs, nowMs + this.#options.retryMs);
  }

  #retry(nowMs: number): void {
    this.#wakeMs = nowMs + this.#options.retryMs * 2 ** Math.min(this.#retries++, DOUBLINGS_MAX);
    if (this.#phase === 'preparing') {
      for (const to of this.#voters) if (!this.#promises.has(to)) this.#sendPrepare(to);
      return;
    }
    let isBehind = false;
    for (const to of this.#voters) {
      const progress = this.#progressOf(to);
      if (progress.boot !== undefined && this.isVoid(progress.boot, this.#boots[to])) {
        progress.match = 0;
        progress.boot = undefined;
      }
      if (progress.match === lastIndex(this.#log)) continue;
      isBehind = true;
      if (progress.match > 0) progress.sent = progress.match;
      else progress.sent = Math.min(progress.sent, lastIndex(this.#log) - 1);
      this.#sendEntries(to, nowMs);
    }
    if (!isBehind) this.#wakeMs = Infinity;
  }

  #sendPrepare(to: string): void {
    const base = this.#base as Snapshot<V>;
    this.#send(to, {
      kind: 'prepare',
      generation: this.#options.generation,
      ballot: this.#ballot,
      from: base.index,
      boots: this.#boots,
      voters: this.#voters,
    });
  }

  #sendEntries(to: string, nowMs: number): void {
    const { snapshot } = this.#log;
    const progress = this.#progressOf(to);
    const index = Math.max(progress.sent, snapshot.index);
    const isAtSnapshot = index === snapshot.index;
    const first = index - snapshot.index;
    const entries = this.#log.entries.slice(first, first + this.#options.batchMax);
    progress.sent = index + entries.length;
    if (this.#wakeMs === Infinity) this.#wakeSoon(nowMs);
    this.#send(to, {
      kind: 'accept',
      generation: this.#options.generation,
      ballot: this.#ballot,
      previous: { index, ballot: (entryAt(this.#log, index) ?? snapshot).ballot },
      ...(isAtSnapshot && progress.needsSnapshot ? { snapshot } : {}),
      entries,
      committed: this.#committed,
      boots: this.#boots, // B5
      voters: this.#voters,
    });
  }

  /** Who has said nothing yet is taken to have the log that was adopted. */
  #progressOf(node: string): Progress {
    let progress = this.#progress.get(node);
    if (progress === undefined) {
      const sent = Math.max(this.#log.snapshot.index, lastIndex(this.#log) - 1);
      const signatures = new Map<number, Uint8Array>();
      progress = { match: 0, boot: undefined, sent, needsSnapshot: false, signatures };
      this.#progress.set(node, progress);
    }
    return progress;
  }

  #send(to: string, message: ToAcceptorMessage<V>): void {
    this.#effects.push({ kind: 'send', to, message });
  }

  #see(ballot: Ballot): void {
    this.#seen = higherBallot(this.#seen, ballot);
  }
}
