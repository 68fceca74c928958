/**
 * What a member says of itself on its local network (DNS-based service discovery, RFC 6763), and how it is read.
 *
 * Anybody on that network can say so too: it leads to an address, and there TLS and the token decide.
 */
import type { DnsMessage, DnsRecord } from './dns-message.ts';

export const SERVICE = '_aether._tcp.local';
const TTL_SECONDS = 120;
const INSTANCE_BYTES = 12;
const LATTICE_KEY = 'lattice=';

export interface Announcement {
  /** Id of the node. */
  node: string;
  /** IPv4. */
  host: string;
  port: number;
  /** Which lattice it is of: `latticeTag`. */
  lattice: Uint8Array;
}

/** Whether members are asked for. @returns how they are to answer; undefined: it is not for them */
export function asksForMembers({ isResponse, questions }: DnsMessage): 'all' | 'asker' | undefined {
  if (isResponse) return undefined;
  const question = questions.find(({ name, type }) => name === SERVICE && type === 'PTR');
  if (question === undefined) return undefined;
  return question.isUnicast === true ? 'asker' : 'all';
}

/** The records of a member. @param ttlSeconds 0: it goes */
export function announcementRecords(
  { node, host, port, lattice }: Announcement,
  ttlSeconds: number = TTL_SECONDS,
): DnsRecord[] {
  const label = node.slice(0, INSTANCE_BYTES);
  const [instance, target] = [`${label}.${SERVICE}`, `${label}.local`];
  return [
    { name: SERVICE, ttlSeconds, type: 'PTR', target: instance },
    { name: instance, ttlSeconds, type: 'SRV', priority: 0, weight: 0, port, target },
    { name: instance, ttlSeconds, type: 'TXT', texts: [`${LATTICE_KEY}${hex(lattice)}`] },
    { name: target, ttlSeconds, type: 'A', address: host },
  ];
}

/** Addresses, `host:port`, of members of a lattice that a message tells of. */
export function announcedAddresses(
  { isResponse, records }: DnsMessage,
  lattice: Uint8Array,
): string[] {
  if (!isResponse) return [];
  const wanted = `${LATTICE_KEY}${hex(lattice)}`;
  return records.flatMap((service) => {
    if (service.type !== 'SRV' || service.ttlSeconds === 0 || service.port === 0) return [];
    const isMember = records.some(
      (each) => each.type === 'TXT' && each.name === service.name && each.texts.includes(wanted),
    );
    const host = records.find((each) => each.type === 'A' && each.name === service.target);
    return isMember && service.name.endsWith(`.${SERVICE}`) && host?.type === 'A'
      ? [`${host.address}:${service.port}`]
      : [];
  });
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
