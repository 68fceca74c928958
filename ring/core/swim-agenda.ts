/** When a node next has what to do of its own accord: one time for each of its duties; Infinity: it has none. */
export class Agenda {
  /** A member is to be probed, or an answer is late. */
  probeMs: number;
  /** The time of a suspect is over. */
  verdictMs: number;
  /** What some were told of is to be told on, if there is any. */
  gossipMs: number;
  /** What nobody was told of is to be told, if there is any. */
  freshMs: number;
  /** Views are to be compared. */
  compareMs: number;
  /** Somebody who is dead is to be called. */
  reconnectMs: number;
  /** Load and coordinate are to be told, if they are others. */
  factsMs: number;

  constructor(nowMs: number) {
    this.probeMs = nowMs;
    this.verdictMs = Infinity;
    this.gossipMs = nowMs;
    this.freshMs = nowMs;
    this.compareMs = nowMs;
    this.reconnectMs = nowMs;
    this.factsMs = nowMs;
  }
}
