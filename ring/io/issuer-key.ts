/** The issuer key in a data folder, as far as the epoch knows it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Epoch } from '../core/epoch.ts';
import { equal } from '../core/canonical.ts';
import { readKeyFile, type SigningKey } from './keys.ts';

/**
 * The key that the epoch lists. While an issuer key is replaced there are two files, and the epoch says which of them counts.
 *
 * @returns undefined when there is none. @throws KeyFileError
 */
export function issuerKeyOf(data: string, epoch: Epoch): SigningKey | undefined {
  return ISSUER_FILES.map((name) => join(data, name))
    .filter((file) => existsSync(file))
    .map(readKeyFile)
    .find(({ publicKey }) => epoch.issuers.some(({ key }) => equal(key, publicKey)));
}

const ISSUER_FILES = ['issuer.key', 'issuer.next.key'];
