import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AetherError } from '../spec/error.ts';
import type { Epoch } from './core/epoch.ts';
import { openEpoch } from './core/epoch-record.ts';
import { checkFacts, defaultWeight } from './core/member-facts.ts';
import { rootKeys } from './core/root-key.ts';
import {
  encodeChain,
  type JoinGrant,
  keyTag,
  latticeTag,
  tokenMessage,
  tokenText,
} from './core/token.ts';
import { issuerKeyOf } from './io/issuer-key.ts';
import { keyFromSeed, type SigningKey } from './io/keys.ts';
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
  if (!Number.isInteger(uses) || uses < 1 || uses > USES_MAX)
    throw outOfRange('uses', `from 1 to ${USES_MAX}`);
  if (!(expiresMs >= 1_000 && expiresMs <= EXPIRES_MS_MAX))
    throw outOfRange('expires', 'from 1s to 24h');

  const { epoch, issuer } = issuerOf(data);
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
    root: keyTag(rootKeys(epoch).at(-1) as Uint8Array),
  };
  const token = {
    lattice: latticeTag(epoch.lattice),
    signer: keyTag(issuer.publicKey),
    grant,
    holder: keyFromSeed(seed).publicKey,
  };
  const chain = encodeChain({ ...token, signature: issuer.sign(tokenMessage(token)) });
  return tokenText(chain, seed);
}

/** The newest epoch that the folder knows, and the key in it that may mint by that. */
function issuerOf(data: string): { epoch: Epoch; issuer: SigningKey } {
  const database = join(data, 'ring.db');
  const epoch = existsSync(database) ? newestEpoch(database) : undefined;
  const issuer = epoch === undefined ? undefined : issuerKeyOf(data, epoch);
  if (epoch !== undefined && issuer !== undefined) return { epoch, issuer };
  throw notIssuer(`the data folder ${data} holds no issuer key`, epoch, '--data');
}

/** Says at which nodes it would do. @param how what makes a command one of that node. */
export function notIssuer(
  what: string,
  epoch: Epoch | undefined,
  how: '--data' | '--api',
): AetherError {
  const nodes = epoch?.issuers.map(({ node }) => {
    const member = epoch.members.find(({ id }) => id === node);
    return member === undefined ? node : `${member.name} (${member.address})`;
  });
  return new AetherError(what, {
    code: 'ERR_RING_NOT_ISSUER',
    hint:
      nodes === undefined
        ? 'name the data folder of a voter with --data'
        : `type it on the machine of a voter, with its ${how}: ${nodes.join(', ')}`,
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
