/**
 * The main loop's end of the thread of membership: what it has said last, kept to be read at once.
 *
 * A thread that ends by itself is started again, with an incarnation above all that it had; until then the node is silent,
 * and once that lasts the others take it for dead.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { sibling } from '../../spec/package-file.ts';
import type { SwimMember } from '../core/swim-member.ts';
import { swimAddressOf } from '../core/swim-address.ts';
import type { OwnFacts } from '../core/swim-self.ts';
import type { RosterMember } from '../core/swim-view.ts';
import type { Membership, MembershipOptions } from './membership.ts';
import type { TransportCounts } from './transport-counts.ts';
import {
  decodeCast,
  encodeCast,
  type FromSwim,
  type Measured,
  PULSE_INTERVAL_MS,
  SWIM,
  type SwimBoot,
  type SwimStart,
  type ToSwim,
} from './swim-protocol.ts';

/** Incarnations that are made durable ahead of their use. */
const RESERVE = 64;
/** V8's heap of the thread: views of ten thousand members are some tens of MiB. */
const HEAP_MIB = 256;
/** Short-lived objects of a thread that does little; more is memory that nothing gains by. */
const YOUNG_MIB = 2;
/** For links to say goodbye; then it is ended as it is. */
const STOP_TIMEOUT_MS = 2_000;
/** Rests before a thread that ended is started again: none at first, then doubled. */
const RESTART_MS = 1_000;
const RESTART_MS_MAX = 60_000;
/** Who runs for so long has not failed at the start. */
const SOUND_MS = 60_000;

/** A thread that loads its code and waits: begun early, it is ready by the time that it is needed. */
export function startSwimThread(): Worker {
  const thread = new Worker(sibling(import.meta.url, 'swim-worker'), {
    env: {},
    execArgv: [],
    stdin: false,
    name: 'membership',
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  // Who takes it over looks at why it has ended.
  return thread.on('error', () => {});
}

export class SwimThread implements Membership {
  readonly #options: MembershipOptions;
  readonly #pulse: BigInt64Array = new BigInt64Array(new SharedArrayBuffer(8));
  readonly #beat: NodeJS.Timeout;
  readonly #members = new Map<string, SwimMember>();
  #roster: RosterMember[] = [];
  #facts: OwnFacts;
  #counts: TransportCounts | undefined;
  /** Begun for the first start. */
  #spare: Worker | undefined;
  #thread: Worker | undefined;
  #port: MessagePort | undefined;
  /** It says nothing and hears nothing before. */
  #isListening = false;
  #startedMs = 0;
  #failures = 0;
  #cancelRestart: () => void = () => {};
  #isStopped = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    const { self, peers } = options;
    this.#facts = self.facts;
    // It has no number any more once it has ended.
    if (options.thread?.threadId !== -1) this.#spare = options.thread;
    const beat = (): unknown => Atomics.store(this.#pulse, 0, process.hrtime.bigint());
    this.#beat = setInterval(beat, PULSE_INTERVAL_MS).unref();
    beat();
    this.#start();
    peers.onCast(SWIM, (body, from) =>
      this.#post({ kind: 'heard', from, cast: new Uint8Array(encodeCast(body)) }),
    );
  }

  setRoster(members: RosterMember[]): void {
    this.#roster = members;
    const ids = new Set(members.map(({ id }) => id));
    for (const id of this.#members.keys())
      if (!ids.has(id) && id !== this.#options.self.id) this.#members.delete(id);
    for (const { id, address } of members) {
      if (this.#members.has(id)) continue;
      this.#members.set(id, { id, state: 'suspect', incarnation: 0, address, trail: [] });
    }
    this.#postRoster();
  }

  setFacts(facts: OwnFacts): void {
    this.#facts = facts;
    this.#post({ kind: 'facts', facts });
  }

  certified(): void {
    const encoded = this.#options.certificate();
    if (encoded !== undefined)
      this.#post({ kind: 'certificate', encoded: new Uint8Array(encoded) });
  }

  linkLost(id: string): void {
    this.#post({ kind: 'link-lost', id });
  }

  leave(): void {
    this.#post({ kind: 'leave' });
  }

  member(id: string): SwimMember | undefined {
    return this.#members.get(id);
  }

  counts(): TransportCounts | undefined {
    return this.#counts;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#beat);
    this.#cancelRestart();
    const thread = this.#thread;
    if (thread === undefined) return;
    const exited = new Promise((done) => thread.once('exit', done));
    if (!this.#isListening) {
      await thread.terminate();
      return;
    }
    this.#post({ kind: 'stop' });
    const end = (): unknown => void thread.terminate();
    const cancel = this.#options.clock.after(STOP_TIMEOUT_MS, end);
    await exited;
    cancel();
  }

  #start(): void {
    const { self, swim, sockets, store, clock } = this.#options;
    const incarnation = store.incarnation() + 1;
    const ceiling = incarnation + RESERVE;
    store.setIncarnation(ceiling);
    const boot: SwimBoot = {
      self: { id: self.id, incarnation, facts: this.#facts },
      ceiling,
      swim,
      sockets,
      port: store.swimPort(),
      addresses: store.swimAddresses(),
      pulse: this.#pulse.buffer as SharedArrayBuffer,
      clockAheadMs: clock.monotonicMs() - Number(process.hrtime.bigint()) / 1e6,
    };
    this.#isListening = false;
    this.#startedMs = clock.monotonicMs();
    const address = this.#facts.addresses[0] ?? '';
    this.#members.set(self.id, { id: self.id, state: 'alive', incarnation, address, trail: [] });
    const { port1, port2 } = new MessageChannel();
    const thread = this.#spare ?? startSwimThread();
    this.#spare = undefined;
    this.#thread = thread;
    this.#port = port1;
    let failure: unknown;
    port1.on('message', (message: FromSwim) => this.#hear(message));
    thread.on('error', (error) => (failure = error));
    thread.on('exit', () => {
      port1.close();
      this.#ended(failure);
    });
    thread.postMessage({ boot, port: port2 } satisfies SwimStart, [port2]);
    this.certified();
    if (this.#roster.length > 0) this.#postRoster();
  }

  #ended(error: unknown): void {
    this.#thread = undefined;
    this.#port = undefined;
    if (this.#isStopped) return;
    const { clock, log } = this.#options;
    if (clock.monotonicMs() - this.#startedMs > SOUND_MS) this.#failures = 0;
    const restMs = this.#failures === 0 ? 0 : RESTART_MS * 2 ** (this.#failures - 1);
    this.#failures++;
    log.error({ error }, 'the thread of membership has ended; it is started again');
    const start = (): void => this.#start();
    this.#cancelRestart = clock.after(Math.min(restMs, RESTART_MS_MAX), start);
  }

  #hear(message: FromSwim): void {
    if (this.#isStopped) return;
    const options = this.#options;
    const { self, store, peers, log } = options;
    switch (message.kind) {
      case 'listening':
        this.#isListening = true;
        if (message.port > 0) store.setSwimPort(message.port);
        return;
      case 'own':
        this.#members.set(self.id, message.member);
        return;
      case 'changed': {
        const { member, before } = message;
        if (!this.#members.has(member.id)) return; // Of a roster before.
        this.#members.set(member.id, member);
        const address = swimAddressOf(member.facts);
        if (address !== undefined) store.setSwimAddress(member.id, address);
        options.changed(member, before);
        return;
      }
      case 'measured':
        this.#counts = message.counts;
        for (const measured of message.members) this.#measured(measured);
        return;
      case 'cast': {
        const { to, cast, isLinked } = message;
        if (isLinked && !peers.isLinked(to)) this.#post({ kind: 'unlinked', to, cast });
        else peers.cast(to, SWIM, decodeCast(cast));
        return;
      }
      case 'epoch':
        options.heardEpoch(message.number, message.from);
        return;
      case 'incarnation': {
        const incarnation = message.incarnation + RESERVE;
        store.setIncarnation(incarnation);
        this.#post({ kind: 'ceiling', incarnation });
        return;
      }
      case 'slept':
        options.slept();
        return;
      case 'log':
        log[message.level](message.fields, message.message);
    }
  }

  #measured([id, rttMs, load]: Measured): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    const { facts } = member;
    this.#members.set(id, {
      ...member,
      ...(rttMs === undefined ? {} : { rttMs }),
      ...(facts === undefined || load === undefined ? {} : { facts: { ...facts, load } }),
    });
  }

  #postRoster(): void {
    const { number, issuers, revoked } = this.#options.epoch();
    const epoch = { number, issuers, revoked };
    this.#post({ kind: 'roster', epoch, members: this.#roster });
  }

  #post(message: ToSwim): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#port?.postMessage(message);
  }
}
