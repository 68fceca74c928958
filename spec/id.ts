/** RFC 4648 base32 in lower case, without padding: safe in file names, DNS labels and URLs. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(value >>> bits) & 31];
      value &= (1 << bits) - 1;
    }
  }
  return bits > 0 ? text + ALPHABET[(value << (5 - bits)) & 31] : text;
}

/** @returns undefined when the text is not the one canonical form of some bytes. */
export function fromBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let at = 0;
  let bits = 0;
  let value = 0;
  for (const char of text) {
    const digit = ALPHABET.indexOf(char);
    if (digit < 0) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = value >>> bits;
      value &= (1 << bits) - 1;
    }
  }
  return base32(bytes) === text ? bytes : undefined;
}

/** A node's id: `n` and its ed25519 public key in base32 (53 characters). */
export function nodeId(publicKey: Uint8Array): string {
  return `n${base32(publicKey)}`;
}

/** A lattice's id: `l` and its root public key in base32. */
export function latticeId(rootKey: Uint8Array): string {
  return `l${base32(rootKey)}`;
}

/** The 32-byte key behind a node id or lattice id. @returns undefined when it is none. */
export function keyOf(id: string): Uint8Array | undefined {
  if (id[0] !== 'n' && id[0] !== 'l') return undefined;
  const key = fromBase32(id.slice(1));
  return key?.length === 32 ? key : undefined;
}
