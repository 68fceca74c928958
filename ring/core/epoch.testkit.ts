/** Epochs for tests that are about something else. */
import type { Epoch, EpochMember } from './epoch.ts';
import { foundingEpoch } from './epoch-change.ts';

/** The first epoch of a lattice of these members; the first of them votes. */
export function epochOf(members: EpochMember[]): Epoch {
  const [founder] = members as [EpochMember];
  const issuer = { node: founder.id, key: new Uint8Array(32) };
  return { ...foundingEpoch('l', founder, issuer), members };
}
