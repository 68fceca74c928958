/**
 * Calls of this node that wait for their answers.
 *
 * An answer counts only from the node that was asked. A call ends with its answer, its time or its link, whatever is first.
 */
import type { Clock } from '../../spec/clock.ts';
import { encodeMessage, type Message } from '../core/frame.ts';
import { rebuildError } from '../core/remote-error.ts';
import { RpcError } from '../rpc.ts';
import { within } from './deadline.ts';
import type { Link } from './link.ts';

/** A call that is encoded and not sent yet. */
export interface Request {
  id: number;
  method: string;
  message: Uint8Array;
}

interface Call {
  link: Link;
  done(body: unknown): void;
  fail(error: Error): void;
}

export class RpcClient {
  readonly #clock: Clock;
  readonly #calls = new Map<number, Call>();
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws AetherError when the body is no plain value. */
  request(method: string, body: unknown): Request {
    const id = ++this.#last;
    return { id, method, message: encodeMessage({ kind: 'request', id, method, body }) };
  }

  /**
   * @param full what is thrown when the link does not take it.
   * @returns what was answered. @throws RpcError, and what the peer refused with.
   */
  async send(link: Link, request: Request, timeoutMs: number, full: () => Error): Promise<unknown> {
    const { id, method, message } = request;
    const answered = new Promise<unknown>((done, fail) => {
      this.#calls.set(id, { link, done, fail });
      if (!link.send(message)) fail(full());
    });
    try {
      return await within(timeoutMs, answered, () => lateAnswer(link.peer, method), this.#clock);
    } finally {
      this.#calls.delete(id);
    }
  }

  /** Whether the message answers a call of the link's peer. */
  isAwaited(link: Link, message: Message): boolean {
    return message.kind === 'answer' && this.#pending(link, message.id) !== undefined;
  }

  answered(link: Link, message: Message & { kind: 'answer' | 'refusal' }): void {
    const call = this.#pending(link, message.id);
    if (message.kind === 'answer') call?.done(message.body);
    else call?.fail(rebuildError(message.error));
  }

  /** Links that are to bring an answer. */
  links(): Link[] {
    return Array.from(this.#calls.values(), ({ link }) => link);
  }

  /** The link is gone, and brings none. */
  down(link: Link, why: string): void {
    for (const call of this.#calls.values()) {
      if (call.link !== link) continue;
      call.fail(
        new RpcError(`the connection to ${link.peer} ended before its answer: ${why}`, {
          code: 'ERR_RING_TIMEOUT',
          hint: 'it may or may not have been done',
        }),
      );
    }
  }

  #pending(link: Link, id: number): Call | undefined {
    const call = this.#calls.get(id);
    return call?.link.peer === link.peer ? call : undefined;
  }
}

export function lateAnswer(node: string, method: string): RpcError {
  return new RpcError(`no answer to ${method} from ${node} in time`, {
    code: 'ERR_RING_TIMEOUT',
    hint: 'it may or may not have been done',
  });
}
