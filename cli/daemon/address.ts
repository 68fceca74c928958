import { lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { AetherError } from '../../spec/error.ts';

/** Where a server listens: TCP, or a unix socket. */
export type Address = { host: string; port: number } | { path: string };

/** @throws AetherError ERR_ADDRESS */
export function parseAddress(text: string): Address {
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[^:/[\]]+):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) <= 65_535) {
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  }
  if (text.includes('/') || text.endsWith('.sock')) return { path: text };
  throw new AetherError(`not an address: ${JSON.stringify(text)}`, {
    code: 'ERR_ADDRESS',
    hint: "'host:port', '[v6]:port', or the path of a unix socket",
  });
}

export function textAddress(address: Address): string {
  if ('path' in address) return address.path;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/**
 * Removes a socket that a dead process left.
 *
 * @throws AetherError ERR_ADDRESS when something else is there, ERR_PORT_IN_USE when somebody listens there.
 */
export async function removeSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new AetherError(`${path} is there and is not a socket`, {
      code: 'ERR_ADDRESS',
      hint: 'name another path for the control API',
    });
  }
  if (await isListening(path)) {
    throw new AetherError(`${path} is in use by another process`, {
      code: 'ERR_PORT_IN_USE',
      hint: 'name another path for the control API',
    });
  }
  rmSync(path, { force: true });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}
