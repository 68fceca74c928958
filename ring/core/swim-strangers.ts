/**
 * What is said of members whom the roster does not name yet: it is often here before the epoch that names them, and
 * nobody says it again of his own accord.
 */
import { isGone, type Update } from './swim-message.ts';

/** The oldest goes: who has not come into the roster by then, may never. */
const STRANGERS_MAX = 256;

export interface Foretold {
  readonly claim: Update;
  readonly by: string;
}

export class Strangers {
  readonly #foretold = new Map<string, Foretold>();

  /** @param by who says it of another; only that it is there, and where, is kept. */
  heard(claim: Update, by: string): void {
    const { id, state, facts, incarnation } = claim;
    if (incarnation < (this.#foretold.get(id)?.claim.incarnation ?? 0)) return;
    if (isGone(state)) this.#foretold.delete(id);
    if (state !== 'alive' || facts === undefined) return;
    this.#foretold.delete(id);
    this.#foretold.set(id, { claim, by });
    const [oldest] = this.#foretold.keys();
    if (this.#foretold.size > STRANGERS_MAX && oldest !== undefined) this.#foretold.delete(oldest);
  }

  /** What was said of the one whom the roster names now: once. */
  take(id: string): Foretold | undefined {
    const foretold = this.#foretold.get(id);
    this.#foretold.delete(id);
    return foretold;
  }
}
