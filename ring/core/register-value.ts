/** What the log of a register holds, and what its entries amount to. */
import { encode } from './codec.ts';
import { sha256 } from './digest.ts';
import type { FencedLog } from './fenced-log.ts';
import type { CommittedEntry } from './fenced-log-owner.ts';
import type { Handover } from './handover.ts';

export interface RegisterValue<R> {
  /** One more with each compare-and-set (R1). */
  readonly number: number;
  readonly record: R;
  /** Ids of the requests that made the last numbers, the newest last (R2). */
  readonly requests: readonly string[];
  /** From the first voters to those of now, the oldest first (C1). */
  readonly handovers: readonly Handover[];
}

/** For the owners and acceptors of a register's log. */
export function foldRegister<R>(
  _state: RegisterValue<R> | undefined,
  value: RegisterValue<R>,
): RegisterValue<R> {
  return value;
}

/** For the owners of a register's log: an idle entry repeats the value (R1); the end of a joint configuration adds its proof (C1). */
export function idleRegister<R>(
  { snapshot, entries }: FencedLog<RegisterValue<R>>,
  joint?: CommittedEntry<RegisterValue<R>>,
): RegisterValue<R> {
  const value = (entries.at(-1)?.value ?? snapshot.state) as RegisterValue<R>;
  if (joint === undefined) return value;
  return { ...value, handovers: [...value.handovers, handoverOf(joint)] };
}

/** The value that a register begins with. */
export function firstValue<R>(record: R): RegisterValue<R> {
  return { number: 1, record, requests: [''], handovers: [] };
}

/** What voters sign of a value. */
export function digestOf<R>({ number, record, requests, handovers }: RegisterValue<R>): Uint8Array {
  return sha256(encode([number, record, requests, handovers]));
}

/** C1: what the entry that ends a joint configuration carries. */
function handoverOf<R>(committed: CommittedEntry<RegisterValue<R>>): Handover {
  const { index, ballot, configuration, value } = committed;
  const signatures = [...committed.signatures].map(([node, signature]) => ({ node, signature }));
  return { index, ballot, configuration, digest: digestOf(value), signatures };
}
