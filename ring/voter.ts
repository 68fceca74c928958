/**
 * The node that changes the epoch: admits, settles, lets go.
 *
 * I1  One change at a time: the next waits until the epoch is settled (I4 of core/epoch.ts).
 * I2  A use of a token stands in the epoch it led to, so they become durable together, before anybody hears of it.
 * I3  A change is settled when all who hold a part of the new ring say that their part is whole. Who is
 *     gone is not waited for if it gains nothing: it has what it had.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { Log } from '../spec/log.ts';
import type { Random } from '../spec/random.ts';
import type { Epoch, EpochMember, Issuer } from './core/epoch.ts';
import * as change from './core/epoch-change.ts';
import { encodeEpoch, epochMessage, type VoterCertificate } from './core/epoch-record.ts';
import { HashRing } from './core/hash-ring.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { REPLICA_COUNTS } from './core/kv-bucket.ts';
import { gains } from './core/kv-move.ts';
import { checkFacts, defaultWeight } from './core/member-facts.ts';
import {
  checkJoinRequest,
  checkToken,
  decodeChain,
  type JoinGrant,
  type JoinRequest,
  TokenError,
} from './core/token.ts';
import { NO_ADDRESS } from './core/ways.ts';
import type { EpochKeeper } from './io/epoch-keeper.ts';
import type { SigningKey } from './io/keys.ts';

export interface VoterOptions {
  self: string;
  key: SigningKey;
  certificate: VoterCertificate;
  keeper: EpochKeeper;
  clock: Clock;
  random: Random;
  log: Log;
  /** Membership's word, a hint: who is dead or has left is not waited for. */
  isGone(node: string): boolean;
  /** Tries it. */
  canDial(node: string, address: string): Promise<boolean>;
}

/** The lattice does not take the node. Nothing was changed. */
export class JoinRefusedError extends AetherError {
  static override readonly code: string = 'ERR_RING_JOIN_REFUSED';
}

export class Voter {
  readonly #options: VoterOptions;
  /** Whose part is whole in the epoch of this number. */
  #done: { number: number; nodes: Set<string> } = { number: 0, nodes: new Set() };
  #lastChange: Promise<unknown> = Promise.resolve();
  #wakeOnSettled: (() => void)[] = [];

  constructor(options: VoterOptions) {
    this.#options = options;
  }

  /** The first epoch of a lattice: this node alone. */
  found(lattice: string, founder: EpochMember, issuer: Issuer): void {
    this.#publish(change.foundingEpoch(lattice, founder, issuer));
  }

  /**
   * Admits a node. Asked again for the same node with the same token, it answers as before.
   *
   * @throws TokenError, JoinRefusedError
   */
  async join(request: JoinRequest): Promise<void> {
    const { keeper, clock } = this.#options;
    const token = decodeChain(request.chain);
    const signers = keeper.epoch.issuers.map(({ key }) => key);
    checkToken(token, keeper.epoch.lattice, signers, clock.nowMs());
    checkJoinRequest(request, token);
    this.#checkUses(token.grant, request.node);
    // It has missed our first answer: what it waits for may be what the epoch waits for.
    if (this.#isMember(request.node)) return;
    const isDialable = await this.#options.canDial(request.node, request.address);
    const facts = grantedFacts(request, token.grant, isDialable);
    const address = isDialable ? request.address : NO_ADDRESS;
    await this.#inTurn(() => {
      this.#checkUses(token.grant, request.node);
      if (this.#isMember(request.node)) return;
      const tokens = allocateTokens(keeper.epoch.members, facts);
      const member = { id: request.node, address, ...facts, tokens };
      const { id, expiresSeconds } = token.grant;
      const use = { token: id, node: request.node, expiresSeconds };
      this.#publish(change.withMember(keeper.epoch, member, use)); // I2
    });
  }

  /**
   * Begins to let a node go.
   *
   * @throws EpochChangeError ERR_RING_LAST_VOTER, or ERR_RING_CHANGE_REFUSED while a node is gone
   * that would have to take over a part: nothing was changed.
   */
  async leave(node: string): Promise<void> {
    await this.#inTurn(() => {
      const { epoch } = this.#options.keeper;
      if (!this.#isMember(node)) return;
      const next = change.withoutMember(epoch, node);
      const absent = next.members.find((member) => this.#isMissed(next, member));
      if (absent !== undefined) {
        throw new change.EpochChangeError(
          `node ${absent.name} is gone and would take over a part`,
          {
            hint: `start ${absent.name} again first`,
          },
        );
      }
      this.#publish(next);
    });
  }

  /** The node's part is whole in the epoch of this number. */
  done(node: string, number: number): void {
    if (number !== this.#options.keeper.number) return;
    if (this.#done.number !== number) this.#done = { number, nodes: new Set() };
    this.#done.nodes.add(node);
    this.review();
  }

  /** Looks whether the pending change can be settled, or must be given up. */
  review(): void {
    const { keeper, log } = this.#options;
    const isGone = (node: string): boolean => this.#options.isGone(node);
    const { epoch } = keeper;
    if (epoch.previous === undefined) return;
    const lost = change.joining(epoch).find(({ id }) => isGone(id))?.id;
    if (lost !== undefined) {
      log.warn(
        { node: lost, epoch: epoch.number },
        'a node died while it joined; it is not admitted',
      );
      this.#publish(change.reverted(epoch));
      return;
    }
    const isWhole = epoch.members
      .filter(({ tokens }) => tokens.length > 0)
      .every((member) => {
        const isDone = this.#done.number === epoch.number && this.#done.nodes.has(member.id);
        return isDone || (isGone(member.id) && !this.#isMissed(epoch, member));
      });
    if (isWhole) this.#publish(change.settled(epoch)); // I3
  }

  /** True when the member is gone and would gain a part by the change. */
  #isMissed(epoch: Epoch, { id }: EpochMember): boolean {
    if (epoch.previous === undefined || !this.#options.isGone(id)) return false;
    return (
      gains(new HashRing(epoch.previous), new HashRing(epoch.members), id, REPLICA_COUNTS).length >
      0
    );
  }

  /** Runs the change once all earlier ones are settled (I1). */
  #inTurn(make: () => void): Promise<void> {
    const before = this.#lastChange;
    const turn = (async () => {
      await before;
      while (this.#options.keeper.epoch.previous !== undefined)
        await new Promise<void>((wake) => this.#wakeOnSettled.push(wake));
      make();
    })();
    this.#lastChange = turn.catch(() => {});
    return turn;
  }

  #publish(epoch: Epoch): void {
    const { self, key, certificate, keeper, log } = this.#options;
    const record = encodeEpoch(epoch);
    const signature = key.sign(epochMessage(record));
    const signed = { record, signatures: [{ node: self, signature }], certificates: [certificate] };
    keeper.adopt(signed, epoch.lattice);
    log.info({ epoch: epoch.number, isPending: epoch.previous !== undefined }, 'the epoch changed');
    if (epoch.previous === undefined) for (const wake of this.#wakeOnSettled.splice(0)) wake();
  }

  #isMember(node: string): boolean {
    return this.#options.keeper.epoch.members.some(({ id }) => id === node);
  }

  #checkUses(grant: JoinGrant, node: string): void {
    const uses = this.#options.keeper.epoch.uses
      .filter(({ token }) => isSameBytes(token, grant.id))
      .map((use) => use.node);
    if (!uses.includes(node) && uses.length >= grant.uses) {
      throw new TokenError(`the token was good for ${grant.uses} and is used up`, {
        code: 'ERR_RING_TOKEN_USED',
        hint: 'mint a new one: aether cap mint join',
      });
    }
    if (this.#isMember(node) && !uses.includes(node)) {
      throw new JoinRefusedError('a node with this key is a member already', {
        hint: 'start it on its own data folder; if that is lost, on an empty one: it gets a new key',
      });
    }
  }
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
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
