import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AetherError, NotAvailableError } from '../spec/error.ts';
import type { Epoch } from './core/epoch.ts';
import { openEpoch } from './core/epoch-record.ts';
import { checkFacts, defaultWeight } from './core/member-facts.ts';
import {
  encodeChain,
  type JoinGrant,
  keyTag,
  latticeTag,
  tokenMessage,
  tokenText,
} from './core/token.ts';
import { keyFromSeed, readKeyFile, type SigningKey } from './io/keys.ts';
import { RingStore } from './io/ring-store.ts';
import { systemClock } from '../spec/system-clock.ts';

export interface MintOptions {
  /** How many nodes may join with it. Default 1, at most 1,000. */
  uses?: number;
  /** How long it is good for, from now. Default 1 h, at most 24 h. */
  expiresMs?: number;
  /** Roles a node may take with it. Default storage and compute. */
  roles?: string[];
  /** The zone a node must be in. Default: any. */
  zone?: string;
}

const EXPIRES_MS_MAX = 24 * 3_600_000;
const USES_MAX = 1_000;

/**
 * A token that lets nodes join, signed with the issuer key in the data folder; a node may run on the
 * folder or not. The text is a secret.
 *
 * @throws AetherError ERR_RING_NOT_ISSUER when the folder holds no issuer key of a lattice;
 * ERR_RING_OPTION when an option is out of its range; KeyFileError.
 */
export function mintJoinToken(data: string, options: MintOptions = {}): string {
  const { uses = 1, expiresMs = 3_600_000, roles = ['storage', 'compute'], zone } = options;
  checkFacts({
    name: 'any',
    roles,
    weight: defaultWeight(roles),
    ...(zone === undefined ? {} : { zone }),
  });
  if (roles.includes('voter')) {
    throw new NotAvailableError('a token cannot grant the role voter in this release', {
      hint: 'grant some of storage, compute and relay',
    });
  }
  if (!Number.isInteger(uses) || uses < 1 || uses > USES_MAX)
    throw outOfRange('uses', `from 1 to ${USES_MAX}`);
  if (!(expiresMs >= 1_000 && expiresMs <= EXPIRES_MS_MAX))
    throw outOfRange('expires', 'from 1s to 24h');

  const { lattice, issuer } = issuerOf(data);
  const seed = new Uint8Array(randomBytes(32));
  const nowSeconds = Math.floor(systemClock.nowMs() / 1000);
  const grant: JoinGrant = {
    id: new Uint8Array(randomBytes(16)),
    issuedSeconds: nowSeconds,
    notBeforeSeconds: nowSeconds,
    expiresSeconds: nowSeconds + Math.ceil(expiresMs / 1000),
    uses,
    roles,
    ...(zone === undefined ? {} : { zone }),
  };
  const token = {
    lattice: latticeTag(lattice),
    signer: keyTag(issuer.publicKey),
    grant,
    holder: keyFromSeed(seed).publicKey,
  };
  const chain = encodeChain({ ...token, signature: issuer.sign(tokenMessage(token)) });
  return tokenText(chain, seed);
}

/** The key in the folder, if the newest epoch that the folder knows lets it mint. */
function issuerOf(data: string): { lattice: string; issuer: SigningKey } {
  const [database, file] = ['ring.db', 'issuer.key'].map((name) => join(data, name)) as [
    string,
    string,
  ];
  if (existsSync(database) && existsSync(file)) {
    const issuer = readKeyFile(file);
    const epoch = newestEpoch(database);
    if (epoch?.issuers.some(({ key }) => Buffer.compare(key, issuer.publicKey) === 0) === true)
      return { lattice: epoch.lattice, issuer };
  }
  throw new AetherError(`the data folder ${data} holds no issuer key`, {
    code: 'ERR_RING_NOT_ISSUER',
    hint: 'mint on a voter, with its --data: aether ring status says which nodes are',
  });
}

function newestEpoch(database: string): Epoch | undefined {
  const store = new RingStore(database);
  try {
    const signed = store.epoch();
    const lattice = store.lattice();
    return signed === undefined || lattice === undefined ? undefined : openEpoch(signed, lattice);
  } finally {
    store.close();
  }
}

function outOfRange(name: string, range: string): AetherError {
  return new AetherError(`the option ${name} is out of its range`, {
    code: 'ERR_RING_OPTION',
    hint: `set ${name} ${range}`,
  });
}
