/**
 * Sees everything that happens in a simulated register, and says at once what must not.
 *
 * What it checks is what the register is for, not how it does it: one history, nothing acknowledged
 * ever lost, each request applied at most once and answered truly, and that whoever knows the first voters can tell (C4).
 */
import type { AcceptorState, AcceptorWrite } from '../../../ring/core/acceptor-state.ts';
import type { Ballot } from '../../../ring/core/ballot.ts';
import { type Configuration, isJoint, isQuorum } from '../../../ring/core/configuration.ts';
import type {
  RegisterOutcome,
  RegisterRequest,
  VotersRequest,
  WriteRequest,
} from '../../../ring/core/epoch-register.ts';
import { type Handover, isReached } from '../../../ring/core/handover.ts';
import {
  configurationAt,
  entryAt,
  type FencedLog,
  lastIndex,
  type Snapshot,
} from '../../../ring/core/fenced-log.ts';
import { type RegisterValue } from '../../../ring/core/register-value.ts';

export type Value = RegisterValue<string>;
type Log = FencedLog<Value>;

/** Something that must not happen, has. */
export class Violation extends Error {}

/**
 * `everything`: also that what is said to be committed has its proof, on disks and by signatures.
 * `consequences`: only what comes of it: another history, or a false answer.
 */
export type Sees = 'everything' | 'consequences';

/** An entry that some voter has accepted. */
interface Known {
  readonly ballot: string;
  readonly before: string;
  readonly value: Value;
  readonly configuration: Configuration;
}

export class Checker {
  readonly #sees: Sees;
  /** Writes that are in the one history. */
  writes = 0;
  readonly #entries = new Map<string, Known>();
  /** The one history, by index. */
  readonly #committed: (Known | undefined)[] = [];
  #committedIndex: number;
  /**
   * Indices that owners have said to be committed: who has accepted such an entry may have been counted.
   * What lies between was committed with them; who has accepted only that may still be told otherwise by
   * an owner in between.
   */
  readonly #proven: number[] = [];
  readonly #configurations = new Map<number, Configuration>();
  /** The number that each request made. */
  readonly #made = new Map<string, number>();
  readonly #asked = new Map<string, WriteRequest<string> | VotersRequest>();
  readonly #refusedIds = new Set<string>();
  /** The highest number that anybody was told of, now and when a request was first made. */
  #acknowledged = 0;
  readonly #acknowledgedBefore = new Map<string, number>();

  readonly #founders: readonly string[];
  readonly #isCertified: (handover: Handover) => boolean;
  readonly #isJournal: boolean;

  /**
   * @param isCertified whether a majority of both sets of voters has signed a handover.
   * @param isJournal its entries are not by compare-and-set: R5 is not for it.
   */
  constructor(
    founding: Snapshot<Value>,
    sees: Sees,
    isCertified: (handover: Handover) => boolean,
    isJournal: boolean,
  ) {
    this.#sees = sees;
    this.#isJournal = isJournal;
    this.#isCertified = isCertified;
    this.#founders = founding.configuration?.voters ?? [];
    this.#committed[founding.index] = {
      ballot: ballotKey(founding.ballot),
      before: '',
      value: founding.state as Value,
      configuration: founding.configuration as Configuration,
    };
    this.#committedIndex = founding.index;
    this.#configurations.set(1, founding.configuration as Configuration);
  }

  /** Every configuration that is or was committed. */
  get configurations(): readonly Configuration[] {
    return [...this.#configurations.values()];
  }

  /** The configuration of the newest committed entry. */
  get configuration(): Configuration {
    return (this.#committed[this.#committedIndex] as Known).configuration;
  }

  get committedIndex(): number {
    return this.#committedIndex;
  }

  /** A voter's log has changed from one state to another. */
  changed(
    node: string,
    before: AcceptorState<Value>,
    write: AcceptorWrite<Value>,
    after: AcceptorState<Value>,
  ): void {
    const { snapshot, keepThrough, entries } = write.log ?? {};
    if (entries !== undefined) this.#appended(node, after.log, entries.length);
    if (snapshot !== undefined) {
      const same = this.#committed[snapshot.index];
      if (same?.ballot !== ballotKey(snapshot.ballot))
        throw new Violation(
          `${node} took a snapshot of what is not committed, at ${snapshot.index}`,
        );
    }
    if (keepThrough !== undefined) {
      const index = this.#proven.findLast((each) => this.#holds(before.log, each));
      if (index !== undefined && !this.#holds(after.log, index))
        throw new Violation(`${node} cut entry ${index}, which is committed`);
    }
  }

  /** An owner says that the log is committed up to here. @returns whether a quorum has it on disk. */
  committed(
    node: string,
    snapshot: Snapshot<Value>,
    holds: (node: string) => boolean,
    signers: ReadonlySet<string>,
  ): boolean {
    const { index } = snapshot;
    const ballot = ballotKey(snapshot.ballot);
    const same = this.#committed[index];
    if (index <= this.#committedIndex) {
      if (same !== undefined && same.ballot !== ballot)
        throw new Violation(`${node} commits ${index} by ${ballot}, committed by ${same.ballot}`);
    } else {
      this.#extend(node, index, ballot);
      this.#proven.push(index);
    }
    const { configuration, value } = this.#committed[index] as Known;
    const isProven = (handover: Handover): boolean =>
      this.#sees === 'consequences' || this.#isCertified(handover);
    if (!isReached(configuration, this.#founders, value.handovers, isProven))
      throw new Violation(`${node} commits ${index} by voters that nobody can prove to be ones`);
    const isHeld = isQuorum(configuration, holds);
    if (this.#sees === 'consequences') return isHeld;
    if (!isHeld)
      throw new Violation(`${node} commits ${index}, which is not on the disks of a quorum`);
    if (!isQuorum(configuration, (voter) => signers.has(voter)))
      throw new Violation(`${node} commits ${index} without the signatures of a quorum`);
    return isHeld;
  }

  asked(request: RegisterRequest<string>): void {
    if (request.kind !== 'read') this.#asked.set(request.id, request);
    if (!this.#acknowledgedBefore.has(request.id))
      this.#acknowledgedBefore.set(request.id, this.#acknowledged);
  }

  answered(request: RegisterRequest<string>, outcome: RegisterOutcome<string>): void {
    const { id } = request;
    const before = this.#acknowledgedBefore.get(id) ?? 0;
    if (outcome.kind === 'unknown' || request.kind === 'voters') return;
    if (request.kind === 'read') {
      if (outcome.value.number < before)
        throw new Violation(`a read gave ${outcome.value.number} after ${before} was acknowledged`);
      this.#acknowledged = Math.max(this.#acknowledged, outcome.value.number);
      return;
    }
    if (outcome.kind === 'committed') {
      if (this.#made.get(id) !== outcome.number)
        throw new Violation(
          `${id} was acknowledged as ${outcome.number} and is not in the history`,
        );
      const isNext = request.expected < 0 || outcome.number === request.expected + 1;
      if (!isNext || outcome.number <= before)
        throw new Violation(`${id} made ${outcome.number} out of turn`);
      this.#acknowledged = Math.max(this.#acknowledged, outcome.number);
      return;
    }
    if (this.#made.has(id)) throw new Violation(`${id} was applied and answered as a conflict`);
    this.#refusedIds.add(id);
    if (request.expected > outcome.value.number && outcome.value.number < before)
      throw new Violation(`${id} was refused by a state older than ${before}`);
  }

  #appended(node: string, log: Log, count: number): void {
    const last = lastIndex(log);
    for (let index = Math.max(last - count, log.snapshot.index) + 1; index <= last; index++) {
      const entry = entryAt(log, index);
      if (entry === undefined) throw new Violation(`${node} has a hole at ${index}`);
      const previous = entryAt(log, index - 1)?.ballot ?? log.snapshot.ballot;
      const ballot = ballotKey(entry.ballot);
      const key = `${index} ${ballot}`;
      const known = this.#entries.get(key);
      if (known === undefined) {
        this.#entries.set(key, {
          ballot,
          before: ballotKey(previous),
          value: entry.value,
          configuration: configurationAt(log, index) as Configuration,
        });
      } else if (known.before !== ballotKey(previous) || !isSameValue(known.value, entry.value)) {
        throw new Violation(`${node} has another entry ${key} than there was`);
      }
    }
  }

  /** Follows the entries back to what is committed already. */
  #extend(node: string, index: number, ballot: string): void {
    const chain: Known[] = [];
    let [at, key] = [index, ballot];
    for (; at > this.#committedIndex; at--) {
      const known = this.#entries.get(`${at} ${key}`);
      if (known === undefined)
        throw new Violation(`${node} commits ${index}, but no voter has entry ${at} by ${key}`);
      chain.push(known);
      key = known.before;
    }
    const joins = this.#committed[at] as Known;
    if (joins.ballot !== key)
      throw new Violation(`${node} commits ${index} on another entry ${at} than is committed`);
    for (const known of chain.toReversed()) this.#commit(++at, known);
  }

  #commit(index: number, known: Known): void {
    const { value, configuration } = known;
    const before = this.#committed[index - 1] as Known;
    const step = value.number - before.value.number;
    if (step === 1) {
      const id = value.requests.at(-1) as string;
      if (this.#made.has(id)) throw new Violation(`${id} was applied twice`);
      if (this.#refusedIds.has(id))
        throw new Violation(`${id} was answered as a conflict and applied`);
      if (value.record !== id) throw new Violation(`${id} wrote ${value.record}`);
      const asked = this.#asked.get(id);
      const under = before.configuration.number;
      if (asked?.kind === 'write' && !this.#isJournal && asked.under !== under)
        throw new Violation(`${id} was made for voters ${asked.under} and applied to ${under}`);
      this.#made.set(id, value.number);
      this.writes++;
    } else if (step !== 0 || !isSameValue(value, before.value)) {
      throw new Violation(`${index} makes ${value.number} of ${before.value.number}`);
    }
    if (!follows(before.configuration, configuration))
      throw new Violation(`configuration ${configuration.number} does not follow at ${index}`);
    const isChange = isJoint(configuration) && configuration.number !== before.configuration.number;
    if (isChange && !this.#isJournal) this.#chosen(configuration, before.value.number);
    this.#configurations.set(configuration.number, configuration);
    this.#committed[index] = known;
    this.#committedIndex = index;
  }

  /** R5: somebody has chosen these voters for this very record. */
  #chosen({ number, voters }: Configuration, under: number): void {
    const isChosen = [...this.#asked.values()].some(
      (request) =>
        request.kind === 'voters' &&
        request.expected === number - 1 &&
        request.under === under &&
        String(request.voters) === String(voters),
    );
    if (!isChosen) throw new Violation(`voters ${number} were not chosen for ${under}`);
  }

  #holds(log: Log, index: number): boolean {
    if (log.snapshot.index >= index) return true;
    const entry = entryAt(log, index);
    return entry !== undefined && ballotKey(entry.ballot) === this.#committed[index]?.ballot;
  }
}

export function ballotKey({ counter, node, run }: Ballot): string {
  return `${counter}.${node}.${run}`;
}

function isSameValue(a: Value, b: Value): boolean {
  return a === b || (a.number === b.number && a.record === b.record);
}

/** V2, V3: each configuration follows from the one before. */
function follows(before: Configuration, after: Configuration): boolean {
  if (before.number === after.number) return true;
  if (after.number !== before.number + 1) return false;
  const same = isJoint(after) ? after.previous : before.voters;
  const from = isJoint(after) ? before.voters : after.voters;
  return String(same) === String(from) && isJoint(after) !== isJoint(before);
}
