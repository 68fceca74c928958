/**
 * The ring epoch: the numbered, signed record that alone decides where anything stateful lives.
 *
 * I1  A membership event (suspicion, death, return) never changes the epoch; only voters do, and only to end a change that
 *     was asked for, or to vote in the place of who has left.
 * I2  Numbers only grow, and one number has one content: each is made by compare-and-set of the one before (spec/epoch.md).
 * I3  A node uses an epoch only once its signature is verified and the record is durable on its disk.
 * I4  One change at a time: while `previous` is there, no other change is made.
 */

/** A member's place in the ring. */
export interface EpochMember {
  id: string;
  name: string;
  /** `host:port` as admitted, or `none` for who could not be dialled then; gossip may know a newer one. */
  address: string;
  zone?: string;
  region?: string;
  roles: string[];
  /** Share of the ring relative to the others; 0 = compute only. */
  weight: number;
  /** Positions on the ring (uint32), allocated at admission; none at weight 0. */
  tokens: number[];
}

/** A key that mints join tokens, renews and revokes. Its secret is with the voter that it is named with. */
export interface Issuer {
  node: string;
  /** 32 bytes. */
  key: Uint8Array;
}

/** That a node came in with a token. Kept for as long as the token could be shown again. */
export interface TokenUse {
  /** The token's id. */
  token: Uint8Array;
  node: string;
  /** When the token expires, in Unix seconds. */
  expiresSeconds: number;
}

/** A later root key of the lattice, signed by the one before. */
export interface RootKey {
  key: Uint8Array;
  signature: Uint8Array;
}

export interface Epoch {
  number: number;
  /** The lattice's id. */
  lattice: string;
  members: EpochMember[];
  /** Members of the last settled epoch while a change is pending. */
  previous?: EpochMember[];
  /** Ids of the nodes that decide on the epoch by majority, as the register names them (W2 of spec/epoch.md). */
  voters: string[];
  issuers: Issuer[];
  uses: TokenUse[];
  /** Ids of nodes that may never come back. */
  revoked: string[];
  /** None: the root is the key that the lattice is named after. */
  roots: RootKey[];
}
