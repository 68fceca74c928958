/**
 * The ways to a node: the addresses that it says it has, and which of them failed lately.
 *
 * An address is `host:port`, `relay/NODE` for a node that is reached through that one, or `none`. A way that failed is
 * passed over for a while that doubles, unless there is no other: what was told may be old, and networks change.
 */

/** Of who cannot be dialled. */
export const NO_ADDRESS = 'none';
const RELAY_PREFIX = 'relay/';
const RETRY_FIRST_MS = 5_000;
const RETRY_MAX_MS = 300_000;

interface Failure {
  times: number;
  untilMs: number;
}

interface Known {
  addresses: readonly string[];
  failures: Map<string, Failure>;
}

export class Ways {
  readonly #self: string;
  readonly #nodes = new Map<string, Known>();

  /** @param self not its own relay. */
  constructor(self: string) {
    this.#self = self;
  }

  /** What is told again keeps its failures. @param addresses best first. */
  set(node: string, addresses: readonly string[]): void {
    const usable = [...new Set(addresses)].filter(
      (address) => address !== NO_ADDRESS && relayOf(address) !== this.#self,
    );
    const direct = usable.filter(isDialable);
    const ordered = [...direct, ...usable.filter((address) => !isDialable(address))];
    const failures = new Map(this.#nodes.get(node)?.failures);
    for (const address of failures.keys()) if (!ordered.includes(address)) failures.delete(address);
    this.#nodes.set(node, { addresses: ordered, failures });
  }

  /** Direct ones first; those that failed lately are left out unless all did. */
  to(node: string, nowMs: number): readonly string[] {
    const known = this.#nodes.get(node);
    if (known === undefined) return [];
    const due = known.addresses.filter((address) => isDue(known, address, nowMs));
    return due.length > 0 ? due : known.addresses;
  }

  /** The direct ones that did not fail lately. */
  directTo(node: string, nowMs: number): readonly string[] {
    const known = this.#nodes.get(node);
    if (known === undefined) return [];
    return known.addresses.filter((address) => isDialable(address) && isDue(known, address, nowMs));
  }

  /** True when it may have to be reached through others. */
  isRelayed(node: string): boolean {
    const addresses = this.#nodes.get(node)?.addresses ?? [];
    return addresses.length === 0 || !addresses.every(isDialable);
  }

  failed(node: string, address: string, nowMs: number): void {
    const failures = this.#nodes.get(node)?.failures;
    const times = (failures?.get(address)?.times ?? 0) + 1;
    const forMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (times - 1));
    failures?.set(address, { times, untilMs: nowMs + forMs });
  }

  worked(node: string, address: string): void {
    this.#nodes.get(node)?.failures.delete(address);
  }
}

export function relayAddress(relay: string): string {
  return `${RELAY_PREFIX}${relay}`;
}

/** The node that leads to the one whose address it is. @returns undefined for other addresses. */
export function relayOf(address: string): string | undefined {
  return address.startsWith(RELAY_PREFIX) ? address.slice(RELAY_PREFIX.length) : undefined;
}

/** True for `host:port`. */
export function isDialable(address: string): boolean {
  return address !== NO_ADDRESS && relayOf(address) === undefined;
}

function isDue({ failures }: Known, address: string, nowMs: number): boolean {
  return nowMs >= (failures.get(address)?.untilMs ?? 0);
}
