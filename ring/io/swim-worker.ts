/**
 * The membership of one node in the thread for it: the core, its sockets and its clock. `swim-thread.ts` starts it.
 *
 * W1  Nothing is sent under an incarnation that is not durable: the main loop keeps a ceiling ahead of use, and what
 *     would be above it waits for a higher one.
 * W2  Below that ceiling no answer waits for the main loop.
 */
import { uptime } from 'node:os';
import { type MessagePort, parentPort } from 'node:worker_threads';
import type { Clock } from '../../spec/clock.ts';
import { AetherError, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { systemRandom } from '../../spec/system-random.ts';
import { Standing } from '../core/standing.ts';
import type { SwimMember } from '../core/swim-member.ts';
import { isGone, type MemberState } from '../core/swim-message.ts';
import type { OwnFacts } from '../core/swim-self.ts';
import { swimAddressOf, withSwimPort } from '../core/swim-address.ts';
import type { Hello } from './hello.ts';
import { SwimDriver } from './swim-driver.ts';
import { SwimLinks } from './swim-links.ts';
import {
  decodeCast,
  encodeCast,
  type EpochView,
  type FromSwim,
  type Measured,
  PULSE_INTERVAL_MS,
  type SwimBoot,
  type SwimStart,
  type ToSwim,
} from './swim-protocol.ts';

/** Incarnations that are left when more are asked for. */
const RESERVE = 32;
/** Messages that wait for a higher ceiling. */
const HELD_MAX = 256;
/** The main loop hears of round trips, loads and counts this often at most. */
const MEASURED_INTERVAL_MS = 1_000;
/** What a sender says of its epoch again is passed on this often at most; so long it has to fetch a newer one itself. */
const EPOCH_INTERVAL_MS = 1_000;

class SwimWorker {
  readonly #boot: SwimBoot;
  readonly #port: MessagePort;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #links: SwimLinks;
  readonly #pulse: BigInt64Array;
  #driver: SwimDriver | undefined;
  #listenPort = 0;
  #members: ReadonlySet<string> = new Set();
  readonly #standing = new Standing();
  #epoch = 0;
  /** What this node shows of itself. */
  #certificate: Uint8Array | undefined;
  /** What senders said last of their epochs. */
  readonly #epochs = new Map<string, { number: number; atMs: number }>();
  #incarnation: number;
  #ceiling: number;
  #held: { to: string; cast: Uint8Array }[] = [];
  /** Members with a round trip that the main loop has not heard of. */
  readonly #measured = new Set<string>();
  #measuredMs = 0;
  #own: SwimMember | undefined;

  constructor(boot: SwimBoot, port: MessagePort) {
    this.#boot = boot;
    this.#port = port;
    this.#incarnation = boot.self.incarnation;
    this.#ceiling = boot.ceiling;
    this.#pulse = new BigInt64Array(boot.pulse);
    // Marks of a trail are read on the main loop: both count from one moment.
    const aheadMs = machineMs() + boot.clockAheadMs - systemClock.monotonicMs();
    this.#clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    this.#log = this.#remoteLog();
    const { key, certificate, limits, lattice } = boot.sockets;
    this.#links = new SwimLinks({
      self: boot.self.id,
      key,
      certificate,
      limits,
      clock: this.#clock,
      log: this.#log,
      hello: () => {
        const hello = { lattice, epoch: this.#epoch };
        return this.#certificate === undefined
          ? hello
          : { ...hello, certificate: this.#certificate };
      },
      isMember: (node) => this.#isMember(node),
      meet: (node, hello) => this.#meet(node, hello),
      shown: (node, shown) => this.#standing.show(node, shown, this.#clock.nowMs()),
      isNeighbor: (node) => this.#driver?.neighbors.includes(node) === true,
      dialling: (node, isUnderWay) => this.#driver?.dialling(node, isUnderWay),
      linkLost: (node) => {
        this.#standing.forget(node);
        this.#driver?.linkLost(node);
      },
      heard: (body, from) => this.#heard(body, from),
      handBack: (to, cast, by) => this.#post({ kind: 'cast', to, cast: copyOf(cast), by }),
    });
    for (const [node, address] of boot.addresses) this.#links.setAddress(node, address);
  }

  /** The port is closed when it cannot: nothing of it is left then. */
  async start(): Promise<void> {
    try {
      this.#listenPort = await this.#listen();
    } catch (error) {
      this.#log.error({ error }, 'membership has nowhere to listen');
      this.#port.close();
      return;
    }
    const { self, swim } = this.#boot;
    this.#post({ kind: 'listening', port: this.#listenPort });
    this.#driver = new SwimDriver({
      self: { ...self, facts: this.#withPort(self.facts) },
      swim,
      clock: this.#clock,
      uptimeMs: () => uptime() * 1_000,
      random: systemRandom,
      log: this.#log,
      epochNumber: () => this.#epoch,
      send: (to, body) => this.#send(to, encodeCast(body)),
      heardEpoch: (number, from) => this.#heardEpoch(number, from),
      changed: (member, before) => {
        this.#reach(member, before);
        this.#post({ kind: 'changed', member: copyOfMember(member), before });
      },
      slept: () => {
        this.#links.slept();
        this.#post({ kind: 'slept' });
      },
      keepIncarnation: (incarnation) => this.#keepIncarnation(incarnation),
      lagMs: () => {
        const stoodMs = Number(process.hrtime.bigint() - Atomics.load(this.#pulse, 0)) / 1e6;
        return stoodMs - PULSE_INTERVAL_MS;
      },
    });
    const driver = this.#driver;
    this.#port.on('message', (message: ToSwim) => this.#hear(message, driver));
  }

  /** Where it was before, if it can. @returns 0: nowhere. */
  async #listen(): Promise<number> {
    const { host } = this.#boot.sockets;
    if (host === undefined) return 0;
    for (const port of [this.#boot.port ?? 0, 0]) {
      try {
        return (await this.#links.listen({ host, port })).port;
      } catch (error) {
        if (port === 0) throw error;
      }
    }
    return 0;
  }

  #hear(message: ToSwim, driver: SwimDriver): void {
    switch (message.kind) {
      case 'roster':
        this.#setEpoch(message.epoch);
        this.#members = new Set(message.members.map(({ id }) => id));
        this.#links.review(this.#members);
        driver.setRoster(message.members, message.near);
        break;
      case 'certificate':
        this.#certificate = message.encoded;
        this.#links.show(message.encoded);
        return;
      case 'facts':
        driver.setFacts(this.#withPort(message.facts));
        break;
      case 'link-lost':
        if (!this.#links.isOpen(message.id)) driver.linkLost(message.id);
        break;
      case 'heard':
        if (!this.#members.has(message.from)) break;
        // Who takes that way though there is a link may have had no answer by it.
        this.#links.heardNear(message.from);
        this.#heard(decodeCast(message.cast), message.from);
        break;
      case 'unlinked':
        this.#links.hold(message.to, message.cast);
        return;
      case 'ceiling': {
        this.#ceiling = message.incarnation;
        const held = this.#held;
        this.#held = [];
        for (const { to, cast } of held) this.#send(to, cast);
        break;
      }
      case 'leave':
        driver.leave();
        break;
      case 'stop':
        driver.stop();
        void this.#links.close().then(() => this.#port.close());
        return;
    }
    this.#tellOwn();
  }

  #withPort(facts: OwnFacts): OwnFacts {
    return this.#listenPort === 0 ? facts : withSwimPort(facts, this.#listenPort);
  }

  #setEpoch({ number, issuers, revoked }: EpochView): void {
    const { lattice } = this.#boot.sockets;
    this.#epoch = number;
    this.#epochs.clear();
    this.#standing.setIssuers(
      lattice,
      issuers,
      (node) => revoked.includes(node),
      this.#clock.nowMs(),
    );
  }

  /** As the main loop takes them for members: by the epoch, and by the certificate that they have shown. */
  #isMember(node: string): boolean {
    return this.#members.has(node) && this.#standing.holds(node, this.#clock.nowMs());
  }

  /** @throws AetherError to refuse the peer. */
  #meet(node: string, { certificate, epoch }: Hello): void {
    const nowMs = this.#clock.nowMs();
    if (!this.#members.has(node)) throw notMemberYet(node);
    if (certificate !== undefined) this.#standing.show(node, certificate, nowMs);
    const refusal = this.#standing.refusal(node, nowMs);
    if (refusal !== undefined) throw refusal;
    this.#heardEpoch(epoch, node);
  }

  #heard(body: unknown, from: string): void {
    this.#measured.add(from);
    this.#driver?.receive(body, from);
    this.#tellOwn();
    this.#tellMeasured();
  }

  /** W1. */
  #send(to: string, cast: Uint8Array): void {
    if (this.#incarnation <= this.#ceiling) this.#links.send(to, cast);
    else if (this.#held.length < HELD_MAX) this.#held.push({ to, cast });
  }

  #keepIncarnation(incarnation: number): void {
    this.#incarnation = incarnation;
    if (incarnation > this.#ceiling - RESERVE) this.#post({ kind: 'incarnation', incarnation });
  }

  /** By its new address, and not by links that may be dead. */
  #reach(member: SwimMember, before: MemberState | undefined): void {
    const { id, state, facts, incarnation } = member;
    if (facts !== undefined) this.#links.setAddress(id, swimAddressOf(facts));
    if (state === 'suspect' && incarnation > 0) this.#links.doubt(id);
    if (isGone(state)) this.#links.drop(id, `taken for ${state}`);
    if (state === 'alive' && isGone(before)) this.#links.retry(id);
  }

  #heardEpoch(number: number, from: string): void {
    if (number === this.#epoch) return;
    const nowMs = this.#clock.monotonicMs();
    const before = this.#epochs.get(from);
    const isKnown = before?.number === number;
    if (isKnown && nowMs - before.atMs < EPOCH_INTERVAL_MS) return;
    this.#epochs.set(from, { number, atMs: nowMs });
    // Who is behind hears of it by the answer.
    if (isKnown || number > this.#epoch) this.#post({ kind: 'epoch', number, from });
  }

  #tellOwn(): void {
    const own = this.#driver?.member(this.#boot.self.id);
    if (own === undefined || isSame(own, this.#own)) return;
    this.#own = own;
    this.#post({ kind: 'own', member: copyOfMember(own) });
  }

  #tellMeasured(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#measuredMs < MEASURED_INTERVAL_MS) return;
    this.#measuredMs = nowMs;
    const members = Array.from(this.#measured, (id): Measured => {
      const member = this.#driver?.member(id);
      return [id, member?.rttMs, member?.facts?.load];
    });
    this.#measured.clear();
    this.#post({ kind: 'measured', members, counts: this.#links.counts() });
  }

  #post(message: FromSwim): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#port.postMessage(message);
  }

  #remoteLog(): Log {
    const at =
      (level: keyof Log) =>
      (fields: object, message: string): void =>
        this.#post({ kind: 'log', level, fields: plain(fields), message });
    // What would not be written is not worth a message to the main loop.
    return { debug() {}, info: at('info'), warn: at('warn'), error: at('error') };
  }
}

function notMemberYet(node: string): AetherError {
  return new AetherError(`node ${node} is no member of this lattice that this node has heard of`, {
    code: 'ERR_RING_NOT_MEMBER',
    hint: 'a newcomer speaks by the control lane until its epoch is known',
  });
}

/** The machine's monotonic clock, the same in all threads. */
function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Bytes of their own: a message to another thread takes all of the buffer along that they are part of. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function copyOfMember(member: SwimMember): SwimMember {
  if (member.facts?.ext === undefined) return member;
  const ext = Object.entries(member.facts.ext).map(([number, fact]) => [number, copyOf(fact)]);
  return { ...member, facts: { ...member.facts, ext: Object.fromEntries(ext) } };
}

function isSame(a: SwimMember, b: SwimMember | undefined): boolean {
  return (
    a.state === b?.state && a.incarnation === b.incarnation && a.facts?.version === b.facts?.version
  );
}

/** Errors do not come through as they are. */
function plain(fields: object): object {
  const entries = Object.entries(fields as Record<string, unknown>);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, value instanceof Error ? errorBody(value) : value]),
  );
}

parentPort?.on('message', ({ boot, port }: SwimStart) => {
  void new SwimWorker(boot, port).start();
});
