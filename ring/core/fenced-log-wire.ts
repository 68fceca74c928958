/** Messages of a fenced log from the wire: their form is checked before a core sees them. */
import { AetherError } from '../../spec/error.ts';
import type { FencedLogMessage } from './fenced-log-message.ts';

/** A message that has not the form of one. It was not used. */
export class FencedLogMessageError extends AetherError {
  static override readonly code: string = 'ERR_RING_LOG_MESSAGE';
}

type Check = (value: unknown) => boolean;

/**
 * @param isValue checks what the log's user keeps in it.
 * @throws FencedLogMessageError
 */
export function toFencedLogMessage<V>(value: unknown, isValue: Check): FencedLogMessage<V> {
  const kind = (value as { kind?: unknown } | null | undefined)?.kind;
  const form = typeof kind === 'string' ? formsOf(isValue).get(kind) : undefined;
  if (form?.(value) !== true) {
    throw new FencedLogMessageError('not a message of a fenced log', {
      hint: 'the peer may be of another release',
    });
  }
  return value as FencedLogMessage<V>;
}

function formsOf(isValue: Check): ReadonlyMap<string, Check> {
  const isEntry = record({
    ballot: isBallot,
    value: isValue,
    configuration: maybe(isConfiguration),
  });
  const isSnapshot = record({
    ...POSITION,
    configuration: maybe(isConfiguration),
    state: maybe(isValue),
  });
  const isReport = record({
    from: isCount,
    last: isPosition,
    snapshot: maybe(isSnapshot),
    entries: list(isEntry),
  });
  return new Map<string, Check>([
    ['prepare', record({ ...TO_ACCEPTOR, ballot: isBallot, from: isCount })],
    [
      'accept',
      record({
        ...TO_ACCEPTOR,
        ballot: isBallot,
        previous: isPosition,
        snapshot: maybe(isSnapshot),
        entries: list(isEntry),
        committed: isCount,
      }),
    ],
    ['register', record({ ...TO_ACCEPTOR, boot: isBoot, from: isCount })],
    ['promised', record({ ...SAID, ballot: isBallot, report: isReport })],
    [
      'accepted',
      record({ ...SAID, ballot: isBallot, index: isCount, signatures: maybe(list(isSignature)) }),
    ],
    ['mismatched', record({ ...SAID, ballot: isBallot, committed: isCount })],
    ['refused', record({ generation: isCount, ballot: isBallot, promised: isBallot })],
    [
      'registered',
      record({ ...SAID, of: isBoot, promised: isBallot, isWhole: isTruth, report: isReport }),
    ],
    ['outdated', record({ generation: isCount, of: isBoot })],
  ]);
}

const isText: Check = (value) => typeof value === 'string';
const isTruth: Check = (value) => typeof value === 'boolean';
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isBallot = record({ counter: isCount, node: isText, run: isCount });
const POSITION = { index: isCount, ballot: isBallot };
const isPosition = record(POSITION);
const isBoot = record({ number: isCount, nonce: isCount });
const isBoots: Check = (value) => isRecord(value) && Object.values(value).every(isBoot);
const isVoters: Check = (value) =>
  list(isText)(value) && new Set(value as string[]).size === (value as string[]).length;
const isConfiguration = record({
  number: isCount,
  voters: (value) => isVoters(value) && (value as string[]).length > 0,
  previous: maybe(isVoters),
});
const isBytes: Check = (value) => value instanceof Uint8Array;
const isSignature = record({ index: isCount, signature: isBytes });
const isVoterSignature = record({ node: isText, signature: isBytes });
const isHandover = record({
  ...POSITION,
  configuration: isConfiguration,
  digest: isBytes,
  signatures: list(isVoterSignature),
});
const TO_ACCEPTOR = { generation: isCount, boots: isBoots, voters: list(isText) };
const SAID = { generation: isCount, boot: isBoot, boots: isBoots };

/** Whether a value has the form of what voters have signed in a register. */
export function isRegisterCertificate(value: unknown, isRegisterRecord: Check): boolean {
  return record({
    ...POSITION,
    configuration: isConfiguration,
    value: isRegisterValue(isRegisterRecord),
    signatures: list(isVoterSignature),
  })(value);
}

export function isRegisterValue(isRegisterRecord: Check): Check {
  return record({
    number: isCount,
    record: isRegisterRecord,
    requests: list(isText),
    handovers: list(isHandover),
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function record(fields: Readonly<Record<string, Check>>): Check {
  const entries = Object.entries(fields);
  return (value) => isRecord(value) && entries.every(([name, check]) => check(value[name]));
}

function list(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check);
}

function maybe(check: Check): Check {
  return (value) => value === undefined || check(value);
}
