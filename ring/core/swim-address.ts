/** Where a member's membership is dialled: on the first host that it can be dialled at, at a port that it tells with its facts. */
import type { Facts } from './swim-message.ts';
import type { OwnFacts } from './swim-self.ts';
import { isDialable } from './ways.ts';

/** Its number among the facts of `ext`: two bytes, the higher first. Without it membership goes by the control lane. */
const PORT_FACT = '1';

export function withSwimPort(facts: OwnFacts, port: number): OwnFacts {
  return { ...facts, ext: { ...facts.ext, [PORT_FACT]: new Uint8Array([port >> 8, port & 0xff]) } };
}

/** `host:port`; undefined when the facts do not say. */
export function swimAddressOf(facts: Facts | undefined): string | undefined {
  const [high, low, ...rest] = facts?.ext?.[PORT_FACT] ?? [];
  const first = facts?.addresses.find(isDialable);
  if (high === undefined || low === undefined || rest.length > 0) return undefined;
  const port = high * 256 + low;
  const hostLength = first?.lastIndexOf(':') ?? -1;
  return hostLength < 1 || port === 0 ? undefined : `${first?.slice(0, hostLength)}:${port}`;
}
