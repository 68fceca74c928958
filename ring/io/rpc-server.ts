/** What other nodes may ask of this one, and what they are answered; whatever a handler does with it ends here. */
import { AetherError, type ErrorBody, errorBody } from '../../spec/error.ts';
import type { Log } from '../../spec/log.ts';
import { encodeMessage } from '../core/frame.ts';
import { RpcError, type RpcHandler } from '../rpc.ts';

/** Requests of one peer that are being answered. */
const SERVING_MAX = 4_096;

export interface RpcServerOptions {
  log: Log;
  isMember(node: string): boolean;
  /** Why a node is no member. */
  refusal(node: string): AetherError;
}

export class RpcServer {
  readonly #options: RpcServerOptions;
  readonly #handlers = new Map<string, RpcHandler>();
  readonly #guestMethods = new Set<string>();
  readonly #castHandlers = new Map<string, (body: unknown, from: string) => void>();
  readonly #serving = new Map<string, number>();

  constructor(options: RpcServerOptions) {
    this.#options = options;
  }

  serve(method: string, handler: RpcHandler): void {
    this.#handlers.set(method, handler);
  }

  /** As `serve`, and guests may call it too. */
  serveGuests(method: string, handler: RpcHandler): void {
    this.serve(method, handler);
    this.#guestMethods.add(method);
  }

  /** Takes casts of members. */
  onCast(method: string, handler: (body: unknown, from: string) => void): void {
    this.#castHandlers.set(method, handler);
  }

  /** Whether the method is for the node: for a member all are. */
  isFor(node: string, method: string): boolean {
    return this.#guestMethods.has(method) || this.#options.isMember(node);
  }

  /** Peers that wait for an answer. */
  callers(): Iterable<string> {
    return this.#serving.keys();
  }

  /** @throws what the handler throws. */
  async handle(method: string, body: unknown, from: string): Promise<unknown> {
    const handler = this.#handlers.get(method);
    if (handler === undefined) {
      throw new RpcError(`this node does not know the call ${method}`, {
        code: 'ERR_RING_UNKNOWN_METHOD',
        hint: 'bring all nodes to the same release',
      });
    }
    return handler(body, from);
  }

  /** @returns the reply, encoded: the answer or why there is none. */
  async answer(id: number, method: string, body: unknown, from: string): Promise<Uint8Array> {
    const options = this.#options;
    const serving = (this.#serving.get(from) ?? 0) + 1;
    this.#serving.set(from, serving);
    try {
      if (!this.isFor(from, method)) throw options.refusal(from);
      if (serving > SERVING_MAX) throw tooManyCalls();
      const answer = await this.handle(method, body, from);
      return encodeMessage({ kind: 'answer', id, body: answer });
    } catch (error) {
      if (!AetherError.is(error)) options.log.error({ method, error }, 'a call failed here');
      return encodeRefusal(id, errorBody(error));
    } finally {
      const left = (this.#serving.get(from) ?? 1) - 1;
      if (left === 0) this.#serving.delete(from);
      else this.#serving.set(from, left);
    }
  }

  hear(method: string, body: unknown, from: string): void {
    try {
      this.#castHandlers.get(method)?.(body, from);
    } catch (error) {
      this.#options.log.error({ method, from, error }, 'a cast failed here');
    }
  }
}

/** Said again and again: an error made anew each time costs more than the answer to a call, by its stack. */
const TOO_MANY: ErrorBody = {
  code: 'ERR_RING_BUSY',
  message: 'too many calls',
  hint: 'nothing was done; ask again in a moment',
};

/** The answer to a call that is over the rate. */
export function encodeTooMany(id: number): Uint8Array {
  return encodeRefusal(id, TOO_MANY);
}

export function tooManyCalls(): RpcError {
  const { message, ...options } = TOO_MANY;
  return new RpcError(message, options);
}

/** Details that are no plain value stay here; the rest of the error goes over. */
function encodeRefusal(id: number, error: ErrorBody): Uint8Array {
  try {
    return encodeMessage({ kind: 'refusal', id, error });
  } catch {
    const { details: _, ...rest } = error;
    return encodeMessage({ kind: 'refusal', id, error: rest });
  }
}
