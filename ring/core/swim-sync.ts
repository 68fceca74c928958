/**
 * How two nodes make one view of two: by the digest of the whole, then of its parts, then by what they know of the
 * members in the parts that differ. See `SyncRequest`.
 */
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

/** What is sent back, when its updates have been heard. */
export function syncAnswers(view: View, message: SyncRequest): SyncMessage[] {
  switch (message.step) {
    case 'compare': {
      const [first, second] = view.digest;
      const isSame = message.digest[0] === first && message.digest[1] === second;
      const hashes = isSame ? new Uint8Array() : view.hashes(partsOf(view.size));
      return [
        { request: { kind: 'sync', step: 'hashes', alive: view.alive, hashes }, updates: [] },
      ];
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
      return tell(view, { kind: 'sync', step: 'tell', alive: view.alive }, parts, differing);
    }
    case 'tell':
      break;
  }
  return [];
}

/** What is known of the members in those parts, the first of it with `request`. */
function tell(
  view: View,
  request: SyncRequest,
  parts: number,
  differing: Uint8Array,
): SyncMessage[] {
  const updates = view.updatesIn(parts, differing);
  const messages: SyncMessage[] = [{ request, updates: updates.slice(0, UPDATES_MAX) }];
  for (let at = UPDATES_MAX; at < updates.length; at += UPDATES_MAX)
    messages.push({
      request: { kind: 'sync', step: 'tell', alive: view.alive },
      updates: updates.slice(at, at + UPDATES_MAX),
    });
  return messages;
}
