import { AetherError } from '../spec/error.ts';

/** Calls between nodes. Bodies are plain msgpack values: records, lists, text, numbers, bigints, bytes. */
export interface Rpc {
  /** This node's id. */
  readonly self: string;
  /**
   * Calls `method` at `node` and waits for its answer; a call to `self` runs the local handler.
   *
   * @throws RpcError ERR_RING_UNREACHABLE: nothing was sent. ERR_RING_TIMEOUT: the outcome is unknown.
   * @throws AetherError what the handler threw, rebuilt with its code, message, hint and details.
   */
  call(node: string, method: string, body: unknown, options: CallOptions): Promise<unknown>;
  /** Answers `method`; the handler's value or error goes back to the caller. A method has one handler. */
  serve(method: string, handler: RpcHandler): void;
}

export interface CallOptions {
  /** Counted from the call, waiting for a connection included. */
  timeoutMs: number;
}

/** @param from the caller's node id, proven by its certificate. */
export type RpcHandler = (body: unknown, from: string) => unknown;

/** A call that has no answer; `code` says whether anything may have been done. */
export class RpcError extends AetherError {
  static override readonly code: string = 'ERR_RING_UNREACHABLE';
}
