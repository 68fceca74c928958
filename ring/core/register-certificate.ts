/**
 * That a register's value is committed, for anybody to check (R4 of spec/epoch.md).
 *
 * Signatures are over the value's digest, so that a handover proves itself without the value.
 */
import { keyOf } from '../../spec/id.ts';
import { encode } from './codec.ts';
import { type Configuration, isQuorum } from './configuration.ts';
import type { Position } from './fenced-log.ts';
import { type Handover, isReached, type VoterSignature } from './handover.ts';
import { digestOf, type RegisterValue } from './register-value.ts';
import { isSigned } from './signature.ts';

export interface RegisterCertificate<R> extends Position {
  readonly configuration: Configuration;
  readonly value: RegisterValue<R>;
  readonly signatures: readonly VoterSignature[];
}

/** What a voter signs when it has accepted an entry under the ballot of the entry's owner. */
export function attestMessage(
  group: string,
  { index, ballot }: Position,
  configuration: Configuration | undefined,
  digest: Uint8Array,
): Uint8Array {
  const { counter, node, run } = ballot;
  const { number, voters, previous } = configuration ?? {};
  const deciding = [number, voters, previous ?? null];
  return encode(['aether-register-v1', group, index, [counter, node, run], deciding, digest]);
}

/**
 * True when a quorum of the voters that the certificate names has signed it for the group, and these are
 * voters: the handovers lead to them from `founders` (C4).
 */
export function isCertified<R>(
  group: string,
  founders: readonly string[],
  certificate: RegisterCertificate<R>,
): boolean {
  const { value, configuration } = certificate;
  const proof = { ...certificate, digest: digestOf(value) };
  return (
    isReached(configuration, founders, value.handovers, (each) => isSignedByQuorum(group, each)) &&
    isSignedByQuorum(group, proof)
  );
}

function isSignedByQuorum(group: string, proof: Handover): boolean {
  const { configuration, digest, signatures } = proof;
  const message = attestMessage(group, proof, configuration, digest);
  return isQuorum(configuration, (voter) => {
    const key = keyOf(voter);
    const signature = signatures.find(({ node }) => node === voter)?.signature;
    return key !== undefined && signature !== undefined && isSigned(key, message, signature);
  });
}
