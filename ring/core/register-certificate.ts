/**
 * That a register's value is committed, for anybody to check (R4 of spec/epoch.md).
 *
 * It says nothing about who may be a voter: whoever checks it must know that of the configuration.
 */
import { keyOf } from '../../spec/id.ts';
import { encode } from './codec.ts';
import { type Configuration, isQuorum } from './configuration.ts';
import type { RegisterValue } from './epoch-register.ts';
import type { Entry, Position } from './fenced-log.ts';
import { isSigned } from './signature.ts';

export interface RegisterCertificate<R> extends Position {
  readonly configuration: Configuration;
  readonly value: RegisterValue<R>;
  /** By voter. */
  readonly signatures: readonly { readonly node: string; readonly signature: Uint8Array }[];
}

/** What a voter signs when it has accepted an entry under the ballot of the entry's owner. */
export function attestMessage<R>(
  group: string,
  index: number,
  { ballot, configuration, value }: Entry<RegisterValue<R>>,
): Uint8Array {
  const { counter, node, run } = ballot;
  const { number, voters, previous } = configuration ?? {};
  const deciding = [number, voters, previous ?? null];
  return encode([
    'aether-register-v1',
    group,
    index,
    [counter, node, run],
    deciding,
    [value.number, value.record, value.requests],
  ]);
}

/** True when a quorum of the voters it names has signed it, for the group. */
export function isCertified<R>(group: string, certificate: RegisterCertificate<R>): boolean {
  const { index, signatures, configuration } = certificate;
  const message = attestMessage(group, index, certificate);
  return isQuorum(configuration, (voter) => {
    const key = keyOf(voter);
    const signature = signatures.find(({ node }) => node === voter)?.signature;
    return key !== undefined && signature !== undefined && isSigned(key, message, signature);
  });
}
