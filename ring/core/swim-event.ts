/** What a membership core is told, and what it wants done. */
import type { MemberState, SwimMessage } from './swim-message.ts';
import type { OwnFacts } from './swim-self.ts';
import type { Roster } from './swim-view.ts';

export type SwimEvent =
  | { kind: 'tick' }
  /** `index`: of the sender in the roster, where that is known already. */
  | { kind: 'message'; from: string; index?: number; message: SwimMessage }
  /** Who may be a member; others are forgotten. `near`: those to whom a way is open, who are asked for news first. */
  | { kind: 'roster'; roster: Roster; near?: readonly string[] }
  /** The connection to a member broke: look at once, believe nothing yet. */
  | { kind: 'link-lost'; id: string }
  /** A member has taken a first connection, or is about to be dialled; or that is over. */
  | { kind: 'dialling'; id: string; isUnderWay: boolean }
  /** What this node says of itself has changed. */
  | { kind: 'facts'; facts: OwnFacts }
  /** The machine was asleep, as a clock shows that goes on meanwhile. */
  | { kind: 'slept' }
  /** The rest of this node has stood still for so long: told while it lasts, and once when it is over. */
  | { kind: 'lag'; lagMs: number }
  | { kind: 'leave' };

export type SwimEffect =
  /** `index`: of the receiver in the roster. */
  | { kind: 'send'; to: string; index: number; message: SwimMessage }
  /** A member's state, incarnation or facts are others now. `before`: none, it is new. */
  | { kind: 'member'; id: string; state: MemberState; before: MemberState | undefined }
  /** The own incarnation is another now: keep it, so that a restart begins above it. */
  | { kind: 'incarnation'; incarnation: number }
  /** This node has slept: what it held for a time, it may hold no more; what follows goes by no old connection. */
  | { kind: 'slept' };
