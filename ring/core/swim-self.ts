/** What a node says of itself: that it is alive, its facts, and where it is by round-trip time. */
import type { Random } from '../../spec/random.ts';
import { type Coordinate, distanceMs, move, NOWHERE } from './swim-coordinate.ts';
import { marked, type Trail } from './swim-trail.ts';
import type { Facts, MemberState, Update } from './swim-message.ts';

/** What it is given to say; its numbers and its coordinate are its own. */
export type OwnFacts = Omit<Facts, 'incarnation' | 'version' | 'coordinate'>;

/** Estimates may be this much worse by a coordinate that is old: within a site the zone says more. */
const EXCESS_MIN_MS = 5;
/** Loads closer than this are one. */
const LOAD_STEP = 0.1;

export class Self {
  /** As it is told to the others. */
  update: Update & { readonly facts: Facts };
  readonly #place: Coordinate = { ...NOWHERE };
  /** Load or coordinate are others than what was told. */
  hasMoved = false;
  trail: Trail;
  #facts: OwnFacts;
  /** How much worse estimates are by the coordinate that the others know, smoothed. */
  #excessMs = 0;

  constructor(id: string, incarnation: number, facts: OwnFacts) {
    this.#facts = facts;
    this.update = { id, state: 'alive', incarnation, facts: { ...facts, incarnation, version: 1 } };
  }

  /** Where it is now; another object each time. */
  get coordinate(): Coordinate {
    const { x, y, z, height, error } = this.#place;
    return { x, y, z, height, error };
  }

  /** How busy it is now, if it is known. */
  get load(): number | undefined {
    return this.#facts.load;
  }

  /** A round trip to a node that says where it is. */
  measured(place: Readonly<Coordinate>, rttMs: number, random: Random): void {
    move(this.#place, place, rttMs, random);
    // Places drift, all together: only an estimate that is the worse for the place that was told is a reason to tell.
    const wrongMs = (own: Readonly<Coordinate>): number => Math.abs(distanceMs(own, place) - rttMs);
    const excessMs = wrongMs(this.update.facts.coordinate ?? NOWHERE) - wrongMs(this.#place);
    this.#excessMs = this.#excessMs * 0.9 + excessMs * 0.1;
    if (this.#excessMs > Math.max(EXCESS_MIN_MS, rttMs / 2)) this.hasMoved = true;
  }

  /** @returns the estimated round trip, undefined while there is nothing to estimate it by. */
  estimateMs(facts: Facts | undefined): number | undefined {
    const place = facts?.coordinate;
    if (place === undefined || place.error >= 1 || this.#place.error >= 1) return undefined;
    return distanceMs(this.#place, place);
  }

  /** @returns true when the others should hear of it at once. */
  describe(facts: OwnFacts): boolean {
    this.#facts = facts;
    const { load = 0 } = this.update.facts;
    if (Math.abs((facts.load ?? 0) - load) >= LOAD_STEP) this.hasMoved = true;
    return !isAllButVitals(facts, this.update.facts);
  }

  /** The claim anew, with what is so now. */
  renew(incarnation: number): void {
    const { facts: told } = this.update;
    const version = told.incarnation === incarnation ? told.version + 1 : 1;
    const place = this.#place.error < 1 ? { coordinate: this.coordinate } : {};
    const facts = { ...this.#facts, ...place, incarnation, version };
    this.update = { ...this.update, incarnation, facts };
    this.hasMoved = false;
    this.#excessMs = 0;
  }

  /** What happened to this node that the others may have seen. */
  note(atMs: number, why: string, by?: string): void {
    const { state, incarnation } = this.update;
    const mark = { atMs, state, incarnation, why };
    this.trail = marked(this.trail, by === undefined ? mark : { ...mark, by });
  }

  become(state: MemberState): void {
    this.update = { ...this.update, state };
  }
}

/** True when they differ at most in what changes all the time. */
export function isAllButVitals(a: OwnFacts, b: OwnFacts | undefined): boolean {
  const rest = ({ addresses, protocol, certificateEpoch, tier, types, ext }: OwnFacts): string =>
    JSON.stringify([addresses, protocol, certificateEpoch, tier, types, ext]);
  return b !== undefined && rest(a) === rest(b);
}
