import type { IncomingHttpHeaders } from 'node:http';

export const SUBPROTOCOL = 'aether.1';

/** What both sides say of themselves as their WebSocket opens. */
export interface Hello {
  /** None: it is yet to join one. */
  lattice?: string;
  /** Number of the newest epoch it uses; 0 = none. */
  epoch: number;
}

export function helloHeaders(hello: Hello): Record<string, string> {
  const epoch = { 'aether-epoch': String(hello.epoch) };
  return hello.lattice === undefined ? epoch : { ...epoch, 'aether-lattice': hello.lattice };
}

export function parseHello(headers: IncomingHttpHeaders): Hello {
  const lattice = headers['aether-lattice'];
  const epoch = Number(headers['aether-epoch']);
  return {
    ...(typeof lattice === 'string' ? { lattice } : {}),
    epoch: Number.isSafeInteger(epoch) ? epoch : 0,
  };
}
