/**
 * Keeps this node within reach: has others try to dial it and, as long as one of them cannot, keeps links with relays and says
 * so. Asked again from time to time, and when the machine may be elsewhere.
 */
import type { Clock } from '../../spec/clock.ts';
import { errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { type Random, shuffled } from '../../spec/random.ts';
import { chooseRelays, type RelayCandidate, RELAYS } from '../core/relay-choice.ts';
import { NO_ADDRESS, relayAddress } from '../core/ways.ts';
import { RpcError } from '../rpc.ts';
import { KEEP, type Peers } from './peers.ts';

/** Asks a member whether it can dial the caller at an address. */
const REACH = 'reach';
/** How many are asked. */
const ASKED = 3;
/** Its time to dial included. */
const REACH_TIMEOUT_MS = 10_000;
/** Dialling for others at once. */
const REACHING_MAX = 8;
const CHECK_DIALLED_MS = 900_000;
const CHECK_MISSED_MS = 30_000;
/** Up to twice as long: many may be let in at once, and each check is a handshake for all who are asked. */
const CHECK_FOUND_MS = 2_000;
/** Also what keeps the way through address translators open: of these, the impatient forget a quiet one within a minute. */
const KEEP_MS = 15_000;
/** While there is no relay. */
const RETRY_MS = 1_000;
const KEEP_TIMEOUT_MS = 5_000;
/** A relay that did not answer is not asked again for so long. */
const SHUNNED_MS = 10_000;
/** Choices in one round, each without those that failed in the ones before. */
const CHOICES_MAX = 3;

export interface ReachabilityOptions {
  peers: Peers;
  clock: Clock;
  random: Random;
  log: Log;
  /** Where it listens; none: nowhere. */
  address: string | undefined;
  /** Who let it in has just dialled it there: the others are asked a little later. */
  isFound: boolean;
  /** Other members that are alive and can be dialled. */
  candidates: () => RelayCandidate[];
  /** Says to the others how this node is reached, best first. */
  announce: (addresses: string[]) => void;
}

export class Reachability {
  readonly #options: ReachabilityOptions;
  /** Some can dial this node. */
  #isDialled: boolean;
  /** Some cannot. */
  #isMissed: boolean;
  #relays: string[] = [];
  readonly #shunnedUntilMs = new Map<string, number>();
  #checkDueMs = 0;
  #announced: string;
  #reaching = 0;
  #isRunning = false;
  #isDue = false;
  #isStopped = false;
  #cancelNext: () => void = () => {};

  constructor(options: ReachabilityOptions) {
    const { address, peers, isFound, clock, random } = options;
    this.#options = options;
    this.#isDialled = address !== undefined;
    this.#isMissed = address === undefined;
    if (isFound) this.#checkDueMs = clock.monotonicMs() + CHECK_FOUND_MS * (1 + random.next());
    this.#announced = this.#addresses().join(' ');
    peers.serve(REACH, (at, from) => this.#reach(String(at), from));
  }

  start(): void {
    void this.#run();
  }

  /** A member is another, or its last link is down. */
  review(node: string, isDown: boolean): void {
    const isUnchecked = this.#options.address !== undefined && this.#checkDueMs === 0;
    if (isUnchecked && !isDown) void this.#run();
    if (!this.#isMissed) return;
    const isRelay = this.#relays.includes(node);
    const isWanted = this.#relays.length < RELAYS && this.#willing().some(({ id }) => id === node);
    if (isRelay ? isDown : isWanted) void this.#run();
  }

  /** The machine may be elsewhere. */
  recheck(): void {
    this.#checkDueMs = 0;
    void this.#run();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelNext();
  }

  /** One round at a time; what comes meanwhile makes one more. */
  async #run(): Promise<void> {
    this.#isDue = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#isDue && !this.#isStopped) {
      this.#isDue = false;
      await this.#round();
    }
    this.#isRunning = false;
    this.#cancelNext();
    if (this.#isStopped) return;
    const { clock, address } = this.#options;
    const isOutOfReach = this.#isMissed && this.#relays.length === 0;
    const checkMs = address === undefined ? Infinity : this.#checkDueMs - clock.monotonicMs();
    const delayMs = Math.max(RETRY_MS, Math.min(checkMs, isOutOfReach ? RETRY_MS : KEEP_MS));
    this.#cancelNext = clock.after(delayMs, () => void this.#run());
  }

  async #round(): Promise<void> {
    const { clock, address, announce, log } = this.#options;
    if (address !== undefined && clock.monotonicMs() >= this.#checkDueMs)
      await this.#check(address);
    if (this.#isMissed) await this.#keep();
    else this.#relays = [];
    const addresses = this.#addresses();
    if (this.#isStopped || addresses.join(' ') === this.#announced) return;
    this.#announced = addresses.join(' ');
    log.info({ addresses }, 'this node is reached otherwise now');
    announce(addresses);
  }

  #addresses(): string[] {
    const { address } = this.#options;
    const direct = this.#isDialled && address !== undefined ? [address] : [];
    const all = [...direct, ...this.#relays.map(relayAddress)];
    return all.length > 0 ? all : [NO_ADDRESS];
  }

  /** Without an answer it stays as it was. */
  async #check(address: string): Promise<void> {
    const { peers, clock, random, candidates } = this.#options;
    this.#checkDueMs = Infinity; // Unless it is to be asked anew meanwhile.
    const asked = shuffled(random, candidates()).slice(0, ASKED);
    const answers = await Promise.allSettled(
      asked.map(({ id }) => peers.call(id, REACH, address, { timeoutMs: REACH_TIMEOUT_MS })),
    );
    const said = answers.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    if (said.length === 0) {
      this.#checkDueMs = 0;
      return;
    }
    this.#isDialled = said.includes(true);
    this.#isMissed = said.includes(false);
    if (this.#checkDueMs !== Infinity) return;
    this.#checkDueMs = clock.monotonicMs() + (this.#isMissed ? CHECK_MISSED_MS : CHECK_DIALLED_MS);
  }

  async #reach(address: string, from: string): Promise<boolean> {
    if (this.#reaching >= REACHING_MAX)
      throw new RpcError('this node dials for others already', { code: 'ERR_RING_BUSY' });
    this.#reaching++;
    try {
      return await this.#options.peers.reaches(from, address);
    } finally {
      this.#reaching--;
    }
  }

  async #keep(): Promise<void> {
    for (let choices = 0; choices < CHOICES_MAX && !this.#isStopped; choices++) {
      const chosen = chooseRelays(this.#willing(), this.#relays, this.#options.random);
      const kept = await Promise.all(chosen.map((id) => this.#keepOne(id)));
      this.#relays = chosen.filter((_, i) => kept[i]);
      if (this.#relays.length === chosen.length) return;
    }
  }

  #willing(): RelayCandidate[] {
    const { clock, candidates } = this.#options;
    const nowMs = clock.monotonicMs();
    return candidates().filter(({ id }) => (this.#shunnedUntilMs.get(id) ?? 0) <= nowMs);
  }

  async #keepOne(relay: string, isAgain = false): Promise<boolean> {
    const { peers, clock, log } = this.#options;
    try {
      await peers.call(relay, KEEP, null, { timeoutMs: KEEP_TIMEOUT_MS });
      this.#shunnedUntilMs.delete(relay);
      return true;
    } catch (error) {
      const { code, message } = errorBody(error);
      if (code === 'ERR_RING_TIMEOUT' && !isAgain) {
        // The link may lead nowhere: an address translator has forgotten it.
        peers.drop(relay, 'it does not answer');
        return this.#keepOne(relay, true);
      }
      log.debug({ relay, code }, `not a relay of this node: ${message}`);
      this.#shunnedUntilMs.set(relay, clock.monotonicMs() + SHUNNED_MS);
      return false;
    }
  }
}
