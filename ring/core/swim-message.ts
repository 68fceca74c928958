/** What members tell each other about members. */

export type MemberState = 'alive' | 'suspect' | 'dead' | 'left';

/** A claim about one member. */
export interface Update {
  id: string;
  state: MemberState;
  /** Counts the member's own claims to be alive; only the member itself raises it. */
  incarnation: number;
  /** Where the member listens, by its own word. */
  address: string;
  /** Facts of later releases by number; passed on unread. */
  ext?: Record<string, Uint8Array>;
}

export type SwimRequest =
  | { kind: 'ping'; seq: number }
  | { kind: 'ping-req'; seq: number; target: string }
  /** `target` was reached: the sender itself, or whom it was asked to probe. */
  | { kind: 'ack'; seq: number; target: string }
  | { kind: 'gossip' }
  /** The sender's whole view; the receiver answers a first one with its own. */
  | { kind: 'sync'; isReply: boolean };

/** `incarnation` is the sender's: who knows less of it asks. */
export type SwimMessage = SwimRequest & { incarnation: number; updates: Update[] };

const UPDATES_MAX = 20_000;
const STATES: ReadonlySet<unknown> = new Set<MemberState>(['alive', 'suspect', 'dead', 'left']);

/** A value from the wire as a message. @returns undefined when it is none. */
export function toSwimMessage(value: unknown): SwimMessage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const message = value as Partial<Record<string, unknown>>;
  const { kind, updates } = message;
  const whole =
    isCount(message['incarnation']) &&
    Array.isArray(updates) &&
    updates.length <= UPDATES_MAX &&
    updates.every(isUpdate) &&
    (kind === 'gossip' ||
      (kind === 'sync' && typeof message['isReply'] === 'boolean') ||
      (kind === 'ping' && isCount(message['seq'])) ||
      ((kind === 'ping-req' || kind === 'ack') &&
        isCount(message['seq']) &&
        typeof message['target'] === 'string'));
  return whole ? (value as SwimMessage) : undefined;
}

function isUpdate(value: unknown): value is Update {
  if (typeof value !== 'object' || value === null) return false;
  const { id, state, incarnation, address } = value as Partial<Record<keyof Update, unknown>>;
  return (
    typeof id === 'string' &&
    STATES.has(state) &&
    isCount(incarnation) &&
    typeof address === 'string' &&
    address.length <= 256
  );
}

/** Far below 2^53, so that counting on from any accepted number stays exact. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 48;
}
