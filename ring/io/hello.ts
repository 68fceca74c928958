import type { IncomingHttpHeaders } from 'node:http';
import { base32, fromBase32 } from '../../spec/id.ts';
import { PROTOCOL, type ProtocolRange } from '../core/protocol-range.ts';

export const SUBPROTOCOL = 'aether.1';

/** What both sides say of themselves as their WebSocket opens. */
export interface Hello {
  /** None: it is yet to join one. */
  lattice?: string;
  /** Number of the newest epoch it uses; 0 = none. */
  epoch: number;
  /** Its certificate, core/node-certificate.ts; none: it is yet to be given one. */
  certificate?: Uint8Array;
  /** None: that of this release. */
  protocol?: ProtocolRange;
}

export function helloHeaders(hello: Hello): Record<string, string> {
  const { lattice, epoch, certificate, protocol = PROTOCOL } = hello;
  return {
    'aether-epoch': String(epoch),
    'aether-protocol': protocol.join('-'),
    ...(lattice === undefined ? {} : { 'aether-lattice': lattice }),
    ...(certificate === undefined ? {} : { 'aether-certificate': base32(certificate) }),
  };
}

export function parseHello(headers: IncomingHttpHeaders): Hello {
  const lattice = headers['aether-lattice'];
  const epoch = Number(headers['aether-epoch']);
  const certificate = headers['aether-certificate'];
  const protocol = headers['aether-protocol'];
  return {
    ...(typeof lattice === 'string' ? { lattice } : {}),
    epoch: Number.isSafeInteger(epoch) ? epoch : 0,
    // What is no base32 is shown as nothing, and refused as that.
    ...(typeof certificate === 'string'
      ? { certificate: fromBase32(certificate) ?? new Uint8Array() }
      : {}),
    ...(typeof protocol === 'string' ? { protocol: toRange(protocol) } : {}),
  };
}

/** What is no range has no version in it. */
function toRange(text: string): ProtocolRange {
  const [, least, most] = /^(\d{1,9})-(\d{1,9})$/.exec(text) ?? [];
  return [Number(least ?? 0), Number(most ?? 0)];
}
