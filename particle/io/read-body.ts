import type { IncomingMessage } from 'node:http';
import { AetherError } from '../../spec/error.ts';

/** A client that sends too much may go on for so long, and hears why, before its connection ends. */
const LINGER_MS = 2_000;

/** Bytes that may still be held; whoever has done with a body gives its length back. */
export interface Room {
  bytes: number;
}

/**
 * Reads the body of a request to its end.
 *
 * @param room from which what is held is taken.
 * @returns its bytes; or what there is too little of, for a body of more than `bytesMax` bytes or more than there is room
 * for: the rest is thrown away, and the connection ends if that takes long.
 * @throws AetherError ERR_CLIENT_GONE
 */
export function readBody(
  req: IncomingMessage,
  bytesMax: number,
  room: Room = { bytes: Infinity },
): Promise<Uint8Array | 'limit' | 'room'> {
  const { 'content-length': length = '0', 'transfer-encoding': coding } = req.headers;
  if (length === '0' && coding === undefined) return Promise.resolve(new Uint8Array());
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | 'limit' | 'room'>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  const settle = (act: () => void): void => {
    req.off('data', take).off('end', finish).off('close', lose);
    act();
  };
  const giveUp = (): void => {
    room.bytes += bytes;
    bytes = 0;
    chunks.length = 0;
  };
  const take = (chunk: Buffer): void => {
    const isOverLimit = bytes + chunk.length > bytesMax;
    if (!isOverLimit && chunk.length <= room.bytes) {
      room.bytes -= chunk.length;
      bytes += chunk.length;
      chunks.push(chunk);
      return;
    }
    settle(() => resolve(isOverLimit ? 'limit' : 'room'));
    giveUp();
    req.resume();
    const cut = setTimeout(() => req.destroy(), LINGER_MS);
    req.once('close', () => clearTimeout(cut));
  };
  const finish = (): void => settle(() => resolve(joined(chunks, bytes)));
  const lose = (): void => {
    settle(() => reject(new AetherError('the client went away', { code: 'ERR_CLIENT_GONE' })));
    giveUp();
  };
  // It is told by `close` as well.
  req.on('error', () => {});
  req.on('data', take).on('end', finish).on('close', lose);
  return promise;
}

/** Never a part of a buffer pool: what crosses to a worker takes its whole buffer along. */
function joined(chunks: readonly Buffer[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
