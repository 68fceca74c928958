/**
 * The main loop's end of the thread of membership: what it has said last, kept to be read at once.
 *
 * A thread that ends by itself is started again, with an incarnation above all that it had; until then the node is silent,
 * and once that lasts the others take it for dead.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { SwimMember } from '../core/swim-member.ts';
import { swimAddressOf } from '../core/swim-address.ts';
import type { OwnFacts } from '../core/swim-self.ts';
import type { RosterMember } from '../core/swim-view.ts';
import type { Membership, MembershipOptions } from './membership.ts';
import type { TransportCounts } from './transport-counts.ts';
import { SwimHost } from './swim-host.ts';
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
/** For links to say goodbye; then it is left as it is. */
const STOP_TIMEOUT_MS = 2_000;
/** Rests before a thread that ended is started again: none at first, then doubled. */
const RESTART_MS = 1_000;
const RESTART_MS_MAX = 60_000;
/** Who runs for so long has not failed at the start. */
const SOUND_MS = 60_000;

export class SwimThread implements Membership {
  readonly #options: MembershipOptions;
  readonly #pulse: BigInt64Array = new BigInt64Array(new SharedArrayBuffer(8));
  readonly #beat: NodeJS.Timeout;
  readonly #members = new Map<string, SwimMember>();
  #roster: RosterMember[] = [];
  #facts: OwnFacts;
  #counts: TransportCounts | undefined;
  /** While this node's part of it runs. */
  #host: SwimHost | undefined;
  #port: MessagePort | undefined;
  #startedMs = 0;
  #failures = 0;
  #cancelRestart: () => void = () => {};
  #isStopped = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    const { self, peers } = options;
    this.#facts = self.facts;
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
    const [host, port] = [this.#host, this.#port];
    if (host === undefined || port === undefined) return;
    this.#host = undefined;
    const closed = new Promise<void>((done) => port.once('close', () => done()));
    this.#post({ kind: 'stop' });
    const cancel = this.#options.clock.after(STOP_TIMEOUT_MS, () => port.close());
    await closed;
    cancel();
    await host.release();
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
    this.#startedMs = clock.monotonicMs();
    const address = this.#facts.addresses[0] ?? '';
    this.#members.set(self.id, { id: self.id, state: 'alive', incarnation, address, trail: [] });
    const { port1, port2 } = new MessageChannel();
    const host = SwimHost.use();
    this.#host = host;
    this.#port = port1;
    port1.on('message', (message: FromSwim) => this.#hear(message));
    port1.once('close', () => this.#ended(host));
    host.thread.postMessage({ boot, port: port2 } satisfies SwimStart, [port2]);
    this.certified();
    if (this.#roster.length > 0) this.#postRoster();
  }

  #ended(host: SwimHost): void {
    if (this.#isStopped) return;
    this.#host = undefined;
    this.#port = undefined;
    void host.release();
    const error = host.failure;
    const { clock, log } = this.#options;
    if (clock.monotonicMs() - this.#startedMs > SOUND_MS) this.#failures = 0;
    const restMs = this.#failures === 0 ? 0 : RESTART_MS * 2 ** (this.#failures - 1);
    this.#failures++;
    log.error({ error }, 'the thread of membership has ended; it is started again');
    const start = (): void => this.#start();
    this.#cancelRestart = clock.after(Math.min(restMs, RESTART_MS_MAX), start);
  }

  #hear(message: FromSwim): void {
    // A farewell for which there was no link yet.
    if (this.#isStopped && message.kind !== 'cast') return;
    const options = this.#options;
    const { self, store, peers, log } = options;
    switch (message.kind) {
      case 'listening':
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
        const { to, cast, by } = message;
        if (by === 'any' || peers.isLinked(to)) peers.cast(to, SWIM, decodeCast(cast));
        else if (by === 'open') this.#post({ kind: 'unlinked', to, cast });
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
    const near = this.#roster.map(({ id }) => id).filter((id) => this.#options.peers.isLinked(id));
    this.#post({ kind: 'roster', epoch, members: this.#roster, near });
  }

  #post(message: ToSwim): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#port?.postMessage(message);
  }
}
