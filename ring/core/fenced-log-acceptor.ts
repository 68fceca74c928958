/**
 * A voter's side of a fenced log: promises, accepts, and comes back after a restart.
 *
 * `step(event, nowMs)` returns what is to be done, in order. The driver's duty (L6): what stands
 * after a write leaves only once that write is durable; writes become durable in order. Invariants
 * are those of spec/epoch.md. What a protected method decides, tests switch off to see that it is
 * needed.
 */
import { type AcceptorState, type AcceptorWrite, written } from './acceptor-state.ts';
import { type Ballot, compareBallots, higherBallot, isSameBallot } from './ballot.ts';
import { type Boot, type Boots, isSameBoot, isSuperseded, mergedBoots, notedBoot } from './boot.ts';
import { type Answer, type Configuration, everyVoter, isAttested } from './configuration.ts';
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
  type Position,
  reportedLog,
  reportOf,
  snapshotAt,
} from './fenced-log.ts';
import type {
  Accept,
  AcceptorMessage,
  FencedLogMessage,
  Prepare,
  Register,
  Registered,
} from './fenced-log-message.ts';

export interface AcceptorOptions<V> {
  /** This node's id. */
  readonly self: string;
  readonly state: AcceptorState<V>;
  /** What a committed prefix amounts to. Without it the log keeps all entries. */
  readonly fold?: Fold<V>;
  /** Whether what is accepted is to be signed. */
  readonly isSigned: boolean;
  /** How long a registration waits for answers before it asks again; doubled up to 16 times this. */
  readonly retryMs: number;
}

export type AcceptorEvent<V> =
  | {
      readonly kind: 'start';
      /**
       * The disk is known to be the one that voted last, or never to have voted: by evidence that is
       * not on it, or because an operator says so. True of a disk that is older breaks all promises.
       */
      readonly isVouched: boolean;
      /** A random integer. */
      readonly nonce: number;
    }
  | { readonly kind: 'message'; readonly from: string; readonly message: AcceptorMessage<V> }
  | { readonly kind: 'tick' };

export type AcceptorEffect<V> =
  | { readonly kind: 'write'; readonly write: AcceptorWrite<V> }
  | {
      readonly kind: 'send';
      readonly to: string;
      readonly message: FencedLogMessage<V>;
      /** The entries whose signatures are to go with an `accepted`. */
      readonly attests?: readonly Attest<V>[];
    };

/** What a voter may sign: that it has accepted the entry under the ballot of the entry's owner. */
export interface Attest<V> {
  readonly index: number;
  /** With the configuration that decides on it. */
  readonly entry: Entry<V>;
}

/** Voters that are gone for long are asked every 16 `retryMs`. */
const DOUBLINGS_MAX = 4;

export class FencedLogAcceptor<V> {
  readonly #self: string;
  readonly #options: AcceptorOptions<V>;
  #state: AcceptorState<V>;
  #standing: 'stopped' | 'waiting' | 'voting' | 'refused' = 'stopped';
  #isVouched = false;
  /** The log is known to be committed up to here. */
  #committed: number;
  readonly #contacts = new Set<string>();
  readonly #answers = new Map<string, Registered<V>>();
  #wakeMs = Infinity;
  /** How often in a row it has asked again. */
  #retries = 0;
  #effects: AcceptorEffect<V>[] = [];

  constructor(options: AcceptorOptions<V>) {
    this.#options = options;
    this.#self = options.self;
    this.#state = options.state;
    this.#committed = options.state.log.snapshot.index;
  }

  get state(): AcceptorState<V> {
    return this.#state;
  }

  /** `waiting`: it has not registered its boot yet. `refused`: it never will (B6). */
  get standing(): 'stopped' | 'waiting' | 'voting' | 'refused' {
    return this.#standing;
  }

  /** When the next tick is due. */
  get wakeMs(): number {
    return this.#wakeMs;
  }

  step(event: AcceptorEvent<V>, nowMs: number): AcceptorEffect<V>[] {
    this.#effects = [];
    if (event.kind === 'start') this.#start(event.isVouched, event.nonce, nowMs);
    else if (event.kind === 'message') this.#receive(event.from, event.message, nowMs);
    else if (nowMs >= this.#wakeMs) this.#register(nowMs);
    return this.#effects;
  }

  /** B1. */
  protected mayVote(): boolean {
    return this.#standing === 'voting';
  }

  /** L2. */
  protected isFenced(ballot: Ballot): boolean {
    return compareBallots(ballot, this.#state.promised) < 0;
  }

  /** L4. */
  protected isNext(log: FencedLog<V>, previous: Position): boolean {
    return hasPosition(log, previous);
  }

  /** B2. */
  protected isAttested(configuration: Configuration, answerOf: (node: string) => Answer): boolean {
    return isAttested(configuration, this.#self, this.#isVouched, answerOf);
  }

  /** B4: the highest promise and the latest log (L3) of those that were shown, and its own. */
  protected recover(
    own: { readonly promised: Ballot; readonly log: FencedLog<V> },
    answers: readonly Registered<V>[],
  ): { readonly promised: Ballot; readonly log: FencedLog<V> } {
    let { promised, log } = own;
    for (const answer of answers) {
      promised = higherBallot(promised, answer.promised);
      if (comparePositions(answer.report.last, lastPosition(log)) > 0)
        log = reportedLog(own.log.snapshot, answer.report);
    }
    return { promised: higherBallot(promised, lastPosition(log).ballot), log };
  }

  #start(isVouched: boolean, nonce: number, nowMs: number): void {
    const { boot, isRefused } = this.#state;
    this.#isVouched = isVouched;
    if (isRefused) this.#standing = 'refused';
    else this.#boot({ number: boot.number + 1, nonce }, nowMs);
  }

  #boot(boot: Boot, nowMs: number): void {
    this.#standing = 'waiting';
    this.#write({ boot, isRegistered: false }); // B1
    const configuration = configurationOf(this.#state.log);
    this.#meet(configuration === undefined ? [] : everyVoter(configuration), nowMs);
    this.#review();
  }

  /** There was a later boot of this node than the one that runs. */
  #hearOfLater({ number }: Boot, nowMs: number): void {
    if (this.#standing !== 'voting') return this.#refuse(); // B6
    // That one never voted, or this one would not. What this one says does not count any more (B3).
    this.#isVouched = false;
    this.#boot({ number: number + 1, nonce: this.#state.boot.nonce + 1 }, nowMs);
  }

  #receive(from: string, message: AcceptorMessage<V>, nowMs: number): void {
    if (this.#standing === 'refused' || this.#standing === 'stopped') return;
    if (message.generation !== this.#state.generation) return;
    if (message.kind === 'outdated') {
      if (isSameBoot(message.of, this.#state.boot)) this.#refuse();
      return;
    }
    const heard = message.boots[this.#self];
    if (heard !== undefined && isSuperseded(this.#state.boot, heard)) {
      this.#hearOfLater(heard, nowMs);
    } else if (message.kind === 'registered') {
      this.#noteAnswer(from, message, nowMs);
    } else {
      this.#meet(message.voters, nowMs);
      if (message.kind === 'register') this.#answerRegister(from, message);
      else if (!this.mayVote()) return;
      else if (message.kind === 'prepare') this.#promise(from, message);
      else this.#accept(from, message);
    }
  }

  #promise(from: string, { ballot, from: index, boots }: Prepare): void {
    if (this.isFenced(ballot)) return this.#sendRefused(from, ballot);
    this.#write(this.#news(ballot, boots));
    const report = reportOf(this.#state.log, index);
    this.#send(from, { kind: 'promised', ballot, report, ...this.#said() });
  }

  #accept(from: string, message: Accept<V>): void {
    const { ballot, previous, snapshot, boots } = message;
    if (this.isFenced(ballot)) return this.#sendRefused(from, ballot);
    const facts = this.#news(ballot, boots);
    const { log } = this.#state;
    const end = previous.index + message.entries.length;
    if (previous.index < log.snapshot.index) {
      // L7: the snapshot is committed, so the owner has the same prefix; the rest is looked at.
      const rest = message.entries.slice(log.snapshot.index - previous.index);
      this.#write({ ...facts, ...changeTo(log, log.snapshot.index, rest) });
    } else if (this.isNext(log, previous)) {
      this.#write({ ...facts, ...changeTo(log, previous.index, message.entries) });
    } else if (snapshot !== undefined) {
      // L4: whoever has a committed entry after the snapshot has the snapshot's position too.
      const { entries } = message;
      this.#write({ ...facts, log: { snapshot, keepThrough: snapshot.index, entries } });
    } else {
      this.#write(facts);
      const committed = this.#committed;
      this.#send(from, { kind: 'mismatched', ballot, committed, ...this.#said() });
      return;
    }
    const attests = this.#attests(end, ballot);
    this.#commit(Math.min(message.committed, end));
    this.#send(from, { kind: 'accepted', ballot, index: end, ...this.#said() }, attests);
  }

  /** What is new in a message by an owner that is not refused (L2, B5). */
  #news(ballot: Ballot, heard: Boots): { promised?: Ballot; boots?: Boots } {
    const promised = higherBallot(this.#state.promised, ballot);
    const boots = mergedBoots(this.#state.boots, heard);
    return {
      ...(promised === this.#state.promised ? {} : { promised }),
      ...(boots === this.#state.boots ? {} : { boots }),
    };
  }

  /**
   * R4: what was accepted under the ballot of its own owner and is not known to be committed. All of
   * it each time, as an answer to an earlier part may be lost.
   */
  #attests(end: number, ballot: Ballot): Attest<V>[] {
    const attests: Attest<V>[] = [];
    if (!this.#options.isSigned) return attests;
    const { log } = this.#state;
    for (let index = end; index > this.#committed; index--) {
      const entry = entryAt(log, index);
      if (entry === undefined || !isSameBallot(entry.ballot, ballot)) break;
      const configuration = configurationAt(log, index);
      const deciding = configuration === undefined ? {} : { configuration };
      attests.push({ index, entry: { ...entry, ...deciding } });
    }
    return attests;
  }

  #commit(index: number): void {
    if (index <= this.#committed) return;
    this.#committed = index;
    const { fold } = this.#options;
    if (fold !== undefined)
      this.#write({ log: { snapshot: snapshotAt(this.#state.log, index, fold) } });
  }

  #answerRegister(from: string, { boot, boots, from: index, generation }: Register): void {
    const { promised, log } = this.#state;
    const known = mergedBoots(this.#state.boots, boots);
    if (isSuperseded(boot, known[from])) {
      this.#send(from, { kind: 'outdated', generation, of: boot }); // B6
      return;
    }
    const noted = notedBoot(known, from, boot);
    if (noted !== this.#state.boots) this.#write({ boots: noted }); // B1
    const isWhole = this.#standing === 'voting' || this.#isVouched;
    const report = reportOf(log, index);
    this.#send(from, { kind: 'registered', of: boot, promised, isWhole, report, ...this.#said() });
  }

  /** Gets to know of voters. Who waits registers with them. */
  #meet(voters: readonly string[], nowMs: number): void {
    if (this.#standing !== 'waiting') return;
    const before = this.#contacts.size;
    for (const voter of voters) if (voter !== this.#self) this.#contacts.add(voter);
    if (this.#contacts.size === before) return;
    this.#retries = 0;
    this.#register(nowMs);
  }

  #register(nowMs: number): void {
    if (this.#standing !== 'waiting' || this.#contacts.size === 0) {
      this.#wakeMs = Infinity;
      return;
    }
    this.#wakeMs = nowMs + this.#options.retryMs * 2 ** Math.min(this.#retries++, DOUBLINGS_MAX);
    const { generation, boot, boots, log } = this.#state;
    const voters = [...this.#contacts];
    for (const to of voters) {
      // Who waits too may vote meanwhile, and count for more.
      if (this.#answers.get(to)?.isWhole === true) continue;
      const from = log.snapshot.index;
      this.#send(to, { kind: 'register', generation, boot, boots, from, voters });
    }
  }

  #noteAnswer(from: string, message: Registered<V>, nowMs: number): void {
    if (this.#standing !== 'waiting' || !isSameBoot(message.of, this.#state.boot)) return;
    this.#answers.set(from, message);
    const configuration = configurationOf(reportedLog(this.#state.log.snapshot, message.report));
    if (configuration !== undefined) this.#meet(everyVoter(configuration), nowMs);
    this.#review();
  }

  /** Votes again once enough others have answered. */
  #review(): void {
    const { boot, log } = this.#state;
    let { boots } = this.#state;
    for (const [node, answer] of this.#answers)
      boots = notedBoot(mergedBoots(boots, answer.boots), node, answer.boot);
    for (const [node, answer] of this.#answers)
      if (isSuperseded(answer.boot, boots[node])) this.#answers.delete(node); // B3
    const recovered = this.recover(this.#state, [...this.#answers.values()]);
    const configuration = configurationOf(recovered.log); // V1
    const answerOf = (node: string): Answer => {
      const answer = this.#answers.get(node);
      return answer === undefined ? 'silent' : answer.isWhole ? 'whole' : 'waiting';
    };
    if (configuration === undefined || !this.isAttested(configuration, answerOf)) return;
    this.#standing = 'voting';
    this.#wakeMs = Infinity;
    this.#answers.clear();
    this.#contacts.clear();
    this.#write({
      promised: recovered.promised,
      boots: notedBoot(boots, this.#self, boot),
      isRegistered: true,
      ...(recovered.log === log ? {} : replaced(log, recovered.log)),
    });
    this.#committed = this.#state.log.snapshot.index;
  }

  #refuse(): void {
    this.#standing = 'refused';
    this.#wakeMs = Infinity;
    this.#write({ isRefused: true });
  }

  #said(): { generation: number; boot: Boot; boots: Boots } {
    const { generation, boot, boots } = this.#state;
    return { generation, boot, boots };
  }

  #sendRefused(to: string, ballot: Ballot): void {
    const { generation, promised } = this.#state;
    this.#send(to, { kind: 'refused', generation, ballot, promised });
  }

  #send(to: string, message: FencedLogMessage<V>, attests: readonly Attest<V>[] = []): void {
    this.#effects.push({
      kind: 'send',
      to,
      message,
      ...(attests.length === 0 ? {} : { attests }),
    });
  }

  #write(write: AcceptorWrite<V>): void {
    if (Object.keys(write).length === 0) return;
    this.#state = written(this.#state, write);
    this.#effects.push({ kind: 'write', write });
  }
}

/** What is to be cut and appended for `entries` to stand after `previous` (L4). */
function changeTo<V>(
  log: FencedLog<V>,
  previous: number,
  entries: readonly Entry<V>[],
): AcceptorWrite<V> {
  let same = 0;
  while (same < entries.length) {
    const own = entryAt(log, previous + same + 1);
    if (own === undefined || !isSameBallot(own.ballot, (entries[same] as Entry<V>).ballot)) break;
    same++;
  }
  if (same === entries.length) return {};
  const keepThrough = previous + same;
  return {
    log: {
      ...(keepThrough < lastIndex(log) ? { keepThrough } : {}),
      entries: entries.slice(same),
    },
  };
}

function replaced<V>(before: FencedLog<V>, { snapshot, entries }: FencedLog<V>): AcceptorWrite<V> {
  const installed = snapshot === before.snapshot ? {} : { snapshot };
  return { log: { ...installed, keepThrough: snapshot.index, entries } };
}
