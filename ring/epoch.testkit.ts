/** Epochs for tests, and signatures by nodes whose keys are made of their names. */
import { createHash } from 'node:crypto';
import { latticeId, nodeId } from '../spec/id.ts';
import { keyFromSeed, type SigningKey } from './io/keys.ts';
import { type Configuration, firstConfiguration } from './core/configuration.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { foundingEpoch } from './core/epoch-change.ts';
import { encodeEpoch, epochGroup, type SignedEpoch } from './core/epoch-record.ts';
import type { Position } from './core/fenced-log.ts';
import type { Handover } from './core/handover.ts';
import { attestMessage } from './core/register-certificate.ts';
import { founderMessage } from './core/root-key.ts';
import { digestOf, firstValue } from './core/register-value.ts';

export const keyOf = (name: string): SigningKey =>
  keyFromSeed(createHash('sha256').update(name).digest());
export const idOf = (name: string): string => nodeId(keyOf(name).publicKey);
export const LATTICE: string = latticeId(keyOf('root').publicKey);

/** The first epoch of a lattice of these members; the first of them votes. */
export function epochOf(members: EpochMember[], lattice: string = LATTICE): Epoch {
  const [founder] = members as [EpochMember];
  const issuer = { node: founder.id, key: keyOf('issuer').publicKey };
  return { ...foundingEpoch(lattice, founder, issuer), members };
}

export interface Signing {
  lattice?: string;
  index?: number;
  /** By name, as the configuration's voters and those before are in the tests. */
  signers?: readonly string[];
  configuration?: Configuration;
  handovers?: readonly Handover[];
  founder?: string;
  root?: string;
}

const positionAt = (index: number): Position => ({
  index,
  ballot: { counter: index, node: idOf('a'), run: 1 },
});

/** As voters sign it; the test says which. */
export function signedEpoch(epoch: Epoch, signing: Signing = {}): SignedEpoch {
  const { founder = 'a', root = 'root', lattice = epoch.lattice, handovers = [] } = signing;
  const { index = epoch.number, signers = [founder] } = signing;
  const { configuration = firstConfiguration([idOf(founder)]) } = signing;
  const value = { ...firstValue(encodeEpoch(epoch)), number: epoch.number, handovers };
  const signatures = signed(signers, lattice, index, configuration, digestOf(value));
  return {
    founder: {
      node: idOf(founder),
      signature: keyOf(root).sign(founderMessage(lattice, idOf(founder))),
    },
    certificate: { ...positionAt(index), configuration, value, signatures },
  };
}

/** As voters sign the joint entry by which they make others voters. */
export function handover(configuration: Configuration, signing: Signing = {}): Handover {
  const { index = 100 + configuration.number, signers = [], lattice = LATTICE } = signing;
  const digest = createHash('sha256').update(String(configuration.number)).digest();
  const signatures = signed(signers, lattice, index, configuration, digest);
  return { ...positionAt(index), configuration, digest, signatures };
}

function signed(
  signers: readonly string[],
  lattice: string,
  index: number,
  configuration: Configuration,
  digest: Uint8Array,
): Handover['signatures'] {
  const message = attestMessage(epochGroup(lattice), positionAt(index), configuration, digest);
  return signers.map((name) => ({ node: idOf(name), signature: keyOf(name).sign(message) }));
}
