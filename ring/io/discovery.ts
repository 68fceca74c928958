/**
 * Seeds: where members of a lattice may be. What is found is an address and no more; the token, and the lattice's key, decide.
 *
 *     HOST:PORT          as it is
 *     dns:NAME           SRV records of _aether._tcp.NAME
 *     dns:NAME:PORT      addresses of NAME, at this port, as every program of this machine finds them (/etc/hosts too)
 *     mdns:              members of the token's lattice, or the node's own, on the local networks
 *     mdns:LATTICE       of the lattice with this id
 */
import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { AetherError } from '../../spec/error.ts';
import { latticeTag } from '../core/token.ts';
import { formatAddress, parseAddress } from './address.ts';
import { ADDRESSES_MAX, browse, type MdnsOptions } from './mdns.ts';

const SERVICE = '_aether._tcp';
const NAME = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?$/i;
const LATTICE_ID = /^l[a-z2-7]{52}$/;
const RESOLVE_TIMEOUT_MS = 2_000;
const RESOLVE_TRIES = 2;
/** What a resolver says where there are no such records. */
const NO_RECORDS: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA']);

export type Seed =
  | { kind: 'address'; address: string }
  | { kind: 'service'; name: string }
  | { kind: 'host'; name: string; port: number }
  | { kind: 'mdns'; lattice?: Uint8Array };

export interface DiscoveryOptions extends MdnsOptions {
  /** DNS servers, `address` or `address:port`. Default: the machine's. */
  dnsServers?: readonly string[];
  /** `latticeTag` of the lattice to be found. */
  lattice: Uint8Array;
}

/** No seed has led to an address. */
export class SeedsError extends AetherError {
  static override readonly code = 'ERR_RING_SEEDS_NOT_FOUND';
}

/** @throws AetherError ERR_ADDRESS */
export function parseSeed(text: string): Seed {
  const [, scheme, rest = ''] = /^(dns|mdns):(.*)$/.exec(text) ?? [];
  if (scheme === undefined) {
    parseAddress(text);
    return { kind: 'address', address: text };
  }
  if (scheme === 'mdns') {
    if (rest === '') return { kind: 'mdns' };
    if (!LATTICE_ID.test(rest))
      throw refused(
        text,
        'write mdns:, or mdns: and the id of a lattice as aether ring status shows it',
      );
    return { kind: 'mdns', lattice: latticeTag(rest) };
  }
  const [, name = '', port] = /^(.*?)(?::(\d{1,5}))?$/.exec(rest) ?? [];
  if (!NAME.test(name) || Number(port ?? 1) > 65_535 || Number(port ?? 1) === 0)
    throw refused(text, 'write dns:NAME for its SRV records, or dns:NAME:PORT for its addresses');
  return port === undefined
    ? { kind: 'service', name }
    : { kind: 'host', name, port: Number(port) };
}

/**
 * Looks all seeds up, now.
 *
 * @returns addresses, `host:port`, in the order of the seeds, each once
 * @throws SeedsError when seeds were given and none has led anywhere
 */
export async function findSeeds(
  seeds: readonly Seed[],
  options: DiscoveryOptions,
): Promise<string[]> {
  const failures: string[] = [];
  const found = await Promise.all(
    seeds.map(async (seed) => {
      try {
        return await addressesOf(seed, options);
      } catch (error) {
        failures.push(whyNot(seed, error));
        return [];
      }
    }),
  );
  const addresses = [...new Set(found.flat())];
  if (addresses.length > 0 || seeds.length === 0) return addresses;
  throw new SeedsError(`no member was found: ${failures.join('; ') || 'nobody answered'}`, {
    hint: 'see that a member runs there, and announces itself (--mdns) if it is looked for by mdns:',
  });
}

async function addressesOf(seed: Seed, options: DiscoveryOptions): Promise<string[]> {
  if (seed.kind === 'address') return [seed.address];
  if (seed.kind === 'mdns') return browse(seed.lattice ?? options.lattice, options);
  const resolver = new Resolver({ timeout: RESOLVE_TIMEOUT_MS, tries: RESOLVE_TRIES });
  if (options.dnsServers !== undefined) resolver.setServers(options.dnsServers);
  const hosts = (name: string): Promise<string[]> =>
    options.dnsServers === undefined ? systemHosts(name) : hostsOf(resolver, name);
  if (seed.kind === 'host') return atPort(await hosts(seed.name), seed.port);
  const records = await resolver.resolveSrv(`${SERVICE}.${seed.name}`);
  // RFC 2782: lower priorities first; of these the heavier ones.
  const ordered = records
    .toSorted((a, b) => a.priority - b.priority || b.weight - a.weight)
    .filter(({ name, port }) => NAME.test(name) && port > 0)
    .slice(0, ADDRESSES_MAX);
  const found = await Promise.all(
    ordered.map(async ({ name, port }) => atPort(await hosts(name).catch(() => []), port)),
  );
  return found.flat().slice(0, ADDRESSES_MAX);
}

/** By getaddrinfo: /etc/hosts and search domains count, as the system is set up. @throws Error ENOTFOUND */
async function systemHosts(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

async function hostsOf(resolver: Resolver, name: string): Promise<string[]> {
  const none = (error: unknown): string[] => {
    if (NO_RECORDS.has((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  };
  const [four, six] = await Promise.all([
    resolver.resolve4(name).catch(none),
    resolver.resolve6(name).catch(none),
  ]);
  return [...four, ...six];
}

function atPort(hosts: readonly string[], port: number): string[] {
  return hosts
    .filter((host) => isIP(host) !== 0)
    .slice(0, ADDRESSES_MAX)
    .map((host) => formatAddress({ host, port }));
}

function whyNot(seed: Seed, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const what = 'name' in seed ? `DNS for ${seed.name}` : 'mDNS';
  return `${what}: ${code ?? message}`;
}

function refused(text: string, hint: string): AetherError {
  return new AetherError(`not a seed: ${JSON.stringify(text)}`, { code: 'ERR_ADDRESS', hint });
}
