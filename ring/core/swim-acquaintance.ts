/**
 * What a node learns of the others from its own probes and theirs: how long the way is and how busy they are.
 *
 * It passes between the two, and nobody else is told: so it costs the same in a lattice of any size, and is as fresh
 * as gossip with a bounded share of the traffic could make it.
 */
import type { Roster } from './swim-view.ts';

/** Of so many members all is kept; in a larger lattice the newest of those who share a place. */
export const ACQUAINTANCES_MAX = 512;
/** How much one round trip moves the mean. */
const GAIN = 0.2;
const NOBODY = -1;
const UNKNOWN = 255;
/** Loads are kept and told in hundredths. */
const LOAD_STEPS = 100;

export class Acquaintances {
  #members = new Int32Array();
  #rttsMs = new Float32Array();
  #loads = new Uint8Array();
  #roster: Roster | undefined;

  /** @param load 0 to 1. */
  heard(index: number, load: number): void {
    this.#loads[this.#place(index)] = Math.round(load * LOAD_STEPS);
  }

  measured(index: number, rttMs: number): void {
    const at = this.#place(index);
    const before = this.#rttsMs[at] ?? Number.NaN;
    this.#rttsMs[at] = Number.isNaN(before) ? rttMs : before * (1 - GAIN) + rttMs * GAIN;
  }

  /** Round trip to the member, smoothed. */
  rttMs(index: number): number | undefined {
    const rttMs = this.#isOf(index) ? this.#rttsMs[index % this.#members.length] : undefined;
    return rttMs === undefined || Number.isNaN(rttMs) ? undefined : rttMs;
  }

  /** What the member said last, 0 to 1. */
  load(index: number): number | undefined {
    const load = this.#isOf(index) ? this.#loads[index % this.#members.length] : undefined;
    return load === undefined || load === UNKNOWN ? undefined : load / LOAD_STEPS;
  }

  /** Goes over to another roster: what is known of those who stay is kept. */
  setRoster(roster: Roster): void {
    const before = this.#roster;
    const [members, rttsMs, loads] = [this.#members, this.#rttsMs, this.#loads];
    const places = Math.min(roster.members.length, ACQUAINTANCES_MAX);
    this.#roster = roster;
    this.#members = new Int32Array(places).fill(NOBODY);
    this.#rttsMs = new Float32Array(places).fill(Number.NaN);
    this.#loads = new Uint8Array(places).fill(UNKNOWN);
    members.forEach((member, at) => {
      const index = roster.indexOf(before?.members[member]?.id ?? '');
      if (index < 0) return;
      const place = this.#place(index);
      this.#rttsMs[place] = rttsMs[at] ?? Number.NaN;
      this.#loads[place] = loads[at] ?? UNKNOWN;
    });
  }

  #isOf(index: number): boolean {
    return this.#members[index % this.#members.length] === index;
  }

  /** The member's place; whoever had it is forgotten. */
  #place(index: number): number {
    const at = index % this.#members.length;
    if (this.#members[at] !== index) {
      this.#members[at] = index;
      this.#rttsMs[at] = Number.NaN;
      this.#loads[at] = UNKNOWN;
    }
    return at;
  }
}
