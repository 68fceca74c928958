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
const UNKNOWN = Number.NaN;
/** Loads are kept and told in hundredths. */
const LOAD_STEPS = 100;
/** Of the three numbers of a place: the member's index, exact below 2^24, the round trip and the load. */
const [MEMBER, RTT_MS, LOAD, WIDTH] = [0, 1, 2, 3];

export class Acquaintances {
  /** Side by side, so that one place is one look into memory. */
  #numbers = new Float32Array();
  #places = 0;
  #roster: Roster | undefined;

  /** @param load 0 to 1. */
  heard(index: number, load: number): void {
    this.#numbers[this.#take(index) + LOAD] = Math.round(load * LOAD_STEPS);
  }

  measured(index: number, rttMs: number): void {
    const at = this.#take(index) + RTT_MS;
    const before = this.#numbers[at] as number;
    this.#numbers[at] = Number.isNaN(before) ? rttMs : before * (1 - GAIN) + rttMs * GAIN;
  }

  /** Round trip to the member, smoothed. */
  rttMs(index: number): number | undefined {
    return this.#known(index, RTT_MS);
  }

  /** What the member said last, 0 to 1. */
  load(index: number): number | undefined {
    const load = this.#known(index, LOAD);
    return load === undefined ? undefined : load / LOAD_STEPS;
  }

  /** Goes over to another roster: what is known of those who stay is kept. */
  setRoster(roster: Roster): void {
    const before = this.#roster;
    const numbers = this.#numbers;
    this.#roster = roster;
    this.#places = Math.min(roster.members.length, ACQUAINTANCES_MAX);
    this.#numbers = new Float32Array(this.#places * WIDTH).fill(UNKNOWN);
    for (let at = 0; at < numbers.length; at += WIDTH) {
      const index = roster.indexOf(before?.members[numbers[at + MEMBER] as number]?.id ?? '');
      if (index < 0) continue;
      const place = this.#take(index);
      this.#numbers[place + RTT_MS] = numbers[at + RTT_MS] as number;
      this.#numbers[place + LOAD] = numbers[at + LOAD] as number;
    }
  }

  #known(index: number, what: number): number | undefined {
    const at = this.#placeOf(index);
    const value = this.#numbers[at + MEMBER] === index ? this.#numbers[at + what] : undefined;
    return value === undefined || Number.isNaN(value) ? undefined : value;
  }

  #placeOf(index: number): number {
    return (index % this.#places) * WIDTH;
  }

  /** The member's place; whoever had it is forgotten. */
  #take(index: number): number {
    const at = this.#placeOf(index);
    if (this.#numbers[at + MEMBER] !== index) {
      this.#numbers[at + MEMBER] = index;
      this.#numbers[at + RTT_MS] = UNKNOWN;
      this.#numbers[at + LOAD] = UNKNOWN;
    }
    return at;
  }
}
