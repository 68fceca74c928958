/**
 * An epoch with what proves it.
 *
 * A root key of the lattice certifies the founder, the first voter, and is not needed after that: each set of voters certifies the
 * next (core/handover.ts), and the voters of today the epoch. Whoever knows the lattice's id (the root's
 * public key) can check all of it, whoever hands it over. C1 to C5 of spec/epoch.md.
 */
import { AetherError } from '../../spec/error.ts';
import { decode, encode } from './codec.ts';
import type { Epoch, EpochMember, Issuer, RevokedToken, RootKey, TokenUse } from './epoch.ts';
import { isRegisterCertificate } from './fenced-log-wire.ts';
import { isCertified, type RegisterCertificate } from './register-certificate.ts';
import { type Founder, isFounded } from './root-key.ts';

export interface SignedEpoch {
  founder: Founder;
  /** Of the encoded epoch, kept as it was signed. */
  certificate: RegisterCertificate<Uint8Array>;
}

/** An epoch record that is not what its voters signed. It was not used. */
export class EpochError extends AetherError {
  static override readonly code: string = 'ERR_RING_EPOCH_FORGED';
}

/** The name of the register that the epoch is kept in. */
export function epochGroup(lattice: string): string {
  return `epoch.${lattice}`;
}

export function encodeEpoch(epoch: Epoch): Uint8Array {
  return encode(epoch);
}

/**
 * The epoch inside, once it is proven to be this lattice's.
 *
 * @throws EpochError ERR_RING_EPOCH_FORGED.
 */
export function openEpoch({ founder, certificate }: SignedEpoch, lattice: string): Epoch {
  const epoch = decodeEpoch(certificate.value.record);
  if (epoch.lattice !== lattice) throw new EpochError('the epoch is of another lattice');
  const isProven =
    isFounded(epoch, founder) && isCertified(epochGroup(lattice), [founder.node], certificate);
  if (!isProven || epoch.number !== certificate.value.number)
    throw new EpochError(`epoch ${epoch.number} is not signed by a majority of its voters`);
  return epoch;
}

/** A value from the wire as a signed epoch. @throws EpochError when it is none. */
export function toSignedEpoch(value: unknown): SignedEpoch {
  const { founder, certificate } = (value ?? {}) as Partial<SignedEpoch>;
  const isWhole =
    isText(founder?.node) &&
    isBytes(founder?.signature) &&
    isRegisterCertificate(certificate, isBytes);
  if (!isWhole) throw new EpochError('not a signed epoch');
  return value as SignedEpoch;
}

/** Whether a value has the form of an encoded epoch. */
export function isEpochRecord(value: unknown): value is Uint8Array {
  try {
    decodeEpoch(value as Uint8Array);
    return true;
  } catch {
    return false;
  }
}

/** @throws EpochError, CodecError when it has not the form of one. */
export function decodeEpoch(record: Uint8Array): Epoch {
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
    isList<RevokedToken>(
      epoch.revokedTokens,
      ({ token, expiresSeconds }) => isBytes(token) && Number.isSafeInteger(expiresSeconds),
    ) &&
    isList<RootKey>(epoch.roots, ({ key, signature, founder }) =>
      [key, signature, founder].every(isBytes),
    );
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
