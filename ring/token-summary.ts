import { base32 } from '../spec/id.ts';
import { parseTokenText } from './core/token.ts';

/** What a join token says, without the secret in it. */
export interface TokenSummary {
  /** By which it is revoked. */
  id: string;
  /** As `Ring.latticeTag` says it: the lattice's whole id is not in a token. */
  latticeTag: string;
  /** Key ids of the newest root and the issuer, as the token has them. */
  root: string;
  issuer: string;
  uses: number;
  roles: string[];
  zone?: string;
  /** Unix seconds. */
  issuedSeconds: number;
  expiresSeconds: number;
}

/**
 * Who signed it is not checked: that takes the lattice.
 *
 * @throws TokenError ERR_RING_TOKEN_MALFORMED; the text is not in the message.
 */
export function inspectToken(text: string): TokenSummary {
  const { token } = parseTokenText(text);
  const { id, root, notBeforeSeconds: _, ...grant } = token.grant;
  return {
    id: base32(id),
    latticeTag: base32(token.lattice),
    root: base32(root),
    issuer: base32(token.signer),
    ...grant,
  };
}
