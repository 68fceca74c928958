/** What a node may say of itself in the epoch, whoever says it: checked before it is written there. */
import { AetherError } from '../../spec/error.ts';

export interface MemberFacts {
  name: string;
  zone?: string;
  region?: string;
  roles: string[];
  weight: number;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const ROLES: ReadonlySet<string> = new Set(['voter', 'storage', 'compute', 'relay']);
const WEIGHT_MAX = 64;

/** The weight of a node that names none. */
export function defaultWeight(roles: readonly string[]): number {
  return roles.includes('storage') ? 1 : 0;
}

/** @throws AetherError ERR_RING_OPTION naming the fact that is not one. */
export function checkFacts({ name, zone, region, roles, weight }: MemberFacts): void {
  for (const [what, text] of Object.entries({ name, zone, region })) {
    if (text !== undefined && !NAME.test(text))
      refuse(`the ${what} ${JSON.stringify(text)}`, 'use up to 63 letters, digits, dots, dashes');
  }
  const stranger = roles.find((role) => !ROLES.has(role));
  if (stranger !== undefined || roles.length === 0)
    refuse(`the role ${JSON.stringify(stranger ?? '')}`, `use some of ${[...ROLES].join(', ')}`);
  if (!Number.isInteger(weight) || weight < 0 || weight > WEIGHT_MAX)
    refuse(`the weight ${weight}`, `use a whole number from 0 to ${WEIGHT_MAX}`);
  if (weight > 0 && !roles.includes('storage'))
    refuse(
      `the weight ${weight} without the role storage`,
      'add --role storage, or use --weight 0',
    );
}

function refuse(what: string, hint: string): never {
  throw new AetherError(`${what} is not allowed`, { code: 'ERR_RING_OPTION', hint });
}
