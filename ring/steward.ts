/**
 * What voters do unasked: they end changes, and see to it that there are enough of them.
 *
 * Any voter may do any of it, as each act is a compare-and-set; the first of the living ones does, the others step in when
 * nothing comes of it.
 *
 * I1  A change is settled when all who hold a part of the new ring say that their part is whole. Who is gone is not waited
 *     for if it gains nothing: it has what it had. Reports go to all voters, and are repeated until then.
 * I2  A member that comes is given up only if it does not answer when it is asked itself: membership is a hint.
 * I3  Who leaves is no voter any more before its change is settled (W3 of spec/epoch.md).
 */
import type { Clock } from '../spec/clock.ts';
import { errorBody } from '../spec/error.ts';
import type { Log } from '../spec/log.ts';
import { type Configuration, everyVoter, isJoint } from './core/configuration.ts';
import { electedVoters } from './core/election.ts';
import type { Epoch, Issuer } from './core/epoch.ts';
import * as change from './core/epoch-change.ts';
import { revokedMember } from './core/revocation.ts';
import { isMissed, type Proposer } from './proposer.ts';
import type { RegisterNode } from './register.ts';

const LOOK_MS = 500;
/** How long each earlier voter is given to do what is to be done. */
const PATIENCE_MS = 3_000;
const ACT_TIMEOUT_MS = 5_000;
/** How long and how often a member that is taken for dead while it joins is asked itself. */
const LOST_AFTER_MS = 5_000;
const ASK_AGAIN_MS = 500;
/** So many times at least, as this node itself may have stood still. */
const ASKED_MIN = 5;

export interface StewardOptions {
  self: string;
  register: RegisterNode<Uint8Array>;
  proposer: Proposer;
  clock: Clock;
  log: Log;
  /** The epoch that this node uses. */
  epoch: () => Epoch;
  /** Membership's word, a hint. */
  isGone: (node: string) => boolean;
  /** Whether the node answers when it is asked. */
  answers: (node: string) => Promise<boolean>;
  /** The key with which a node mints when it is a voter. @throws when it does not answer. */
  issuerOf: (node: string) => Promise<Uint8Array>;
}

type Act = { what: string; perform(): Promise<unknown> };

export class Steward {
  readonly #options: StewardOptions;
  /** Whose part is whole in the epoch of this number. */
  #reports: { number: number; nodes: Set<string> } = { number: 0, nodes: new Set() };
  readonly #issuers = new Map<string, Uint8Array>();
  /** What is to be done, and since when. */
  #due: { what: string; sinceMs: number } | undefined;
  #isBusy = false;
  #isClosed = false;
  #cancelWake: () => void = () => {};

  constructor(options: StewardOptions) {
    this.#options = options;
  }

  /** The node's part is whole in the epoch of this number. */
  report(node: string, number: number): void {
    if (number !== this.#options.epoch().number) return;
    if (this.#reports.number !== number) this.#reports = { number, nodes: new Set() };
    this.#reports.nodes.add(node);
    this.look();
  }

  /** Whose part in the pending change is not whole, as far as this voter has heard. */
  awaited(epoch: Epoch): string[] {
    const { isGone } = this.#options;
    if (epoch.previous === undefined) return [];
    const { number, nodes } = this.#reports;
    const isDone = (id: string): boolean =>
      (number === epoch.number && nodes.has(id)) ||
      // Who is revoked has nothing to say: what it was to hold is on the others, until it is out of the ring.
      epoch.revoked.includes(id) ||
      (isGone(id) && !isMissed(epoch, id, isGone));
    const holders = epoch.members.filter(({ tokens }) => tokens.length > 0);
    return holders.map(({ id }) => id).filter((id) => !isDone(id));
  }

  /** Something has changed: looks what is to be done. */
  look(): void {
    this.#cancelWake();
    if (this.#isClosed) return;
    this.#cancelWake = this.#options.clock.after(
      this.#isBusy ? LOOK_MS : 0,
      () => void this.#tend(),
    );
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelWake();
  }

  async #tend(): Promise<void> {
    if (this.#isBusy || this.#isClosed) return;
    this.#isBusy = true;
    const { log, clock } = this.#options;
    let isDone = false;
    try {
      const act = this.#isVoter() ? await this.#nextAct() : undefined;
      const nowMs = clock.monotonicMs();
      if (act?.what !== this.#due?.what)
        this.#due = act === undefined ? undefined : { what: act.what, sinceMs: nowMs };
      const waitedMs = nowMs - (this.#due?.sinceMs ?? nowMs);
      if (act !== undefined && waitedMs >= this.#rank() * PATIENCE_MS && !this.#isClosed) {
        this.#due = undefined;
        await act.perform();
        isDone = true;
      }
    } catch (error) {
      if (!this.#isClosed)
        log.info({ error: errorBody(error) }, 'the epoch could not be tended now');
    } finally {
      this.#isBusy = false;
    }
    if (isDone) this.look();
    else if (!this.#isClosed) this.#cancelWake = clock.after(LOOK_MS, () => void this.#tend());
  }

  /** How many living voters come before this one. */
  #rank(): number {
    const { self, isGone } = this.#options;
    return this.#voters()
      .filter((node) => node === self || !isGone(node))
      .indexOf(self);
  }

  #isVoter(): boolean {
    return this.#voters().includes(this.#options.self);
  }

  /** Those of the epoch first, as all know them. */
  #voters(): string[] {
    const { epoch, register } = this.#options;
    return [...new Set([...epoch().voters, ...everyVoter(register.configuration)])];
  }

  async #nextAct(): Promise<Act | undefined> {
    const { register, epoch: current, log } = this.#options;
    const { configuration } = register;
    const epoch = current();
    const isBehind = register.newest > epoch.number;
    const isUnproven = configuration.number !== register.known.configuration?.number;
    if (isBehind || isUnproven || isJoint(configuration)) {
      // Somebody has begun it, and may be gone: a read ends it, and brings the proof.
      const what = `read ${register.newest} ${configuration.number}`;
      return { what, perform: () => register.ask({ kind: 'read' }, { timeoutMs: ACT_TIMEOUT_MS }) };
    }
    const isMember = (node: string): boolean => epoch.members.some(({ id }) => id === node);
    // While others wait for the end of a change, voters change only if they must (W3).
    const isDue = epoch.previous === undefined || !configuration.voters.every(isMember);
    const voters = isDue ? await this.#elect(epoch, configuration) : [...configuration.voters]; // W1
    if (!isSameSet(voters, configuration.voters)) {
      const { number: expected } = configuration;
      const asked = { kind: 'voters', expected, under: epoch.number, voters } as const;
      return {
        what: `voters ${expected} ${voters.join()}`,
        perform: async () => {
          const { kind } = await register.ask(asked, { timeoutMs: ACT_TIMEOUT_MS });
          log.info({ voters, outcome: kind }, 'the voters change');
        },
      };
    }
    if (epoch.previous !== undefined) return this.#endOf(epoch, configuration);
    const out = revokedMember(epoch);
    if (out !== undefined)
      return this.#propose('revoked', epoch, (now) => change.withoutMember(now, out));
    const issuers = await this.#issuersOf(epoch, voters); // W2
    const isSame =
      String(voters) === String(epoch.voters) && keysOf(issuers) === keysOf(epoch.issuers);
    if (isSame) return undefined;
    return this.#propose('electorate', epoch, (now) =>
      change.withElectorate(now, { voters, issuers }),
    );
  }

  /** The voters to be. Who does not answer cannot stand. */
  async #elect(epoch: Epoch, configuration: Configuration): Promise<string[]> {
    const { self, isGone } = this.#options;
    const silent = new Set<string>();
    const canStand = (node: string): boolean =>
      node === self || (!isGone(node) && !silent.has(node));
    for (;;) {
      const voters = electedVoters(epoch, configuration.voters, canStand);
      const added = voters.filter((node) => !configuration.voters.includes(node));
      for (const node of added) if (!(await this.#canIssue(node))) silent.add(node);
      if (!added.some((node) => silent.has(node))) return voters;
    }
  }

  /** What ends the pending change, if anything does now. */
  async #endOf(epoch: Epoch, { voters }: Configuration): Promise<Act | undefined> {
    const { log } = this.#options;
    const lost = await this.#lostOf(epoch);
    if (lost.length > 0) {
      log.warn(
        { nodes: lost, epoch: epoch.number },
        'nodes died while they joined; they are not admitted',
      );
      return this.#propose('lost', epoch, (now) => change.withoutLost(now, lost));
    }
    const isLeft = voters.every((voter) => epoch.members.some(({ id }) => id === voter)); // I3
    if (this.awaited(epoch).length > 0 || !isLeft) return undefined;
    const issuers = await this.#issuersOf(epoch, voters);
    return this.#propose('settle', epoch, (now) =>
      change.settled(now, { voters: [...voters], issuers }),
    ); // I1
  }

  /** I2: who comes with the pending change, is taken for dead, and does not answer. */
  async #lostOf(epoch: Epoch): Promise<string[]> {
    const { isGone } = this.#options;
    const gone = change.joining(epoch).filter(({ id }) => isGone(id));
    const answers = await Promise.all(gone.map(({ id }) => this.#answersSoon(id)));
    return gone.filter((_, i) => answers[i] === false).map(({ id }) => id);
  }

  async #answersSoon(node: string): Promise<boolean> {
    const { clock, answers } = this.#options;
    const untilMs = clock.monotonicMs() + LOST_AFTER_MS;
    for (let asked = 1; ; asked++) {
      if ((await answers(node)) || this.#isClosed) return true;
      if (clock.monotonicMs() >= untilMs && asked >= ASKED_MIN) return false;
      await new Promise<void>((wake) => clock.after(ASK_AGAIN_MS, wake));
    }
  }

  #propose(what: string, { number }: Epoch, make: (epoch: Epoch) => Epoch): Act {
    const perform = (): Promise<void> =>
      this.#options.proposer.propose((now) => (now.number === number ? make(now) : 'none'));
    return { what: `${what} ${number}`, perform };
  }

  /** One for each voter, those that are known already as they are; who does not answer has none yet. */
  async #issuersOf(epoch: Epoch, voters: readonly string[]): Promise<Issuer[]> {
    const issuers: Issuer[] = [];
    for (const node of voters) {
      const known = epoch.issuers.find((issuer) => issuer.node === node)?.key;
      if (known === undefined && !this.#issuers.has(node)) await this.#canIssue(node);
      const key = known ?? this.#issuers.get(node);
      if (key !== undefined) issuers.push({ node, key });
    }
    return issuers;
  }

  async #canIssue(node: string): Promise<boolean> {
    if (this.#options.isGone(node) && node !== this.#options.self) return false;
    try {
      this.#issuers.set(node, await this.#options.issuerOf(node));
      return true;
    } catch {
      return false;
    }
  }
}

function keysOf(issuers: readonly Issuer[]): string {
  return issuers.map(({ node, key }) => `${node} ${key.join()}`).join();
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each));
}
