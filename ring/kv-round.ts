/**
 * One round of a distributed operation: a question to several nodes, counted until it is decided.
 */
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import type { PlacementCache } from './core/kv-placement.ts';
import type { Misplaced } from './kv-replica.ts';
import type { Rpc } from './rpc.ts';

export interface Question<Answer> {
  method: string;
  body: object;
  /** The epoch that `nodes` were taken from. */
  epoch: number;
  /** In the order in which to ask them. */
  nodes: readonly string[];
  /** Asked at once; the others when one of these fails or is slow. Default: all. */
  first?: number;
  deadlineMs: number;
  count: Count;
  /** @returns why the answer does not count; undefined when it does. */
  heard(answer: Answer, node: string): Refusal | undefined;
  /** A node has not answered by the end of the round, and may do what was asked, or have done it. */
  lost?(): void;
}

/** Decides when a round has answers enough. */
export interface Count {
  readonly state: 'open' | 'met' | 'missed';
  accept(node: string): void;
  fail(node: string): void;
}

export interface Refusal {
  why: string;
  /** Asking again with what was learnt does better than waiting for the others. */
  isStale?: boolean;
}

export interface Round {
  state: 'met' | 'missed';
  /** The question's. */
  epoch: number;
  /** A node has a newer epoch than the question's. */
  newer: { epoch: number; node: string } | undefined;
  /** A node has not heard yet of the question's epoch. */
  isEarly: boolean;
  /** Why nodes did not count. */
  reasons: string[];
}

export interface RoundsOptions {
  rpc: Rpc;
  clock: Clock;
  placements: PlacementCache;
  learn(epoch: number, from: string): Promise<void>;
  /** How long a node may keep the others waiting. */
  hedgeMs: number;
}

/** What is said between a node that is just joining and one that it is to speak with. */
const EARLY: ReadonlySet<string> = new Set(['ERR_RING_NOT_MEMBER', 'ERR_RING_CERTIFICATE_NONE']);

export class Rounds {
  readonly #options: RoundsOptions;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  /** Resolves as soon as the count is met or cannot be met any more. */
  ask<Answer extends object>(question: Question<Answer>): Promise<Round> {
    const { clock, hedgeMs } = this.#options;
    const { count } = question;
    const { epoch } = question;
    const round: Round = {
      state: 'missed',
      epoch,
      newer: undefined,
      isEarly: false,
      reasons: [],
    };
    const waiting = [...question.nodes];
    const timers: (() => void)[] = [];
    let unanswered = 0;
    let isOver = false;

    return new Promise((resolve) => {
      const end = (): void => {
        isOver = true;
        for (const cancel of timers) cancel();
        if (unanswered > 0) question.lost?.();
        resolve(round);
      };
      const decide = (): boolean => {
        if (count.state === 'open') return false;
        round.state = count.state;
        end();
        return true;
      };
      const refused = (node: string, { why, isStale }: Refusal): void => {
        round.reasons.push(`${node.slice(0, 8)}: ${why}`);
        count.fail(node);
        if (decide()) return;
        send(1);
        if (isStale === true) timers.push(clock.after(hedgeMs, end));
      };
      const put = async (node: string): Promise<void> => {
        unanswered++;
        const refusal = await this.#call(node, question, round);
        unanswered--;
        if (isOver) return;
        if (refusal !== undefined) refused(node, refusal);
        else {
          count.accept(node);
          decide();
        }
      };
      const send = (nodes: number): void => {
        for (const node of waiting.splice(0, nodes)) void put(node);
      };
      if (decide()) return;
      send(question.first ?? waiting.length);
      if (waiting.length > 0) timers.push(clock.after(hedgeMs, () => send(waiting.length)));
    });
  }

  /**
   * Brings this node to the epoch of the others, or gives them a moment to come to ours.
   *
   * @returns whether asking again may do better.
   */
  async caughtUp({ epoch, newer, isEarly }: Round): Promise<boolean> {
    const { placements, clock, hedgeMs } = this.#options;
    // Who was to answer may have left with the epoch meanwhile.
    if (placements.current().epoch.number > epoch) return true;
    if (newer !== undefined) {
      await this.#options.learn(newer.epoch, newer.node);
      return placements.current().epoch.number >= newer.epoch;
    }
    if (isEarly) await new Promise<void>((wake) => clock.after(hedgeMs, wake));
    return isEarly;
  }

  async #call<Answer extends object>(
    node: string,
    question: Question<Answer>,
    round: Round,
  ): Promise<Refusal | undefined> {
    const { rpc, clock } = this.#options;
    const timeoutMs = Math.max(1, question.deadlineMs - clock.monotonicMs());
    const body = { ...question.body, epoch: question.epoch };
    let answer: Answer | Misplaced;
    try {
      answer = (await rpc.call(node, question.method, body, { timeoutMs })) as Answer | Misplaced;
    } catch (error) {
      const code = AetherError.is(error) ? error.code : 'ERR_INTERNAL';
      if (EARLY.has(code)) round.isEarly = true;
      else if (code !== 'ERR_RING_UNREACHABLE') question.lost?.();
      return { why: code };
    }
    if (!('misplaced' in answer)) return question.heard(answer, node);
    const epoch = answer.misplaced;
    if (epoch <= question.epoch) {
      round.isEarly = true;
      return { why: `it is still in epoch ${epoch}` };
    }
    if (epoch > (round.newer?.epoch ?? 0)) round.newer = { epoch, node };
    return { why: `it is in epoch ${epoch} already`, isStale: true };
  }
}
