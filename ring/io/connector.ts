/**
 * Finds a way to a node and opens a link on it: directly, by asking who cannot be dialled but has a link with us, or through a
 * relay; each as soon as the one before has failed or had its head start.
 */
import type { Clock } from '../../spec/clock.ts';
import { errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import type { Lane } from '../core/traffic.ts';
import { isDialable, relayOf } from '../core/ways.ts';
import { RpcError } from '../rpc.ts';
import type { Dialled } from './dial.ts';
import { type Dialler, HEAD_START_MS } from './dialler.ts';
import { firstOf, NOT_NEEDED } from './first-of.ts';
import type { Link, Whose } from './link.ts';

/** What the connector is built into. */
export interface ConnectorOptions {
  dialler: Dialler;
  clock: Clock;
  log: Log;
  openLink: (node: string, lane: Lane) => Link | undefined;
  adopt: (dialled: Dialled, whose: Whose) => Link;
  /** Has the node open a bulk link. @throws AetherError when it cannot. */
  askBack: (node: string) => Promise<unknown>;
}

/** The same reason is logged again after this long. */
const LOGGED_AGAIN_MS = 60_000;

type Attempt = (signal: AbortSignal) => Promise<Link>;

export class Connector {
  readonly #options: ConnectorOptions;
  /** By what is being tried; two who want the same wait for the same. */
  readonly #underWay = new Map<string, Promise<Link>>();
  /** By node: why it was not connected when that was logged last. */
  readonly #logged = new Map<string, { code: string; atMs: number }>();
  #isClosed = false;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /** The open link, or a new one. @throws RpcError ERR_RING_UNREACHABLE. */
  async link(node: string, lane: Lane): Promise<Link> {
    const open = this.#options.openLink(node, lane);
    if (open === undefined) return this.#once(`${lane} ${node}`, () => this.#connect(node, lane));
    this.tryDirect(open);
    return open;
  }

  /** A relayed link is replaced as soon as there is a direct way; its relay ends it when it is not used any more. */
  tryDirect({ peer, lane, via }: Link): void {
    if (via === undefined || this.#isClosed) return;
    const [address] = this.#directTo(peer);
    if (address === undefined) return;
    this.#once(`direct ${lane} ${peer}`, () => this.#open(peer, address, lane)).catch(() => {});
  }

  /** Opens a bulk link to who asks for it. @throws AetherError when there is no direct way. */
  async callBack(node: string): Promise<void> {
    const attempts = this.#directTo(node).map((address): Attempt => {
      return (signal) => this.#open(node, address, 'bulk', signal);
    });
    if (attempts.length === 0) throw unreachable(node, 'no direct way to it is known');
    await this.#once(`back ${node}`, () => this.#first(attempts));
  }

  /** Opens no more links. @returns when those under way are open or given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#underWay.values());
  }

  async #once(what: string, work: () => Promise<Link>): Promise<Link> {
    const underWay = this.#underWay.get(what) ?? work();
    this.#underWay.set(what, underWay);
    try {
      return await underWay;
    } finally {
      if (this.#underWay.get(what) === underWay) this.#underWay.delete(what);
    }
  }

  async #connect(node: string, lane: Lane): Promise<Link> {
    if (this.#isClosed) throw unreachable(node, 'this node stops');
    const attempts = this.#attempts(node, lane);
    if (attempts.length === 0) throw unreachable(node, 'its address is not known');
    try {
      return await this.#first(attempts);
    } catch (error) {
      const { code, message } = errorBody(error);
      if (code !== 'ERR_RING_UNREACHABLE') this.#complain(node, code, message);
      throw unreachable(node, message, error);
    }
  }

  /** A node that is refused goes on to be called several times a second. */
  #complain(node: string, code: string, message: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    const before = this.#logged.get(node);
    if (before?.code === code && nowMs - before.atMs < LOGGED_AGAIN_MS) return;
    this.#logged.set(node, { code, atMs: nowMs });
    this.#options.log.warn({ node, code }, `a peer was not connected: ${message}`);
  }

  #attempts(node: string, lane: Lane): Attempt[] {
    const { dialler, clock, openLink } = this.#options;
    const addresses = dialler.ways.to(node, clock.monotonicMs());
    const attempt =
      (address: string): Attempt =>
      (signal) =>
        this.#open(node, address, lane, signal);
    const canAsk =
      lane === 'bulk' && dialler.ways.isRelayed(node) && openLink(node, 'control') !== undefined;
    return [
      ...addresses.filter(isDialable).map(attempt),
      ...(canAsk ? [() => this.#askBack(node)] : []),
      ...addresses.filter((address) => !isDialable(address)).map(attempt),
    ];
  }

  async #open(node: string, address: string, lane: Lane, signal?: AbortSignal): Promise<Link> {
    const { dialler, clock, adopt } = this.#options;
    try {
      const dialled = await dialler.dial(address, lane, node, signal);
      dialler.ways.worked(node, address);
      const via = relayOf(address);
      return adopt(dialled, { peer: node, lane, ...(via === undefined ? {} : { via }) });
    } catch (error) {
      if (signal?.reason !== NOT_NEEDED) dialler.ways.failed(node, address, clock.monotonicMs());
      throw error;
    }
  }

  async #askBack(node: string): Promise<Link> {
    await this.#options.askBack(node);
    const link = this.#options.openLink(node, 'bulk');
    if (link === undefined) throw unreachable(node, 'it did not call back');
    return link;
  }

  #first(attempts: readonly Attempt[]): Promise<Link> {
    return firstOf(attempts, HEAD_START_MS, this.#options.clock);
  }

  #directTo(node: string): readonly string[] {
    const { dialler, clock } = this.#options;
    return dialler.ways.directTo(node, clock.monotonicMs());
  }
}

export function unreachable(node: string, why: string, cause?: unknown): RpcError {
  return new RpcError(`cannot reach node ${node}: ${why}`, {
    hint: 'nothing was sent; try again, or see aether ring status',
    ...(cause === undefined ? {} : { cause }),
  });
}
