/** One simulated node: a disk that may lose what is not synced, and a process on it. */
import {
  type AcceptorState,
  type AcceptorWrite,
  newAcceptorState,
  written,
} from '../../../ring/core/acceptor-state.ts';
import { EpochRegister } from '../../../ring/core/epoch-register.ts';
import type { Snapshot } from '../../../ring/core/fenced-log.ts';
import { FencedLogAcceptor, type AcceptorEffect } from '../../../ring/core/fenced-log-acceptor.ts';
import { FencedLogOwner } from '../../../ring/core/fenced-log-owner.ts';
import type { FencedLogMessage } from '../../../ring/core/fenced-log-message.ts';
import type { Random } from '../../../spec/random.ts';
import type { Value } from './checker.ts';
import { Journal } from './journal.ts';
import { foldRegister, idleRegister } from '../../../ring/core/register-value.ts';

export type Message = FencedLogMessage<Value>;
export type SendEffect = Extract<AcceptorEffect<Value>, { kind: 'send' }>;

/** What a node is made of: the cores that ship, or one with a protection switched off. */
export interface Parts {
  readonly Acceptor: typeof FencedLogAcceptor<Value>;
  readonly Owner: typeof FencedLogOwner<Value>;
  readonly Register: typeof EpochRegister<string>;
  /** Answers leave before what they stand for is on disk. */
  readonly answersEarly: boolean;
  /** What follows on the end of a joint configuration does not say how that came to be. */
  readonly forgetsHandovers: boolean;
  /** Every process makes ballots of the same run. */
  readonly reusesRuns: boolean;
}

export const PARTS: Parts = {
  Acceptor: FencedLogAcceptor<Value>,
  Owner: FencedLogOwner<Value>,
  Register: EpochRegister<string>,
  answersEarly: false,
  forgetsHandovers: false,
  reusesRuns: false,
};

export const GENERATION = 1;
const RETRY_MS = 100;

/** What the process of a node is made of, gone with it. */
export interface Process {
  readonly acceptor: FencedLogAcceptor<Value>;
  readonly register: EpochRegister<string> | Journal;
  /** Writes that are not synced, oldest first. */
  readonly unsynced: AcceptorWrite<Value>[];
  /** What waits for them: the number of writes that must be synced before it leaves. */
  readonly held: { readonly after: number; readonly effect: SendEffect }[];
  synced: number;
  isSyncing: boolean;
  /** The tick it waits for; an older one in the queue is void. */
  wakeMs: number;
}

export interface Node {
  readonly id: string;
  /** What is on its disk. */
  disk: AcceptorState<Value>;
  /** What was on it before, oldest first. */
  readonly past: AcceptorState<Value>[];
  /** The disk is older than what the node has said, and it does not vote again yet. */
  isDamaged: boolean;
  /** The epoch it has learnt, kept beside. */
  known: Snapshot<Value>;
  process: Process | undefined;
  /** Until then it stands still. */
  pausedUntilMs: number;
}

export function emptyDisk(): AcceptorState<Value> {
  return newAcceptorState<Value>(GENERATION);
}

/** What a node that starts knows to be committed: it was told, or has it in its log. */
export function newestKnown({ disk, known }: Node): Snapshot<Value> {
  return disk.log.snapshot.index > known.index ? disk.log.snapshot : known;
}

export interface ProcessOptions {
  readonly random: Random;
  readonly run: number;
  readonly isJournal: boolean;
  readonly batchMax: number;
}

export function startProcess(
  node: Node,
  parts: Parts,
  { random, run, isJournal, batchMax }: ProcessOptions,
): Process {
  const { id, disk } = node;
  const known = newestKnown(node);
  const owner = new parts.Owner({
    self: id,
    run: parts.reusesRuns ? 0 : run,
    generation: GENERATION,
    idle: parts.forgetsHandovers ? (log) => idleRegister(log) : idleRegister,
    fold: foldRegister,
    retryMs: RETRY_MS,
    batchMax,
  });
  return {
    acceptor: new parts.Acceptor({
      self: id,
      state: disk,
      fold: foldRegister,
      isSigned: true,
      retryMs: RETRY_MS,
    }),
    register: isJournal
      ? new Journal({ owner, known, random })
      : new parts.Register({ owner, known, random, backoffMs: 20, backoffMaxMs: 500 }),
    unsynced: [],
    held: [],
    synced: 0,
    isSyncing: false,
    wakeMs: Infinity,
  };
}

/** The process makes so many of its writes durable. */
export function sync(node: Node, process: Process, writes: number): void {
  for (const write of process.unsynced.splice(0, writes)) {
    node.disk = written(node.disk, write);
    node.past.push(node.disk);
    process.synced++;
    if (write.isRegistered === true) node.isDamaged = false;
  }
}
