/**
 * How a voter changes the epoch: it admits, lets go, removes. Any of them may; they meet at the register. Others ask one of
 * them, so that a member whose key is stolen cannot write the epoch.
 *
 * I1  Every change is a compare-and-set on the epoch it was made for. When that has changed it is made anew, and only an
 *     attempt whose outcome is unknown is asked again, as the same request (R2 of spec/epoch.md).
 * I2  A use of a token stands in the epoch that admits the node. A node that has left has used its token for good; one
 *     whose join was given up has not.
 * I3  One change at a time (I4 of core/epoch.ts); all nodes that wait to be let in come with the next one.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { Log } from '../spec/log.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import * as change from './core/epoch-change.ts';
import { decodeEpoch, encodeEpoch } from './core/epoch-record.ts';
import { withWeight } from './core/epoch-weight.ts';
import { HashRing } from './core/hash-ring.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { REPLICA_COUNTS } from './core/kv-bucket.ts';
import { gains } from './core/kv-move.ts';
import { checkFacts, defaultWeight } from './core/member-facts.ts';
import { checkGrant, checkNode } from './core/revocation.ts';
import {
  checkJoinRequest,
  checkToken,
  decodeChain,
  type JoinGrant,
  type JoinRequest,
  TokenError,
} from './core/token.ts';
import { NO_ADDRESS } from './core/ways.ts';
import type { RegisterNode } from './register.ts';

/** How long one attempt waits for a quorum before it is asked again. */
const ATTEMPT_MS = 5_000;
/** Waiting for an earlier change of the epoch included. */
export const CHANGE_TIMEOUT_MS = 60_000;
/** Nodes that come with one change. */
const NEWCOMERS_MAX = 256;
/** Soon after a change that let nodes in the next one waits for company, as each is work for every node: until nobody has come */
const COMPANY_GAP_MS = 40;
/** for so long, but not longer than this since that change. */
const COMPANY_MS = 200;
/** While others are at the door it waits for them: until none of them has come in */
const DOOR_GAP_MS = 200;
/** for so long, but not longer than this. */
const DOOR_MS = 1_000;

export interface ProposerOptions {
  register: RegisterNode<Uint8Array>;
  clock: Clock;
  log: Log;
  /** Membership's word, a hint: who is dead or has left is not waited for. */
  isGone: (node: string) => boolean;
  /** Whether the node answers when it is asked. */
  answers: (node: string) => Promise<boolean>;
  /** Tries it. */
  canDial: (node: string, address: string) => Promise<boolean>;
  /** Whether somebody is about to ask for something who is not known yet. */
  isCalled: () => boolean;
}

/** The lattice does not take the node. Nothing was changed. */
export class JoinRefusedError extends AetherError {
  static override readonly code: string = 'ERR_RING_JOIN_REFUSED';
}

/** A majority of the voters has not answered. Whether the change was made is unknown. */
export class QuorumError extends AetherError {
  static override readonly code: string = 'ERR_RING_NO_QUORUM';
}

/** What comes of an epoch: the next one; `wait`: perhaps something, once it is settled; `none`: nothing. */
type Next = Epoch | 'wait' | 'none';

interface Waiting extends PromiseWithResolvers<void> {
  request: JoinRequest;
  grant: JoinGrant;
  facts: Omit<EpochMember, 'id' | 'tokens'>;
}

export class Proposer {
  readonly #options: ProposerOptions;
  #waiting: Waiting[] = [];
  #isAdmitting = false;
  /** Who is looked at before it waits. */
  #coming = 0;
  /** When the last of them were let in, and when the last one came. */
  #admittedMs = -Infinity;
  #cameMs = -Infinity;
  readonly #wakeOnChange = new Set<() => void>();
  readonly #stopping = new AbortController();

  constructor(options: ProposerOptions) {
    this.#options = options;
  }

  /**
   * Admits a node. Asked again for the same node with the same token, it answers as before.
   *
   * @throws TokenError, JoinRefusedError, QuorumError
   */
  async join(request: JoinRequest): Promise<void> {
    const epoch = this.#epoch();
    const token = decodeChain(request.chain);
    const signers = epoch.issuers.map(({ key }) => key);
    checkToken(token, epoch.lattice, signers, this.#options.clock.nowMs());
    checkJoinRequest(request, token);
    const isDialable = await this.#canDial(request);
    const facts = grantedFacts(request, token.grant, isDialable);
    const address = isDialable ? request.address : NO_ADDRESS;
    const waiting = {
      request,
      grant: token.grant,
      facts: { ...facts, address },
      ...Promise.withResolvers<void>(),
    };
    this.#waiting.push(waiting);
    this.#cameMs = this.#options.clock.monotonicMs();
    void this.#admit();
    return waiting.promise;
  }

  /**
   * Begins to let a node go.
   *
   * @throws EpochChangeError ERR_RING_LAST_VOTER, or ERR_RING_CHANGE_REFUSED while a node is gone
   * that would have to take over a part: nothing was changed. QuorumError.
   */
  async leave(node: string): Promise<void> {
    const silent = await this.#silent();
    return this.propose((epoch) => without(epoch, node, silent));
  }

  /** As `leave`, for a node that is gone and shall never come back. */
  async remove(node: string): Promise<void> {
    const silent = await this.#silent();
    return this.propose((epoch) => {
      const next = without(epoch, node, silent);
      return typeof next === 'string' ? next : { ...next, revoked: [...epoch.revoked, node] };
    });
  }

  /**
   * Gives a member another weight, and tokens accordingly.
   *
   * @throws AetherError ERR_RING_NODE_NOT_FOUND, ERR_RING_OPTION; EpochChangeError ERR_RING_CHANGE_REFUSED: nothing was
   * changed. QuorumError.
   */
  async weigh(node: string, weight: number): Promise<void> {
    const silent = await this.#silent();
    return this.propose((epoch) => {
      if (epoch.previous !== undefined) return 'wait';
      const next = withWeight(epoch, node, weight);
      return next === undefined ? 'none' : possible(next, silent);
    });
  }

  /**
   * Changes the epoch by what `make` makes of it, which may be called several times.
   *
   * @throws QuorumError; EpochChangeError ERR_RING_CHANGE_REFUSED when an earlier change was not settled in
   * time: nothing was changed; and what `make` throws.
   */
  async propose(make: (epoch: Epoch) => Next): Promise<void> {
    const { register, clock, log } = this.#options;
    const deadlineMs = clock.monotonicMs() + CHANGE_TIMEOUT_MS;
    const leftMs = (): number => deadlineMs - clock.monotonicMs();
    for (;;) {
      const epoch = this.#epoch();
      const under = register.configuration.number;
      const next = make(epoch);
      if (next === 'none') return;
      if (next === 'wait') {
        if (leftMs() <= 0) throw pendingTooLong(epoch);
        await this.#changed(leftMs());
        continue;
      }
      const id = register.requestId();
      const record = encodeEpoch(next);
      const asked = { kind: 'write', expected: epoch.number, under, record } as const;
      let outcome = await register.ask(asked, { id, timeoutMs: Math.min(ATTEMPT_MS, leftMs()) });
      while (outcome.kind === 'unknown' && leftMs() > 0 && !this.#stopping.signal.aborted)
        outcome = await register.ask(asked, { id, timeoutMs: Math.min(ATTEMPT_MS, leftMs()) }); // I1
      if (outcome.kind === 'unknown') throw this.#stopping.signal.aborted ? stopped() : noQuorum();
      if (outcome.kind === 'conflict') continue; // I1
      const { number } = next;
      log.info({ epoch: number, isPending: next.previous !== undefined }, 'the epoch changed');
      return;
    }
  }

  /** There is a new epoch. */
  epochChanged(): void {
    for (const wake of this.#wakeOnChange) wake();
  }

  close(): void {
    this.#stopping.abort();
    this.epochChanged();
  }

  async #canDial({ node, address }: JoinRequest): Promise<boolean> {
    this.#coming++;
    try {
      return await this.#options.canDial(node, address);
    } finally {
      this.#coming--;
    }
  }

  async #admit(): Promise<void> {
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    const { clock } = this.#options;
    while (this.#waiting.length > 0) {
      let admitted: Waiting[] = [];
      await this.#company();
      try {
        await this.propose((epoch) => {
          admitted = [];
          return this.#withNewcomers(epoch, admitted);
        });
        this.#answer(admitted, (waiting) => waiting.resolve());
        this.#admittedMs = clock.monotonicMs();
      } catch (error) {
        this.#answer([...this.#waiting], (waiting) => waiting.reject(error));
      }
    }
    this.#isAdmitting = false;
  }

  /** I3. @param admitted is filled with those who come with what is returned. */
  #withNewcomers(epoch: Epoch, admitted: Waiting[]): Next {
    const newcomers: change.Newcomer[] = [];
    for (const waiting of this.#waiting) {
      const { request, grant, facts } = waiting;
      if (newcomers.some(({ member }) => member.id === request.node)) {
        admitted.push(waiting);
        continue;
      }
      const members = [...epoch.members, ...newcomers.map(({ member }) => member)];
      const uses = [...epoch.uses, ...newcomers.map(({ use }) => use)];
      try {
        if (isIn({ ...epoch, members, uses }, grant, request.node)) {
          // It has missed our first answer: what it waits for may be what the epoch waits for.
          this.#answer([waiting], (each) => each.resolve());
          continue;
        }
      } catch (error) {
        this.#answer([waiting], (each) => each.reject(error));
        continue;
      }
      if (epoch.previous !== undefined || newcomers.length >= NEWCOMERS_MAX) continue;
      const tokens = allocateTokens(members, facts);
      const member = { id: request.node, ...facts, tokens };
      const { id, expiresSeconds } = grant;
      newcomers.push({ member, use: { token: id, node: request.node, expiresSeconds } }); // I2
      admitted.push(waiting);
    }
    if (this.#waiting.length > 0 && epoch.previous !== undefined) return 'wait';
    if (newcomers.length === 0) return 'none';
    return change.withMembers(epoch, newcomers, this.#options.clock.nowMs() / 1_000);
  }

  #answer(those: readonly Waiting[], answer: (waiting: Waiting) => void): void {
    this.#waiting = this.#waiting.filter((waiting) => !those.includes(waiting));
    for (const waiting of those) answer(waiting);
  }

  /** Members that are taken for dead, and do not answer when they are asked. */
  async #silent(): Promise<ReadonlySet<string>> {
    const { isGone, answers } = this.#options;
    const gone = this.#epoch()
      .members.map(({ id }) => id)
      .filter(isGone);
    const isThere = await Promise.all(gone.map(answers));
    return new Set(gone.filter((_, i) => isThere[i] !== true));
  }

  #epoch(): Epoch {
    return decodeEpoch(this.#options.register.known.state?.record as Uint8Array);
  }

  async #company(): Promise<void> {
    const { clock, isCalled } = this.#options;
    const begunMs = clock.monotonicMs();
    for (;;) {
      const isAtDoor = this.#coming > 0 || isCalled();
      const [untilMs, gapMs] = isAtDoor
        ? [begunMs + DOOR_MS, DOOR_GAP_MS]
        : [this.#admittedMs + COMPANY_MS, COMPANY_GAP_MS];
      const restMs = Math.min(untilMs, this.#cameMs + gapMs) - clock.monotonicMs();
      if (restMs <= 0 || this.#stopping.signal.aborted) return;
      await this.#pause(Math.min(restMs, COMPANY_GAP_MS));
    }
  }

  async #pause(restMs: number): Promise<void> {
    const { signal } = this.#stopping;
    if (restMs <= 0 || signal.aborted) return;
    await new Promise<void>((done) => {
      const over = (): void => {
        signal.removeEventListener('abort', over);
        cancel();
        done();
      };
      const cancel = this.#options.clock.after(restMs, over);
      signal.addEventListener('abort', over);
    });
  }

  async #changed(timeoutMs: number): Promise<void> {
    await new Promise<void>((done) => {
      const wake = (): void => {
        this.#wakeOnChange.delete(wake);
        cancel();
        done();
      };
      const cancel = this.#options.clock.after(timeoutMs, wake);
      this.#wakeOnChange.add(wake);
      if (this.#stopping.signal.aborted) wake();
    });
    if (this.#stopping.signal.aborted) throw stopped();
  }
}

function without(epoch: Epoch, node: string, silent: ReadonlySet<string>): Next {
  if (!isMember(epoch, node)) return 'none';
  if (epoch.previous !== undefined) return 'wait';
  return possible(change.withoutMember(epoch, node), silent);
}

/** @throws EpochChangeError when a node does not answer that would have to take over a part. */
function possible(next: Epoch, silent: ReadonlySet<string>): Epoch {
  const absent = next.members.find(({ id }) => isMissed(next, id, (node) => silent.has(node)));
  if (absent === undefined) return next;
  const { name } = absent;
  const why = `node ${name} is gone and would take over a part`;
  throw new change.EpochChangeError(
    `${why}: start it again, or put it out: aether cap revoke ${name}`,
    {
      hint: `start ${name} again first; of several that are lost for good, each is put out by aether cap revoke`,
    },
  );
}

/** True when the node is gone and would gain a part by the pending change. */
export function isMissed(epoch: Epoch, id: string, isGone: (node: string) => boolean): boolean {
  if (epoch.previous === undefined || !isGone(id)) return false;
  const [before, after] = [new HashRing(epoch.previous), new HashRing(epoch.members)];
  return gains(before, after, id, REPLICA_COUNTS).length > 0;
}

function isMember(epoch: Epoch, node: string): boolean {
  return epoch.members.some(({ id }) => id === node);
}

/**
 * Whether the node has come in with this token.
 *
 * @throws TokenError ERR_RING_TOKEN_USED, ERR_RING_TOKEN_REVOKED; AetherError ERR_RING_REVOKED; JoinRefusedError when it
 * cannot come in with it.
 */
function isIn(epoch: Epoch, grant: JoinGrant, node: string): boolean {
  const uses = epoch.uses.filter(({ token }) => isSameBytes(token, grant.id));
  const isUsed = uses.some((use) => use.node === node);
  checkNode(epoch, node);
  if (isUsed && isMember(epoch, node)) return true;
  checkGrant(epoch, grant);
  if (isUsed || uses.length >= grant.uses) {
    const why = isUsed
      ? 'the node came in with this token, and left'
      : `it was good for ${grant.uses}`;
    throw new TokenError(`the token is used up: ${why}`, {
      code: 'ERR_RING_TOKEN_USED',
      hint: 'mint a new one: aether cap mint join',
    });
  }
  if (isMember(epoch, node)) {
    throw new JoinRefusedError('a node with this key is a member already', {
      hint: 'start it on its own data folder; if that is lost, on an empty one: it gets a new key',
    });
  }
  return false;
}

/** What the node becomes: what it asks for, within what the token grants. */
function grantedFacts(
  request: JoinRequest,
  grant: JoinGrant,
  isDialable: boolean,
): Omit<EpochMember, 'id' | 'address' | 'tokens'> {
  const roles = request.roles ?? grant.roles;
  const extra = roles.find((role) => !grant.roles.includes(role));
  if (extra !== undefined) {
    throw new JoinRefusedError(`the token does not grant the role ${extra}`, {
      hint: `it grants ${grant.roles.join(', ')}; mint one with --role ${extra}`,
    });
  }
  const zone = request.zone ?? grant.zone;
  if (grant.zone !== undefined && zone !== grant.zone) {
    throw new JoinRefusedError(`the token is for zone ${grant.zone}, not ${zone}`, {
      hint: `start the node with --zone ${grant.zone}`,
    });
  }
  const { name, region } = request;
  const facts = {
    name,
    roles,
    // Who cannot be dialled comes and goes: it keeps no data unless it is told to.
    weight: request.weight ?? (isDialable ? defaultWeight(roles) : 0),
    ...(zone === undefined ? {} : { zone }),
    ...(region === undefined ? {} : { region }),
  };
  checkFacts(facts);
  return facts;
}

function pendingTooLong({ number }: Epoch): change.EpochChangeError {
  return new change.EpochChangeError(`the change of epoch ${number} is not over yet`, {
    hint: 'see aether ring status for the nodes that it waits for',
  });
}

function stopped(): AetherError {
  return new AetherError('the node stops', { code: 'ERR_RING_CLOSED' });
}

function noQuorum(): QuorumError {
  return new QuorumError('a majority of the voters of the epoch has not answered', {
    hint: 'start the voters that are down; asking again is asking once. See aether ring status',
  });
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
