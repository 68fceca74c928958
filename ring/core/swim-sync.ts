/**
 * How two nodes make one view of two: by the digest of the whole, then of its parts, then by what they know of the
 * members in the parts that differ. See `SyncRequest`.
 */
import { isAsMuch } from './swim-claim.ts';
import type { SyncRequest, Update } from './swim-message.ts';
import { differences, partsOf, type View } from './swim-view.ts';

/** A message to whom the view is compared with. */
export interface SyncMessage {
  readonly request: SyncRequest;
  readonly updates: readonly Update[];
}

/** Updates in one message. */
const UPDATES_MAX = 1_000;

/** The first message. */
export function comparison({ digest, alive }: View): SyncRequest {
  return { kind: 'sync', step: 'compare', alive, digest };
}

/** What is sent back, when its updates have been heard. @param told its updates: what they say is not said again. */
export function syncAnswers(
  view: View,
  message: SyncRequest,
  told: readonly Update[],
): SyncMessage[] {
  switch (message.step) {
    case 'compare': {
      const { alive, digest } = view;
      const isSame = message.digest[0] === digest[0] && message.digest[1] === digest[1];
      const parts = partsOf(view.size);
      if (!isSame && Math.abs(alive - message.alive) * 2 >= parts) return whole(view);
      const hashes = isSame ? new Uint8Array() : view.hashes(parts);
      return [{ request: { kind: 'sync', step: 'hashes', alive, hashes }, updates: [] }];
    }
    case 'hashes': {
      const parts = message.hashes.length / 4;
      if (parts === 0) return [];
      const differing = differences(view.hashes(parts), message.hashes);
      const { alive } = view;
      return tell(view, { kind: 'sync', step: 'ask', alive, parts, differing }, parts, differing);
    }
    case 'ask': {
      const { parts, differing } = message;
      return tell(view, { kind: 'sync', step: 'tell', alive: view.alive }, parts, differing, told);
    }
    case 'tell':
      break;
  }
  return [];
}

/** Where many are alive to one and not to the other, most parts differ: the whole is the one that is asked for. */
function whole(view: View): SyncMessage[] {
  const differing = new Uint8Array([1]);
  return tell(
    view,
    { kind: 'sync', step: 'ask', alive: view.alive, parts: 1, differing },
    1,
    differing,
  );
}

/** What is known of the members in those parts, the first of it with `request`. */
function tell(
  view: View,
  request: SyncRequest,
  parts: number,
  differing: Uint8Array,
  told: readonly Update[] = [],
): SyncMessage[] {
  const known = new Map(told.map((update) => [update.id, update]));
  const updates = view
    .updatesIn(parts, differing)
    .filter((update) => !isAsMuch(known.get(update.id), update));
  const messages: SyncMessage[] = [{ request, updates: updates.slice(0, UPDATES_MAX) }];
  for (let at = UPDATES_MAX; at < updates.length; at += UPDATES_MAX)
    messages.push({
      request: { kind: 'sync', step: 'tell', alive: view.alive },
      updates: updates.slice(at, at + UPDATES_MAX),
    });
  return messages;
}
