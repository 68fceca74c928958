/** The issuer key in a data folder, as far as the epoch knows it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { equal } from '../core/canonical.ts';
import type { Epoch } from '../core/epoch.ts';
import { readKeyFile, type SigningKey } from './keys.ts';

export const ISSUER_FILE = 'issuer.key';
/** Its successor, until the epoch lists it. */
export const NEXT_ISSUER_FILE = 'issuer.next.key';

/** The key of the folder that the epoch lists. @returns undefined when there is none. @throws KeyFileError */
export function issuerKeyOf(data: string, epoch: Epoch): SigningKey | undefined {
  return [ISSUER_FILE, NEXT_ISSUER_FILE]
    .map((name) => join(data, name))
    .filter((file) => existsSync(file))
    .map(readKeyFile)
    .find(({ publicKey }) => epoch.issuers.some(({ key }) => equal(key, publicKey)));
}
