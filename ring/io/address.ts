import { networkInterfaces } from 'node:os';
import { AetherError } from '../../spec/error.ts';

export interface HostPort {
  host: string;
  port: number;
}

/**
 * `host:port`, with an IPv6 host in brackets.
 *
 * @throws AetherError ERR_ADDRESS.
 */
export function parseAddress(address: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new AetherError(`not an address: ${JSON.stringify(address)}`, {
      code: 'ERR_ADDRESS',
      hint: 'write host:port, such as 127.0.0.1:7400 or [::1]:7400',
    });
  }
  return { host: (match[1] ?? match[2]) as string, port };
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A host that others can dial: the machine's first outward address in place of "all of them". */
export function dialableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host;
  const family = host === '::' ? 'IPv6' : 'IPv4';
  const outward = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find((address) => !address.internal && address.family === family && address.scopeid !== 1);
  return outward?.address ?? (host === '::' ? '::1' : '127.0.0.1');
}

/**
 * Whose address it is, to count by: an IPv4 address, or the /64 of an IPv6 one, which is what one site has (RFC 6177).
 */
export function originOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  const [head = '', tail] = address.split('%', 1)[0]?.split('::') ?? [];
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [first, last] = [groups(head), groups(tail ?? '')];
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: zeros }, () => '0'), ...last].slice(0, 4).join(':');
}

/** As `originOf`, of a `host:port`. @returns undefined for what is none. */
export function originOfAddress(address: string): string | undefined {
  const host = /^\[?(.*?)\]?:\d+$/.exec(address)?.[1];
  return host === undefined ? undefined : originOf(host);
}
