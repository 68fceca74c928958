/** The cores with one protection switched off each: what the simulator must find wrong. */
import { type Ballot, compareBallots } from '../../../ring/core/ballot.ts';
import { type Answer, type Configuration, majorityOf } from '../../../ring/core/configuration.ts';
import { EpochRegister } from '../../../ring/core/epoch-register.ts';
import {
  type Entry,
  entryAt,
  type FencedLog,
  lastIndex,
  type LogReport,
  reportedLog,
  type Snapshot,
} from '../../../ring/core/fenced-log.ts';
import { FencedLogAcceptor } from '../../../ring/core/fenced-log-acceptor.ts';
import { FencedLogOwner } from '../../../ring/core/fenced-log-owner.ts';
import type { Value } from './checker.ts';
import { type Parts, PARTS } from './node.ts';

class Unfenced extends FencedLogAcceptor<Value> {
  protected override isFenced(): boolean {
    return false;
  }
}

class Unmatched extends FencedLogAcceptor<Value> {
  protected override isNext(log: FencedLog<Value>, { index }: { index: number }): boolean {
    return index <= lastIndex(log);
  }
}

class Unregistered extends FencedLogAcceptor<Value> {
  protected override mayVote(): boolean {
    return this.standing !== 'stopped';
  }
}

class Trusting extends FencedLogAcceptor<Value> {
  /** Takes disks that are looked into themselves for whole. */
  protected override isAttested(
    configuration: Configuration,
    answerOf: (node: string) => Answer,
  ): boolean {
    const trusted = (node: string): Answer => (answerOf(node) === 'silent' ? 'silent' : 'whole');
    return super.isAttested(configuration, trusted);
  }
}

class Unrecovered extends FencedLogAcceptor<Value> {
  /** Registers, and goes on with what its disk has. */
  protected override recover<T>(own: T): T {
    return own;
  }
}

class Splicing extends FencedLogOwner<Value> {
  /** At each index the entry with the highest ballot, whatever came before it. */
  protected override adopt(
    base: Snapshot<Value>,
    reports: readonly LogReport<Value>[],
  ): FencedLog<Value> {
    const logs = reports.map((report) => reportedLog(base, report));
    const snapshot = logs
      .map((log) => log.snapshot)
      .reduce((a, b) => (b.index > a.index ? b : a), base);
    const entries: Entry<Value>[] = [];
    for (let index = snapshot.index + 1; ; index++) {
      const found = logs.map((log) => entryAt(log, index)).filter((entry) => entry !== undefined);
      const [first] = found.toSorted((a, b) => compareBallots(b.ballot, a.ballot));
      if (first === undefined) return { snapshot, entries };
      entries.push(first);
    }
  }
}

class Hasty extends FencedLogOwner<Value> {
  /** Counts copies of whatever is in its log. */
  protected override isOwn(): boolean {
    return true;
  }
}

class NewMajority extends FencedLogOwner<Value> {
  protected override isQuorum(
    { voters }: Configuration,
    agrees: (node: string) => boolean,
  ): boolean {
    return voters.filter(agrees).length >= majorityOf(voters.length);
  }
}

class Presuming extends FencedLogOwner<Value> {
  /** Counts promises by the voters it knew before it asked. */
  protected override deciding(
    _adopted: FencedLog<Value>,
    base: Snapshot<Value>,
  ): Configuration | undefined {
    return base.configuration;
  }
}

class Impatient extends FencedLogOwner<Value> {
  protected override mayChangeVoters(): boolean {
    return this.phase === 'owning';
  }
}

class Credulous extends FencedLogOwner<Value> {
  protected override isVoid(): boolean {
    return false;
  }
}

class Repetitive extends FencedLogOwner<Value> {
  /** Counts from what it remembers, not from what it has seen. */
  #counter = 0;
  protected override nextBallot(seen: Ballot): Ballot {
    this.#counter = Math.max(this.#counter + 1, seen.counter);
    return { ...super.nextBallot(seen), counter: this.#counter };
  }
}

class Forgetful extends EpochRegister<string> {
  protected override isMadeBy(): boolean {
    return false;
  }
}

class Unconditional extends EpochRegister<string> {
  protected override isUnder(): boolean {
    return true;
  }
}

class Outlived extends EpochRegister<string> {
  protected override mayOutlive(): boolean {
    return true;
  }
}

/** By the name of the protection that is missing. */
export const MUTATIONS: Readonly<Record<string, Parts>> = {
  'no-promise-check': { ...PARTS, Acceptor: Unfenced },
  'reply-before-fsync': { ...PARTS, answersEarly: true },
  'adopt-per-index': { ...PARTS, Owner: Splicing },
  'no-previous-check': { ...PARTS, Acceptor: Unmatched },
  'commit-without-own-ballot-entry': { ...PARTS, Owner: Hasty },
  'single-majority-in-joint': { ...PARTS, Owner: NewMajority },
  'configuration-known-before-prepare': { ...PARTS, Owner: Presuming },
  'two-changes-at-once': { ...PARTS, Owner: Impatient },
  'no-boot-registration': { ...PARTS, Acceptor: Unregistered },
  'registration-without-recovery': { ...PARTS, Acceptor: Unrecovered },
  'trust-in-those-who-wait': { ...PARTS, Acceptor: Trusting },
  'count-late-votes': { ...PARTS, Owner: Credulous },
  'ballot-reuse-after-restart': { ...PARTS, Owner: Repetitive, reusesRuns: true },
  'handover-without-proof': { ...PARTS, forgetsHandovers: true },
  'retry-without-request-id': { ...PARTS, Register: Forgetful },
  'record-for-other-voters': { ...PARTS, Register: Unconditional },
  'voters-for-another-record': { ...PARTS, Register: Outlived },
};
