/** How this node goes to others: to an address of theirs, or through a relay. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../spec/clock.ts';
import { errorBody } from '../../spec/error.ts';
import type { Lane } from '../core/traffic.ts';
import { REVOKED } from '../core/revocation.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import { isDialable, relayOf, Ways } from '../core/ways.ts';
import { RpcError } from '../rpc.ts';
import { dial, type Dialled, type DialOptions, limited } from './dial.ts';
import { firstOf } from './first-of.ts';
import type { Hello } from './hello.ts';
import { connectSecure } from './secure-socket.ts';
import { openTunnel, type TunnelRequest } from './tunnel.ts';

/** RFC 8305 §8: how long one way is tried before the next one is too. */
export const HEAD_START_MS = 250;

export interface DiallerOptions {
  self: string;
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  clock: Clock;
  limits: TransportLimits;
  hello(): Hello;
  /** A peer says of itself what `hello` holds. @throws AetherError to refuse it. */
  meet?(node: string, hello: Hello): void;
  /** The node itself refuses this one, which is out of the lattice as it says. */
  putOut?(by: string): void;
}

export class Dialler {
  readonly ways: Ways;
  readonly #options: DiallerOptions;
  readonly #stopping = new AbortController();

  constructor(options: DiallerOptions) {
    this.#options = options;
    this.ways = new Ways(options.self);
  }

  /**
   * @param node who must answer; none = whoever does.
   * @throws IdentityError ERR_RING_IDENTITY when another does.
   * @throws AetherError what the peer refused us with, or ERR_RING_UNREACHABLE.
   */
  async dial(address: string, lane: Lane, node?: string, signal?: AbortSignal): Promise<Dialled> {
    const options = this.#dialOptions(address, node, signal);
    const relay = relayOf(address);
    if (relay === undefined || node === undefined)
      return this.#met(await this.#dial(options, lane));
    const inside = await this.tunnel(relay, { kind: 'tunnel', node }, options.signal);
    return this.#met(await dial({ ...options, inside }, lane));
  }

  /** A stream through the relay. @throws as `dial`. */
  async tunnel(relay: string, asked: TunnelRequest, signal?: AbortSignal): Promise<TLSSocket> {
    const { clock } = this.#options;
    const addresses = this.ways.to(relay, clock.monotonicMs()).filter(isDialable);
    if (addresses.length === 0) throw new RpcError(`the relay ${relay} cannot be dialled`);
    const attempts = addresses.map((address) => async (lost: AbortSignal) => {
      const options = this.#dialOptions(address, relay, signal);
      return openTunnel({ ...options, signal: AbortSignal.any([options.signal, lost]) }, asked);
    });
    return firstOf(attempts, HEAD_START_MS, clock);
  }

  /** Looks whether the node answers at the address. Nothing is left open. */
  async reaches(node: string, address: string): Promise<boolean> {
    if (!isDialable(address)) return false;
    const options = this.#dialOptions(address, node);
    try {
      const { tls } = await connectSecure({ ...options, signal: limited(options) });
      tls.destroy();
      return true;
    } catch {
      return false;
    }
  }

  /** Gives up what is under way. */
  close(): void {
    this.#stopping.abort();
  }

  /** A relay may refuse in the name of whom it leads to; who is dialled directly has proven who it is. */
  async #dial(options: DialOptions, lane: Lane): Promise<Dialled> {
    try {
      return await dial(options, lane);
    } catch (error) {
      if (options.node !== undefined && errorBody(error).code === REVOKED)
        this.#options.putOut?.(options.node);
      throw error;
    }
  }

  #met(dialled: Dialled): Dialled {
    try {
      this.#options.meet?.(dialled.peer, dialled.hello);
    } catch (error) {
      dialled.socket.terminate();
      throw error;
    }
    return dialled;
  }

  #dialOptions(address: string, node?: string, signal?: AbortSignal): DialOptions {
    const { key, certificate, limits } = this.#options;
    const stopping = this.#stopping.signal;
    return {
      address,
      key,
      certificate,
      hello: this.#options.hello(),
      timeoutMs: limits.handshakeTimeoutMs,
      signal: signal === undefined ? stopping : AbortSignal.any([stopping, signal]),
      ...(node === undefined ? {} : { node }),
    };
  }
}
