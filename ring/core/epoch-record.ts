/**
 * An epoch with what proves it.
 *
 * The lattice's root key certifies a voter once and is not needed after that. A voter signs epochs with its node key. Whoever knows the
 * lattice's id (the root's public key) can check the whole chain, whoever hands it over.
 */
import { AetherError } from '../../spec/error.ts';
import { keyOf } from '../../spec/id.ts';
import { decode, encode } from './codec.ts';
import type { Epoch, EpochMember, Issuer, RootKey, TokenUse } from './epoch.ts';
import { isSigned } from './signature.ts';

export interface VoterCertificate {
  node: string;
  /** By the lattice's root key. */
  signature: Uint8Array;
}

export interface SignedEpoch {
  /** The encoded epoch: what was signed, kept as it was. */
  record: Uint8Array;
  signatures: { node: string; signature: Uint8Array }[];
  certificates: VoterCertificate[];
}

/** An epoch record that is not what its voters signed. It was not used. */
export class EpochError extends AetherError {
  static override readonly code: string = 'ERR_RING_EPOCH_FORGED';
}

export function certificateMessage(lattice: string, node: string): Uint8Array {
  return encode(['aether-voter-v1', lattice, node]);
}

export function epochMessage(record: Uint8Array): Uint8Array {
  return encode(['aether-epoch-v1', record]);
}

export function encodeEpoch(epoch: Epoch): Uint8Array {
  return encode(epoch);
}

/**
 * The epoch inside, once it is proven to be this lattice's: a majority of the voters it names
 * signed it, and the root certified each of them.
 *
 * @throws EpochError ERR_RING_EPOCH_FORGED.
 */
export function openEpoch(signed: SignedEpoch, lattice: string): Epoch {
  const root = keyOf(lattice);
  const epoch = decodeEpoch(signed.record);
  if (root === undefined || epoch.lattice !== lattice)
    throw new EpochError('the epoch is of another lattice');
  const message = epochMessage(signed.record);
  const voters = epoch.voters.filter((voter) => {
    const key = keyOf(voter);
    const certificate = signed.certificates.find(({ node }) => node === voter);
    const entry = signed.signatures.find(({ node }) => node === voter);
    return (
      key !== undefined &&
      certificate !== undefined &&
      entry !== undefined &&
      isSigned(root, certificateMessage(lattice, voter), certificate.signature) &&
      isSigned(key, message, entry.signature)
    );
  });
  if (voters.length * 2 <= epoch.voters.length)
    throw new EpochError(`epoch ${epoch.number} is not signed by a majority of its voters`);
  return epoch;
}

/** A value from the wire as a signed epoch. @throws EpochError when it is none. */
export function toSignedEpoch(value: unknown): SignedEpoch {
  const { record, signatures, certificates } = (value ?? {}) as Partial<
    Record<keyof SignedEpoch, unknown>
  >;
  const whole =
    isBytes(record) &&
    Array.isArray(signatures) &&
    Array.isArray(certificates) &&
    (signatures as SignedEpoch['signatures']).every(
      (entry) => typeof entry?.node === 'string' && isBytes(entry.signature),
    ) &&
    (certificates as VoterCertificate[]).every(
      (entry) => typeof entry?.node === 'string' && isBytes(entry.signature),
    );
  if (!whole) throw new EpochError('not a signed epoch');
  return value as SignedEpoch;
}

function decodeEpoch(record: Uint8Array): Epoch {
  const epoch = decode(record) as Partial<Epoch> | null;
  const whole =
    epoch !== null &&
    Number.isSafeInteger(epoch.number) &&
    typeof epoch.lattice === 'string' &&
    isMembers(epoch.members) &&
    (epoch.previous === undefined || isMembers(epoch.previous)) &&
    Array.isArray(epoch.voters) &&
    epoch.voters.length > 0 &&
    new Set(epoch.voters).size === epoch.voters.length &&
    isList<Issuer>(epoch.issuers, ({ node, key }) => isText(node) && isBytes(key)) &&
    isList<TokenUse>(
      epoch.uses,
      ({ token, node, expiresSeconds }) =>
        isBytes(token) && isText(node) && Number.isSafeInteger(expiresSeconds),
    ) &&
    isList<string>(epoch.revoked, isText) &&
    isList<RootKey>(epoch.roots, ({ key, signature }) => isBytes(key) && isBytes(signature));
  if (!whole) throw new EpochError('the record is not an epoch');
  return epoch as Epoch;
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isBytes(value: unknown): boolean {
  return value instanceof Uint8Array;
}

function isList<Entry>(value: unknown, isEntry: (entry: Partial<Entry>) => boolean): boolean {
  return (
    Array.isArray(value) && value.every((entry: Partial<Entry> | null) => isEntry(entry ?? {}))
  );
}

function isMembers(value: unknown): value is EpochMember[] {
  return (
    Array.isArray(value) &&
    (value as (Partial<EpochMember> | null)[]).every(
      (member) =>
        typeof member?.id === 'string' &&
        typeof member.name === 'string' &&
        typeof member.address === 'string' &&
        Array.isArray(member.roles) &&
        typeof member.weight === 'number' &&
        Array.isArray(member.tokens),
    )
  );
}
