/** How a node gets into a lattice: it asks whoever it can reach, and checks what it is answered. */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { Log } from '../spec/log.ts';
import type { Random } from '../spec/random.ts';
import { equal } from './core/canonical.ts';
import { decodeEpoch, openEpoch, type SignedEpoch, toSignedEpoch } from './core/epoch-record.ts';
import { rootKeys } from './core/root-key.ts';
import {
  joinMessage,
  type JoinRequest,
  type JoinToken,
  keyTag,
  latticeTag,
  parseTokenText,
  TokenError,
} from './core/token.ts';
import { keyFromSeed, type SigningKey } from './io/keys.ts';
import type { Peers } from './io/peers.ts';
import { UnansweredError } from './io/secure-socket.ts';
import { CHANGE_TIMEOUT_MS } from './proposer.ts';

export const JOIN = 'join';
/** How long it is tried where nobody is; who is there and has no time for us is waited for as long as the caller says. */
const NOBODY_MS = 15_000;
/** Rests, doubled, each up to half as long again: many may be started at once. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 4_000;

/** Of members that have no time for us at the moment. */
const BUSY: ReadonlySet<string> = new Set([
  'ERR_RING_TIMEOUT',
  'ERR_RING_NO_QUORUM',
  'ERR_RING_BUSY',
]);
/** Refusals that may be over in a moment. */
const PASSING: ReadonlySet<string> = new Set([
  ...BUSY,
  'ERR_RING_UNREACHABLE',
  'ERR_RING_SEEDS_NOT_FOUND',
]);

/** What a node is answered that is let in. */
export interface JoinAnswer {
  signed: SignedEpoch;
  /** Its first certificate, core/node-certificate.ts; none: it asks for one itself. */
  certificate?: Uint8Array;
}

/** A value from the wire as such an answer. @throws EpochError when it is none. */
export function toJoinAnswer(value: unknown): JoinAnswer {
  const { signed, certificate } = (value ?? {}) as Partial<Record<keyof JoinAnswer, unknown>>;
  return {
    signed: toSignedEpoch(signed),
    ...(certificate instanceof Uint8Array ? { certificate } : {}),
  };
}

export interface JoinOptions {
  clock: Clock;
  random: Random;
  log: Log;
  /** How long members are asked that are there and do not get round to it. */
  patienceMs: number;
}

export type JoinFacts = Omit<JoinRequest, 'chain' | 'proof' | 'consent'>;

/**
 * Asks to be let in at each address in turn, and then looks the addresses up again, after rests that grow.
 *
 * @returns the epoch that has this node in it, proven to be of the token's lattice.
 * @throws TokenError, JoinRefusedError or another refusal, as the lattice gave it; the last failure
 * when none could be reached.
 */
export async function askToJoin(
  peers: Peers,
  seeds: () => Promise<readonly string[]>,
  tokenText: string,
  key: SigningKey,
  facts: JoinFacts,
  { clock, random, log, patienceMs }: JoinOptions,
): Promise<JoinAnswer & { lattice: string }> {
  const { chain, seed, token } = parseTokenText(tokenText);
  const unsigned = { ...facts, chain };
  const message = joinMessage(unsigned);
  const request: JoinRequest = {
    ...unsigned,
    proof: keyFromSeed(seed).sign(message),
    consent: key.sign(message),
  };
  // Nodes may be started all at once: who asks us before we are in is to ask again.
  peers.serveGuests(JOIN, () => {
    throw new AetherError('this node is not in the lattice itself yet', {
      code: 'ERR_RING_BUSY',
      hint: 'ask again in a moment',
    });
  });
  const begunMs = clock.monotonicMs();
  /** When somebody was there last. */
  let metMs = begunMs;
  let restMs = RETRY_MS;
  let failure: AetherError | undefined;
  let refusal: AetherError | undefined;
  const failed = (error: unknown, address?: string): void => {
    if (!AetherError.is(error)) throw error;
    if (!PASSING.has(error.code)) {
      // One address that was found may be anybody's; another may let us in.
      refusal ??= error;
      return;
    }
    if (error instanceof UnansweredError || BUSY.has(error.code)) metMs = clock.monotonicMs();
    if (error.message !== failure?.message)
      log.info({ address, code: error.code }, `not joined yet: ${error.message}`);
    failure = error;
  };
  for (;;) {
    const addresses = await seeds().catch((error: unknown) => {
      failed(error);
      return [];
    });
    for (const address of addresses) {
      try {
        const answer = await peers.callAddress(address, JOIN, request, {
          timeoutMs: CHANGE_TIMEOUT_MS,
        });
        return proven(answer.body, token);
      } catch (error) {
        failed(error, address);
      }
    }
    if (refusal !== undefined) throw refusal;
    const nowMs = clock.monotonicMs();
    if (nowMs >= Math.min(begunMs + patienceMs, metMs + NOBODY_MS)) throw failure;
    const restedMs = restMs * (1 + random.next() / 2);
    restMs = Math.min(RETRY_MS_MAX, restMs * 2);
    await new Promise<void>((wake) => clock.after(restedMs, wake));
  }
}

function proven(body: unknown, token: JoinToken): JoinAnswer & { lattice: string } {
  const answer = toJoinAnswer(body);
  const { signed } = answer;
  const { lattice } = decodeEpoch(signed.certificate.value.record);
  const own = latticeTag(lattice);
  if (!equal(own, token.lattice)) {
    throw new TokenError('the answer is of another lattice than the token', {
      code: 'ERR_RING_TOKEN_WRONG_LATTICE',
      hint: 'use the address of a node of the lattice that minted the token',
    });
  }
  const epoch = openEpoch(signed, lattice);
  if (!rootKeys(epoch).some((key) => equal(keyTag(key), token.grant.root))) {
    throw new TokenError('the answer is not proven by the root that the token names', {
      code: 'ERR_RING_ROOT_FORGED',
      hint: 'somebody with an earlier root key of the lattice may answer at this address',
    }); // Q3 of core/root-key.ts
  }
  return { ...answer, lattice };
}
