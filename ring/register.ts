/**
 * A register on this node: its cores, with a store, peers and timers.
 *
 * It is a voter when the log's voters count it, and proposes in any case. Cites spec/epoch.md.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { Log } from '../spec/log.ts';
import { type Random, randomInt } from '../spec/random.ts';
import type { AcceptorStore } from './acceptor-store.ts';
import { type AcceptorState, newAcceptorState } from './core/acceptor-state.ts';
import { type Configuration, isQuorum } from './core/configuration.ts';
import {
  EpochRegister,
  type RegisterEffect,
  type RegisterEvent,
  type RegisterOutcome,
  type RegisterRequest,
  type VotersRequest,
  type WriteRequest,
} from './core/epoch-register.ts';
import { configurationOf, type Snapshot } from './core/fenced-log.ts';
import {
  type AcceptorEffect,
  type AcceptorEvent,
  FencedLogAcceptor,
} from './core/fenced-log-acceptor.ts';
import type { FencedLogMessage } from './core/fenced-log-message.ts';
import { FencedLogOwner } from './core/fenced-log-owner.ts';
import { isRegisterValue, toFencedLogMessage } from './core/fenced-log-wire.ts';
import { attestMessage, type RegisterCertificate } from './core/register-certificate.ts';
import { digestOf, foldRegister, idleRegister, type RegisterValue } from './core/register-value.ts';

export interface RegisterPeers {
  readonly self: string;
  /** Sends and forgets. */
  cast(node: string, method: string, body: unknown): void;
  onCast(method: string, handler: (body: unknown, from: string) => void): void;
}

export interface RegisterNodeOptions<R> {
  /** Names the register, on the wire and in the store. */
  readonly group: string;
  readonly peers: RegisterPeers;
  readonly store: AcceptorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The newest committed value that this node has learnt, with its voters. */
  readonly known: Snapshot<RegisterValue<R>>;
  /** See the `start` event of FencedLogAcceptor. */
  readonly isVouched: boolean;
  readonly sign: (message: Uint8Array) => Uint8Array;
  readonly isRecord: (record: unknown) => record is R;
  /** Whose proposals this node votes on. Default: everybody's. */
  readonly mayPropose?: (node: string) => boolean;
  /** See the standing of the node. */
  readonly standingChanged?: (standing: FencedLogAcceptor<Value<R>>['standing']) => void;
  /** A newer value is committed; called in order of index. */
  readonly committed: (certificate: RegisterCertificate<R>) => void;
}

type Value<R> = RegisterValue<R>;
/** What a caller says of a request; the rest is the node's. */
type Asked<R> = WriteRequest<R> | { readonly kind: 'read' } | VotersRequest;

const GENERATION = 1;
const RETRY_MS = 250;
const BACKOFF_MS = 50;
const BACKOFF_MAX_MS = 2_000;
const BATCH_MAX = 64;

export class RegisterNode<R> {
  readonly #options: RegisterNodeOptions<R>;
  readonly #method: string;
  readonly #acceptor: FencedLogAcceptor<Value<R>>;
  readonly #register: EpochRegister<R>;
  readonly #run: number;
  readonly #waiting = new Map<string, PromiseWithResolvers<RegisterOutcome<R>>>();
  /** Fulfilled when all that the acceptor has written so far is on disk. */
  #durable: Promise<void> = Promise.resolve();
  /** What the acceptor believes is not what is on its disk: it says nothing any more. */
  #isBroken = false;
  #isClosed = false;
  #requests = 0;
  #cancelWake: () => void = () => {};

  /** @throws AcceptorStoreError ERR_RING_ACCEPTOR_DAMAGED: the node cannot vote. */
  constructor(options: RegisterNodeOptions<R>) {
    this.#options = options;
    const { group, peers, store, known, random } = options;
    this.#method = `log.${group}`;
    this.#run = largeInt(random);
    let state = store.load(group) as AcceptorState<Value<R>> | undefined;
    if (state === undefined) {
      state = newAcceptorState<Value<R>>(GENERATION);
      this.#follow(store.create(group, state));
    }
    const self = peers.self;
    const shared = { self, fold: foldRegister<R>, retryMs: RETRY_MS };
    this.#acceptor = new FencedLogAcceptor({ ...shared, state, isSigned: true });
    const owner = new FencedLogOwner<Value<R>>({
      ...shared,
      run: this.#run,
      generation: GENERATION,
      idle: idleRegister,
      batchMax: BATCH_MAX,
    });
    const { snapshot } = state.log;
    this.#register = new EpochRegister<R>({
      owner,
      known: snapshot.index > known.index ? snapshot : known,
      random,
      backoffMs: BACKOFF_MS,
      backoffMaxMs: BACKOFF_MAX_MS,
    });
    peers.onCast(this.#method, (body, from) => this.#receive(body, from));
    this.#stepAcceptor({ kind: 'start', isVouched: options.isVouched, nonce: largeInt(random) });
  }

  /** The newest committed value that this node knows. */
  get known(): Snapshot<Value<R>> {
    return this.#register.known;
  }

  /** The newest configuration that this node has seen, committed or not. */
  get configuration(): Configuration {
    const known = this.known.configuration as Configuration;
    const own = configurationOf(this.#acceptor.state.log);
    return own !== undefined && own.number > known.number ? own : known;
  }

  /** The number of the newest value that this node has seen, committed or not. */
  get newest(): number {
    const { log } = this.#acceptor.state;
    const own = (log.entries.at(-1)?.value ?? log.snapshot.state)?.number ?? 0;
    return Math.max(own, this.known.state?.number ?? 0);
  }

  /** Whether this node votes, where the configuration names it. */
  get standing(): FencedLogAcceptor<Value<R>>['standing'] {
    return this.#isBroken ? 'stopped' : this.#acceptor.standing;
  }

  /** A value that somebody else has seen committed. The caller has checked its certificate. */
  learn({ index, ballot, configuration, value }: RegisterCertificate<R>): void {
    this.#stepRegister({ kind: 'learn', snapshot: { index, ballot, configuration, state: value } });
  }

  /**
   * Writes, reads, or changes the voters. When nobody decides in time the outcome is `unknown`: ask
   * again with the same id. Asked again meanwhile, it is asked once.
   *
   * @throws AetherError ERR_RING_VOTERS; ERR_RING_CLOSED: nothing was done.
   */
  ask(
    asked: Asked<R>,
    { timeoutMs, id }: { timeoutMs: number; id?: string },
  ): Promise<RegisterOutcome<R>> {
    if (this.#isClosed)
      throw new AetherError('the register is closed', { code: 'ERR_RING_CLOSED' });
    const { clock } = this.#options;
    const name = id ?? this.requestId();
    const before = this.#waiting.get(name);
    if (before !== undefined) return before.promise;
    const waiting = Promise.withResolvers<RegisterOutcome<R>>();
    this.#waiting.set(name, waiting);
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    try {
      const request = { ...asked, id: name, deadlineMs } as RegisterRequest<R>;
      this.#stepRegister({ kind: 'request', request });
    } catch (error) {
      this.#waiting.delete(name);
      throw error;
    }
    return waiting.promise;
  }

  /** A new id for a request that may be asked again. */
  requestId(): string {
    return `${this.#options.peers.self}:${this.#run}:${++this.#requests}`;
  }

  /** Stops voting and proposing. What was asked is answered `unknown`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelWake();
    for (const { resolve } of this.#waiting.values()) resolve({ kind: 'unknown' });
    this.#waiting.clear();
    await this.#durable.catch(() => {});
  }

  #receive(body: unknown, from: string): void {
    const { isRecord, log } = this.#options;
    let message: FencedLogMessage<Value<R>>;
    try {
      message = toFencedLogMessage<Value<R>>(body, isRegisterValue(isRecord));
    } catch (error) {
      log.warn({ from, error }, 'a message of the register without form was dropped');
      return;
    }
    this.#deliver(message, from);
  }

  #deliver(message: FencedLogMessage<Value<R>>, from: string): void {
    const { mayPropose, peers, log } = this.#options;
    switch (message.kind) {
      case 'promised':
      case 'accepted':
      case 'mismatched':
      case 'refused':
        this.#stepRegister({ kind: 'message', from, message });
        break;
      case 'prepare':
      case 'accept':
        if (from !== peers.self && mayPropose?.(from) === false)
          log.warn({ from }, 'a proposal by a node that may make none was dropped');
        else this.#stepAcceptor({ kind: 'message', from, message });
        break;
      case 'register':
      case 'registered':
      case 'outdated':
        this.#stepAcceptor({ kind: 'message', from, message });
    }
  }

  #stepAcceptor(event: AcceptorEvent<Value<R>>): void {
    if (this.#isClosed || this.#isBroken) return;
    const before = this.#acceptor.standing;
    for (const effect of this.#acceptor.step(event, this.#options.clock.monotonicMs()))
      this.#performAcceptor(effect);
    const { standing } = this.#acceptor;
    if (standing !== before) {
      this.#options.log.debug({ standing, before }, 'the standing of this voter has changed');
      this.#options.standingChanged?.(standing);
    }
    this.#schedule();
  }

  #performAcceptor(effect: AcceptorEffect<Value<R>>): void {
    const { store, group } = this.#options;
    if (effect.kind === 'write') {
      this.#follow(store.write(group, [effect.write]));
      return;
    }
    // L6: also what an earlier step has written stands behind this answer.
    void this.#durable.then(
      () => this.#leave(effect),
      () => {},
    );
  }

  #follow(write: Promise<void>): void {
    this.#durable = write;
    write.catch((error: unknown) => this.#break(error));
  }

  #leave({ to, message, attests = [] }: Extract<AcceptorEffect<Value<R>>, { kind: 'send' }>): void {
    if (this.#isBroken) return;
    const { group, sign } = this.#options;
    if (message.kind !== 'accepted' || attests.length === 0) {
      this.#send(to, message);
      return;
    }
    const signatures = attests.map(({ index, entry }) => ({
      index,
      signature: sign(
        attestMessage(
          group,
          { index, ballot: entry.ballot },
          entry.configuration,
          digestOf(entry.value),
        ),
      ),
    }));
    this.#send(to, { ...message, signatures });
  }

  #break(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#options.log.error({ error }, 'this node votes no more until it is started again');
  }

  #stepRegister(event: RegisterEvent<R>): void {
    if (this.#isClosed) return;
    for (const effect of this.#register.step(event, this.#options.clock.monotonicMs()))
      this.#performRegister(effect);
    this.#schedule();
  }

  #performRegister(effect: RegisterEffect<R>): void {
    if (effect.kind === 'send') {
      this.#send(effect.to, effect.message);
    } else if (effect.kind === 'answer') {
      this.#waiting.get(effect.id)?.resolve(effect.outcome);
      this.#waiting.delete(effect.id);
    } else {
      const { index, ballot, configuration, state } = effect.snapshot;
      if (configuration === undefined || state === undefined) return;
      const { signatures } = effect;
      // A later entry has made it committed, and brings a certificate of its own.
      if (!isQuorum(configuration, (voter) => signatures.has(voter))) return;
      this.#options.committed({
        index,
        ballot,
        configuration,
        value: state,
        signatures: [...signatures].map(([node, signature]) => ({ node, signature })),
      });
    }
  }

  #send(to: string, message: FencedLogMessage<Value<R>>): void {
    const { peers } = this.#options;
    if (to === peers.self) queueMicrotask(() => this.#deliver(message, to));
    else peers.cast(to, this.#method, message);
  }

  #schedule(): void {
    this.#cancelWake();
    const { clock } = this.#options;
    const wakeMs = Math.min(this.#acceptor.wakeMs, this.#register.wakeMs);
    if (wakeMs === Infinity || this.#isClosed) return;
    const delayMs = Math.max(1, Math.ceil(wakeMs - clock.monotonicMs()));
    this.#cancelWake = clock.after(delayMs, () => {
      this.#stepAcceptor({ kind: 'tick' });
      this.#stepRegister({ kind: 'tick' });
    });
  }
}

/** Makes the node the first voter of a register, which begins with `founding`; fulfilled once that is durable. */
export function foundRegister<R>(
  store: AcceptorStore,
  group: string,
  founding: Snapshot<RegisterValue<R>>,
): Promise<void> {
  return store.create(group, newAcceptorState(GENERATION, founding));
}

/** 53 random bits. */
function largeInt(random: Random): number {
  return randomInt(random, 2 ** 21) * 2 ** 32 + randomInt(random, 2 ** 32);
}
