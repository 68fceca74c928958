/**
 * One record that changes by compare-and-set, on a fenced log: any node may propose.
 *
 * Each entry holds the whole record, so the log's last committed entry is all there is to keep.
 * `step(event, nowMs)` returns what is to be done, in order. Invariants are those of spec/epoch.md.
 */
import { AetherError } from '../../spec/error.ts';
import type { Random } from '../../spec/random.ts';
import { compareBallots } from './ballot.ts';
import type { Configuration } from './configuration.ts';
import { lastIndex, type Snapshot } from './fenced-log.ts';
import type { ToAcceptorMessage, ToOwnerMessage } from './fenced-log-message.ts';
import type { FencedLogOwner, OwnerEffect, OwnerEvent } from './fenced-log-owner.ts';
import type { RegisterValue } from './register-value.ts';

export type RegisterRequest<R> = {
  /** Of this request and every retry of it, and of no other. */
  readonly id: string;
  /** Then it is answered `unknown`. */
  readonly deadlineMs: number;
} & (WriteRequest<R> | { readonly kind: 'read' } | VotersRequest);

/** R5. */
export interface WriteRequest<R> {
  readonly kind: 'write';
  /** The number of the value. */
  readonly expected: number;
  /** The number of the configuration for which the record was made. */
  readonly under: number;
  readonly record: R;
}

/** R5. */
export interface VotersRequest {
  readonly kind: 'voters';
  /** The number of the configuration. */
  readonly expected: number;
  /** The number of the value for which the voters were chosen. */
  readonly under: number;
  readonly voters: readonly string[];
}

export type RegisterOutcome<R> =
  /** @property number the one that the write made; for a read, the current one. */
  | { readonly kind: 'committed'; readonly number: number; readonly value: RegisterValue<R> }
  /** Something else was expected; nothing was changed. */
  | { readonly kind: 'conflict'; readonly value: RegisterValue<R> }
  /** It was made, or will be, or not: a retry with the same id finds out. */
  | { readonly kind: 'unknown' };

export type RegisterEvent<R> =
  | { readonly kind: 'request'; readonly request: RegisterRequest<R> }
  /** What another node has seen committed. */
  | { readonly kind: 'learn'; readonly snapshot: Snapshot<RegisterValue<R>> }
  | {
      readonly kind: 'message';
      readonly from: string;
      readonly message: ToOwnerMessage<RegisterValue<R>>;
    }
  | { readonly kind: 'tick' };

export type RegisterEffect<R> =
  | {
      readonly kind: 'send';
      readonly to: string;
      readonly message: ToAcceptorMessage<RegisterValue<R>>;
    }
  | { readonly kind: 'answer'; readonly id: string; readonly outcome: RegisterOutcome<R> }
  | {
      readonly kind: 'committed';
      readonly snapshot: Snapshot<RegisterValue<R>>;
      /** Of voters, over the entry at the snapshot's index (R4). */
      readonly signatures: ReadonlyMap<string, Uint8Array>;
    };

export interface RegisterOptions<R> {
  readonly owner: FencedLogOwner<RegisterValue<R>>;
  /** The newest committed value that this node knows, with its voters. */
  readonly known: Snapshot<RegisterValue<R>>;
  readonly random: Random;
  /** A lost ballot is followed by a pause of up to this, doubled each time … */
  readonly backoffMs: number;
  /** … up to this. */
  readonly backoffMaxMs: number;
}

/** Numbers whose requests are remembered. */
const REQUESTS_MAX = 32;

interface Waiting<R> {
  readonly request: RegisterRequest<R>;
  /** What is appended after this index is appended after the request came. */
  after: number;
  /** An entry of our own was committed after the request came: nobody has written past it (R3). */
  isConfirmed: boolean;
}

export class EpochRegister<R> {
  readonly #options: RegisterOptions<R>;
  readonly #owner: FencedLogOwner<RegisterValue<R>>;
  #known: Snapshot<RegisterValue<R>>;
  /** What the ownership began with. */
  #base: Snapshot<RegisterValue<R>>;
  readonly #waiting: Waiting<R>[] = [];
  /** The entry that a write waits for. */
  #pending: { readonly id: string; readonly index: number } | undefined;
  #failures = 0;
  #retryAtMs = 0;
  #effects: RegisterEffect<R>[] = [];

  constructor(options: RegisterOptions<R>) {
    this.#options = options;
    this.#owner = options.owner;
    this.#known = options.known;
    this.#base = options.known;
  }

  /** The newest committed value that this node knows; others may know a newer one. */
  get known(): Snapshot<RegisterValue<R>> {
    return this.#known;
  }

  /** When the next tick is due. */
  get wakeMs(): number {
    let wakeMs = this.#owner.wakeMs;
    if (this.#waiting.length > 0 && this.#owner.phase === 'idle')
      wakeMs = Math.min(wakeMs, this.#retryAtMs);
    for (const { request } of this.#waiting) wakeMs = Math.min(wakeMs, request.deadlineMs);
    return wakeMs;
  }

  /** @throws AetherError ERR_RING_VOTERS: nothing was done. */
  step(event: RegisterEvent<R>, nowMs: number): RegisterEffect<R>[] {
    this.#effects = [];
    if (event.kind === 'request') this.#enqueue(event.request);
    else if (event.kind === 'learn') this.#learn(event.snapshot, nowMs);
    else this.#drive(event, nowMs);
    this.#advance(nowMs);
    return this.#effects;
  }

  /** R2: whether the number was made by this request. Undefined: it is too long ago to tell. */
  protected isMadeBy(value: RegisterValue<R>, number: number, id: string): boolean | undefined {
    const made = value.requests.at(number - value.number - 1);
    return made === undefined ? undefined : made === id;
  }

  /** R5: whether what a request was made for is what is there. */
  protected isUnder(under: number, number: number): boolean {
    return under === number;
  }

  /** R5: whether voters that are waited for may have been chosen for a record that is replaced meanwhile. */
  protected mayOutlive(): boolean {
    return false;
  }

  #enqueue(request: RegisterRequest<R>): void {
    if (request.kind === 'voters' && !isSound(request.voters)) {
      throw new AetherError('a record has one voter at least, and each once', {
        code: 'ERR_RING_VOTERS',
      });
    }
    const { owner } = this.#options;
    const after = owner.phase === 'owning' ? lastIndex(owner.log) : -1;
    this.#waiting.push({ request, after, isConfirmed: false });
  }

  #learn(snapshot: Snapshot<RegisterValue<R>>, nowMs: number): void {
    if (snapshot.index <= this.#known.index) return;
    this.#known = snapshot;
    if (!this.#isBehind(snapshot)) return;
    // Those whom it asks may never answer: others are voters now.
    this.#drive({ kind: 'release' }, nowMs);
    this.#begin(nowMs);
  }

  #isBehind({ ballot, configuration }: Snapshot<RegisterValue<R>>): boolean {
    const owner = this.#owner;
    if (owner.phase === 'owning') return compareBallots(ballot, owner.ballot) > 0;
    const isOther = configuration?.number !== this.#base.configuration?.number;
    return owner.phase === 'preparing' && isOther;
  }

  /** A new ownership may be tried from then on; it begins with an entry of its own. */
  #begin(atMs: number): void {
    this.#retryAtMs = atMs;
    this.#pending = undefined;
    for (const waiting of this.#waiting) if (!waiting.isConfirmed) waiting.after = -1;
  }

  #drive(event: OwnerEvent<RegisterValue<R>>, nowMs: number): void {
    for (const effect of this.#owner.step(event, nowMs)) this.#perform(effect, nowMs);
  }

  #perform(effect: OwnerEffect<RegisterValue<R>>, nowMs: number): void {
    if (effect.kind === 'send') {
      this.#effects.push(effect);
    } else if (effect.kind === 'lost') {
      const { random, backoffMs, backoffMaxMs } = this.#options;
      this.#failures++;
      const limitMs = Math.min(backoffMaxMs, backoffMs * 2 ** this.#failures);
      this.#begin(nowMs + random.next() * limitMs);
    } else {
      const { snapshot } = this.#owner.log;
      this.#failures = 0;
      this.#learn(snapshot, nowMs);
      for (const waiting of this.#waiting)
        if (effect.index > waiting.after) waiting.isConfirmed = true;
      this.#effects.push({ kind: 'committed', snapshot, signatures: effect.signatures });
    }
  }

  #advance(nowMs: number): void {
    for (const { request } of this.#waiting.filter((each) => each.request.deadlineMs <= nowMs)) {
      if (request.kind === 'voters') this.#drive({ kind: 'keep-voters' }, nowMs);
      this.#answer(request.id, { kind: 'unknown' });
    }
    const owner = this.#owner;
    while (this.#waiting.length > 0) {
      if (owner.phase === 'idle' && nowMs >= this.#retryAtMs) {
        this.#base = this.#known;
        this.#drive({ kind: 'acquire', base: this.#base }, nowMs);
      }
      if (!owner.isEstablished || lastIndex(owner.log) > owner.committed) return;
      // Voters may have to be waited for; what else there is goes on meanwhile.
      const isServed = [this.#first(false), this.#first(true)].some(
        (waiting) => waiting !== undefined && this.#serve(waiting, nowMs),
      );
      if (!isServed) return;
    }
    if (owner.phase === 'preparing') this.#drive({ kind: 'release' }, nowMs);
  }

  #first(isOfVoters: boolean): Waiting<R> | undefined {
    return this.#waiting.find(({ request }) => (request.kind === 'voters') === isOfVoters);
  }

  /** All that was appended is committed. @returns whether the request is answered. */
  #serve({ request, isConfirmed }: Waiting<R>, nowMs: number): boolean {
    const { snapshot } = this.#owner.log;
    const value = snapshot.state as RegisterValue<R>;
    if (request.kind === 'read') {
      if (isConfirmed) return this.#answer(request.id, committed(value));
      return this.#append(value, nowMs);
    }
    const voters = configurationOf(snapshot).number;
    const isWrite = request.kind === 'write';
    const [number, other] = isWrite ? [value.number, voters] : [voters, value.number];
    if (request.expected > number || request.under > other) {
      // R3: perhaps we are behind.
      if (isConfirmed) return this.#answer(request.id, { kind: 'conflict', value });
      return this.#append(value, nowMs);
    }
    if (request.kind === 'voters') return this.#serveVoters(request, value, nowMs);
    const { id, expected, under, record } = request;
    if (expected === number) {
      if (!this.isUnder(under, voters)) return this.#answer(id, { kind: 'conflict', value });
      if (this.#first(true) !== undefined && !this.mayOutlive())
        this.#drive({ kind: 'keep-voters' }, nowMs);
      const requests = [...value.requests, id].slice(-REQUESTS_MAX);
      this.#append({ ...value, number: number + 1, record, requests }, nowMs); // R1
      this.#pending = { id, index: lastIndex(this.#owner.log) };
      return false;
    }
    const isDone = this.#pending?.id === id && snapshot.index >= this.#pending.index;
    const isOurs = isDone || this.isMadeBy(value, expected + 1, id);
    if (isOurs === undefined) return this.#answer(id, { kind: 'unknown' });
    if (!isOurs) return this.#answer(id, { kind: 'conflict', value });
    return this.#answer(id, { kind: 'committed', number: expected + 1, value });
  }

  #serveVoters(
    { id, expected, under, voters }: VotersRequest & { id: string },
    value: RegisterValue<R>,
    nowMs: number,
  ): boolean {
    const owner = this.#owner;
    if (lastIndex(owner.log) > owner.committed) return false;
    const configuration = configurationOf(owner.log.snapshot);
    if (expected === configuration.number) {
      if (!this.isUnder(under, value.number)) return this.#answer(id, { kind: 'conflict', value });
      this.#drive({ kind: 'change-voters', voters }, nowMs);
      return false;
    }
    // Numbers grow by two with each change: another one may have come after ours.
    if (configuration.number > expected + 2) return this.#answer(id, { kind: 'unknown' });
    const isDone = isSameSet(configuration.voters, voters);
    return this.#answer(id, isDone ? committed(value) : { kind: 'conflict', value });
  }

  #append(value: RegisterValue<R>, nowMs: number): false {
    this.#drive({ kind: 'append', values: [value] }, nowMs);
    return false;
  }

  #answer(id: string, outcome: RegisterOutcome<R>): true {
    if (this.#pending?.id === id) this.#pending = undefined;
    const at = this.#waiting.findIndex(({ request }) => request.id === id);
    this.#waiting.splice(at, 1);
    this.#effects.push({ kind: 'answer', id, outcome });
    return true;
  }
}

function committed<R>(value: RegisterValue<R>): RegisterOutcome<R> {
  return { kind: 'committed', number: value.number, value };
}

/** A register's log always names voters. */
function configurationOf(snapshot: Snapshot<unknown>): Configuration {
  return snapshot.configuration as Configuration;
}

function isSound(voters: readonly string[]): boolean {
  return voters.length > 0 && new Set(voters).size === voters.length;
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each));
}
