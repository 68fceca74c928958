/**
 * The versions of the protocol that a release speaks, the oldest and the newest. Two nodes speak when they have one in common;
 * how a later version is read by an earlier one, and spoken to it, is in the header of swim-wire.ts.
 */
import { AetherError } from '../../spec/error.ts';
import { SWIM_VERSION } from './swim-wire.ts';

export type ProtocolRange = readonly [least: number, most: number];

/** Of this release. */
export const PROTOCOL: ProtocolRange = [SWIM_VERSION, SWIM_VERSION];

/** @throws AetherError ERR_RING_PROTOCOL when this release has no version in common with the node. */
export function checkProtocol(node: string, theirs: ProtocolRange): void {
  const [least, most] = PROTOCOL;
  if (theirs[0] <= most && theirs[1] >= least && theirs[0] <= theirs[1]) return;
  throw new AetherError(
    `node ${node} speaks protocol ${formatted(theirs)}, and this node ${formatted(PROTOCOL)}`,
    { code: 'ERR_RING_PROTOCOL', hint: 'bring both nodes to the same release' },
  );
}

function formatted([least, most]: ProtocolRange): string {
  return least === most ? `${least}` : `${least} to ${most}`;
}
