/** Keeps pages of other sites in a browser away from a control API that listens on loopback. */
import type { IncomingMessage } from 'node:http';
import { AetherError } from '../../spec/error.ts';

/**
 * Refuses a request whose Host is no loopback name (a name of the outside that was bound to 127.0.0.1), and one that a
 * page of another origin has sent; a form may be posted anywhere without asking.
 *
 * @throws AetherError ERR_API_ORIGIN
 */
export function refuseForeignOrigin({ headers }: IncomingMessage): void {
  const { host = '', origin } = headers;
  const isOwn = origin === undefined || origin === `http://${host}`;
  if (isOwn && isLoopback(host.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''))) return;
  throw new AetherError('the control API takes no requests from other sites', {
    code: 'ERR_API_ORIGIN',
    hint: 'name it by its loopback address, as `aether up` prints it',
  });
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
