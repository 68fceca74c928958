import type { AcceptorState, AcceptorWrite } from './core/acceptor-state.ts';

/**
 * What the acceptors of one node keep, by group. Values are plain ones, as core/codec.ts takes them.
 *
 * A store keeps these:
 * A1. `create` and `write` resolve only after all of it is durable (fsynced). Writes become durable in the order of the calls,
 *     each call whole or not at all.
 * A2. What `load` returns is what `written` of core/acceptor-state.ts makes of the writes that are durable.
 * A3. A group that is not what was written is reported as damaged, never returned.
 * A4. After a write has failed nothing more is written until the store is opened anew: what is on
 *     the disk is unknown, and what the acceptor believes is not on it.
 */
export interface AcceptorStore {
  /**
   * The first state of a group.
   *
   * @throws AcceptorStoreError ERR_RING_GROUP_EXISTS: nothing was changed.
   */
  create(group: string, state: AcceptorState<unknown>): Promise<void>;
  /**
   * @returns undefined for a group that is not there.
   * @throws AcceptorStoreError ERR_RING_ACCEPTOR_DAMAGED: the node must not vote in the group.
   */
  load(group: string): AcceptorState<unknown> | undefined;
  /**
   * Writes that belong to one answer. Those of one turn of the event loop share an fsync.
   *
   * @throws AcceptorStoreError ERR_RING_ACCEPTOR_STORE: whether it is there is unknown; the acceptor
   * that made it must not go on.
   */
  write(group: string, writes: readonly AcceptorWrite<unknown>[]): Promise<void>;
  /** Makes durable what waits. */
  close(): void;
}
