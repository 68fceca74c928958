/**
 * How this node takes part in changing the epoch: it votes or asks a voter, and serves others who ask.
 *
 * A voter proposes and sees to what is due (proposer.ts, steward.ts); every node has the register open, as it may be elected.
 */
import { join } from 'node:path';
import { AetherError, errorBody } from '../spec/error.ts';
import type { Assembly } from './assembly.ts';
import { Authority } from './authority.ts';
import { everyVoter } from './core/configuration.ts';
import { EpochChangeError, joining, participants } from './core/epoch-change.ts';
import { epochGroup, isEpochRecord, type SignedEpoch } from './core/epoch-record.ts';
import { type JoinRequest, toJoinRequest } from './core/token.ts';
import { IdentityError } from './io/certificate.ts';
import { openKeyFile } from './io/keys.ts';
import { JOIN, type JoinAnswer, toJoinAnswer } from './join.ts';
import { CHANGE_TIMEOUT_MS, Proposer, QuorumError } from './proposer.ts';
import { RegisterNode } from './register.ts';
import { RpcError } from './rpc.ts';
import { Steward } from './steward.ts';

const RELAY = 'join.relay';
const LEAVE = 'ring.leave';
const REMOVE = 'ring.remove';
const WEIGH = 'ring.weigh';
const DONE = 'epoch.done';
const ISSUER = 'voter.issuer';
/** Any call will do: an answer that refuses is one. */
const PING = 'epoch.get';
/** A node that answers at all does so within this. */
const PING_TIMEOUT_MS = 2_000;
const UNANSWERED: ReadonlySet<string> = new Set(['ERR_RING_UNREACHABLE', 'ERR_RING_TIMEOUT']);
const RETRY_MS = 500;

/**
 * `waiting`: since its start it has not heard what the others know of it (B2 of spec/epoch.md); `refused`: its disk is an old
 * one (B6); `stopped`: its store has failed.
 */
export type VoterStanding = RegisterNode<Uint8Array>['standing'];

export interface EpochChangesOptions {
  node: Assembly;
  /** Membership's word, a hint. A suspect counts as alive. */
  isAlive: (node: string) => boolean;
  /** B6: this node's disk is an old one. Called once at most. */
  refused: (error: DiskError) => void;
}

/** The disk of a voter is older than what it has said to others. It votes no more, and nothing was changed. */
export class DiskError extends AetherError {
  static override readonly code: string = 'ERR_RING_DISK_OLD';
}

export class EpochChanges {
  readonly authority: Authority;
  readonly #options: EpochChangesOptions;
  readonly #node: Assembly;
  readonly #self: string;
  readonly #lattice: string;
  readonly #register: RegisterNode<Uint8Array>;
  readonly #proposer: Proposer;
  readonly #steward: Steward;
  /** The other nodes have heard of the newest epoch that this node made. */
  #isSpread: Promise<void> = Promise.resolve();
  /** The node votes, or never will. */
  readonly #standing = Promise.withResolvers<void>();
  #isClosed = false;

  constructor(options: EpochChangesOptions) {
    const { node, isAlive } = options;
    const { peers, keeper, clock, log } = node;
    this.#options = options;
    this.#node = node;
    this.#self = peers.self;
    this.#lattice = keeper.epoch.lattice;
    const isGone = (id: string): boolean => !isAlive(id);
    this.#register = this.#openRegister();
    this.#proposer = new Proposer({
      register: this.#register,
      clock,
      log,
      isGone,
      answers: (id) => this.#answers(id),
      canDial: (id, at) => peers.reaches(id, at),
      isCalled: () => peers.isCalled,
    });
    const changes = { register: this.#register, proposer: this.#proposer };
    this.authority = new Authority({ ...node, ...changes, self: this.#self });
    this.#steward = new Steward({
      self: this.#self,
      register: this.#register,
      proposer: this.#proposer,
      clock,
      log,
      epoch: () => keeper.epoch,
      isGone,
      answers: (id) => this.#answers(id),
      issuerOf: async (id) =>
        (await peers.call(id, ISSUER, null, { timeoutMs: PING_TIMEOUT_MS })) as Uint8Array,
    });
  }

  /** What others ask of a node that changes the epoch. */
  serve(): void {
    const { peers, data } = this.#node;
    peers.serveGuests(JOIN, (body, from) => this.#admit(body, from));
    peers.serve(RELAY, (body) => this.#admitHere(toJoinRequest(body)));
    peers.serve(LEAVE, (_body, from) => this.#proposer.leave(from));
    peers.serve(REMOVE, (body) => this.#removeHere(String(body)));
    peers.serve(WEIGH, (body) => {
      const [node, weight] = body as [unknown, unknown];
      return this.#proposer.weigh(String(node), Number(weight));
    });
    peers.onCast(DONE, (body, from) => this.#steward.report(from, Number(body)));
    peers.serve(ISSUER, () => openKeyFile(join(data, 'issuer.key')).publicKey);
  }

  /** The node uses a new epoch. */
  epochChanged(): void {
    this.#register.learn((this.#node.keeper.signed as SignedEpoch).certificate);
    this.#proposer.epochChanged();
    this.#steward.look();
  }

  /** A member has come, gone or returned. */
  membersChanged(): void {
    this.#steward.look();
  }

  /** Says to all voters that this node's part is whole in the epoch of this number. */
  report(number: number): void {
    for (const voter of this.#voters())
      if (voter === this.#self) this.#steward.report(voter, number);
      else if (this.#options.isAlive(voter)) this.#node.peers.cast(voter, DONE, number);
  }

  /** Whom the pending change waits for; undefined: this node does not vote, and does not hear that. */
  get awaited(): string[] | undefined {
    const isVoter = this.#voters().includes(this.#self);
    return isVoter ? this.#steward.awaited(this.#node.keeper.epoch) : undefined;
  }

  /** Fulfilled when this node votes again (B2), or never will (B6); at once when it is no voter. */
  async registered(): Promise<void> {
    if (everyVoter(this.#register.configuration).includes(this.#self)) await this.#standing.promise;
  }

  /** Whether this voter counts; undefined: it is none. */
  get standing(): VoterStanding | undefined {
    const { standing, configuration } = this.#register;
    return everyVoter(configuration).includes(this.#self) ? standing : undefined;
  }

  /** @throws DiskError ERR_RING_DISK_OLD when this node's disk is known to be an old one (B6). */
  checkDisk(): void {
    if (this.#register.standing === 'refused') throw diskOld();
  }

  /** Asking again is asking once: what became of a request without an answer is found out so. */
  async leave(): Promise<void> {
    const { clock, keeper } = this.#node;
    const deadlineMs = clock.monotonicMs() + CHANGE_TIMEOUT_MS;
    while (keeper.epoch.members.some(({ id }) => id === this.#self)) {
      try {
        await this.#askVoters(LEAVE, null);
        return;
      } catch (error) {
        if (errorBody(error).code === 'ERR_RING_NOT_MEMBER') return;
        const mayBeDone = error instanceof QuorumError && isUnknown(error.cause);
        if (!mayBeDone || this.#isClosed || clock.monotonicMs() >= deadlineMs) throw error;
        await new Promise<void>((wake) => clock.after(RETRY_MS, wake));
      }
    }
  }

  async remove(node: string): Promise<void> {
    await this.#askVoters(REMOVE, node);
  }

  async weigh(node: string, weight: number): Promise<void> {
    await this.#askVoters(WEIGH, [node, weight]);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#standing.resolve();
    this.#steward.close();
    this.#proposer.close();
    await this.#register.close();
  }

  /** Lets a node in. */
  async #admit(body: unknown, from: string): Promise<JoinAnswer> {
    const request = toJoinRequest(body);
    if (request.node !== from) {
      throw new IdentityError('a node asks to join in the name of another', {
        hint: 'a node joins with its own key',
      });
    }
    return toJoinAnswer(await this.#askVoters(RELAY, request));
  }

  async #admitHere(request: JoinRequest): Promise<JoinAnswer> {
    const { keeper, certificates } = this.#node;
    await this.#proposer.join(request);
    // The newcomer calls them as soon as it has our answer: they should know it by then.
    await this.#isSpread;
    const certificate = certificates.first(request.node);
    const signed = keeper.signed as SignedEpoch;
    return certificate === undefined ? { signed } : { signed, certificate };
  }

  async #removeHere(node: string): Promise<void> {
    if (this.#options.isAlive(node) || (await this.#answers(node))) {
      throw new EpochChangeError(`node ${node} is alive`, {
        code: 'ERR_RING_NODE_ALIVE',
        hint: 'let it leave by itself: aether node leave; or stop it, and wait until it is dead',
      });
    }
    await this.#proposer.remove(node);
  }

  /**
   * Asks for a change: any voter makes it. The first that lives is asked first, as one that takes all requests does not
   * duel with others, and lets those in together who wait. What is asked here can be asked of several: that is asking once.
   *
   * @throws QuorumError when none answers; its cause says whether one may have done it. What a voter says.
   */
  async #askVoters(method: string, body: unknown): Promise<unknown> {
    const { peers } = this.#node;
    const voters = this.#voters();
    const living = voters.filter((node) => node === this.#self || this.#options.isAlive(node));
    const rest = voters.filter((node) => !living.includes(node));
    let cause: unknown;
    for (const voter of [...living, ...rest]) {
      try {
        return await peers.call(voter, method, body, { timeoutMs: CHANGE_TIMEOUT_MS });
      } catch (error) {
        if (this.#isClosed || !(error instanceof RpcError || isStopping(error))) throw error;
        cause = isUnknown(cause) ? cause : error;
      }
    }
    throw new QuorumError('no voter of the epoch can be reached', {
      hint: 'start the voters that are down; see aether ring status',
      cause,
    });
  }

  /** Those of the epoch, and those that are about to be. */
  #voters(): string[] {
    const { voters } = this.#node.keeper.epoch;
    return [...new Set([...voters, ...everyVoter(this.#register.configuration)])];
  }

  #openRegister(): RegisterNode<Uint8Array> {
    const { peers, keeper, key, acceptors, isVouched, clock, random, log } = this.#node;
    const { founder, certificate } = keeper.signed as SignedEpoch;
    const { value, ...known } = certificate;
    return new RegisterNode<Uint8Array>({
      group: epochGroup(this.#lattice),
      peers,
      store: acceptors,
      clock,
      random,
      log,
      known: { ...known, state: value },
      isVouched,
      sign: (message) => key.sign(message),
      isRecord: isEpochRecord,
      mayPropose: (node) => this.#voters().includes(node),
      standingChanged: (standing) => this.#standingChanged(standing),
      committed: (made) => this.#committed({ founder, certificate: made }),
    });
  }

  #standingChanged(standing: string): void {
    if (standing === 'voting' || standing === 'refused') this.#standing.resolve();
    if (standing !== 'refused' || this.#isClosed) return;
    const error = diskOld();
    this.#node.log.error({ error: errorBody(error) }, error.message);
    // Not while whoever hears of it is being made.
    queueMicrotask(() => this.#options.refused(error));
  }

  /** This node has seen an epoch committed that others may not have heard of. */
  #committed(signed: SignedEpoch): void {
    const { keeper, peers, log } = this.#node;
    const before = keeper.epoch;
    try {
      keeper.adopt(signed, this.#lattice);
    } catch (error) {
      log.error({ error: errorBody(error) }, 'an epoch was committed that is not proven');
      return;
    }
    const { epoch } = keeper;
    if (epoch.number === before.number) return;
    const first = [...joining(epoch), ...participants(before)].map(({ id }) => id);
    this.#isSpread = keeper.spread(peers, first);
  }

  /** Whether the node is there, whatever membership says. */
  async #answers(node: string): Promise<boolean> {
    try {
      await this.#node.peers.call(node, PING, null, { timeoutMs: PING_TIMEOUT_MS });
      return true;
    } catch (error) {
      return !UNANSWERED.has(errorBody(error).code);
    }
  }
}

function diskOld(): DiskError {
  return new DiskError(
    'the data folder is older than what this node has promised to others, or a copy',
    {
      hint: 'put the newest folder back; or remove this node (aether node remove) and join as a new one on an empty folder',
    },
  );
}

/** Whether what was asked may have been done. */
function isUnknown(error: unknown): boolean {
  return isStopping(error) || (error instanceof RpcError && error.code === 'ERR_RING_TIMEOUT');
}

/** The voter that was asked has stopped over it. */
function isStopping(error: unknown): boolean {
  return AetherError.is(error) && error.code === 'ERR_RING_CLOSED';
}
