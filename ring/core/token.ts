/**
 * Join tokens, in the format `aec1`: who holds one may bring a node into the lattice.
 *
 *     text   = 'aec1.' base32(chain) '.' base32(holder seed, 32 bytes)
 *     chain  = [1, lattice (16), key id of the signer (8), [block]]
 *     block  = [body, holder key (32), signature (64)]
 *     body   = [id (16), issued, not before, expires, depth, [audience], [[action, resource, params]]]
 *     params = [uses, [role], zone or null, key id of the lattice's newest root (8)]
 *
 * Times are Unix seconds. The seed never leaves its holder: a request to join carries the chain and
 * a proof, signed with the holder's key, that names the node that wants in.
 *
 * I1  One token has one form in bytes: what does not encode back to itself is refused.
 * I2  The signature covers the kind, the lattice, the header and the holder's key, so that a token is
 *     good for nothing else.
 * I3  A token of more than one block is refused: no later block can widen the first.
 */
import { AetherError } from '../../spec/error.ts';
import { base32, fromBase32, keyOf } from '../../spec/id.ts';
import { bytes, concat, count, equal, list, SKEW_SECONDS, string, utf8 } from './canonical.ts';
import { decode, encode } from './codec.ts';
import { sha256 } from './digest.ts';
import { isSigned, isSoundKey } from './signature.ts';

const FORMAT = 1;
const PREFIX = 'aec1';
const CHAIN_BYTES_MAX = 4096;

/** A join token, or the request made with it, that is not good. Nothing was done. */
export class TokenError extends AetherError {
  static override readonly code: string = 'ERR_RING_TOKEN_MALFORMED';
}

/** What a token grants. */
export interface JoinGrant {
  /** 16 random bytes: what its uses are counted by. */
  id: Uint8Array;
  issuedSeconds: number;
  notBeforeSeconds: number;
  expiresSeconds: number;
  /** How many nodes may join with it. */
  uses: number;
  /** Roles that the node may take. */
  roles: string[];
  /** The zone that the node must be in, when there is one. */
  zone?: string;
  /** As keyTag: the newest root of the lattice (Q3 of core/root-key.ts). */
  root: Uint8Array;
}

export interface JoinToken {
  /** First 16 bytes of the hash of the lattice's root key. */
  lattice: Uint8Array;
  /** First 8 bytes of the hash of the signer's key. */
  signer: Uint8Array;
  grant: JoinGrant;
  /** Public key of the seed in the token's text. */
  holder: Uint8Array;
  signature: Uint8Array;
}

/** What is proven and sent by a node that wants in. */
export interface JoinRequest {
  /** The chain of the token. */
  chain: Uint8Array;
  node: string;
  name: string;
  address: string;
  zone?: string;
  region?: string;
  /** None: what the token grants. */
  roles?: string[];
  /** None: 1 with the role of storage, otherwise 0. */
  weight?: number;
  /** By the token's holder key over the rest. */
  proof: Uint8Array;
  /** By the node's key over the rest: nobody else enrols it. */
  consent: Uint8Array;
}

/** @param latticeId as in spec/id.ts. */
export function latticeTag(latticeId: string): Uint8Array {
  return sha256(keyOf(latticeId) ?? new Uint8Array()).subarray(0, 16);
}

export function keyTag(publicKey: Uint8Array): Uint8Array {
  return sha256(publicKey).subarray(0, 8);
}

/** What the signer of a token signs (I2). */
export function tokenMessage(token: Omit<JoinToken, 'signature'>): Uint8Array {
  const header = encode([FORMAT, token.lattice, token.signer]);
  return concat(
    utf8('aether-cap-v1\0join\0'),
    token.lattice,
    sha256(header),
    token.holder,
    encode(grantToList(token.grant)),
  );
}

export function encodeChain(token: JoinToken): Uint8Array {
  const block = [encode(grantToList(token.grant)), token.holder, token.signature];
  return encode([FORMAT, token.lattice, token.signer, [block]]);
}

/** @throws TokenError ERR_RING_TOKEN_MALFORMED. */
export function decodeChain(chain: Uint8Array): JoinToken {
  const token = chain.length <= CHAIN_BYTES_MAX ? parseChain(chain) : undefined;
  // I1: canonical, or refused.
  if (token === undefined || !equal(encodeChain(token), chain)) throw malformed();
  return token;
}

/** The text that people pass on. It is a secret: it holds the holder's seed. */
export function tokenText(chain: Uint8Array, seed: Uint8Array): string {
  return `${PREFIX}.${base32(chain)}.${base32(seed)}`;
}

/** @throws TokenError ERR_RING_TOKEN_MALFORMED; the text is not in the message. */
export function parseTokenText(input: string): {
  chain: Uint8Array;
  seed: Uint8Array;
  token: JoinToken;
} {
  const [prefix, chainText = '', seedText = '', ...rest] = input.trim().split('.');
  const chain = fromBase32(chainText);
  const seed = fromBase32(seedText);
  if (prefix !== PREFIX || rest.length > 0 || chain === undefined || seed?.length !== 32)
    throw malformed();
  return { chain, seed, token: decodeChain(chain) };
}

/**
 * Whether the token is one of this lattice, whole and in time, the cheapest doubt first. Whether it is used up is the
 * counter's.
 *
 * @param signers keys that may sign tokens of this lattice.
 * @throws TokenError ERR_RING_TOKEN_WRONG_LATTICE, _NOT_YET, _EXPIRED, _ISSUER_UNKNOWN or _FORGED.
 */
export function checkToken(
  token: JoinToken,
  lattice: string,
  signers: readonly Uint8Array[],
  nowMs: number,
): void {
  if (!equal(token.lattice, latticeTag(lattice))) {
    throw new TokenError('the token is for another lattice', {
      code: 'ERR_RING_TOKEN_WRONG_LATTICE',
      hint: 'mint one on a node of this lattice: aether cap mint join',
    });
  }
  const nowSeconds = nowMs / 1000;
  if (nowSeconds < token.grant.notBeforeSeconds - SKEW_SECONDS) {
    throw new TokenError('the token is not valid yet', {
      code: 'ERR_RING_TOKEN_NOT_YET',
      hint: 'check the clocks of both machines',
    });
  }
  if (nowSeconds >= token.grant.expiresSeconds) {
    throw new TokenError('the token has expired', {
      code: 'ERR_RING_TOKEN_EXPIRED',
      hint: 'mint a new one: aether cap mint join',
    });
  }
  const signer = signers.find((key) => equal(keyTag(key), token.signer));
  if (signer === undefined) {
    // Keys of before are not kept: whether it ever was one nobody can say.
    throw new TokenError('who signed the token is no issuer of this lattice, or none any more', {
      code: 'ERR_RING_TOKEN_ISSUER_UNKNOWN',
      hint: 'issuer keys are replaced, and voters change; mint a new token: aether cap mint join',
    });
  }
  const signed = isSigned(signer, tokenMessage(token), token.signature);
  if (!signed || !isSoundKey(token.holder)) {
    throw new TokenError('the token is not signed by this lattice', {
      code: 'ERR_RING_TOKEN_FORGED',
      hint: 'copy the whole token, or mint a new one: aether cap mint join',
    });
  }
}

/** A value from the wire as a request. @throws TokenError ERR_RING_TOKEN_MISSING or _MALFORMED. */
export function toJoinRequest(value: unknown): JoinRequest {
  const request = (value ?? {}) as Partial<Record<keyof JoinRequest, unknown>>;
  if (request.chain === undefined) throw tokenMissing();
  const isText = (fact: unknown): boolean => typeof fact === 'string' && fact.length <= 256;
  const isTextOrNone = (fact: unknown): boolean => fact === undefined || isText(fact);
  const whole =
    [request.chain, request.proof, request.consent].every((each) => each instanceof Uint8Array) &&
    [request.node, request.name, request.address].every(isText) &&
    [request.zone, request.region].every(isTextOrNone) &&
    (request.roles === undefined ||
      (Array.isArray(request.roles) && request.roles.every(isText))) &&
    (request.weight === undefined || typeof request.weight === 'number');
  if (!whole) throw malformed();
  return value as JoinRequest;
}

export function tokenMissing(): TokenError {
  return new TokenError('a node needs a token to join this lattice', {
    code: 'ERR_RING_TOKEN_MISSING',
    hint: 'mint one on the founding node: aether cap mint join; then pass it with --token FILE',
  });
}

/** What both signatures of a request cover. */
export function joinMessage(request: Omit<JoinRequest, 'proof' | 'consent'>): Uint8Array {
  const args = [
    request.node,
    request.name,
    request.address,
    request.zone ?? null,
    request.region ?? null,
    request.roles ?? null,
    request.weight ?? null,
  ];
  return concat(utf8('aether-pop-v1\0join\0'), sha256(request.chain), sha256(encode(args)));
}

/**
 * Whether the holder of the token and the node itself both asked for this.
 *
 * @throws TokenError ERR_RING_TOKEN_PROOF or ERR_RING_KEY_WEAK.
 */
export function checkJoinRequest(request: JoinRequest, token: JoinToken): void {
  const key = keyOf(request.node);
  const message = joinMessage(request);
  const isProven =
    key !== undefined &&
    isSigned(token.holder, message, request.proof) &&
    isSigned(key, message, request.consent);
  if (!isProven) {
    throw new TokenError('the request is not proven by the token’s holder and the node', {
      code: 'ERR_RING_TOKEN_PROOF',
      hint: 'pass the token as it was printed',
    });
  }
  // Last: it costs most, and who has no token does not get here.
  if (!isSoundKey(key)) {
    throw new TokenError(`the key of node ${request.node} is not a sound ed25519 key`, {
      code: 'ERR_RING_KEY_WEAK',
      hint: 'start the node on an empty data folder: it makes a key of its own',
    });
  }
}

function grantToList(grant: JoinGrant): unknown[] {
  const params = [grant.uses, grant.roles, grant.zone ?? null, grant.root];
  return [
    grant.id,
    grant.issuedSeconds,
    grant.notBeforeSeconds,
    grant.expiresSeconds,
    0,
    [],
    [['join', 'lattice', params]],
  ];
}

/** @returns undefined when a part is missing or of another type; I1 catches the rest. */
function parseChain(chain: Uint8Array): JoinToken | undefined {
  try {
    const [, lattice, signer, blocks] = list(decode(chain));
    const [block, more] = list(blocks);
    if (more !== undefined) return undefined; // I3
    const [body, holder, signature] = list(block);
    const [id, issuedSeconds, notBeforeSeconds, expiresSeconds, , , can] = list(
      decode(bytes(body)),
    );
    const [, , params] = list(list(can)[0]);
    const [uses, roles, zone, root] = list(params);
    return {
      lattice: bytes(lattice),
      signer: bytes(signer),
      holder: bytes(holder),
      signature: bytes(signature),
      grant: {
        id: bytes(id, 16),
        issuedSeconds: count(issuedSeconds),
        notBeforeSeconds: count(notBeforeSeconds),
        expiresSeconds: count(expiresSeconds),
        uses: count(uses),
        roles: list(roles).map(string),
        ...(zone === null ? {} : { zone: string(zone) }),
        root: bytes(root, 8),
      },
    };
  } catch {
    return undefined;
  }
}

function malformed(): TokenError {
  return new TokenError('this is not a join token', {
    hint: 'copy the whole line that aether cap mint join printed; it begins with aec1.',
  });
}
